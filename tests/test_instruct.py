"""Instruction tuning: what is learned, what a run leaves behind, and that nothing of it is lost."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
import yaml
from conftest import break_the_loss, run_command
from datasets import DatasetDict
from safetensors.torch import load_file
from transformers import AutoModelForMultimodalLM, AutoProcessor, LlamaConfig, LlamaForCausalLM

from motionpatches import MotionLlamoForConditionalGeneration
from motionpatches.processing.instructions import ClipReader, make_instructions
from motionpatches.training import instruct as instruct_module
from motionpatches.training.answering import answer_questions, read_questions
from motionpatches.training.builder import train_tokenizer
from motionpatches.training.forced_answers import answers_score, forced_answers
from motionpatches.training.instruct import instruct, merge_lora, parameter_groups
from motionpatches.training.instruction_data import (
    IGNORED,
    ConversationCollator,
    ConversationDataset,
    ConversationKey,
    ConversationSampler,
    InstructionData,
    make_instruction_data,
    texts_of,
)
from motionpatches.training.llamo_builder import build_llamo
from motionpatches.training.recipe import list_recipes, load_instruction_recipe, parse_instruction_recipe


TINY = {
    "motion_size": "tiny",
    "motion_depth": 1,
    "patch_size": 16,
    "max_frames": 96,
    "language_name": None,
    "language_width": 32,
    "language_depth": 1,
    "language_heads": 2,
    "vocab_size": 300,
    "max_tokens": 256,
    "num_selected": 4,
    "num_segments": 2,
    "categories": ["action", "side"],
    "num_questions": 12,
    "num_validation_questions": 6,
    "epochs": 2,
    "batch_size": 8,
    "lr_motion": 1e-3,
    "lr_language": 1e-3,
    "tracker": "none",
}


def tiny(**fields):
    return parse_instruction_recipe("tiny", {**TINY, **fields})


def weights(run, part="last"):
    return load_file(run / part / "model.safetensors")


@pytest.fixture(scope="module")
def instructed_run(named_data, tmp_path_factory):
    """A finished run; tests read it and must not change it."""
    folder = tmp_path_factory.mktemp("instructed") / "run"
    instruct(tiny(), named_data, folder)
    return folder


@pytest.fixture(scope="module")
def language_folder(tmp_path_factory):
    """A pretrained language model: GPT-2's parts under other names than Llama's would hide a mistake, so a Llama that ties its
    embeddings."""
    folder = tmp_path_factory.mktemp("language")
    tokenizer = train_tokenizer(["which action is this? kick wave squat left right both"] * 20, 200)
    tokenizer.add_special_tokens({"eos_token": "[SEP]"})
    tokenizer.model_max_length = 256
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    config = LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, vocab_size=len(tokenizer),
        tie_word_embeddings=True, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def test_a_run_leaves_a_model_that_loads_and_answers(instructed_run, named_data):
    results = json.loads((instructed_run / "results.json").read_text())
    assert (results["task"], results["epochs"], results["seed"]) == ("instruct", 2, 0)
    assert set(results["best"]["validation"]) == {"action", "side"}
    for part in ("last", "best"):
        model = AutoModelForMultimodalLM.from_pretrained(instructed_run / part)
        processor = AutoProcessor.from_pretrained(instructed_run / part)
        questions = make_instructions(named_data["test"], 3, ["action"])
        answers = answer_questions(model, processor, questions, ClipReader(named_data["test"]), max_new_tokens=4)
        assert len(answers) == len(questions)
        assert "no test results" in (instructed_run / part / "README.md").read_text()


def test_it_learns_to_look_at_the_motion(named_data, tmp_path):
    recipe = tiny(categories=["action"], epochs=40, num_questions=24, lr_motion=2e-3, lr_language=3e-3, language_width=64)
    results = instruct(
        recipe, DatasetDict({"train": named_data["train"], "validation": named_data["train"]}), tmp_path / "run"
    )
    assert results["best"]["validation"]["action"]["exact_match"] > 80  # three actions: a third without the motion


def test_the_test_split_plays_no_part(instructed_run, named_data, tmp_path):
    without = DatasetDict({split: rows for split, rows in named_data.items() if split != "test"})
    instruct(tiny(), without, tmp_path / "run")
    for name, tensor in weights(tmp_path / "run").items():
        assert torch.equal(tensor, weights(instructed_run)[name])


def test_texts_that_the_tokenizer_cannot_say_are_counted(instructed_run, named_data, tmp_path):
    questions = make_instruction_data(named_data, tiny().run)

    def answered(row):
        return {"messages": [*row["messages"][:-1], {"role": "assistant", "content": [{"type": "text", "text": "Ж!"}]}]}

    other = InstructionData(
        DatasetDict({**questions.questions, "train": questions.questions["train"].select(range(4)).map(answered)}),
        questions.readers,
    )
    with pytest.warns(UserWarning, match=r"1 of \d different texts to learn hold characters .* such as 'Ж!'"):
        instruct(tiny(epochs=1), named_data, tmp_path / "run", str(instructed_run / "best"), instructions=other)


def test_only_answers_are_learned(named_data):
    recipe = tiny()
    data = make_instruction_data(named_data, recipe.run)
    _, processor = build_llamo(recipe, named_data["train"], texts_of(data.questions["train"]), None)
    conversations = ConversationDataset(data.questions["train"], data.readers["train"], processor.feature_extractor)
    batch = ConversationCollator(processor)([conversations[ConversationKey(row, 0, False)] for row in range(4)])
    labels = batch.parts[0]["labels"]
    for row, ids in enumerate(labels):
        said = processor.tokenizer.decode(ids[ids != IGNORED], skip_special_tokens=True)
        assert said == read_questions(data.questions["train"])[row].answer
        assert ids[ids != IGNORED][-1] == processor.tokenizer.eos_token_id  # where to stop is learned too


def test_forced_answers_are_those_of_greedy_generation(instructed_run, named_data):
    model = AutoModelForMultimodalLM.from_pretrained(instructed_run / "best")
    processor = AutoProcessor.from_pretrained(instructed_run / "best")
    questions, reader = make_instructions(named_data["train"], 12, ["side", "action"]), ClipReader(named_data["train"])
    found = forced_answers(model, processor, ConversationDataset(questions, reader, processor.feature_extractor), 5)
    answers = answer_questions(model, processor, questions, reader, max_new_tokens=12)
    for category in found:
        right = [
            answer == question.answer
            for answer, question in zip(answers, read_questions(questions), strict=True)
            if question.category == category
        ]
        assert found[category]["exact_match"] == pytest.approx(100 * sum(right) / len(right))
        assert found[category]["num"] == len(right)


def test_the_score_leaves_captions_out():
    found = {"caption": {"exact_match": 0.0, "loss": 2.0}, "side": {"exact_match": 50.0}, "turn": {"exact_match": 70.0}}
    assert answers_score(found) == 60
    assert answers_score({"caption": found["caption"]}) == -2


def test_batches_are_of_like_length_and_hold_all_once():
    lengths = [float(number % 50) for number in range(200)]
    plain, sorted_ = (ConversationSampler(lengths, 8, buckets=buckets) for buckets in (1, 10))
    spread = []
    for sampler in (plain, sorted_):
        batches = sampler.make_batches(3)
        assert sorted(key.row for batch in batches for key in batch) == list(range(200))
        spread.append(
            max(max(lengths[key.row] for key in batch) - min(lengths[key.row] for key in batch) for batch in batches)
        )
        assert batches != sampler.make_batches(4)
    assert spread[1] < 0.5 * spread[0]
    firsts = [lengths[batch[0].row] for batch in sorted_.make_batches(3)]
    assert firsts != sorted(firsts)  # batches come in random order


def test_mirrored_conversations_swap_sides(named_data):
    recipe = tiny(categories=["side"])
    data = make_instruction_data(named_data, recipe.run)
    _, processor = build_llamo(recipe, named_data["train"], ["left right both"], None)
    conversations = ConversationDataset(data.questions["train"], data.readers["train"], processor.feature_extractor)
    places = [row for row, question in enumerate(read_questions(data.questions["train"])) if question.answer == "left"]
    plain, mirrored = (conversations[ConversationKey(places[0], 0, flag)] for flag in (False, True))
    assert (plain.messages[-1]["content"][0]["text"], mirrored.messages[-1]["content"][0]["text"]) == ("left", "right")
    assert not torch.equal(torch.as_tensor(plain.motions[0].joints), torch.as_tensor(mirrored.motions[0].joints))


@pytest.mark.parametrize("fields", [{"micro_batch_size": 3}, {"gradient_checkpointing": True}])
def test_ways_to_compute_the_same(instructed_run, named_data, tmp_path, fields):
    instruct(tiny(**fields), named_data, tmp_path / "run")
    first = [json.loads((run / "history.jsonl").read_text().splitlines()[0]) for run in (tmp_path / "run", instructed_run)]
    assert first[0]["loss"] == pytest.approx(first[1]["loss"], rel=1e-4)


def test_a_frozen_language_model_and_tower_stay_as_they_were(named_data, language_folder, tmp_path):
    recipe = tiny(language_name=str(language_folder), lr_motion=0, lr_language=0, lr_fusion=1e-3)
    instruct(recipe, named_data, tmp_path / "run")
    given, kept = load_file(language_folder / "model.safetensors"), weights(tmp_path / "run")
    for name, tensor in given.items():
        name = name.replace("model.", "model.language_model.", 1)
        assert torch.equal(kept[name][: len(tensor)], tensor)


def test_lora_trains_adapters_alone_and_is_merged(named_data, language_folder, tmp_path):
    pytest.importorskip("peft")
    recipe = tiny(language_name=str(language_folder), lora_rank=4, lr_language=1e-2)
    instruct(recipe, named_data, tmp_path / "run")
    model = MotionLlamoForConditionalGeneration.from_pretrained(tmp_path / "run" / "last")  # as any other
    given = load_file(language_folder / "model.safetensors")
    kept = model.state_dict()
    linear = next(name for name in given if name.endswith("q_proj.weight"))
    assert not torch.equal(kept[linear.replace("model.", "model.language_model.", 1)], given[linear])
    embedding = "model.embed_tokens.weight"
    assert torch.equal(kept["model.language_model.embed_tokens.weight"][: len(given[embedding])], given[embedding])


def test_merged_adapters_answer_as_before(named_data, language_folder):
    pytest.importorskip("peft")
    recipe = tiny(language_name=str(language_folder), lora_rank=4)
    model, processor = build_llamo(recipe, named_data["train"], [], None)
    instruct_module.add_lora(model, recipe)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    names = {group["name"] for group in parameter_groups(model, recipe.run)}
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert names == {"motion", "fusion", "language"}
    assert all("lora_" in name for name in learning if "language_model" in name)
    merged = merge_lora(model.eval())
    inputs = processor.tokenizer(["which action is this?"], return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        torch.testing.assert_close(merged(**inputs).logits, model(**inputs).logits, atol=1e-4, rtol=0)


def test_it_starts_from_a_motionpatches_checkpoint(trained_run, named_data, tmp_path):
    recipe = tiny(lr_motion=0, epochs=1)
    instruct(recipe, named_data, tmp_path / "run", init_from=str(trained_run / "best"))
    tower, kept = load_file(trained_run / "best" / "model.safetensors"), weights(tmp_path / "run")
    same = [name for name in tower if name.startswith(("motion_model.", "motion_norm."))]
    assert same
    assert all(torch.equal(kept[f"model.motion_tower.{name}"], tower[name]) for name in same)


def test_a_second_stage_goes_on_from_the_first(instructed_run, named_data, tmp_path):
    results = instruct(tiny(epochs=1, lr_motion=0, lr_language=0, lr_fusion=1e-9), named_data, tmp_path / "run",
                       init_from=str(instructed_run / "last"))  # fmt: skip
    before = json.loads((instructed_run / "history.jsonl").read_text().splitlines()[-1])
    assert results["best"]["score"] == before["score"]
    assert results["start"].endswith("run/last")


def start_process(named_folder, recipe, output, *arguments, num=1):
    command = [sys.executable, "-m"]
    if num > 1:
        command += ["torch.distributed.run", "--standalone", "--nproc_per_node", str(num), "-m"]
    command += ["motionpatches", "instruct", "--recipe", str(recipe), "--data", str(named_folder), "--output", str(output)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "COLUMNS": "300"}
    return subprocess.Popen(
        [*command, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def steps_of(run):
    """Steps that the run has saved; its state is away for a moment while a new one takes its place."""
    try:
        return json.loads((run / "state" / "progress.json").read_text())["step"]
    except FileNotFoundError:
        return 0


def recipe_file(folder, **fields):
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump({"task": "instruction", **TINY, **fields}))
    return file


def test_a_run_that_is_killed_goes_on_to_the_same_weights(named_folder, tmp_path):
    file = recipe_file(tmp_path, save_steps=1, epochs=3, ema_decay=0.9, augment_jitter=0.01, augment_mirror=0.5)
    whole = start_process(named_folder, file, tmp_path / "whole")
    assert whole.wait(200) == 0, whole.stdout.read()
    killed = start_process(named_folder, file, tmp_path / "killed")
    while steps_of(tmp_path / "killed") < 4:
        assert killed.poll() is None, killed.stdout.read()
    killed.send_signal(signal.SIGKILL)
    killed.wait(60)
    again = start_process(named_folder, file, tmp_path / "killed", "--resume")
    assert again.wait(200) == 0, again.stdout.read()
    for name, tensor in weights(tmp_path / "whole").items():
        assert torch.equal(tensor, weights(tmp_path / "killed")[name]), name


def test_a_run_with_adapters_resumes_to_the_same_weights(named_data, language_folder, tmp_path, monkeypatch):
    pytest.importorskip("peft")
    recipe = tiny(language_name=str(language_folder), lora_rank=4, save_steps=1, epochs=3)
    instruct(recipe, named_data, tmp_path / "whole")
    with monkeypatch.context() as patch:
        break_the_loss(patch, MotionLlamoForConditionalGeneration, after=4 + 2)  # two validation batches of the first epoch
        with pytest.raises(FloatingPointError, match=r"state after step 4 is whole"):
            instruct(recipe, named_data, tmp_path / "broken")
    instruct(recipe, named_data, tmp_path / "broken", resume=True)
    for name, tensor in weights(tmp_path / "whole").items():
        assert torch.equal(tensor, weights(tmp_path / "broken")[name]), name


def test_two_processes_equal_one(named_folder, tmp_path):
    file = recipe_file(tmp_path, epochs=3, num_questions=16)
    runs = {}
    for num in (1, 2):
        process = start_process(named_folder, file, tmp_path / str(num), num=num)
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 0, output
        runs[num] = json.loads((tmp_path / str(num) / "results.json").read_text())
        assert runs[num]["num_processes"] == num
    one, two = (torch.cat([t.flatten() for _, t in sorted(weights(tmp_path / str(num)).items())]) for num in (1, 2))
    assert (one - two).norm() < 1e-5 * one.norm()
    assert runs[1]["best"]["loss"] == pytest.approx(runs[2]["best"]["loss"], rel=1e-5)


def test_bad_requests_are_explained(named_data, tmp_path):
    with pytest.raises(ValueError, match=r"augment_tempo change how long"):
        instruct(tiny(augment_tempo=0.2), named_data, tmp_path / "tempo")
    with pytest.raises(ValueError, match=r"no 'train' split"):
        instruct(tiny(), DatasetDict({"test": named_data["test"]}), tmp_path / "split")
    with pytest.raises(ValueError, match=r"all rates are 0"):
        instruct(tiny(lr_motion=0, lr_fusion=0, lr_language=0), named_data, tmp_path / "rates")
    with pytest.raises(ValueError, match=r"unknown categories \['weather'\]"):
        instruct(tiny(categories=["weather"]), named_data, tmp_path / "category")
    with pytest.raises(ValueError, match=r"tokens long, more than the limit of 20"):  # before the first step
        instruct(tiny(max_tokens=20), named_data, tmp_path / "long")
    silent = named_data["validation"].map(lambda _: {"captions": [], "label": None}).select(range(1))
    with pytest.raises(ValueError, match=r"split 'validation': these 1 motions give no question"):
        instruct(tiny(categories=None), DatasetDict({**named_data, "validation": silent}), tmp_path / "silent")
    questions = make_instructions(named_data["train"], 4, ["action"])
    elsewhere = InstructionData(DatasetDict({"train": questions}), {"train": ClipReader(named_data["test"])})
    with pytest.raises(ValueError, match=r"refer to motions that the data does not have"):
        instruct(tiny(), named_data, tmp_path / "elsewhere", instructions=elsewhere)


def test_the_packaged_recipes_say_the_stages():
    assert list_recipes("instruction") == ["llamo_alignment", "llamo_instruction", "llamo_small"]
    alignment = load_instruction_recipe("llamo_alignment").run
    assert (alignment.lr_motion, alignment.lr_language, alignment.lr_fusion) == (0, 0, 1e-3)
    assert alignment.categories == ["caption"]
    assert load_instruction_recipe("llamo_instruction").model.lora_rank > 0


def test_the_command_names_what_is_wrong(named_folder, tmp_path):
    done = run_command("instruct", "--data", named_folder, "--output", tmp_path / "run", "--recipe", "quickstart")
    assert done.exit_code == 1
    assert "is for contrastive training, not for instruction" in done.output

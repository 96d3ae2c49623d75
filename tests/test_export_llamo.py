"""A MotionLlamo checkpoint is saved with all it needs, its card says what it is, and it is shared whole."""

import json
import re

import pytest
import torch
from conftest import run_command
from safetensors.torch import load
from test_modeling_motion_llamo import chat_tokenizer, made, motion_processor  # noqa: F401 (two of them are fixtures)
from test_sharing import REPO, hub  # noqa: F401 (hub is a fixture)
from transformers import AutoModelForMultimodalLM, AutoProcessor

from motionpatches import MotionLlamoForConditionalGeneration, MotionLlamoProcessor
from motionpatches.training.export import save_checkpoint
from motionpatches.training.sharing import load_any, push_to_hub


@pytest.fixture(scope="module")
def llamo(chat_tokenizer, motion_processor):  # noqa: F811
    return made(chat_tokenizer, motion_processor, "cross_talker", "frame", video=True)


def card_of(folder):
    return (folder / "README.md").read_text()


def test_everything_a_checkpoint_needs_is_in_the_folder(llamo, tmp_path):
    save_checkpoint(*llamo, tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"config.json", "model.safetensors", "generation_config.json", "processor_config.json", "tokenizer.json"} <= names
    travelling = ("modeling_motion_llamo", "motion_fusion", "processing_motion_llamo", "pipeline_motion_text_to_text")
    assert {f"{module}.py" for module in travelling} <= names
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert set(config["custom_pipelines"]) == {"motion-text-to-text"}
    assert type(AutoModelForMultimodalLM.from_pretrained(tmp_path / "model")) is MotionLlamoForConditionalGeneration
    assert type(AutoProcessor.from_pretrained(tmp_path / "model")) is MotionLlamoProcessor


def test_the_card_says_what_it_is_and_what_it_is_not(llamo, tmp_path):
    save_checkpoint(*llamo, tmp_path / "model", {"language": "en"})
    card = card_of(tmp_path / "model")
    for part in (
        "independent reimplementation of\n[LLaMo]",
        "no score of that\npaper is claimed",
        "without a codebook, and video, and answers\nquestions about them",
        "- motion-text-to-text",
        "| fusion | `cross_talker`, 4 units of a motion, unit `frame` |",
        "| language model | `llama`, width 32, 2 layers |",
        "| video tower | `clip_vision_model`, width 16 |",
        "| motion tower | `vit`, width 32, 2 layers, patches of 8 |",
        "one person at a time, 3.2 seconds at most",
        "Language of the questions and answers: en.",
        "not a fact",
        "li2024llamo",
    ):
        assert part in card, part
    for part in ("{{", "{%", "pipeline_tag", "It says which text fits", "text tower"):
        assert part not in card, part
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
    compile(code, "README.md", "exec")
    assert '"model"' in code


def test_a_model_is_saved_with_its_own_kind_of_processor_alone(llamo, model, processor, tmp_path):
    with pytest.raises(TypeError, match="saved with its processor, a MotionLlamoProcessor; got a MotionTextProcessor"):
        save_checkpoint(llamo[0], processor, tmp_path / "model")
    with pytest.raises(
        TypeError, match="a MotionPatchesModel is saved with its processor, a processor of MotionPatches; got a"
    ):
        save_checkpoint(model, llamo[1], tmp_path / "model")
    with pytest.raises(TypeError, match="got none"):
        save_checkpoint(llamo[0], None, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_model_without_its_head_is_refused(llamo, tmp_path):
    with pytest.raises(
        TypeError, match="a MotionLlamoModel has no head, so it answers nothing: save the MotionLlamoForCond"
    ):
        save_checkpoint(llamo[0].model, llamo[1], tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_the_shell_pushes_the_head_and_the_card_of_a_run(llamo, hub, tmp_path):  # noqa: F811
    run = tmp_path / "run"
    save_checkpoint(*llamo, run / "best", {"recipe_name": "llamo_small", "seed": 7, "validation": "### Validation\n\n12.5"})
    (run / "results.json").write_text(json.dumps({"task": "instruct", "best_epoch": 1}))
    result = run_command("push", run / "best", REPO, "--licence", "cc-by-4.0")
    assert result.exit_code == 0, result.output
    files = hub.files(REPO)
    weights, expected = load(files["model.safetensors"]), llamo[0].state_dict()
    assert torch.equal(weights["lm_head.weight"], expected["lm_head.weight"])
    assert {"pipeline_motion_text_to_text.py", "modeling_motion_llamo.py", "generation_config.json"} <= set(files)
    card = files["README.md"].decode()
    for part in ("`llamo_small`, seed: 7", "12.5", "license: cc-by-4.0", f'pipeline("motion-text-to-text", model="{REPO}")'):
        assert part in card
    push_to_hub(*load_any(run / "best"), REPO, facts={"licence": "cc-by-4.0"})
    assert len(hub.commits(REPO)) == 2

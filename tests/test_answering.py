"""Answers of MotionLlamo: to the right question, of the right motion, whatever the batch."""

from collections import Counter

import numpy as np
import pytest
import torch
from tiny_llamo import Oracle, make_model, make_processor
from transformers.models.llava_onevision import LlavaOnevisionVideoProcessor

from motionpatches import MotionPatchProcessor, get_skeleton, make_motions
from motionpatches.processing.corpora import to_dataset
from motionpatches.processing.instructions import ClipReader, make_instructions
from motionpatches.processing.video_files import write_video
from motionpatches.training.answering import answer_questions, read_questions, shuffle_motions, text_of
from motionpatches.training.instruction_evaluation import evaluate_instructions


CATEGORIES = ["side", "repetitions", "speed", "yes_no"]
CROSS_TALKER = {"fusion": "cross_talker", "selection_unit": "window", "num_selected": 4}


@pytest.fixture(scope="module")
def rows():
    return to_dataset(make_motions(100, seed=3), "made")


@pytest.fixture(scope="module")
def reader(rows):
    return ClipReader(rows)


@pytest.fixture(scope="module")
def questions(rows):
    return make_instructions(rows, num=8, categories=CATEGORIES, seed=1, max_seconds=3.2).shuffle(seed=0)


@pytest.fixture(scope="module")
def processor(questions, reader):
    return make_processor(questions, reader)


def ids_of(motion):
    return [clip["id"] for clip in motion["clips"]]


def said_by(question):
    return text_of({"content": question["messages"][-1]["content"]})


def test_each_question_is_asked_about_its_motion_and_answered_in_its_place(questions, reader, processor):
    oracle = Oracle(processor, questions, reader)
    answers = answer_questions(oracle, processor, questions, reader, batch_size=5)
    assert answers == [oracle._plain(said_by(row)) for row in questions]
    assert processor.tokenizer.padding_side == "right"  # as it was


@pytest.mark.parametrize("choice", [{}, CROSS_TALKER])
@pytest.mark.filterwarnings("ignore:.*did not end")
def test_a_batch_answers_as_each_question_alone(questions, reader, choice):
    processor = make_processor(questions, reader, **choice)
    model = make_model(processor, **choice)
    few = questions.select(range(6))
    together, alone = (answer_questions(model, processor, few, reader, batch_size=size, max_new_tokens=5) for size in (4, 1))
    assert together == alone
    assert any(together)


def test_shuffled_motion_is_of_another_question_of_the_category(questions, reader, processor):
    asked = read_questions(questions)
    shuffled = shuffle_motions(asked, seed=0)
    for question, (motion,) in zip(asked, shuffled, strict=True):
        assert ids_of(motion) != ids_of(question.motions[0])
    for category in CATEGORIES:
        own = Counter(str(q.motions) for q in asked if q.category == category)
        dealt = Counter(str(m) for q, m in zip(asked, shuffled, strict=True) if q.category == category)
        assert own == dealt
    assert shuffle_motions(asked, seed=0) == shuffled
    assert shuffle_motions(asked, seed=1) != shuffled
    oracle = Oracle(processor, questions, reader)
    answer_questions(oracle, processor, questions, reader, motion="shuffled", batch_size=1, seed=0)
    patches = processor.feature_extractor
    wanted = [patches(reader.read(motion), return_tensors="pt") for (motion,) in shuffled]
    assert Counter(oracle.shown) == Counter(oracle._motion(inputs, 0) for inputs in wanted)


def test_questions_about_one_motion_never_get_it_back():
    def question(number, *names):
        clips = [{"clips": [{"id": name, "start": number, "end": number + 9}]} for name in names]
        content = [*({"type": "motion", "motion": motion} for motion in clips), {"type": "text", "text": "which?"}]
        messages = [{"role": "user", "content": content}, {"role": "assistant", "content": "this"}]
        return {"id": str(number), "category": "which", "messages": messages}

    pairs = read_questions([question(n, *names) for n, names in enumerate([("a", "b"), ("b", "c"), ("d", "e"), ("f", "d")])])
    for seed in range(20):
        for one, motions in zip(pairs, shuffle_motions(pairs, seed), strict=True):
            own, given = ({name for motion in of for name in ids_of(motion)} for of in (one.motions, motions))
            assert not own & given
    halves = read_questions([question(n, name) for n, name in enumerate("aaabbc")])
    for seed in range(20):
        dealt = [ids_of(motion) for (motion,) in shuffle_motions(halves, seed)]
        assert all(own != [name] for own, name in zip(dealt, "aaabbc", strict=True))
    with pytest.raises(ValueError, match=r"3 of 5 questions of category 'which' with 1 motions each are about one motion"):
        shuffle_motions(halves[:5])


def test_zeroed_motion_keeps_its_length_and_nothing_else(questions, reader, processor):
    seen = []

    class Watching(Oracle):
        def generate(self, **inputs):
            seen.append((inputs["motion_values"], inputs["motion_attention_mask"]))
            return super().generate(**inputs)

    oracle = Watching(processor, questions, reader)
    for motion in ("real", "zeroed"):
        answers = answer_questions(oracle, processor, questions, reader, motion=motion, batch_size=4)
    assert set(answers) == {oracle._plain("nothing known")}
    half = len(seen) // 2
    for (values, mask), (zeroed, same_mask) in zip(seen[:half], seen[half:], strict=True):
        assert values.any()
        assert not zeroed.any()
        assert zeroed.shape == values.shape
        assert torch.equal(mask, same_mask)


def test_earlier_turns_are_in_the_prompt_and_the_last_answer_is_not(questions, reader, processor):
    first, second = questions.filter(lambda row: row["category"] == "side").select(range(2))
    both = {**second, "messages": [*first["messages"], *second["messages"]]}
    (question,) = read_questions([both])
    assert len(question.motions) == 2
    assert question.answer == said_by(second)
    shown = []

    class Reading(Oracle):
        def generate(self, input_ids, **inputs):
            shown.append((self.processor.tokenizer.decode(input_ids[0]), len(inputs["motion_values"])))
            return super().generate(input_ids, **inputs)

    answer_questions(Reading(processor, questions, reader), processor, [both], reader)
    text, num_motions = shown[0]
    assert num_motions == 2
    _, answer, after = text.partition(f"<|assistant|> {said_by(first)}")
    assert answer
    assert text_of(second["messages"][0]).lower().rstrip("?.") in after
    assert after.rstrip().endswith("<|assistant|>")


def video_question(name, question, answer):
    content = [{"type": "video", "video": {"path": name}, "text": None}, {"type": "text", "text": question, "video": None}]
    messages = [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
    return {"id": name, "category": "colour", "messages": messages}


def test_videos_are_looked_for_before_any_answer(questions, reader, processor, tmp_path):
    row = video_question("a.mp4", "what?", "red")
    (question,) = read_questions([row])
    assert question.videos == [{"path": "a.mp4"}]
    assert shuffle_motions([question]) == [[]]
    oracle = Oracle(processor, questions, reader)
    with pytest.raises(ValueError, match=r"a question has the video 'a.mp4'; pass video_folder"):
        answer_questions(oracle, processor, [row], reader)
    with pytest.raises(FileNotFoundError, match=r"has no video 'a.mp4'"):
        answer_questions(oracle, processor, [row], reader, video_folder=tmp_path)
    assert not oracle.shown


def test_videos_are_shown_and_controlled(questions, reader, tmp_path):
    pytest.importorskip("av")
    settings = LlavaOnevisionVideoProcessor(size={"height": 16, "width": 16}, do_sample_frames=False)
    processor = make_processor(questions, reader, video_settings=settings)
    rows = []
    for name, level in (("dark.mp4", 30), ("light.mp4", 220)):
        write_video(tmp_path / name, np.full((3, 16, 16, 3), level, dtype=np.uint8), fps=10)
        rows.append(video_question(name, "is it dark or light?", name.partition(".")[0]))

    class Looking(Oracle):
        """Says how light a video is."""

        def generate(self, input_ids, pixel_values_videos, **inputs):
            levels = pixel_values_videos.flatten(1).mean(dim=1)
            said = ["light" if level > 0.1 else "dark" if level < -0.1 else "nothing" for level in levels]
            tokens = [self.processor.tokenizer.convert_tokens_to_ids([word, "[SEP]"]) for word in said]
            return torch.cat([input_ids, torch.tensor(tokens)], dim=1)

    processor.tokenizer.add_tokens(["light", "dark", "nothing"])
    looking = Looking(processor, questions, reader)
    options = {"video_folder": tmp_path, "batch_size": 2}
    assert answer_questions(looking, processor, rows, reader, **options) == ["dark", "light"]
    assert answer_questions(looking, processor, rows, reader, video="zeroed", **options) == ["nothing", "nothing"]
    found = evaluate_instructions(looking, processor, rows, reader, **options)["exact_match"]["micro"]["exact_match"]
    assert {name: scores["score"] for name, scores in found.items()} == {
        "real": 100, "shuffled": 100, "zeroed": 100, "zeroed_video": 0, "majority": 50,
    }  # fmt: skip


def test_what_is_cut_is_counted(rows, reader, processor):
    model = make_model(processor)
    long = make_instructions(rows, num=3, categories=["order"])
    with pytest.warns(UserWarning, match="were cut") as caught:
        answer_questions(model, processor, long, reader, batch_size=1, max_new_tokens=1)
    messages = [str(warning.message) for warning in caught]
    assert sum("3 of 3 motions are longer than max_frames=64" in message for message in messages) == 1
    assert sum("of 1 motions are longer" in message for message in messages) == 0
    assert sum("did not end within max_new_tokens=1" in message for message in messages) == 1


@pytest.mark.filterwarnings("error")
def test_motions_are_in_metres_whatever_the_unit_of_their_skeleton():
    rows = to_dataset(make_motions(2, skeleton="kit21", seed=0), "made")
    patches = MotionPatchProcessor(patch_size=8, max_frames=64, normalization=None, canonicalize={"detect": False})
    assert get_skeleton("kit21").unit != "metres"
    clip = {"id": rows["id"][0], "start": 0, "end": rows["num_frames"][0]}
    found = patches(ClipReader(rows).read({"clips": [clip]}))["motion_values"]
    np.testing.assert_allclose(found, patches(rows.with_format("numpy")[0])["motion_values"], rtol=1e-5, atol=1e-5)


def test_bad_input(questions, reader, rows, processor):
    oracle = Oracle(processor, questions, reader)
    good = questions[0]
    with pytest.raises(ValueError, match="motion='mixed' is unknown; choose one of real, shuffled, zeroed"):
        answer_questions(oracle, processor, questions, reader, motion="mixed")
    with pytest.raises(ValueError, match="got batch_size=0"):
        answer_questions(oracle, processor, questions, reader, batch_size=0)
    with pytest.raises(ValueError, match="there are no questions"):
        answer_questions(oracle, processor, [], reader)
    silent = {**good, "id": "mute", "messages": [*good["messages"][:-1], {"role": "assistant", "content": " "}]}
    with pytest.raises(
        ValueError, match=r"1 of 2 conversations have no answer to judge by: 'mute' ends with user and assis"
    ):
        answer_questions(oracle, processor, [good, silent], reader)
    asked = {**good, "id": "open", "messages": good["messages"][:-1]}
    with pytest.raises(ValueError, match=r"'open' ends with user"):
        answer_questions(oracle, processor, [asked], reader)
    few = ClipReader(rows.select(range(2)))
    with pytest.raises(
        ValueError, match=r"of 32 questions refer to motions that the data does not have, the first, '.*', to '"
    ):
        answer_questions(oracle, processor, questions, few)
    assert not oracle.shown

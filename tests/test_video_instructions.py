"""Questions about a motion and a video: their answers are in the one, the other or both, as they say, and nowhere else."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from conftest import CAPTIONS, smpl_motion
from scipy import ndimage
from transformers import LlavaOnevisionVideoProcessor

from motionpatches import MotionLlamoProcessor, MotionPatchProcessor, make_motions
from motionpatches.processing import video_instructions
from motionpatches.processing.corpora import to_dataset
from motionpatches.processing.instructions import ClipReader, make_instructions
from motionpatches.processing.motion_facts import facts_of
from motionpatches.processing.processing_motion_llamo import MOTION_TOKEN, ROLE_TOKENS, VIDEO_TOKEN
from motionpatches.processing.rendering import BACKGROUNDS, COLORS
from motionpatches.processing.video_files import VideoReader
from motionpatches.processing.video_instructions import VIDEO_FOLDER, VIDEO_QUESTIONS, make_video_instructions
from motionpatches.training.builder import train_tokenizer


pytest.importorskip("av", reason="PyAV is not installed: pip install 'motionpatches[video]'")

SIZE, NUM = 96, 8


@pytest.fixture(scope="module")
def rows():
    return to_dataset(make_motions(114, seed=5), "made")


@pytest.fixture(scope="module")
def facts(rows):
    arrays = rows.with_format("numpy", columns=["joints"], output_all_columns=True)
    return {row["id"]: facts_of(row) for row in arrays}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def questions(rows, folder):
    return make_video_instructions(rows, NUM, folder)


def asked(row):
    motion, video, text = row["messages"][0]["content"]
    assert [part["type"] for part in (motion, video, text)] == ["motion", "video", "text"]
    return motion["motion"], video["video"], text["text"], row["messages"][1]["content"][0]["text"]


def seen(frame):
    """What a viewer sees in a picture: the colour of the wall, and for each hand that holds a thing its colour and shape."""
    wall = frame[:4].reshape(-1, 3).mean(axis=0)
    background = min(BACKGROUNDS, key=lambda name: np.abs(np.array(BACKGROUNDS[name]) - wall).sum())
    palette = np.array([*COLORS.values(), wall, 0.75 * wall, *((grey,) * 3 for grey in (25, 110, 245))])
    nearest = np.abs(frame[:, :, None].astype(int) - palette).sum(axis=-1).argmin(axis=-1)
    things = {}
    for number, color in enumerate(COLORS):
        parts, _ = ndimage.label(nearest == number)
        sizes = np.bincount(parts.ravel())
        if sizes[1:].max(initial=0) >= 60:
            found = np.argwhere(parts == sizes[1:].argmax() + 1)
            filled = len(found) / np.prod(np.ptp(found, axis=0) + 1)
            things["left" if found[:, 1].mean() > SIZE / 2 else "right"] = (color, "box" if filled > 0.845 else "ball")
    return background, things


def true_answer(category, text, fact, background, things):
    hand, (color, shape) = next(iter(things.items()))
    if category == "acting_color":
        return things[fact.side][0]
    is_so = f": {fact.action}," in text or f": {fact.action}?" in text
    return {
        "prop_color": color,
        "prop_hand": hand,
        "prop_shape": shape,
        "background": background,
        "action_with_video": fact.action,
        "side_with_video": fact.side,
        "direction_with_video": fact.travel,
        "acting_hand": "yes" if fact.side == hand else "no",
        "color_if": color if is_so else background,
        "hand_and_action": f"{hand}, {fact.action}",
    }[category]


def test_answers_follow_from_what_is_seen_and_what_is_done(questions, facts, folder):
    reader, shapes = VideoReader(folder, num_frames=3), []
    for row in questions:
        motion, video, text, answer = asked(row)
        background, things = seen(reader.read(video)[1])  # from the middle
        assert len(things) == (2 if row["category"] == "acting_color" else 1), row["id"]
        truth = true_answer(row["category"], text, facts[motion["clips"][0]["id"]], background, things)
        named = [shape for shape in ("ball", "box") if shape in text]
        if row["category"] == "prop_shape":
            shapes.append(answer == truth)
        else:
            assert answer == truth, row["id"]
            shapes += [shape in named for _, shape in things.values() if named]
    assert np.mean(shapes) > 0.9  # of a few pixels that a video blurs


def test_every_category_is_there_and_says_what_it_needs(questions):
    assert set(questions["category"]) == set(VIDEO_QUESTIONS)
    assert max(Counter(questions["category"]).values()) == NUM
    assert set(questions["needs"]) == {"video", "motion", "both"}
    for row in questions:
        assert row["needs"] == VIDEO_QUESTIONS[row["category"]][0]


def test_videos_are_the_same_whatever_the_motion(rows, tmp_path):
    """The figure keeps its rest pose: motions of other actions give the same pictures, seed for seed."""
    others = to_dataset(make_motions(len(rows), seed=6), "made")
    made = [make_video_instructions(each, 3, tmp_path / str(n), ["background"]) for n, each in enumerate((rows, others))]
    paths = [{asked(row)[1]["path"] for row in each} for each in made]
    assert paths[0] == paths[1]
    assert [asked(row)[0] for row in made[0]] != [asked(row)[0] for row in made[1]]


def test_the_first_pose_can_be_shown(rows, tmp_path):
    kept = [make_video_instructions(rows, 6, tmp_path, ["background"], pose=pose) for pose in ("rest", "first")]
    frames = [VideoReader(tmp_path, 1).read(asked(each[0])[1])[0] for each in kept]
    assert [asked(row)[2:] for row in kept[0]] == [asked(row)[2:] for row in kept[1]]
    widths = [np.flatnonzero(seen_columns(frame)).size for frame in frames]
    assert widths[1] < 0.6 * widths[0]  # arms hang down


def seen_columns(frame):
    dark = (frame.astype(int).max(axis=-1) < 60) | (frame.astype(int).min(axis=-1) > 215)
    return dark.any(axis=0)


def test_one_of_motion_and_video_alone_gives_no_answer_away(rows, facts, tmp_path, monkeypatch):
    scenes = {}

    def remember(row, scene, *_):
        scenes[f"{VIDEO_FOLDER}/{len(scenes)}"] = scene
        return str(len(scenes) - 1)

    monkeypatch.setattr(video_instructions, "_render", remember)
    right = [place for place, name in enumerate(rows["id"]) if facts[name].side == "right"]
    few_right = rows.select(sorted(set(range(len(rows))) - set(right[12:])))
    many = make_video_instructions(few_right, 150, tmp_path, ["prop_hand", "acting_color", "acting_hand", "color_if"])
    by_side, by_hand, answers = defaultdict(Counter), defaultdict(Counter), defaultdict(Counter)
    guesses = []
    for row in many:
        motion, video, _, answer = asked(row)
        answers[row["category"]][answer] += 1
        scene = scenes[video["path"]]
        if row["category"] == "acting_hand":
            by_side[facts[motion["clips"][0]["id"]].side][answer] += 1
            by_hand[scene.props[0].hand][answer] += 1
        if row["category"] == "acting_color":
            colors = {prop.hand: prop.color for prop in scene.props}
            assert len({*colors.values(), scene.background}) == 3
            guesses.append(colors["left"] == answer)
    for given in (by_side, by_hand):
        assert set(given) == {"left", "right"}
        for counts in given.values():
            assert abs(counts["yes"] - counts["no"]) <= 0.2 * sum(counts.values())
    assert 0.4 <= np.mean(guesses) <= 0.6
    for category, counts in answers.items():
        assert max(counts.values()) <= 1.25 * sum(counts.values()) / len(counts), category
    assert set(answers["acting_color"]) == set(answers["color_if"]) == set(COLORS)


def test_questions_depend_on_the_seed_alone_and_videos_are_kept(rows, folder, questions):
    files = {file: file.stat().st_mtime_ns for file in (folder / "videos").iterdir()}
    assert make_video_instructions(rows, NUM, folder).to_list() == questions.to_list()
    assert {file: file.stat().st_mtime_ns for file in (folder / "videos").iterdir()} == files
    few = make_video_instructions(rows, 3, folder, ["prop_hand"], seed=1, max_seconds=3.0)
    lengths = dict(zip(rows["id"], rows["num_frames"], strict=True))
    assert all(lengths[asked(row)[0]["clips"][0]["id"]] <= 60 for row in few)
    assert len({file.name for file in (folder / "videos").iterdir()}) == len(files) + 3


def test_they_go_together_with_questions_about_motion_alone(rows, questions):
    plain = make_instructions(rows, 5, ["action"])
    assert plain.features == questions.features
    assert set(plain["needs"]) == {"motion"}
    assert [part["video"] for part in plain[0]["messages"][0]["content"]] == [None, None]


def test_a_processor_makes_inputs_of_them(rows, folder, questions):
    tokenizer = train_tokenizer([*CAPTIONS, "what colour is the ball?"] * 20, vocab_size=200)
    tokenizer.add_special_tokens(
        {"additional_special_tokens": [*ROLE_TOKENS, MOTION_TOKEN, VIDEO_TOKEN], "eos_token": "[SEP]"}
    )
    tokenizer.model_max_length = 1024
    motions = MotionPatchProcessor(patch_size=8, max_frames=64, padding="longest").fit(
        [smpl_motion(seed, 60) for seed in range(3)]
    )
    settings = LlavaOnevisionVideoProcessor(size={"height": 16, "width": 16}, do_sample_frames=True, num_frames=4)
    processor = MotionLlamoProcessor(motions, tokenizer, video_settings=settings)
    motion, video, text, _ = asked(questions[0])
    clips, videos = ClipReader(rows), VideoReader(folder, num_frames=4)

    def inputs(given):
        parts = [
            {"type": "motion", "motion": clips.read(motion)},
            {"type": "video", "video": given},
            {"type": "text", "text": text},
        ]
        conversation = [{"role": "user", "content": parts}]
        return processor.apply_chat_template(conversation, tokenize=True, return_dict=True, return_tensors="np")

    by_frames = inputs(videos.read(video))
    assert by_frames["pixel_values_videos"].shape == (1, 4, 3, 16, 16)
    by_path = inputs(str(videos.path(video)))
    np.testing.assert_allclose(by_path["pixel_values_videos"], by_frames["pixel_values_videos"], atol=1e-6)
    np.testing.assert_array_equal(by_path["input_ids"], by_frames["input_ids"])


BAD = [
    ({"categories": ["mood"]}, r"unknown categories \['mood'\]; known: prop_color"),
    ({"num": 0}, "got num=0"),
    ({"pose": "dancing"}, "pose='dancing'; expected at least one question, and one of rest, first"),
    ({"max_seconds": 0.1}, "of 3 motions none is at most 0.1 s long"),
    ({"categories": ["direction_with_video"]}, "give no question of category 'direction_with_video' with two answers"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_arguments(rows, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_video_instructions(rows.select(range(3)), **{"num": 5, "folder": tmp_path, **arguments})

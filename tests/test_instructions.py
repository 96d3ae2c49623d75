"""Questions about motions: their answers are true, balanced, and of the motions that they refer to."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from conftest import swinging_motion

from motionpatches import make_motions
from motionpatches.processing.corpora import load_motions, to_dataset
from motionpatches.processing.instructions import QUESTIONS, ClipReader, join_motions, join_turns, make_instructions
from motionpatches.processing.motion_facts import facts_of


@pytest.fixture(scope="module")
def motions():
    return make_motions(300, seed=5)


@pytest.fixture(scope="module")
def rows(motions):
    return to_dataset(motions, "made")


@pytest.fixture(scope="module")
def questions(rows):
    return make_instructions(rows, num=60)


def arrays(rows):
    return rows.with_format("numpy", columns=["joints"], output_all_columns=True)


def asked(row):
    user, assistant = row["messages"]
    motion, text = user["content"]
    return motion["motion"], text["text"], assistant["content"][0]["text"]


def test_facts_are_what_the_motions_were_made_with(motions, rows):
    known = Counter()
    for motion, row in zip(motions, arrays(rows), strict=True):
        facts, params = facts_of(row), motion["params"]
        assert facts.count in (params["count"], None)
        if params["side"] in ("left", "right"):
            assert facts.side == params["side"]
        if params["action"] == "turn":
            assert (facts.turn, facts.travel) == (params["direction"], "in place")
        if params["direction"] in ("forward", "backward", "left", "right") and params["action"] in ("walk", "run"):
            assert facts.travel in (params["direction"], None)
            assert facts.turn == "straight"
            known["travel"] += facts.travel is not None
        if str(params["direction"]).startswith("curve"):
            assert facts.turn == params["direction"].removeprefix("curve ")
        assert facts.seconds == pytest.approx(len(motion["joints"]) / 20)
        known.update(
            name for name in ("side", "count", "travel", "turn", "pace", "sport") if getattr(facts, name) is not None
        )
    assert min(known[name] for name in ("side", "count", "travel", "turn", "pace")) > 60


def test_every_category_has_true_answers(rows, questions):
    facts = {row["id"]: facts_of(row) for row in arrays(rows)}
    found = Counter(questions["category"])
    assert set(found) == set(QUESTIONS)
    for row in questions:
        motion, text, answer = asked(row)
        said = [facts[clip["id"]] for clip in motion["clips"]]
        category = row["category"]
        if category in ("action", "next"):
            assert answer == said[0].action
        if category == "order":
            assert answer == said[0 if "first" in text else -1].action
        if category == "segment":
            actions = [fact.action for fact in said]
            before = next(place for place, action in enumerate(actions) if f": {action}?" in text)
            assert answer == actions[before + 1]
            assert len(set(actions)) == len(actions)
        if category == "yes_no":
            assert answer == ("yes" if f": {said[0].action}?" in text else "no")
        if category == "duration":
            assert abs(float(answer) - said[0].seconds) <= 0.35
        if category == "next":
            assert motion["clips"][0]["end"] == round(said[0].seconds * 20) // 2


def test_the_language_alone_gives_no_answer_away(rows):
    questions = make_instructions(rows, num=200)
    answers, by_action = defaultdict(Counter), defaultdict(Counter)
    for row in questions:
        _, text, answer = asked(row)
        answers[row["category"]][answer] += 1
        if row["category"] == "yes_no":
            by_action[text.partition(": ")[2]][answer] += 1
    for category in ("side", "turn", "repetitions", "yes_no", "speed"):
        counts = answers[category]
        assert max(counts.values()) <= 0.6 * sum(counts.values()), category
    assert answers["yes_no"]["yes"] == answers["yes_no"]["no"]
    assert np.mean([abs(counts["yes"] - counts["no"]) / sum(counts.values()) for counts in by_action.values()]) < 0.5


def test_questions_depend_on_the_seed_alone(rows, questions):
    assert make_instructions(rows, num=60).to_list() == questions.to_list()
    assert make_instructions(rows, num=60, seed=1).to_list() != questions.to_list()
    few = make_instructions(rows, num=5, categories=["side", "order"], max_seconds=4.0)
    assert Counter(few["category"]) == {"side": 5, "order": 5}


def test_references_are_read_as_one_motion(rows, questions):
    reader = ClipReader(rows)
    row = next(row for row in questions if row["category"] == "order")
    motion = asked(row)[0]
    found = reader.read(motion)
    lengths = [clip["end"] - clip["start"] for clip in motion["clips"]]
    assert found["joints"].shape == (sum(lengths), 22, 3)
    assert (found["skeleton"], found["fps"]) == ("smpl22", 20.0)
    with pytest.raises(KeyError, match="no motion has the id 'nobody'"):
        reader.read({"clips": [{"id": "nobody", "start": 0, "end": 5}]})
    with pytest.raises(ValueError, match=r"frames 900 to 905 of .* are none of its"):
        reader.read({"clips": [{**motion["clips"][0], "start": 900, "end": 905}]})
    with pytest.raises(ValueError, match="1 motions have an id that another one has"):
        ClipReader(rows.select([0, 1, 0]))


def test_joined_motions_go_on_where_the_one_before_ends():
    first, second = (
        swinging_motion(num_frames=30, seed=0),
        swinging_motion(num_frames=40, seed=1) + np.array([5.0, 0.0, -3.0]),
    )
    joined = join_motions([first, second], "smpl22")
    assert joined.shape == (70, 22, 3)
    np.testing.assert_array_equal(joined[:30], first)
    steps = np.linalg.norm(np.diff(joined[:, 0], axis=0), axis=-1)
    assert steps[29] < 2 * max(steps[:29].max(), steps[40:].max())
    np.testing.assert_allclose(np.diff(joined[36:], axis=0), np.diff(second[6:], axis=0), atol=1e-6)


def test_bad_arguments(rows):
    with pytest.raises(ValueError, match=r"unknown categories \['mood'\]; known: caption, action"):
        make_instructions(rows, num=5, categories=["mood"])
    with pytest.raises(ValueError, match="got num=0"):
        make_instructions(rows, num=0)
    with pytest.raises(ValueError, match=r"none is at most 0.1 s long"):
        make_instructions(rows, num=5, max_seconds=0.1)
    with pytest.raises(ValueError, match="give no question of category 'sports' with two answers"):
        make_instructions(rows.select(range(3)), num=5, categories=["sports"])


def test_real_motions_answer_questions(data_dir):
    rows = load_motions(data_dir, ["bandai_namco", "utd_mhad"])["validation"]
    questions = make_instructions(rows, num=100)
    counts = Counter(questions["category"])
    assert all(
        counts[name] == 100 for name in ("caption", "action", "side", "order", "segment", "duration", "next", "yes_no")
    )
    turns = {row["id"]: facts_of(row) for row in arrays(rows)}
    named = [facts for facts in turns.values() if facts.action in ("walk turn left", "walk turn right")]
    agree = [facts.turn == facts.action.rpartition(" ")[2] for facts in named]
    assert np.mean(agree) > 0.9


def test_questions_about_one_motion_become_turns_of_one_conversation(rows):
    questions = make_instructions(rows, 40, ["action", "side", "duration", "order"])
    joined = join_turns(questions, 3)

    def said(found):
        return Counter(
            (asked["content"][-1]["text"], answer["content"][0]["text"])
            for row in found
            for asked, answer in zip(row["messages"][::2], row["messages"][1::2], strict=True)
        )

    assert said(joined) == said(questions)  # none is lost, none is asked twice
    turns = [len(row["messages"]) // 2 for row in joined]
    assert max(turns) > 1
    assert max(turns) <= 3
    for row in joined:
        kinds = [[part["type"] for part in message["content"]] for message in row["messages"]]
        assert kinds[0] == ["motion", "text"]
        assert all(kind == ["text"] for kind in kinds[1:])
    assert len(join_turns(questions, 1)) == len(questions)
    by_clip = Counter(
        tuple((clip["id"], clip["end"]) for clip in row["messages"][0]["content"][0]["motion"]["clips"]) for row in joined
    )
    asked = Counter(
        tuple((clip["id"], clip["end"]) for clip in row["messages"][0]["content"][0]["motion"]["clips"]) for row in questions
    )
    assert by_clip == {clip: -(-number // 3) for clip, number in asked.items()}
    with pytest.raises(ValueError, match="at least one question"):
        join_turns(questions, 0)

"""How answers are judged, against numbers worked out by hand."""

import numpy as np
import pytest

from motionpatches.training.answer_metrics import (
    counting_metrics,
    exact_match,
    majority_answers,
    match_metrics,
    normalize_answer,
    parse_count,
)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("The left hand, twice.", "left hand 2"),
        ("  A  JUMPING-jack!", "jumping jack"),
        ("It's the person's arm", "its persons arm"),
        ("twelve", "12"),
        ("2.5 s", "2.5 s"),
        ("arm_curl\nthen an anthem", "arm curl then anthem"),
        ("Yes.", "yes"),
        ("ÉTÉ", "été"),
        ("the", ""),
    ],
)
def test_what_is_compared_of_an_answer(text, plain):
    assert normalize_answer(text) == plain


def test_exact_match():
    assert exact_match(["Three", "left", "", "yes, it is"], ["3.", "The left", "no", "yes"]).tolist() == [1, 1, 0, 0]
    with pytest.raises(ValueError, match="1 answers to 2 questions"):
        exact_match(["a"], ["left", "right"])
    with pytest.raises(ValueError, match=r"1 of 2 true answers are empty .* the first 'The\.'"):
        exact_match(["a", "b"], ["left", "The."])


def test_the_majority_answer_is_the_most_frequent_as_it_is_written():
    categories = ["side"] * 5 + ["turn"] * 2
    answers = ["Left", "right", "The left.", "right", "left", "straight", "right"]
    assert majority_answers(categories, answers) == {"side": "Left", "turn": "right"}  # of two once each, by the alphabet


# Two categories: of four, the model has three and shuffled motion one; of two, one and none.
CATEGORIES = ["side"] * 4 + ["turn"] * 2
TRUTH = ["left", "right", "left", "both", "left", "right"]
REAL = ["left", "right", "the left", "left", "right", "right"]
SHUFFLED = ["right", "left", "left", "left", "straight", "left"]


def test_scores_by_category_and_over_all():
    found = match_metrics(CATEGORIES, TRUTH, {"real": REAL, "shuffled": SHUFFLED}, {"side": "left", "turn": "straight"})

    def scores(part):
        return {name: values["score"] for name, values in {**part["exact_match"], **part["differences"]}.items()}

    side, turn = found["categories"]["side"], found["categories"]["turn"]
    assert (side["num"], side["majority_answer"]) == (4, "left")
    assert scores(side) == {
        "real": 75, "shuffled": 25, "majority": 50,
        "real_minus_majority": 25, "real_minus_shuffled": 50, "shuffled_minus_majority": -25,
    }  # fmt: skip
    assert scores(turn) == {
        "real": 50, "shuffled": 0, "majority": 0,
        "real_minus_majority": 50, "real_minus_shuffled": 50, "shuffled_minus_majority": 0,
    }  # fmt: skip
    assert found["micro"]["num"] == 6
    assert scores(found["micro"])["real"] == pytest.approx(100 * 4 / 6)
    assert scores(found["micro"])["majority"] == pytest.approx(100 * 2 / 6)
    assert found["macro"]["num"] == 2
    assert scores(found["macro"])["real"] == 62.5
    assert scores(found["macro"])["real_minus_majority"] == 37.5
    assert list(found["categories"]) == ["side", "turn"]


def test_differences_are_paired_and_their_intervals_hold_them():
    rng = np.random.default_rng(0)
    truth = [str(number) for number in rng.integers(5, size=200)]
    categories = ["one"] * 150 + ["other"] * 50
    real = [text if rng.random() < 0.8 else "9" for text in truth]
    shuffled = [text if rng.random() < 0.5 else "9" for text in real]  # right only where the other is
    found = match_metrics(categories, truth, {"real": real, "shuffled": shuffled}, {"one": "1", "other": "1"})
    for part in (found["micro"], found["macro"], *found["categories"].values()):
        for values in (*part["exact_match"].values(), *part["differences"].values()):
            low, high = values["interval"]
            assert low <= values["score"] <= high
            assert low < high
        low, high = part["differences"]["real_minus_shuffled"]["interval"]
        assert low > 0
        sides = [part["exact_match"][name]["interval"] for name in ("real", "shuffled")]
        assert high - low < sum(high - low for low, high in sides)  # of answers that are right together
    by_hand = np.sqrt(
        sum(0.25 * np.var([r == t for r, t, c in zip(real, truth, categories, strict=True) if c == name]) / num
            for name, num in (("one", 150), ("other", 50)))
    )  # fmt: skip
    low, high = found["macro"]["exact_match"]["real"]["interval"]
    assert (high - low) / 2 == pytest.approx(196 * by_hand, rel=0.1)


def test_a_model_that_is_always_right_has_a_point_for_an_interval():
    found = match_metrics(["side", "turn"], ["left", "right"], {"real": ["left", "right"]}, {"side": "a b", "turn": "c"})
    for part in (found["micro"], found["macro"]):
        assert part["exact_match"]["real"] == {"score": 100.0, "interval": (100.0, 100.0)}
        assert part["exact_match"]["majority"]["score"] == 0


def test_categories_without_a_majority_answer_are_named():
    with pytest.raises(ValueError, match="no majority answer of categories turn, only of side; make training questions"):
        match_metrics(CATEGORIES, TRUTH, {"real": REAL}, {"side": "left"})
    with pytest.raises(ValueError, match="no answers to judge"):
        match_metrics([], [], {"real": []}, {})


@pytest.mark.parametrize(
    ("text", "count"),
    [("3", 3), ("three times", 3), ("It is done once.", 1), ("2.5", 2.5), ("2 or 3", None), ("many", None), ("zero", 0)],
)
def test_the_number_in_an_answer(text, count):
    assert parse_count(text) == count


def test_counting_by_hand():
    truth = ["2", "4", "five", "1", "10", "1"]
    said = ["3", "four times", "8", "many", "5", "zero"]
    found = counting_metrics(said, truth)  # errors 1, 0, 3, 1 (no number: as 0), 5, 1
    assert found["obo"]["score"] == pytest.approx(100 * 3 / 6)  # “many” is wrong, though 0 is off by one
    assert found["mae"]["score"] == pytest.approx((1 / 2 + 0 + 3 / 5 + 1 + 5 / 10 + 1) / 6)
    assert found["absolute_mae"]["score"] == pytest.approx(11 / 6)
    assert (found["num"], found["no_number"]) == (6, 1)
    low, high = found["mae"]["interval"]
    assert low < found["mae"]["score"] < high


def test_counts_that_cannot_be_judged_by():
    with pytest.raises(ValueError, match=r"2 of 3 true answers about repetitions are no number above 0, the first 'often'"):
        counting_metrics(["1", "2", "3"], ["often", "2", "0"])
    with pytest.raises(ValueError, match="1 answers to 2 questions"):
        counting_metrics(["1"], ["1", "2"])

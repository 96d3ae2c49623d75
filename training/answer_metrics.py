"""How answers are judged: normalised exact match beside the most frequent answer, and the counting of repetitions."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .intervals import CONFIDENCE, bootstrap_interval


#: Differences that are reported, second minus first. The first two must lie above zero, the last near it.
DIFFERENCES = (("majority", "real"), ("shuffled", "real"), ("majority", "shuffled"))

_ARTICLES = ("a", "an", "the")
# fmt: off
_COUNTED = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)
# fmt: on
_NUMBERS = {word: str(number) for number, word in enumerate(_COUNTED)} | {"once": "1", "twice": "2", "thrice": "3"}
_WORD = re.compile(r"\d+\.\d+|\w+")
_NUMBER = re.compile(r"\d+(\.\d+)?")
_RESAMPLES = 9999


def normalize_answer(text: str) -> str:
    """What of an answer is compared: lower case, no punctuation, no articles, single spaces, numbers up to twenty as digits.

    As answers are normalised for SQuAD (Rajpurkar et al. 2016), and their numbers for VQA (Antol et al. 2015). “Once”, “twice”
    and “thrice” are numbers too. `"The left hand, twice."` → `"left hand 2"`.
    """
    words = _WORD.findall(re.sub(r"['’]", "", text.lower()).replace("_", " "))
    return " ".join(_NUMBERS.get(word, word) for word in words if word not in _ARTICLES)


def parse_count(text: str) -> float | None:
    """The number in an answer, or `None` where there is none, or more than one."""
    found = [word for word in normalize_answer(text).split() if _NUMBER.fullmatch(word)]
    return float(found[0]) if len(found) == 1 else None


def majority_answers(categories: Sequence[str], answers: Sequence[str]) -> dict[str, str]:
    """The most frequent answer of each category, as it is first written.

    Answers are counted after `normalize_answer`; of equally frequent ones the first by the alphabet is taken.
    """
    written: dict[str, dict[str, str]] = defaultdict(dict)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for category, answer in zip(categories, answers, strict=True):
        plain = normalize_answer(answer)
        written[category].setdefault(plain, answer)
        counts[category][plain] += 1
    return {
        category: written[category][min(found, key=lambda answer: (-found[answer], answer))]
        for category, found in sorted(counts.items())
    }


def exact_match(answers: Sequence[str], truth: Sequence[str]) -> np.ndarray:
    """1.0 where an answer is the true one after `normalize_answer`, else 0.0. Shape (N,).

    Raises:
        ValueError: If the lengths differ, or a true answer has nothing to compare.
    """
    if len(answers) != len(truth):
        raise ValueError(f"{len(answers)} answers to {len(truth)} questions; expected one to each")
    wanted = [normalize_answer(text) for text in truth]
    empty = [text for text, left in zip(truth, wanted, strict=True) if not left]
    if empty:
        raise ValueError(
            f"{len(empty)} of {len(truth)} true answers are empty without punctuation and articles, the first {empty[0]!r}; "
            "write an answer of at least one word or number"
        )
    return np.array([normalize_answer(text) == right for text, right in zip(answers, wanted, strict=True)], dtype=float)


def match_metrics(
    categories: Sequence[str],
    truth: Sequence[str],
    answers: Mapping[str, Sequence[str]],
    majority: Mapping[str, str],
) -> dict[str, Any]:
    """Exact match in percent for each category and over all, with 95% intervals, beside the majority answer.

    Args:
        categories: Of the N questions.
        truth: N true answers.
        answers: Name → N answers: `"real"` and controls, such as the others of `answering.MOTIONS`.
        majority: The majority answer of each category, as `majority_answers` gives it.

    Returns:
        `"categories"`: category → scores; `"micro"`: scores over all questions; `"macro"`: the mean over categories, each
        weighing the same. Scores are `"num"`, questions (of `"macro"`: categories); `"exact_match"`: name, or
        `"majority"`, → `{"score", "interval"}`; `"differences"`: of `DIFFERENCES`, `"real_minus_majority"` … →
        `{"score", "interval"}`, in points, paired by question; of a category also its `"majority_answer"`. The intervals come
        from a bootstrap over the questions, of `"macro"` within each category.

    Raises:
        ValueError: If there are no questions, lengths differ, or a category has no majority answer.
    """
    if not truth:
        raise ValueError("there are no answers to judge")
    unknown = sorted(set(categories) - set(majority))
    if unknown:
        raise ValueError(
            f"there is no majority answer of categories {', '.join(unknown)}, only of {', '.join(sorted(majority))}; make "
            "training questions of all categories, or leave these out"
        )
    said = {**answers, "majority": [majority[category] for category in categories]}
    hits = {name: 100.0 * exact_match(texts, truth) for name, texts in said.items()}
    for first, second in DIFFERENCES:
        if first in hits and second in hits:
            hits[f"{second}_minus_{first}"] = hits[second] - hits[first]
    names = np.array(categories)
    found = {name: np.flatnonzero(names == name) for name in dict.fromkeys(categories)}
    per_category = {}
    for name, places in found.items():
        scores = {key: _score(values[places]) for key, values in hits.items()}
        per_category[name] = {"num": len(places), "majority_answer": majority[name], **_sorted_out(scores)}
    micro = {key: _score(values) for key, values in hits.items()}
    macro = {key: _macro_score([values[places] for places in found.values()]) for key, values in hits.items()}
    return {
        "categories": per_category,
        "micro": {"num": len(truth), **_sorted_out(micro)},
        "macro": {"num": len(found), **_sorted_out(macro)},
    }


def counting_metrics(answers: Sequence[str], truth: Sequence[str]) -> dict[str, Any]:
    """How well repetitions are counted, as in the literature (RepNet, Dwibedi et al. 2020; TransRAC, Hu et al. 2022).

    Args:
        answers: N answers.
        truth: N true answers, each with a number above 0.

    Returns:
        `"num"`; `"obo"`: percent of the counts that are off by one at most, as in TransRAC (RepNet reports the rest, an error);
        `"mae"`: the mean of |count − truth| / truth, which both papers call MAE; `"absolute_mae"`: the mean of |count − truth|;
        each `{"score", "interval"}`, a 95% interval by a bootstrap over the questions; `"no_number"`: how many answers hold no
        number, or several. They are wrong in OBO, and count as 0 in both MAE.

    Raises:
        ValueError: If the lengths differ, there are none, or a true answer is no number above 0.
    """
    if len(answers) != len(truth) or not truth:
        raise ValueError(f"{len(answers)} answers to {len(truth)} questions; expected one to each, and at least one")
    counts = [parse_count(text) for text in truth]
    wrong = [text for text, count in zip(truth, counts, strict=True) if not count]
    if wrong:
        raise ValueError(
            f"{len(wrong)} of {len(truth)} true answers about repetitions are no number above 0, the first {wrong[0]!r}; write "
            "such as '3'"
        )
    found = [parse_count(text) for text in answers]
    wanted = np.array(counts, dtype=float)
    errors = np.abs(np.array([count or 0.0 for count in found]) - wanted)
    is_number = np.array([count is not None for count in found])
    return {
        "num": len(truth),
        "obo": _score(100.0 * ((errors <= 1) & is_number)),
        "mae": _score(errors / wanted),
        "absolute_mae": _score(errors),
        "no_number": int((~is_number).sum()),
    }


def _sorted_out(scores: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "exact_match": {key: value for key, value in scores.items() if "_minus_" not in key},
        "differences": {key: value for key, value in scores.items() if "_minus_" in key},
    }


def _score(values: np.ndarray) -> dict[str, Any]:
    return {"score": float(values.mean()), "interval": bootstrap_interval(values)}


def _macro_score(groups: Sequence[np.ndarray], seed: int = 0) -> dict[str, Any]:
    """The mean of the groups' means, and an interval by percentiles of it, each group drawn from itself."""
    generator = np.random.default_rng(seed)
    drawn = np.zeros(_RESAMPLES)
    for values in groups:
        distinct, counts = np.unique(values, return_counts=True)
        drawn += generator.multinomial(len(values), counts / len(values), _RESAMPLES) @ distinct / len(values)
    tails = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn / len(groups), [tails, 1 - tails])
    return {"score": float(np.mean([values.mean() for values in groups])), "interval": (float(low), float(high))}

"""Scores of captions, against numbers worked out by hand."""

import sys

import numpy as np
import pytest
from conftest import CAPTIONS, smpl_motion

from motionpatches.training.caption_scores import caption_precision, caption_scores
from motionpatches.training.evaluation import embed_motions, embed_texts


@pytest.fixture(autouse=True)
def library():
    pytest.importorskip("pycocoevalcap")


def test_own_captions_are_perfect_and_other_words_are_worth_nothing():
    references = [["a person walks forward slowly", "someone walks"], ["the figure waves the left hand"]]
    found = caption_scores(["A person walks forward, slowly.", "The figure waves the left hand!"], references)
    assert found["bleu1"] == pytest.approx(100)
    assert found["bleu4"] == pytest.approx(100)
    assert found["rouge_l"] == pytest.approx(100)
    # Of the first, half of the references are met; each word is in one of two motions, but for “the”, “a”, …: none is shared.
    assert found["cider"] > 5
    found = caption_scores(["xx yy zz ww", ""], references)
    assert {name: round(score, 3) for name, score in found.items()} == {"bleu1": 0, "bleu4": 0, "rouge_l": 0, "cider": 0}


def test_bleu_and_rouge_by_hand():
    # 3 of 4 words are found; 2 of 3, 1 of 2, 0 of 1 runs of two, three, four. The reference is 5 words long.
    found = caption_scores(["a man walks quickly"], [["a man walks very slowly"]])
    brevity = np.exp(1 - 5 / 4)
    assert found["bleu1"] == pytest.approx(100 * brevity * 3 / 4, abs=1e-3)
    assert found["bleu4"] == pytest.approx(0, abs=0.1)
    precision, recall, beta = 3 / 4, 3 / 5, 1.2
    rouge = (1 + beta**2) * precision * recall / (recall + beta**2 * precision)
    assert found["rouge_l"] == pytest.approx(100 * rouge)
    longer = caption_scores(["a man walks very quickly now"], [["a man walks very slowly", "quickly a man walks very"]])
    runs = (5 / 6) * (3 / 5) * (2 / 4) * (1 / 3)  # clipped by the reference that has most of each
    assert longer["bleu4"] == pytest.approx(100 * runs**0.25, abs=1e-3)


def test_cider_by_hand():
    # One word each, so that only n = 1 counts: tf-idf is log(2/1) for the words of one motion, 0 for those of both.
    found = caption_scores(["walk", "jump"], [["walk"], ["run"]])
    assert found["cider"] == pytest.approx(10 * (1 / 4 + 0) / 2)
    assert caption_scores(["walk", "walk"], [["walk"], ["walk"]])["cider"] == 0  # as in all motions, it tells nothing


def test_precision_by_a_retriever(model, processor):
    motions = [smpl_motion(seed) for seed in range(4)]
    embeds = embed_motions(model, processor, motions)
    with pytest.warns(UserWarning, match="32"):
        found = caption_precision(model, processor, CAPTIONS, embeds)
    scores = embeds @ embed_texts(model, processor, CAPTIONS).T
    right = (scores.argmax(axis=1) == np.arange(4)).mean()
    assert found["top1"] == pytest.approx(100 * right)
    assert found["chance"]["top1"] == 25
    with pytest.warns(UserWarning, match="32"):  # one caption for all: chance
        assert caption_precision(model, processor, ["", "", "", ""], embeds)["top1"] == pytest.approx(25)
    long = ["a person walks forward " * 40, *CAPTIONS[1:]]
    limit, processor.tokenizer.model_max_length = processor.tokenizer.model_max_length, 64
    try:
        with pytest.warns(UserWarning, match="1 of 4 captions are longer than the retriever reads"):
            caption_precision(model, processor, long, embeds)
    finally:
        processor.tokenizer.model_max_length = limit


def test_bad_input(monkeypatch):
    with pytest.raises(ValueError, match="1 captions for 2 lists of references"):
        caption_scores(["a"], [["a"], ["b"]])
    with pytest.raises(ValueError, match="1 of 2 captions have no reference with a word in it, the first is number 1"):
        caption_scores(["a", "b"], [["a"], ["…"]])
    monkeypatch.setitem(sys.modules, "pycocoevalcap.bleu.bleu", None)
    with pytest.raises(ImportError, match=r"pip install 'motionpatches\[captioning\]'"):
        caption_scores(["a"], [["a"]])

"""Sentence encoders for the protocols that ask how alike captions are."""

import sys

import numpy as np
import pytest
from conftest import CAPTIONS
from transformers import BertConfig, BertModel

from motionpatches.training.builder import train_tokenizer
from motionpatches.training.sentences import SentenceEncoder


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory):
    """A tiny encoder in the layout of sentence-transformers."""
    tokenizer = train_tokenizer(
        CAPTIONS * 20, vocab_size=200
    )  # of its own: a shared one remembers the processors that saved it
    library = pytest.importorskip("sentence_transformers")
    modules = pytest.importorskip("sentence_transformers.models")
    folder = tmp_path_factory.mktemp("encoder")
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertModel(config).save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    words = modules.Transformer(str(folder / "bert"))
    library.SentenceTransformer(modules=[words, modules.Pooling(16)]).save(str(folder / "whole"))
    return folder / "whole"


def test_equal_texts_get_exactly_equal_embeddings(encoder_folder):
    texts = ["a person walks", "someone jumps twice and sits down", "a person walks", "he runs"]
    found = SentenceEncoder.parse(f"tiny={encoder_folder}").encode(texts, batch_size=2)
    assert found.shape == (4, 16)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(found[0], found[2])
    assert not np.allclose(found[0], found[1])


def test_names():
    assert SentenceEncoder.parse("mine=/a/b") == SentenceEncoder("mine", "/a/b")
    assert SentenceEncoder.parse("sentence-transformers/all-mpnet-base-v2").name == "all-mpnet-base-v2"
    assert SentenceEncoder.parse("models/mini/").name == "mini"
    for text in ("", "=folder", "name="):
        with pytest.raises(ValueError, match="expected NAME=FOLDER"):
            SentenceEncoder.parse(text)


def test_what_is_missing_is_said(monkeypatch):
    pytest.importorskip("sentence_transformers")
    with pytest.raises(FileNotFoundError, match="no folder '/nowhere/model' with a sentence encoder"):
        SentenceEncoder.parse("x=/nowhere/model").encode(["a"])
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'motionpatches\[sentences\]'"):
        SentenceEncoder.parse("x=/nowhere/model").encode(["a"])

"""Answers of the app come out piece by piece, are those of the conversation, and can be stopped."""

import threading
from itertools import pairwise

import numpy as np
import pytest
from rich.console import Console
from test_chat import QUESTION, checkpoint, files  # noqa: F401 (fixtures)
from test_modeling_motion_llamo import chat_tokenizer, motion_processor  # noqa: F401 (fixtures)

from motionpatches.training.app_chat import StreamedConversation
from motionpatches.training.chat import Conversation, load_chat_model


@pytest.fixture
def talk(checkpoint):  # noqa: F811
    return load_chat_model(checkpoint)


@pytest.fixture(autouse=True)
def short_answers(monkeypatch):
    monkeypatch.setattr("motionpatches.training.app_chat.MAX_NEW_TOKENS", 12)


def test_an_answer_grows_to_that_of_the_conversation(talk, files):  # noqa: F811
    streamed = StreamedConversation(*talk, files[0])
    pieces = list(streamed.ask(QUESTION))
    plain = Conversation(*talk, Console(quiet=True), max_new_tokens=12)
    plain.add_motion(files[0])
    assert pieces[-1] == plain.ask(QUESTION)
    assert len(pieces) > 2
    assert all(later.startswith(earlier) for earlier, later in pairwise(pieces))
    assert list(streamed.ask("and then?"))[-1] == plain.ask("and then?")


def test_notes_stand_apart_and_name_no_folder(talk, files):  # noqa: F811
    streamed = StreamedConversation(*talk, files[0])
    answer = list(streamed.ask(QUESTION))[-1]
    about, cut = streamed.notes
    assert about == "walk.npz: 40 frames at 20 per second, skeleton smpl22"
    assert "cut after 12 tokens" in cut
    assert "cut after" not in answer


def test_an_answer_that_nobody_waits_for_ends(talk, files, monkeypatch):  # noqa: F811
    monkeypatch.setattr("motionpatches.training.app_chat.MAX_NEW_TOKENS", 400)
    streamed = StreamedConversation(*talk, files[0])
    before = threading.active_count()
    answer = streamed.ask(QUESTION)
    next(answer)
    answer.close()
    assert threading.active_count() == before
    assert not streamed._conversation.messages
    assert not any("cut after" in note for note in streamed.notes)  # it did not go on to its end


def test_what_goes_wrong_is_raised_where_the_answer_is_read(talk, files):  # noqa: F811
    streamed = StreamedConversation(*talk, files[0])
    with pytest.raises(ValueError, match="longer than the model's context"):
        list(streamed.ask("why " * 3000))
    assert list(streamed.ask(QUESTION))


def test_a_motion_that_cannot_be_read_is_told(talk, tmp_path):
    np.save(tmp_path / "bare.npy", np.zeros((5, 7, 3)))
    with pytest.raises(ValueError, match="skeleton"):
        StreamedConversation(*talk, tmp_path / "bare.npy")

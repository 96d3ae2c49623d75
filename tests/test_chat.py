"""A conversation on the terminal: what is said, what is shown, and that mistakes end nothing."""

import io

import numpy as np
import pytest
import torch
from conftest import swinging_motion
from rich.console import Console
from test_modeling_motion_llamo import chat_tokenizer, made, motion_processor  # noqa: F401 (two of them are fixtures)

from motionpatches.training.chat import Conversation, chat, load_chat_model
from motionpatches.training.export import save_checkpoint


QUESTION = "what does the person do?"


@pytest.fixture(scope="module")
def checkpoint(chat_tokenizer, motion_processor, tmp_path_factory):  # noqa: F811
    model, processor = made(chat_tokenizer, motion_processor)
    torch.nn.init.normal_(model.lm_head.weight)  # answers that differ
    model.generation_config.eos_token_id = None
    folder = tmp_path_factory.mktemp("llamo") / "checkpoint"
    save_checkpoint(model, processor, folder)
    return folder


@pytest.fixture
def files(tmp_path):
    names = [tmp_path / "walk.npz", tmp_path / "two words.npz"]
    for seed, name in enumerate(names):
        np.savez(name, joints=swinging_motion(seed=seed), skeleton="smpl22", fps=20)
    return names


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200, no_color=True)


@pytest.fixture
def conversation(checkpoint, console, files):
    made = Conversation(*load_chat_model(checkpoint), console, max_new_tokens=5)
    made.add_motion(files[0])
    return made


def said(console):
    return console.file.getvalue()


def script(*lines, end=EOFError):
    """A person who types these lines and then leaves."""
    left = list(lines)

    def read(prompt):
        if not left:
            raise end
        return left.pop(0)

    return read


def answer_to(conversation, messages):
    """What the model generates, without the conversation."""
    model, processor = conversation.model, conversation.processor
    inputs = processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    found = model.generate(**inputs, max_new_tokens=5)[0, inputs["input_ids"].shape[1] :]
    return processor.tokenizer.decode(found, skip_special_tokens=True).strip()


def motion_of(file):
    with np.load(file) as arrays:
        return {"type": "motion", "motion": {"joints": arrays["joints"], "skeleton": "smpl22", "fps": 20}}


def test_questions_are_answered_one_after_the_other_and_that_is_all(checkpoint, conversation, console, files):
    messages = [{"role": "user", "content": [motion_of(files[0]), {"type": "text", "text": QUESTION}]}]
    first = answer_to(conversation, messages)
    messages += [{"role": "assistant", "content": first}, {"role": "user", "content": "yes or no?"}]
    second = answer_to(conversation, messages)
    chat(checkpoint, files[0], [QUESTION, "yes or no?"], max_new_tokens=5, console=console, read=script(end=AssertionError))
    assert first in said(console)
    assert second in said(console).partition(first)[2]
    assert "40 frames at 20 per second, skeleton smpl22" in said(console)


def test_later_questions_know_what_was_said_and_other_motions_join(conversation, files):
    first = conversation.ask(QUESTION)
    second = conversation.ask("yes or no?")
    conversation.add_motion(files[1])
    third = conversation.ask("what does the person do first?")
    messages = [
        {"role": "user", "content": [motion_of(files[0]), {"type": "text", "text": QUESTION}]},
        {"role": "assistant", "content": first},
        {"role": "user", "content": "yes or no?"},
        {"role": "assistant", "content": second},
        {"role": "user", "content": [motion_of(files[1]), {"type": "text", "text": "what does the person do first?"}]},
    ]
    assert [first, second, third] == [answer_to(conversation, messages[:number]) for number in (1, 3, 5)]
    conversation.reset()
    assert conversation.ask(QUESTION) == answer_to(
        conversation, [{"role": "user", "content": [motion_of(files[1]), {"type": "text", "text": QUESTION}]}]
    )


def test_an_answer_appears_while_it_is_made(conversation, console):
    shown = []
    conversation.model.register_forward_pre_hook(lambda *_: shown.append(said(console).splitlines()[-1]))
    before = said(console)
    answer = conversation.ask(QUESTION)
    assert len(set(shown)) > 1
    assert said(console).removeprefix(before).splitlines()[0].strip() == answer


@pytest.mark.parametrize("end", [EOFError, KeyboardInterrupt])
def test_one_leaves_politely(checkpoint, console, files, end):
    chat(checkpoint, files[0], max_new_tokens=2, console=console, read=script(QUESTION, end=end))
    chat(checkpoint, files[0], max_new_tokens=2, console=console, read=script("/exit", end=AssertionError))


def test_ctrl_c_in_the_middle_of_an_answer_leaves_too(checkpoint, console, files, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("motionpatches.training.chat._Printer.put", interrupted)
    chat(checkpoint, files[0], console=console, read=script(QUESTION, end=AssertionError))


def test_mistakes_are_said_and_the_conversation_goes_on(checkpoint, console, files):
    text = files[0].with_suffix(".txt")
    text.write_text("no motion")
    lines = ["/motion", "/motion nowhere.npz", f"/motion {text}", "/video a.mp4", "/dance", "/help", "", QUESTION]
    lines += [f'/motion "{files[1]}"', "/reset", QUESTION]
    chat(checkpoint, files[0], max_new_tokens=3, console=console, read=script(*lines))
    shown = said(console)
    for sentence in ("say which: /motion FILE", "nowhere.npz", ".txt", "this model takes no videos", "/dance is unknown"):
        assert sentence in shown
    assert shown.count("error: ") == 4
    assert shown.count("load another motion") == 2
    assert "two words.npz: 40 frames" in shown
    assert "The conversation starts anew." in shown
    assert shown.count("the answer was cut after 3 tokens (max_new_tokens)") == 2


@pytest.mark.parametrize("limit", ["tokenizer", "language model"])
def test_a_conversation_that_outgrows_the_context_says_so_and_keeps_what_it_has(conversation, console, limit):
    said_before = conversation.ask(QUESTION)
    length = len(
        conversation.processor.apply_chat_template(conversation.messages, tokenize=True, return_dict=True)["input_ids"]
    )
    question = "yes or no?"
    asked = [{"role": "user", "content": question}]
    more = len(conversation.processor.apply_chat_template(asked, add_generation_prompt=True, tokenize=True))
    context = length + more + 2  # room for two tokens of an answer
    if limit == "tokenizer":
        conversation.processor.tokenizer.model_max_length = context
    else:
        conversation.model.config.text_config.max_position_embeddings = context
    conversation.ask(question)
    assert f"the answer was cut after 2 tokens (the model's context of {context} is full)" in said(console)
    kept = list(conversation.messages)
    assert len(kept) == 4
    with pytest.raises(ValueError, match=f"longer than the model's context of {context} tokens: /reset forgets"):
        conversation.ask(question)
    assert conversation.messages == kept
    conversation.reset()
    assert conversation.ask(QUESTION) == said_before


def test_a_motion_that_is_too_long_still_goes_with_the_next_question(conversation):
    conversation.model.config.text_config.max_position_embeddings = 20
    with pytest.raises(ValueError, match="the model's context of 20 tokens"):
        conversation.ask(QUESTION)
    assert conversation.loaded


def test_warnings_of_a_file_are_said_once(checkpoint, console, tmp_path):
    np.savez(tmp_path / "long.npz", joints=swinging_motion(num_frames=200), skeleton="smpl22")
    chat(checkpoint, tmp_path / "long.npz", max_new_tokens=2, console=console, read=script(QUESTION, QUESTION))
    assert said(console).count("say no frame rate") == 1
    assert said(console).count("longer than max_frames=64") == 1


def test_what_is_no_motionllamo_is_refused(trained_run, tmp_path, files):
    with pytest.raises(
        ValueError, match="holds a model of type 'motionpatches', which does not answer; a MotionLlamo is needed"
    ):
        chat(trained_run / "best", files[0])
    with pytest.raises(FileNotFoundError, match=r"has no model \(config.json\); did you mean '.*best'"):
        chat(trained_run, files[0])
    with pytest.raises(FileNotFoundError, match="no checkpoint folder"):
        chat(tmp_path / "nowhere", files[0])


def test_a_wrong_file_to_begin_with_is_an_error(checkpoint, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.npz"):
        chat(checkpoint, tmp_path / "nowhere.npz", [QUESTION])
    np.save(tmp_path / "bare.npy", swinging_motion())
    with pytest.raises(ValueError, match="smpl22"):
        chat(checkpoint, tmp_path / "bare.npy", QUESTION)
    chat(checkpoint, tmp_path / "bare.npy", QUESTION, skeleton="smpl22", fps=20, max_new_tokens=1)

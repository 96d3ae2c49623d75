"""The pipeline that answers questions about motion, through `transformers.pipeline` on a saved checkpoint."""

import numpy as np
import pytest
import torch
from conftest import CAPTIONS, smpl_motion
from test_modeling_motion_llamo import ask, inputs_of, made
from transformers import pipeline
from transformers.models.llama import LlamaConfig, LlamaForCausalLM

from motionpatches import MotionPatchProcessor, MotionTextToTextPipeline
from motionpatches.processing.motion import Motion
from motionpatches.processing.processing_motion_llamo import MOTION_TOKEN, ROLE_TOKENS, VIDEO_TOKEN
from motionpatches.processing.skeletons import get_skeleton
from motionpatches.training.builder import train_tokenizer
from motionpatches.training.export import save_checkpoint


TASK = "motion-text-to-text"
QUESTION = "what does the person do?"
SETTINGS = {"max_new_tokens": 5, "generate_kwargs": {"do_sample": False, "eos_token_id": None}}


@pytest.fixture(scope="module")
def parts():
    """A model with a video tower, and its processor."""
    texts = [*CAPTIONS, "what does the person do? yes no first last", "abcdef"]  # which transformers' stop strings need
    tokenizer = train_tokenizer(texts * 20, vocab_size=200)
    tokenizer.add_special_tokens(
        {"additional_special_tokens": [*ROLE_TOKENS, MOTION_TOKEN, VIDEO_TOKEN], "eos_token": "[SEP]"}
    )
    tokenizer.model_max_length = 256
    motions = MotionPatchProcessor(patch_size=8, max_frames=64, padding="longest").fit(
        [smpl_motion(s, 60) for s in range(3)]
    )
    model, processor = made(tokenizer, motions, "cross_talker", video=True)
    torch.nn.init.normal_(model.lm_head.weight)  # answers that differ
    return model, processor


@pytest.fixture(scope="module")
def checkpoint(parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("llamo") / "checkpoint"
    save_checkpoint(*parts, folder)
    return str(folder)


@pytest.fixture(scope="module")
def pipe(checkpoint):
    found = pipeline(TASK, model=checkpoint, device="cpu")
    assert type(found) is MotionTextToTextPipeline
    return found


def answer_of(parts, conversation):
    """What the model generates, without the pipeline."""
    model, processor = parts
    batch = inputs_of(processor, [conversation], add_generation_prompt=True)
    found = model.generate(**batch, max_new_tokens=5, do_sample=False, eos_token_id=None)
    return processor.tokenizer.decode(found[0, batch["input_ids"].shape[1] :], skip_special_tokens=True)


def test_a_question_is_answered_as_the_model_answers_it(pipe, parts):
    expected = answer_of(parts, ask(smpl_motion(0, 40), question=QUESTION))
    assert pipe(smpl_motion(0, 40), text=QUESTION, **SETTINGS) == [{"input_text": QUESTION, "generated_text": expected}]
    assert pipe(motions=[smpl_motion(0, 40)], text=QUESTION, **SETTINGS)[0]["generated_text"] == expected
    (full,) = pipe(smpl_motion(0, 40), text=QUESTION, return_full_text=True, **SETTINGS)
    assert full["generated_text"] == QUESTION + expected


def test_a_conversation_goes_on_by_the_answer(pipe, parts):
    conversation = ask(smpl_motion(0, 40), question=QUESTION)
    expected = answer_of(parts, conversation)
    ((record,), (positional,)) = pipe(text=conversation, **SETTINGS), pipe(conversation, **SETTINGS)
    assert record["input_text"] is conversation
    assert record["generated_text"] == [*conversation, {"role": "assistant", "content": expected}]
    assert positional == record
    more = [*record["generated_text"], {"role": "user", "content": "yes or no?"}]
    (second,) = pipe(text=more, return_full_text=False, **SETTINGS)
    assert second["generated_text"] == answer_of(parts, more)


@pytest.mark.parametrize("is_text", [True, False])
def test_an_answer_that_has_begun_is_continued(pipe, parts, is_text):
    begun = "a person" if is_text else [{"type": "text", "text": "a person"}]
    conversation = [*ask(smpl_motion(0, 40)), {"role": "assistant", "content": begun}]
    model, processor = parts
    batch = inputs_of(processor, [conversation], continue_final_message=True)
    found = model.generate(**batch, max_new_tokens=5, do_sample=False, eos_token_id=None)
    whole = processor.tokenizer.decode(found[0], skip_special_tokens=True)
    (full,) = pipe(text=conversation, **SETTINGS)
    (alone,) = pipe(text=conversation, return_full_text=False, **SETTINGS)
    last = full["generated_text"][-1]["content"]
    assert (last if is_text else last[0]["text"]) == "a person" + alone["generated_text"]
    assert whole.endswith("a person" + alone["generated_text"])  # with the space between two words
    assert alone["generated_text"].startswith(" ")
    assert conversation[-1]["content"] == begun  # what was given stays as it is
    (answered,) = pipe(text=conversation, continue_final_message=False, **SETTINGS)
    assert answered["generated_text"][:2] == conversation
    assert len(answered["generated_text"]) == 3


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_batches_of_any_length_answer_as_each_alone(pipe, batch_size):
    conversations = [
        ask(smpl_motion(0, 20)),
        ask(smpl_motion(1, 60), smpl_motion(2, 33), question="what does the figure do first?"),
        [{"role": "user", "content": "yes or no?"}],
        [*ask(smpl_motion(1, 40)), {"role": "assistant", "content": "a person"}],
        ask(smpl_motion(0, 64), question="yes?"),
    ]
    alone = [pipe(text=conversation, **SETTINGS) for conversation in conversations]
    assert pipe(text=conversations, batch_size=batch_size, **SETTINGS) == alone
    assert list(pipe((one for one in conversations), batch_size=batch_size, **SETTINGS)) == alone


def test_lists_of_questions_have_their_own_motions(pipe):
    texts, motions = [QUESTION, "yes or no?", "first?"], [smpl_motion(0, 20), [smpl_motion(1, 60), smpl_motion(2, 33)], None]
    alone = [pipe(m, text=t, **SETTINGS) for t, m in zip(texts, motions, strict=True)]
    assert pipe(motions=motions, text=texts, batch_size=2, **SETTINGS) == alone
    rows = [{"text": text, "motions": motion} for text, motion in zip(texts, motions, strict=True)]
    assert pipe(rows, batch_size=3, **SETTINGS) == alone
    assert list(pipe((row for row in rows), **SETTINGS)) == alone
    with pytest.raises(ValueError, match="got 3 texts and 2 motions; pass one, or a list of them, for each text"):
        pipe(motions=motions[:2], text=texts)
    with pytest.raises(ValueError, match="got 3 texts and one of motions"):
        pipe(motions[0], text=texts)


def test_motions_stand_where_the_text_says(pipe, parts):
    first, second = smpl_motion(0, 40), smpl_motion(1, 40)
    content = [
        {"type": "text", "text": "first "},
        {"type": "motion", "motion": first},
        {"type": "text", "text": " last "},
        {"type": "motion", "motion": second},
    ]
    expected = answer_of(parts, [{"role": "user", "content": content}])
    (found,) = pipe([first, second], text=f"first {MOTION_TOKEN} last {MOTION_TOKEN}", **SETTINGS)
    assert found["generated_text"] == expected
    with pytest.raises(ValueError, match=r"the text has 1 times <\|motion\|>, but there are 2 motions"):
        pipe([first, second], text=f"what is {MOTION_TOKEN}")


def test_motions_come_in_every_form_and_videos_too(pipe, parts, motion_file):
    of_file = pipe(str(motion_file), text=QUESTION, **SETTINGS)
    with np.load(motion_file) as arrays:
        joints = arrays["joints"]
    assert pipe(Motion(joints, get_skeleton("smpl22"), 20.0), text=QUESTION, **SETTINGS) == of_file
    assert pipe(joints, text=QUESTION, skeleton="smpl22", fps=20, **SETTINGS) == of_file
    video = torch.randint(0, 255, (3, 3, 16, 16), dtype=torch.uint8)
    expected = answer_of(parts, ask(smpl_motion(0, 40), videos=[video], question=QUESTION))
    assert pipe(smpl_motion(0, 40), text=QUESTION, videos=video, **SETTINGS)[0]["generated_text"] == expected


def test_settings_of_generation_arrive(pipe):
    motion = smpl_motion(0, 40)
    several = {"max_new_tokens": 4, "generate_kwargs": {"num_beams": 2, "num_return_sequences": 2, "eos_token_id": None}}
    beams = pipe(motion, text=QUESTION, return_tensors=True, **several)
    assert [len(record["generated_token_ids"]) for record in beams] == [len(beams[0]["generated_token_ids"])] * 2
    assert [set(record) for record in beams] == [{"input_text", "generated_token_ids"}] * 2
    both = pipe(text=[ask(motion), ask(smpl_motion(1, 20))], batch_size=2, **several)
    assert [len(records) for records in both] == [2, 2]
    (plain,), (raw,) = (pipe(motion, text=QUESTION, skip_special_tokens=skip, **SETTINGS) for skip in (True, False))
    assert plain["generated_text"] in raw["generated_text"]
    words = plain["generated_text"].split()
    (stopped,) = pipe(motion, text=QUESTION, stop_sequence=words[1], **SETTINGS)
    assert stopped["generated_text"].split() == words[:2]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({}, ValueError, "pass text="),
        ({"motions": smpl_motion(0, 40)}, ValueError, "pass text="),
        ({"text": []}, ValueError, "text must be a question, a conversation, or a list of either"),
        ({"motions": smpl_motion(0, 40), "text": ask(smpl_motion(0, 40))}, ValueError, "stand in its messages"),
        ({"text": QUESTION, "temperature": 0.5}, TypeError, "unexpected arguments: temperature; those of generate go into"),
        ({"text": QUESTION, "return_tensors": True, "return_full_text": True}, ValueError, "leave one of them out"),
        (
            {"text": QUESTION, "max_new_tokens": 3, "generate_kwargs": {"max_new_tokens": 4}},
            ValueError,
            "max_new_tokens is given twice",
        ),
        ({"motions": [{"text": QUESTION, "motion": 1}]}, ValueError, "expected a dict with 'text'"),
        ({"text": f"what is {MOTION_TOKEN}"}, ValueError, "there are 0 motions"),
    ],
)
def test_bad_arguments(pipe, call, error, message):
    with pytest.raises(error, match=message):
        pipe(**call)


def test_a_model_of_another_kind_is_refused(parts, model, trained_run):
    _, processor = parts
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 99}
    language_model = LlamaForCausalLM(LlamaConfig(**sizes))
    for other in (model, language_model, parts[0].model):
        with pytest.raises(ValueError, match="needs a MotionLlamoForConditionalGeneration, got a"):
            MotionTextToTextPipeline(model=other, processor=processor, task=TASK)
    with pytest.raises(ValueError, match="MotionPatchesConfig"):
        pipeline(TASK, model=str(trained_run / "best"))

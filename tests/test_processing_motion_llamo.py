"""Conversations as inputs of MotionLlamo."""

import numpy as np
import pytest
import torch
from conftest import CAPTIONS, smpl_motion
from transformers.models.llava_onevision import LlavaOnevisionVideoProcessor

from motionpatches import MotionLlamoProcessor, MotionPatchProcessor
from motionpatches.processing.processing_motion_llamo import MOTION_TOKEN, ROLE_TOKENS, VIDEO_TOKEN
from motionpatches.training.builder import train_tokenizer


@pytest.fixture(scope="module")
def motion_processor():
    return MotionPatchProcessor(patch_size=8, max_frames=64, padding="longest").fit(
        [smpl_motion(seed, 60) for seed in range(3)]
    )


@pytest.fixture(scope="module")
def chat_tokenizer():
    tokenizer = train_tokenizer([*CAPTIONS, "what does the person do?"] * 20, vocab_size=200)
    tokenizer.add_special_tokens({"additional_special_tokens": [*ROLE_TOKENS, MOTION_TOKEN], "eos_token": "[SEP]"})
    tokenizer.model_max_length = 128
    return tokenizer


@pytest.fixture
def processor(motion_processor, chat_tokenizer):
    return MotionLlamoProcessor(motion_processor, chat_tokenizer, fusion="cross_talker", num_selected=4)


def user(*parts):
    return {
        "role": "user",
        "content": [{"type": "text", "text": p} if isinstance(p, str) else {"type": "motion", "motion": p} for p in parts],
    }


CONVERSATION = [
    {"role": "system", "content": "someone waves"},
    user(smpl_motion(0, 40), "what does the person do?"),
    {"role": "assistant", "content": "someone jumps twice"},
    user("the figure walks"),
    {"role": "assistant", "content": [{"type": "text", "text": "a person sits down"}]},
]


def test_the_answers_alone_are_learned_and_the_user_alone_asks(processor):
    batch = processor.apply_chat_template(CONVERSATION, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    ids, said, turns = (np.array(batch[name]) for name in ("input_ids", "assistant_masks", "question_turns"))
    decode = processor.tokenizer.decode
    assert decode(ids[said == 1]).split() == ["someone", "jumps", "twice", "[SEP]", "a", "person", "sits", "down", "[SEP]"]
    first = decode(ids[(turns == 1) & (ids != processor.tokenizer.convert_tokens_to_ids(MOTION_TOKEN))])
    assert "what does the person do ?" in first
    assert "jumps" not in first
    assert "waves" not in decode(ids[turns > 0])
    assert "the figure walks" in decode(ids[turns == 2])
    assert (turns[ids == processor.tokenizer.convert_tokens_to_ids(MOTION_TOKEN)] == 1).all()


def test_text_before_and_after_motions_keeps_its_place(processor):
    conversation = [
        user("the figure", smpl_motion(0, 40), "walks", smpl_motion(1, 20), "forward"),
        {"role": "assistant", "content": "a person jumps"},
    ]
    batch = processor.apply_chat_template(conversation, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    ids = np.array(batch["input_ids"])
    motion = processor.tokenizer.convert_tokens_to_ids(MOTION_TOKEN)
    runs = np.flatnonzero(np.diff(np.concatenate([[False], ids == motion, [False]]).astype(int)))
    assert (runs[1::2] - runs[::2]).tolist() == [4, 4]
    words = [processor.tokenizer.decode(part) for part in np.split(ids, runs)[::2]]
    assert [word.split() for word in words] == [
        ["<|user|>", "the", "figure"],
        ["walks"],
        ["forward", "[SEP]", "<|assistant|>", "a", "person", "jumps", "[SEP]"],
    ]
    assert processor.tokenizer.decode(ids[np.array(batch["assistant_masks"]) == 1]) == "a person jumps [SEP]"
    hidden = np.array(batch["attention_mask"]) == 0
    assert hidden.sum() == 1  # the second motion has three windows
    assert np.flatnonzero(hidden)[0] == runs[3] - 1


@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_of_a_batch_are_padded_on_the_tokenizers_side(processor, side):
    processor.tokenizer.padding_side = side
    rows = [CONVERSATION[1:3], CONVERSATION[3:]]
    batch = processor.apply_chat_template(
        rows, tokenize=True, return_dict=True, return_tensors="pt", return_assistant_tokens_mask=True
    )
    assert batch["motion_values"].shape == (1, 3, 40, 40)
    for row, conversation in enumerate(rows):
        alone = processor.apply_chat_template(
            [conversation], tokenize=True, return_dict=True, return_tensors="pt", return_assistant_tokens_mask=True
        )
        length = alone["input_ids"].shape[1]
        kept = slice(-length, None) if side == "left" else slice(length)
        for name in ("input_ids", "attention_mask", "question_turns", "assistant_masks"):
            assert torch.equal(batch[name][row, kept], alone[name][0]), name
            rest = torch.cat([batch[name][row, : batch[name].shape[1] - length], alone[name][0]]) if side == "left" else None
            if rest is not None and name != "input_ids":
                assert not rest[:-length].any()


def test_plain_text_with_motions(processor):
    inputs = processor(text=f"what is {MOTION_TOKEN}", motions=smpl_motion(0, 40), return_tensors="pt")
    assert inputs["motion_values"].shape == (1, 3, 40, 40)
    assert int((inputs["input_ids"] == processor.tokenizer.convert_tokens_to_ids(MOTION_TOKEN)).sum()) == 4
    assert (inputs["question_turns"][0, 1:-1] == 1).all()  # all but the special tokens at the ends


def test_text_alone_is_rendered(processor):
    text = processor.apply_chat_template(CONVERSATION[1:2], add_generation_prompt=True)
    assert text == f"<|user|>{MOTION_TOKEN}what does the person do?[SEP]<|assistant|>"
    assert processor.apply_chat_template([CONVERSATION[1:2]]) == [text.removesuffix("<|assistant|>")]


BAD = [
    ([], "empty conversation"),
    ([{"role": "user"}], "needs a role and content"),
    ([{"role": "user", "content": [{"type": "sound", "sound": 1}]}], "type 'sound'; expected 'text', 'motion' or 'video'"),
    ([{"role": "user", "content": [{"type": "motion"}]}], "a part of type 'motion' needs 'motion'"),
    ([user(f"{MOTION_TOKEN} what?")], r"the text has 1 times .*, but there are 0 motions"),
    ([{"role": "user", "content": [{"type": "video", "video": "a.mp4"}]}], "no video_settings"),
    ([user("what " * 200)], "tokens long, more than the limit of 128"),
]


@pytest.mark.parametrize(("conversation", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_conversations(processor, conversation, message):
    with pytest.raises(ValueError, match=message):
        processor.apply_chat_template(conversation, tokenize=True, return_dict=True)


def test_bad_settings(motion_processor, chat_tokenizer, processor):
    with pytest.raises(ValueError, match="fusion='mixer'"):
        MotionLlamoProcessor(motion_processor, chat_tokenizer, fusion="mixer")
    plain = train_tokenizer(CAPTIONS * 20, vocab_size=200)
    with pytest.raises(ValueError, match=r"the tokenizer has no token <\|motion\|>; add it with"):
        MotionLlamoProcessor(motion_processor, plain)
    with pytest.raises(ValueError, match="pass text="):
        processor(motions=smpl_motion(0, 40))
    with pytest.raises(ValueError, match=r"has 0 times .*there are 1 motions"):
        processor(text="what is it?", motions=smpl_motion(0, 40))
    with pytest.raises(ValueError, match="found nothing that the assistant says"):
        processor.apply_chat_template(CONVERSATION[1:2], tokenize=True, return_assistant_tokens_mask=True)


@pytest.mark.parametrize("options", [{"add_generation_prompt": True}, {"continue_final_message": True}])
def test_what_is_generated_from_is_padded_on_the_left_whatever_the_tokenizer_does(processor, options):
    processor.tokenizer.padding_side = "right"
    rows = [CONVERSATION[1:3], CONVERSATION[3:]]
    batch = processor.apply_chat_template(rows, tokenize=True, return_dict=True, return_tensors="pt", **options)
    shortest = int(batch["attention_mask"].sum(dim=1).argmin())
    assert not batch["attention_mask"][shortest, 0]
    assert batch["attention_mask"][:, -1].all()


@pytest.fixture
def video_processor(motion_processor, chat_tokenizer):
    chat_tokenizer.add_special_tokens({"additional_special_tokens": [*ROLE_TOKENS, MOTION_TOKEN, VIDEO_TOKEN]})
    settings = LlavaOnevisionVideoProcessor(size={"height": 16, "width": 16}, do_sample_frames=True, num_frames=4)
    return MotionLlamoProcessor(motion_processor, chat_tokenizer, video_settings=settings)


def watch(*videos):
    parts = [{"type": "video", "video": video} for video in videos]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": "what does the person do?"}]}]


def test_of_a_video_file_as_many_frames_are_read_as_the_video_processor_asks_for(video_processor, tmp_path):
    video_files = pytest.importorskip("motionpatches.processing.video_files")
    pytest.importorskip("av")
    shades = np.repeat(np.arange(0, 240, 20, dtype=np.uint8), 32 * 32 * 3).reshape(12, 32, 32, 3)
    for number in range(2):
        video_files.write_video(tmp_path / f"{number}.mp4", shades[:: 1 - 2 * number], fps=10)
    inputs = video_processor.apply_chat_template(
        watch(tmp_path / "0.mp4", str(tmp_path / "1.mp4")), tokenize=True, return_dict=True, return_tensors="np"
    )
    frames = inputs["pixel_values_videos"]
    assert frames.shape == (2, 4, 3, 16, 16)
    video = video_processor.tokenizer.convert_tokens_to_ids(VIDEO_TOKEN)
    assert (inputs["input_ids"] == video).sum() == 8
    taken = video_processor.frame_processor(list(np.stack([shades[::3], shades[::-1][::3]])), return_tensors="np")
    np.testing.assert_allclose(frames, taken["pixel_values_videos"], atol=0.1)  # the codec blurs


def test_video_files_that_cannot_be_read(video_processor, tmp_path, monkeypatch):
    def encode(*videos):
        return video_processor.apply_chat_template(watch(*videos), tokenize=True, return_dict=True)

    with pytest.raises(FileNotFoundError, match="no video file"):
        encode(tmp_path / "nowhere.mp4")
    (tmp_path / "a.mp4").touch()
    with pytest.raises(ValueError, match="some videos are files, others are frames"):
        encode(tmp_path / "a.mp4", np.zeros((4, 16, 16, 3), np.uint8))
    module = "motionpatches.processing.processing_motion_llamo"
    monkeypatch.setattr(f"{module}.is_torchcodec_usable", lambda kind: False)
    monkeypatch.setattr(f"{module}.is_av_available", lambda: False)
    with pytest.raises(ImportError, match="needs PyAV: pip install av"):
        encode(tmp_path / "a.mp4")

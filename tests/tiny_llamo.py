"""A small MotionLlamo and its processor, and one that knows the answers."""

import torch
from conftest import tiny_config
from transformers import LlamaConfig

from motionpatches import MotionLlamoConfig, MotionLlamoForConditionalGeneration, MotionLlamoProcessor, MotionPatchProcessor
from motionpatches.processing.processing_motion_llamo import MOTION_TOKEN, ROLE_TOKENS, VIDEO_TOKEN
from motionpatches.training.answering import read_questions, text_of
from motionpatches.training.builder import train_tokenizer


def make_processor(questions, reader, padding_side="right", **choice):
    """A processor whose tokenizer knows the words of questions and answers."""
    texts = [text_of(message) for row in questions for message in row["messages"]]
    tokenizer = train_tokenizer(texts * 5, vocab_size=3000)
    tokenizer.add_special_tokens(
        {"additional_special_tokens": [*ROLE_TOKENS, MOTION_TOKEN, VIDEO_TOKEN], "eos_token": "[SEP]"}
    )
    tokenizer.padding_side, tokenizer.model_max_length = padding_side, 512
    motions = [reader.read(question.motions[0]) for question in read_questions(questions)[:5]]
    patches = MotionPatchProcessor(patch_size=8, max_frames=64, padding="longest").fit(motions)
    return MotionLlamoProcessor(patches, tokenizer, **choice)


def make_model(processor, **choice):
    """A model of random weights."""
    tokenizer = processor.tokenizer
    text = LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=len(tokenizer), pad_token_id=0, eos_token_id=tokenizer.eos_token_id, max_position_embeddings=512,
    )  # fmt: skip
    config = MotionLlamoConfig(
        motion_config=tiny_config(tokenizer),
        text_config=text,
        motion_token_id=tokenizer.convert_tokens_to_ids(MOTION_TOKEN),
        num_segments=3,
        **choice,
    )
    torch.manual_seed(0)
    return MotionLlamoForConditionalGeneration(config).eval()


class Oracle:
    """In place of a model: answers what is true of the motion and question that it is shown, or “nothing known”."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, processor, questions, reader):
        self.processor, self.generation_config = processor, make_model(processor).generation_config
        self.known, self.shown = {}, []
        for question in read_questions(questions):
            inputs = processor.feature_extractor(reader.read(question.motions[0]), return_tensors="pt")
            self.known[self._motion(inputs, 0), self._plain(question.text)] = question.answer

    def eval(self):
        return self

    def generate(self, input_ids, attention_mask, max_new_tokens, eos_token_id, **inputs):
        assert attention_mask[:, -1].all(), "answers go on where the padding is"
        tokenizer, said = self.processor.tokenizer, []
        for row, ids in enumerate(input_ids):
            motion = self._motion(inputs, row)
            self.shown.append(motion)
            asked = tokenizer.decode(ids, skip_special_tokens=True)
            said.append(self.known.get((motion, self._plain(asked)), "nothing known") + tokenizer.eos_token)
        answers = tokenizer(said, add_special_tokens=False, padding=True, return_tensors="pt", padding_side="right")
        return torch.cat([input_ids, answers["input_ids"]], dim=1)

    def _motion(self, inputs, row):
        windows = int(inputs["motion_attention_mask"][row].sum())
        return inputs["motion_values"][row, :, : windows * 8].contiguous().numpy().tobytes()

    def _plain(self, text):
        tokenizer = self.processor.tokenizer
        return tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"], skip_special_tokens=True)

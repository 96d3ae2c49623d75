"""The pipeline `motion-text-to-text`: ask a language model about motion, as `image-text-to-text` does about pictures."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForMultimodalLM, GenerationConfig
from transformers.utils.chat_template_utils import Chat, is_valid_message

from .motion_pipeline import MotionPipeline, given, register


TASK = "motion-text-to-text"
_INPUTS = ("text", "motions", "videos")


@dataclass
class Prompt:
    """What is asked.

    Attributes:
        given: The text or the messages that the caller gave.
        messages: The conversation.
        continues: Whether its last message is to be continued, rather than answered.
    """

    given: Any
    messages: list[dict[str, Any]]
    continues: bool


class MotionTextToTextPipeline(MotionPipeline):
    """Ask a [`MotionLlamoForConditionalGeneration`] about 3D human motion.

    Where the model's generation configuration does not say otherwise, an answer has at most 256 tokens.

    Example:

    ```python
    >>> from transformers import pipeline
    >>> import motionpatches

    >>> ask = pipeline("motion-text-to-text", model="path/or/hub-id")
    >>> ask("walk.bvh", text="What does the person do?")
    >>> parts = [{"type": "motion", "motion": "walk.bvh"}, {"type": "text", "text": "What does the person do?"}]
    >>> ask([{"role": "user", "content": parts}], max_new_tokens=20, return_full_text=False)
    ```

    Raises:
        ValueError: If the model is no MotionLlamo with a head.
    """

    _load_processor = True
    _pipeline_calls_generate = True
    _default_generation_config = GenerationConfig(max_new_tokens=256)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.model.config.model_type != "motion_llamo" or not self.model.can_generate():
            raise ValueError(
                f"the pipeline {TASK!r} needs a MotionLlamoForConditionalGeneration, got a {type(self.model).__name__}"
            )

    def __call__(self, motions: Any = None, text: Any = None, videos: Any = None, **kwargs: Any) -> Any:
        """Answer a question about motions, or continue a conversation; or each of a list of them.

        Args:
            motions: Of a text its motion, or a list of its motions, as [`MotionPatchProcessor`] takes them; of a list of texts a
                motion, or a list of motions, for each. Also in place of `text`: a conversation, or a dict with `text`, `motions`
                and `videos`, or a list or generator of these.
            text: A question, a conversation, or a list of either. Conversations are messages with their motions and videos in
                them, `{"type": "motion", "motion": …}`; see `MotionLlamoProcessor.apply_chat_template`. The motions of a
                question come before it, unless it says their places by `<|motion|>`.
            videos: Of models with a video tower, likewise.
            max_new_tokens (`int`, *optional*): Most tokens of an answer.
            generate_kwargs (`dict`, *optional*): More for `generate`.
            stop_sequence (`str` or `list[str]`, *optional*): Texts after which an answer ends.
            return_full_text (`bool`, *optional*): Whether `generated_text` is all of the conversation, or text, with the answer,
                or the answer alone. Default: of a conversation all, of a question the answer.
            return_tensors (`bool`, *optional*): Give the token ids, `generated_token_ids`, in place of the text.
            continue_final_message (`bool`, *optional*): Continue the last message of a conversation rather than answer it;
                default where it is the assistant's.
            skip_special_tokens (`bool`, *optional*, defaults to `True`): Leave special tokens out of the text.
            skeleton, fps: Skeleton and frame rate of motions that do not say theirs.
            batch_size (`int`, *optional*, defaults to 1): Questions or conversations in one call of `generate`.

        Returns:
            For one question or conversation a list of `{"input_text", "generated_text"}`, one for each sequence that is
            generated; for several, a list of such lists.

        Raises:
            ValueError: If there is no text, motions or videos stand beside a conversation, or their numbers do not fit.
        """
        if text is None and _is_chat(motions):
            motions, text = None, motions
        if _is_chat(text):
            if motions is not None or videos is not None:
                raise ValueError(
                    "motions and videos of a conversation stand in its messages: "
                    "{'role': 'user', 'content': [{'type': 'motion', 'motion': …}, {'type': 'text', 'text': …}]}"
                )
            return super().__call__(text, **kwargs)
        if text is None:
            if videos is not None or not _may_hold_text(motions):
                raise ValueError("pass text=…, a question or a conversation; or dicts with 'text' and 'motions'")
            return super().__call__(motions, **kwargs)
        if isinstance(text, str):
            return super().__call__({"text": text, "motions": motions, "videos": videos}, **kwargs)
        texts = list(text)
        if not texts or not all(isinstance(one, str) for one in texts):
            raise ValueError(f"text must be a question, a conversation, or a list of either, got {text!r}")
        each = zip(texts, _of_each(texts, motions, "motions"), _of_each(texts, videos, "videos"), strict=True)
        return super().__call__([dict(zip(_INPUTS, one, strict=True)) for one in each], **kwargs)

    def _sanitize_parameters(
        self,
        max_new_tokens: int | None = None,
        generate_kwargs: Mapping[str, Any] | None = None,
        stop_sequence: str | list[str] | None = None,
        return_full_text: bool | None = None,
        return_tensors: bool | None = None,
        continue_final_message: bool | None = None,
        skip_special_tokens: bool | None = None,
        skeleton: Any = None,
        fps: float | None = None,
        **unknown: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if unknown:
            raise TypeError(f"unexpected arguments: {', '.join(sorted(unknown))}; those of generate go into generate_kwargs")
        if return_full_text is not None and return_tensors:
            raise ValueError(
                "return_full_text is about text, and return_tensors=True gives token ids: leave one of them out"
            )
        generation = dict(generate_kwargs or {})
        if max_new_tokens is not None:
            if "max_new_tokens" in generation:
                raise ValueError("max_new_tokens is given twice, also in generate_kwargs; leave one of them out")
            generation["max_new_tokens"] = max_new_tokens
        if stop_sequence is not None:
            generation["stop_strings"] = [stop_sequence] if isinstance(stop_sequence, str) else stop_sequence
            generation["tokenizer"] = self.processor.tokenizer
        return (
            given(continue_final_message=continue_final_message),
            given(generate_kwargs=generation or None, skeleton=skeleton, fps=fps),
            given(return_full_text=return_full_text, return_tensors=return_tensors, skip_special_tokens=skip_special_tokens),
        )

    def preprocess(self, inputs: Any, continue_final_message: bool | None = None) -> dict[str, Any]:
        if isinstance(inputs, Chat):
            messages: Any = inputs.messages
            if continue_final_message is None:
                continue_final_message = messages[-1]["role"] == "assistant"
            return {"prompt": Prompt(messages, messages, continue_final_message)}
        if not isinstance(inputs, Mapping) or set(inputs) - set(_INPUTS) or inputs.get("text") is None:
            found = sorted(inputs) if isinstance(inputs, Mapping) else f"a {type(inputs).__name__}"
            raise ValueError(f"expected a dict with 'text' and, as needed, 'motions' and 'videos'; got {found}")
        return {"prompt": Prompt(inputs["text"], [self._to_message(**inputs)], continues=False)}

    def _to_message(self, text: str, motions: Any = None, videos: Any = None) -> dict[str, Any]:
        """A question as the user's message, its motions and videos where it names them or before it."""
        clips: dict[str, list[dict[str, Any]]] = {}
        first: list[dict[str, Any]] = []
        for kind, token, several in (
            ("motion", self.processor.motion_token, motions),
            ("video", self.processor.video_token, videos),
        ):
            parts = [{"type": kind, kind: one} for one in _listed(several)]
            if token not in text:
                first += parts
            elif text.count(token) != len(parts):
                raise ValueError(f"the text has {text.count(token)} times {token}, but there are {len(parts)} {kind}s")
            else:
                clips[token] = parts
        pattern = "|".join(f"({re.escape(token)})" for token in clips)
        pieces = [piece for piece in re.split(pattern, text) if piece] if clips else [text]
        said = [clips[piece].pop(0) if piece in clips else {"type": "text", "text": piece} for piece in pieces]
        return {"role": "user", "content": [*first, *said]}

    def _forward(
        self, model_inputs: dict[str, Any], generate_kwargs: Mapping[str, Any] | None = None, **encoding: Any
    ) -> dict[str, Any]:
        # A batch becomes tensors here, where the processor pads all of it: pipelines know no motions of several lengths.
        is_batch = isinstance(model_inputs["prompt"], list)
        prompts: list[Prompt] = model_inputs["prompt"] if is_batch else [model_inputs["prompt"]]
        found: list[Any] = [None] * len(prompts)
        for continues in sorted({prompt.continues for prompt in prompts}):
            numbers = [number for number, prompt in enumerate(prompts) if prompt.continues == continues]
            inputs = self.processor.apply_chat_template(
                [prompts[number].messages for number in numbers],
                add_generation_prompt=not continues,
                continue_final_message=continues,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                **encoding,
            ).to(self.device, self.dtype)
            settings = self._prepare_generate_kwargs(dict(generate_kwargs or {}), return_dict_in_generate=False)
            sequences = self.model.generate(**inputs, **settings).unflatten(0, (len(numbers), -1))
            for place, number in enumerate(numbers):
                found[number] = (inputs["input_ids"][place], sequences[place])
        asked, answered = (list(each) for each in zip(*found, strict=True))
        if not is_batch:
            return {"prompt": prompts[0], "input_ids": asked[0], "sequences": answered[0]}
        return {"prompt": prompts, "input_ids": asked, "sequences": answered}

    def postprocess(
        self,
        model_outputs: dict[str, Any],
        return_full_text: bool | None = None,
        return_tensors: bool = False,
        skip_special_tokens: bool = True,
    ) -> list[dict[str, Any]]:
        prompt: Prompt = model_outputs["prompt"]
        input_ids = model_outputs["input_ids"].reshape(-1)
        sequences = model_outputs["sequences"].reshape(-1, model_outputs["sequences"].shape[-1])
        if return_tensors:
            return [{"input_text": prompt.given, "generated_token_ids": sequence} for sequence in sequences]
        is_full = not isinstance(prompt.given, str) if return_full_text is None else return_full_text
        records = []
        for sequence in sequences:
            answer = self._answer(input_ids, sequence, skip_special_tokens)
            answer = answer if prompt.continues else answer.strip()
            text = _with_answer(prompt, answer) if is_full else answer
            records.append({"input_text": prompt.given, "generated_text": text})
        return records

    def _answer(self, input_ids: torch.Tensor, sequence: torch.Tensor, skip_special_tokens: bool) -> str:
        """The text after the prompt; decoded with it, as tokenizers tell a space between words by the word before."""
        tokenizer, number = self.processor.tokenizer, len(input_ids)
        before, whole, after = (
            tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)
            for ids in (input_ids, sequence, sequence[number:])
        )
        return whole[len(before) :] if whole.startswith(before) else after


def _is_chat(found: Any) -> bool:
    """Whether something is a conversation, or a list of them."""
    if isinstance(found, (list, tuple)) and found:
        first = found[0]
        return is_valid_message(first) or (isinstance(first, (list, tuple)) and bool(first) and is_valid_message(first[0]))
    return False


def _may_hold_text(inputs: Any) -> bool:
    """Whether something is an input with a text, or a list of those; of a generator and the like that is not known yet."""
    if isinstance(inputs, (list, tuple)):
        return bool(inputs) and all(isinstance(one, Mapping) and "text" in one for one in inputs)
    if isinstance(inputs, Mapping):
        return "text" in inputs
    return hasattr(inputs, "__iter__") and not isinstance(inputs, str) and not hasattr(inputs, "shape")


def _listed(several: Any) -> list[Any]:
    if several is None:
        return []
    return list(several) if isinstance(several, (list, tuple)) else [several]


def _of_each(texts: Sequence[str], several: Any, name: str) -> list[Any]:
    """What belongs to each of some texts."""
    if several is None:
        return [None] * len(texts)
    if not isinstance(several, (list, tuple)) or len(several) != len(texts):
        number = f"{len(several)} {name}" if isinstance(several, (list, tuple)) else f"one of {name}"
        raise ValueError(f"got {len(texts)} texts and {number}; pass one, or a list of them, for each text")
    return list(several)


def _with_answer(prompt: Prompt, answer: str) -> Any:
    """What was given, with the answer at its end."""
    if isinstance(prompt.given, str):
        return prompt.given + answer
    if not prompt.continues:
        return [*prompt.given, {"role": "assistant", "content": answer}]
    *before, last = prompt.given
    content = last["content"]
    if isinstance(content, str):
        return [*before, {**last, "content": content + answer}]
    *parts, part = content
    return [*before, {**last, "content": [*parts, {**part, "text": part["text"] + answer}]}]


def register_pipeline() -> None:
    """Make `transformers.pipeline("motion-text-to-text")` known; harmless when repeated."""
    register(TASK, MotionTextToTextPipeline, AutoModelForMultimodalLM)

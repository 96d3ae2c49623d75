"""Inputs of MotionLlamo: conversations with motions and videos in them."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import transformers
from transformers import BatchFeature, ProcessorMixin
from transformers.utils.chat_template_utils import render_jinja_template
from transformers.utils.import_utils import is_av_available, is_torchcodec_usable
from transformers.video_utils import load_video

from .processing_motionpatches import MotionPatchProcessor


MOTION_TOKEN, VIDEO_TOKEN = "<|motion|>", "<|video|>"
_FUSIONS = ("projector", "cross_talker")
_UNITS = ("patch", "window", "frame")

#: One turn a line; what the assistant says stands between `generation` marks, which `return_assistant_tokens_mask` looks for.
CHAT_TEMPLATE = """{%- macro say(content) -%}
{%- if content is string -%}{{- content -}}
{%- else -%}{%- for part in content -%}
{%- if part['type'] == 'motion' -%}{{- '<|motion|>' -}}
{%- elif part['type'] == 'video' -%}{{- '<|video|>' -}}
{%- else -%}{{- part['text'] -}}{%- endif -%}
{%- endfor -%}{%- endif -%}{{- eos_token -}}
{%- endmacro -%}
{%- for message in messages -%}
{{- '<|' + message['role'] + '|>' -}}
{%- if message['role'] == 'assistant' -%}{%- generation -%}{{- say(message['content']) -}}{%- endgeneration -%}
{%- else -%}{{- say(message['content']) -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"""
ROLE_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>")

Span = tuple[int, int]
Count = tuple[int, int]  # placeholders of a clip, and how many of them hold a unit
_PLAIN = (str, int, float, bool, list, dict, type(None))  # what JSON holds


class TooLongError(ValueError):
    """A text with its motions has more tokens than its tokenizer allows."""


class _Expanded(NamedTuple):
    """A text whose tokens stand for clips as often as placeholders are needed.

    Attributes:
        text: The text.
        empty: Where placeholders stand that hold no unit.
        edits: Of the text before: after which places it grew, and by how many characters.
    """

    text: str
    empty: list[Span]
    edits: list[tuple[int, int]]


class MotionLlamoProcessor(ProcessorMixin):
    """A motion processor and a tokenizer in one, and what turns videos into frames for models that have a video tower.

    Args:
        feature_extractor: The `MotionPatchProcessor` of the motion tower.
        tokenizer: A fast tokenizer of the language model that has `motion_token` and, for videos, `video_token` as single tokens.
        chat_template: Jinja template of conversations; default one turn after the other, `CHAT_TEMPLATE`.
        video_settings: For models with a video tower: a video processor of transformers, or what its `to_dict` gives. `None`: no
            videos. (Not a sub-processor of its own, as those cannot be left out.)
        motion_token, video_token: What stands for a motion, and a video, in the text.
        fusion, selection_unit, num_selected: Those of the model, as they decide how many placeholders a motion has.
    """

    def __init__(
        self,
        feature_extractor: MotionPatchProcessor,
        tokenizer: Any,
        chat_template: str | None = None,
        video_settings: Any = None,
        motion_token: str = MOTION_TOKEN,
        video_token: str = VIDEO_TOKEN,
        fusion: str = "projector",
        selection_unit: str = "window",
        num_selected: int = 16,
    ) -> None:
        if fusion not in _FUSIONS or selection_unit not in _UNITS or num_selected < 1:
            raise ValueError(
                f"got fusion={fusion!r}, selection_unit={selection_unit!r}, num_selected={num_selected}; expected one of "
                f"{', '.join(_FUSIONS)}, one of {', '.join(_UNITS)}, and at least 1"
            )
        if not getattr(tokenizer, "is_fast", True):
            raise ValueError(
                f"{type(tokenizer).__name__} is no fast tokenizer; MotionLlamoProcessor needs one (tokenizer.json)"
            )
        self.motion_token, self.video_token = motion_token, video_token
        self.fusion, self.selection_unit, self.num_selected = fusion, selection_unit, num_selected
        super().__init__(feature_extractor, tokenizer, chat_template=chat_template or CHAT_TEMPLATE)
        self.video_settings, self.frame_processor = None, None
        if video_settings is not None:
            given = dict(video_settings) if isinstance(video_settings, Mapping) else video_settings.to_dict()
            kind = str(given.get("video_processor_type"))
            if not hasattr(transformers, kind):
                raise ValueError(f"video_settings name the video_processor_type {kind!r}, which transformers does not have")
            self.frame_processor = getattr(transformers, kind)(**given)
            self.video_settings = {key: value for key, value in given.items() if isinstance(value, _PLAIN)}
        needed = [motion_token] if self.frame_processor is None else [motion_token, video_token]
        missing = [token for token in needed if tokenizer.convert_tokens_to_ids(token) in (None, tokenizer.unk_token_id)]
        if missing:
            raise ValueError(
                f"the tokenizer has no token {', '.join(missing)}; add it with "
                f"tokenizer.add_special_tokens({{'additional_special_tokens': {missing}}}), and the model's row for it with "
                "resize_token_embeddings"
            )

    @property
    def model_input_names(self) -> list[str]:
        return [
            "input_ids", "attention_mask", "motion_values", "motion_attention_mask", "pixel_values_videos", "question_turns",
        ]  # fmt: skip

    def __call__(
        self,
        text: str | Sequence[str] | None = None,
        motions: Any = None,
        videos: Any = None,
        skeleton: Any = None,
        fps: Any = None,
        padding: bool | str = False,
        return_tensors: str | None = None,
        **text_kwargs: Any,
    ) -> BatchFeature:
        """Inputs of `MotionLlamoForConditionalGeneration` for texts that hold a `motion_token` for each motion.

        `apply_chat_template` makes them of conversations, and knows who says what; here the whole text asks.

        Args:
            text: A text or a list of texts.
            motions: The motions of all texts in the order of their tokens, as `MotionPatchProcessor` takes them; of one text also
                a single motion.
            videos: The videos likewise: files, or frames as the video processor takes them.
            skeleton, fps: Of motions that do not say theirs.
            padding: As of the tokenizer, on the side that it pads.
            return_tensors: `"pt"`, `"np"` or `None`.
            text_kwargs: For the tokenizer.

        Returns:
            `input_ids`, `attention_mask` and, of the cross talker, `question_turns` (B, L); `motion_values` (M, 3, F, 5·N) and
            `motion_attention_mask` (M, F/N); `pixel_values_videos` (V, T, 3, H, W).

        Raises:
            ValueError: If there is no text, tokens and motions or videos differ in number, or a text is longer than the
                tokenizer's limit.
        """
        if text is None or (not isinstance(text, str) and not len(text)):
            raise ValueError("MotionLlamo answers text: pass text=…, or a conversation to apply_chat_template")
        texts = [text] if isinstance(text, str) else list(text)
        spans = [[(0, len(one))] for one in texts]
        features, _ = self._encode(texts, spans, [[] for _ in texts], motions, videos, skeleton, fps, padding, text_kwargs)
        return BatchFeature(features, tensor_type=return_tensors)

    def apply_chat_template(
        self,
        conversation: Any,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        tokenize: bool = False,
        return_dict: bool = False,
        return_tensors: str | None = None,
        return_assistant_tokens_mask: bool = False,
        skeleton: Any = None,
        fps: Any = None,
        padding: bool | str | None = None,
        encoded_motions: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """A conversation as text, or as inputs of the model.

        Args:
            conversation: Messages `{"role": "user", "content": […]}`, or a list of such conversations. Content is a text, or
                parts `{"type": "text", "text": …}`, `{"type": "motion", "motion": …}` and `{"type": "video", "video": …}`.
            chat_template: In place of the processor's own.
            add_generation_prompt: End with the beginning of an answer, for `generate`.
            continue_final_message: End within the last message, to be continued.
            tokenize: Give inputs rather than text.
            return_dict: Give all of them rather than `input_ids` alone.
            return_tensors: `"pt"`, `"np"` or `None`.
            return_assistant_tokens_mask: Also give `assistant_masks` (B, L), 1 for what the assistant says: what to learn.
            skeleton, fps: Of motions that do not say theirs.
            padding: As of the tokenizer; default to the longest where several conversations become tensors. What is to be
                generated from is padded on the left.
            encoded_motions: `motion_values` and `motion_attention_mask` of all motions in their order, in place of what the
                motion processor would make of them: training changes them on the way.
            kwargs: For the template.

        Raises:
            ValueError: If a conversation is empty, a part has an unknown type or no motion, or the template leaves a motion out.
        """
        is_batch = bool(len(conversation)) and not isinstance(conversation[0], Mapping)
        conversations = [_check_conversation(one) for one in (conversation if is_batch else [conversation])]
        if not conversations:
            raise ValueError("got an empty list of conversations; pass at least one")
        plain = [[_without_clips(message) for message in one] for one in conversations]
        template = self._resolve_chat_template(chat_template)
        options = {"add_generation_prompt": add_generation_prompt, "continue_final_message": continue_final_message}
        rendered, answers = self._render(plain, template, **options, **kwargs)
        if not tokenize:
            return rendered if is_batch else rendered[0]
        if return_assistant_tokens_mask and not any(answers):
            raise ValueError(
                "return_assistant_tokens_mask=True found nothing that the assistant says; the conversation needs an answer, and "
                "the chat template {% generation %} around it"
            )
        questions = [self._user_spans(one, text, template, **kwargs) for one, text in zip(plain, rendered, strict=True)]
        motions, videos = _clips(conversations, "motion"), _clips(conversations, "video")
        if padding is None:
            padding = return_tensors is not None and len(conversations) > 1
        text_kwargs: dict[str, Any] = {"add_special_tokens": False}
        if add_generation_prompt or continue_final_message:
            text_kwargs["padding_side"] = "left"  # `generate` goes on at the end of each row
        given = encoded_motions or motions or None
        features, masks = self._encode(
            rendered, questions, answers, given, videos or None, skeleton, fps, padding, text_kwargs
        )
        if return_assistant_tokens_mask:
            features["assistant_masks"] = masks
        if not is_batch and return_tensors is None:
            for name in ("input_ids", "attention_mask", "question_turns", "assistant_masks"):
                if name in features:
                    features[name] = features[name][0]
        batch = BatchFeature(features, tensor_type=return_tensors)
        return batch if return_dict else batch["input_ids"]

    def num_units(self, num_windows: int) -> int:
        """Of a motion of so many windows, how many units the cross talker selects from."""
        return num_windows * {"patch": 5, "window": 1, "frame": self.feature_extractor.patch_size}[self.selection_unit]

    def _render(self, conversations: list[Any], template: str, **kwargs: Any) -> tuple[list[str], list[list[Span]]]:
        """Conversations as text, and where in it the assistant speaks."""
        is_marked = re.search(r"\{%-?\s*generation\s*-?%\}", template) is not None
        return render_jinja_template(
            conversations=conversations,
            chat_template=template,
            return_assistant_tokens_mask=is_marked,
            **{**self.tokenizer.special_tokens_map, **kwargs},
        )

    def _user_spans(self, conversation: list[Any], text: str, template: str, **kwargs: Any) -> list[Span]:
        """Where in the text each message of the user stands."""
        spans = []
        for number, message in enumerate(conversation):
            if message["role"] == "user":
                start = len(self._render([conversation[:number]], template, **kwargs)[0][0]) if number else 0
                end = len(self._render([conversation[: number + 1]], template, **kwargs)[0][0])
                spans.append((start, min(end, len(text))))
        return spans

    def _encode(
        self,
        texts: list[str],
        questions: list[list[Span]],
        answers: list[list[Span]],
        motions: Any,
        videos: Any,
        skeleton: Any,
        fps: Any,
        padding: bool | str,
        text_kwargs: Mapping[str, Any],
    ) -> tuple[dict[str, Any], list[list[int]]]:
        """Features of texts and clips, and for each token whether the assistant says it."""
        features, counts = self._encode_clips(motions, videos, skeleton, fps)
        expanded = self._expand(texts, counts)
        tokens = self._tokenize([text.text for text in expanded], padding, text_kwargs)
        starts = [[start if end > start else -1 for start, end in row] for row in tokens["offset_mapping"]]
        features["input_ids"] = tokens["input_ids"]
        features["attention_mask"] = [
            [0 if _inside(start, text.empty) else count for start, count in zip(row, mask, strict=True)]
            for row, mask, text in zip(starts, tokens["attention_mask"], expanded, strict=True)
        ]
        if self.fusion == "cross_talker":
            features["question_turns"] = _numbers_of(starts, expanded, questions)
        masks = [[int(number > 0) for number in row] for row in _numbers_of(starts, expanded, answers)]
        return features, masks

    def _encode_clips(
        self, motions: Any, videos: Any, skeleton: Any, fps: Any
    ) -> tuple[dict[str, Any], dict[str, list[Count]]]:
        """What the towers take, and for each token the placeholders of each of its clips."""
        features: dict[str, Any] = {}
        counts: dict[str, list[Count]] = {self.motion_token: [], self.video_token: []}
        if motions is not None:
            if not (isinstance(motions, Mapping) and "motion_values" in motions):
                motions = self.feature_extractor(motions, skeleton, fps, return_tensors="np", return_attention_mask=True)
            features.update(motions)
            windows = features["motion_attention_mask"].sum(axis=-1).tolist()
            counts[self.motion_token] = [self._count(number * 5, self.num_units(number)) for number in windows]
        if videos is not None:
            if self.frame_processor is None:
                raise ValueError("got videos, but this processor has no video_settings, and its model no video tower")
            frames = self._read_frames(videos)
            features["pixel_values_videos"] = frames
            counts[self.video_token] = [self._count(frames.shape[1], frames.shape[1])] * len(frames)
        return features, counts

    def _read_frames(self, videos: Any) -> np.ndarray:
        """Frames (V, T, 3, H, W) of videos; of files as many as the video processor asks for are decoded."""
        processor: Any = self.frame_processor
        given = [videos] if isinstance(videos, (str, os.PathLike)) else videos
        is_file = [isinstance(video, (str, os.PathLike)) for video in given]
        if not any(is_file):
            return processor(videos, return_tensors="np")["pixel_values_videos"]
        if not all(is_file):
            raise ValueError("some videos are files, others are frames; pass all of one call as one or the other")
        sample = processor.sample_frames if processor.do_sample_frames else None
        decoded = [_decode(str(video), sample) for video in given]
        return processor(decoded, do_sample_frames=False, return_tensors="np")["pixel_values_videos"]

    def _expand(self, texts: list[str], counts: Mapping[str, list[Count]]) -> list[_Expanded]:
        """Texts with as many placeholders in place of each token as its clip needs."""
        for token, kind in ((self.motion_token, "motion"), (self.video_token, "video")):
            number = sum(text.count(token) for text in texts)
            if number != len(counts[token]):
                raise ValueError(
                    f"the text has {number} times {token}, but there are {len(counts[token])} {kind}s; each needs one, in the "
                    "same order"
                )
        left = {token: iter(each) for token, each in counts.items()}
        pattern = re.compile("|".join(re.escape(token) for token in left))
        return [_expand_one(text, pattern, left) for text in texts]

    def _tokenize(self, texts: list[str], padding: bool | str, text_kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        tokens = self.tokenizer(
            texts, padding=padding, return_offsets_mapping=True, return_token_type_ids=False, verbose=False, **text_kwargs
        )
        longest = max(len(ids) for ids in tokens["input_ids"])
        if longest > self.tokenizer.model_max_length and not text_kwargs.get("truncation"):
            raise TooLongError(
                f"a text with its motions is {longest} tokens long, more than the limit of {self.tokenizer.model_max_length}; "
                "use shorter motions, fewer of them, or the cross talker, which takes a fixed number of tokens of each"
            )
        return tokens

    def _count(self, num_tokens: int, num_units: int) -> Count:
        if self.fusion == "projector":
            return num_tokens, num_tokens
        return self.num_selected, min(self.num_selected, num_units)


def _decode(video: str, sample: Any) -> Any:
    """Frames (T, H, W, 3) of a video file or address; `sample` chooses which, `None`: all."""
    if "://" not in video and not os.path.isfile(video):
        raise FileNotFoundError(f"no video file {video!r}")
    backend = "torchcodec" if is_torchcodec_usable("video") else "pyav"
    if backend == "pyav" and not is_av_available():
        raise ImportError(f"reading {video!r} needs PyAV: pip install av (or torchcodec); or pass frames (T, H, W, 3)")
    return load_video(video, backend=backend, sample_indices_fn=sample)[0]


def _expand_one(text: str, pattern: re.Pattern[str], left: Mapping[str, Iterator[Count]]) -> _Expanded:
    """A text with its placeholders; `left`: for each token those of the clips that no text before had."""
    pieces, edits, empty, length, last = [], [], [], 0, 0
    for match in pattern.finditer(text):
        token, (number, real) = match[0], next(left[match[0]])
        pieces += [text[last : match.start()], token * number]
        length += match.start() - last
        empty.append((length + real * len(token), length + number * len(token)))
        length += number * len(token)
        last = match.end()
        edits.append((last, (number - 1) * len(token)))
    return _Expanded("".join([*pieces, text[last:]]), empty, edits)


def _numbers_of(
    starts: Sequence[Sequence[int]], expanded: Sequence[_Expanded], spans: Sequence[Sequence[Span]]
) -> list[list[int]]:
    """For each token that starts at a character the number, from 1, of the span that it is in; 0 if it is in none."""
    result = []
    for row, text, each in zip(starts, expanded, spans, strict=True):
        moved = [_moved(span, text.edits) for span in each]
        result.append([_inside(start, moved) for start in row])
    return result


def _inside(place: int, spans: Sequence[Span]) -> int:
    """The number, from 1, of the span that a character is in; 0 if it is in none."""
    return next((number for number, (start, end) in enumerate(spans, 1) if start <= place < end), 0)


def _moved(span: Span, edits: Sequence[tuple[int, int]]) -> Span:
    """A span after texts that ended at some places grew by some lengths."""
    start, end = (place + sum(grown for edit, grown in edits if edit <= place) for place in span)
    return start, end


def _check_conversation(conversation: Any) -> list[dict[str, Any]]:
    if not len(conversation):
        raise ValueError("got an empty conversation; pass messages such as {'role': 'user', 'content': 'What is this?'}")
    for message in conversation:
        if not isinstance(message, Mapping) or "role" not in message or message.get("content") is None:
            raise ValueError(f"a message needs a role and content, got {message!r}")
        if isinstance(message["content"], str):
            continue
        for part in message["content"]:
            kind = part.get("type")
            if kind not in ("text", "motion", "video"):
                raise ValueError(f"a part of a message has type {kind!r}; expected 'text', 'motion' or 'video'")
            if part.get(kind) is None:
                raise ValueError(
                    f"a part of type {kind!r} needs {kind!r}: {{'type': '{kind}', '{kind}': …}}; got {sorted(part)}"
                )
    return [dict(message) for message in conversation]


def _without_clips(message: Mapping[str, Any]) -> dict[str, Any]:
    """What a template needs to see: of clips only that they are there."""
    content = message["content"]
    if not isinstance(content, str):
        content = [dict(part) if part["type"] == "text" else {"type": part["type"]} for part in content]
    return {**message, "content": content}


def _clips(conversations: Sequence[Sequence[Mapping[str, Any]]], kind: str) -> list[Any]:
    """All motions, or videos, in the order of the conversations."""
    return [
        part[kind]
        for conversation in conversations
        for message in conversation
        if not isinstance(message["content"], str)
        for part in message["content"]
        if part["type"] == kind
    ]


MotionLlamoProcessor.register_for_auto_class("AutoProcessor")

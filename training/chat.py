"""A conversation about motion on the terminal."""

import contextlib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from transformers import AutoConfig, AutoModelForMultimodalLM, AutoProcessor, TextStreamer

from ..modeling_motion_llamo import MotionLlamoForConditionalGeneration
from ..processing.processing_motion_llamo import MotionLlamoProcessor, TooLongError
from ..processing.readers import read_motion


COMMANDS = {
    "/motion FILE": "load another motion into the conversation",
    "/video FILE": "load a video, of a model that takes them",
    "/reset": "forget what was said; the motion or video loaded last stays",
    "/exit": "leave; Ctrl-D does it too",
}


def chat(
    checkpoint: str | Path,
    file: str | Path,
    questions: Sequence[str] = (),
    skeleton: Any = None,
    fps: float | None = None,
    max_new_tokens: int = 256,
    console: Console | None = None,
    read: Callable[[str], str] = input,
) -> None:
    """Talk about a motion with a trained model; answers appear word by word.

    Args:
        checkpoint: Folder or Hub id of a MotionLlamo.
        file: A motion file.
        questions: Ask these, one after the other, and leave; none: ask the person at the terminal.
        skeleton, fps: Of files that do not say theirs.
        max_new_tokens: Most tokens of an answer.
        console: Where to print.
        read: What asks a person for a line, given the prompt; it raises `EOFError` at the end.

    Raises:
        FileNotFoundError: If there is no such checkpoint or file.
        ValueError: If the checkpoint is of another kind, the file holds no motion that the model takes, or `questions` and
            motion are longer than the model's context.
    """
    console = console or Console()
    model, processor = load_chat_model(checkpoint)
    conversation = Conversation(model, processor, console, skeleton, fps, max_new_tokens)
    conversation.add_motion(file)
    for question in questions:
        conversation.ask(question)
    if questions:
        return
    console.print(f"Ask about it; /help lists what else there is. The model is {str(checkpoint)!r}.", highlight=False)
    with contextlib.suppress(ImportError):  # which Windows lacks
        import readline  # noqa: F401 (lines can be edited and called back)
    try:
        while _obey(conversation, read("you: ").strip()):
            pass
    except (EOFError, KeyboardInterrupt):
        console.print()


def load_chat_model(checkpoint: str | Path) -> tuple[MotionLlamoForConditionalGeneration, MotionLlamoProcessor]:
    """Model, in evaluation mode and on the GPU where there is one, and processor.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds another kind of model.
    """
    folder = Path(checkpoint)
    if not folder.is_dir() and (str(checkpoint).startswith((".", "/")) or str(checkpoint).count("/") > 1):
        raise FileNotFoundError(f"no checkpoint folder {str(checkpoint)!r}")
    if folder.is_dir() and not (folder / "config.json").exists():
        hint = f"; did you mean {str(folder / 'best')!r}?" if (folder / "best" / "config.json").exists() else ""
        raise FileNotFoundError(f"checkpoint {str(checkpoint)!r} has no model (config.json){hint}")
    kind = AutoConfig.from_pretrained(checkpoint).model_type
    if kind != "motion_llamo":
        raise ValueError(
            f"checkpoint {str(checkpoint)!r} holds a model of type {kind!r}, which does not answer; a MotionLlamo is needed: "
            "`motionpatches instruct` trains one"
        )
    model = AutoModelForMultimodalLM.from_pretrained(checkpoint)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).eval(), AutoProcessor.from_pretrained(checkpoint)


class Conversation:
    """What was said, and what is loaded for the next question.

    Args:
        model, processor: A MotionLlamo.
        console: Where answers and notes are printed.
        skeleton, fps: Of motion files that do not say theirs.
        max_new_tokens: Most tokens of an answer.

    Attributes:
        messages: What was said, as chat templates take it.
        loaded: Motions and videos that go with the next question, as parts of a message.
    """

    def __init__(
        self, model: Any, processor: Any, console: Console, skeleton: Any = None, fps: float | None = None,
        max_new_tokens: int = 256,
    ) -> None:  # fmt: skip
        self.model, self.processor, self.console = model, processor, console
        self.skeleton, self.fps, self.max_new_tokens = skeleton, fps, max_new_tokens
        self.messages: list[dict[str, Any]] = []
        self.loaded: list[dict[str, Any]] = []
        self._last: dict[str, Any] | None = None
        self._noted: set[str] = set()

    @property
    def context(self) -> int:
        """How many tokens a conversation may have, the answer included."""
        config = self.model.config.text_config
        return min(self.processor.tokenizer.model_max_length, getattr(config, "max_position_embeddings", None) or 10**9)

    def add_motion(self, file: str | Path) -> None:
        """Load a motion file, which goes with the next question.

        Raises:
            FileNotFoundError, ValueError: If it is no motion that the model takes.
        """
        patches = self.processor.feature_extractor
        with self._notes():
            ((joints, skeleton, fps),) = patches.resolve([read_motion(file)], self.skeleton, self.fps)
        self._load("motion", {"joints": joints, "skeleton": skeleton, "fps": fps})
        self._note(f"{file}: {joints.shape[-3]} frames at {fps:g} per second, skeleton {skeleton.name}")

    def add_video(self, file: str | Path) -> None:
        """Load a video file, which goes with the next question.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the model takes no videos.
        """
        if self.processor.frame_processor is None:
            raise ValueError("this model takes no videos")
        if not Path(file).is_file():
            raise FileNotFoundError(f"no video file {str(file)!r}")
        self._load("video", str(file))
        self._note(f"{file}: a video")

    def reset(self) -> None:
        """Forget what was said; the motion or video that was loaded last goes with the next question."""
        self.messages, self.loaded = [], [] if self._last is None else [self._last]

    def ask(self, question: str) -> str:
        """Ask, and print the answer word by word; a question that fails is as if it had not been asked.

        Returns:
            The answer.

        Raises:
            ValueError: If the conversation with this question is longer than the model's context.
        """
        content = [*self.loaded, {"type": "text", "text": question}]
        messages = [*self.messages, {"role": "user", "content": content}]
        inputs = self._encode(messages)
        length = inputs["input_ids"].shape[1]
        room = min(self.max_new_tokens, self.context - length)
        sequence = self.model.generate(**inputs, max_new_tokens=room, streamer=_Printer(self.processor, self.console))
        said = sequence[0, length:]
        answer = self.processor.tokenizer.decode(said, skip_special_tokens=True).strip()
        self.messages = [*messages, {"role": "assistant", "content": answer}]
        self.loaded = []
        if len(said) == room and int(said[-1]) not in self._ends():
            why = "max_new_tokens" if room == self.max_new_tokens else f"the model's context of {self.context} is full"
            self._note(f"the answer was cut after {room} tokens ({why})")
        return answer

    def _encode(self, messages: list[dict[str, Any]]) -> Any:
        too_long = (
            f"the conversation with this question is longer than the model's context of {self.context} tokens: /reset forgets "
            "what was said, and a shorter motion may take fewer tokens"
        )
        with self._notes():
            try:
                inputs = self.processor.apply_chat_template(
                    messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
                )
            except TooLongError as error:
                raise ValueError(too_long) from error
        if inputs["input_ids"].shape[1] >= self.context:
            raise ValueError(too_long)
        return inputs.to(self.model.device, self.model.dtype)

    def _ends(self) -> list[int]:
        ends = self.model.generation_config.eos_token_id
        return ends if isinstance(ends, list) else [ends]

    def _load(self, kind: str, clip: Any) -> None:
        self._last = {"type": kind, kind: clip}
        self.loaded.append(self._last)

    def _note(self, text: str) -> None:
        self.console.print(text, style="dim", highlight=False, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def _notes(self) -> Any:
        """Warnings of what is read, each once, as lines of the conversation."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        for text in dict.fromkeys(str(warning.message) for warning in caught):
            if text not in self._noted:
                self._noted.add(text)
                self._note(f"note: {text}")


class _Printer(TextStreamer):
    """Prints an answer while it is generated."""

    def __init__(self, processor: Any, console: Console) -> None:
        super().__init__(processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
        self.console = console

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        end = "\n" if stream_end else ""
        self.console.print(text, end=end, highlight=False, markup=False, soft_wrap=True, emoji=False)
        self.console.file.flush()


def _obey(conversation: Conversation, line: str) -> bool:
    """Do what a line says; whether to go on. What goes wrong is said, and ends nothing."""
    name, _, rest = line.partition(" ")
    file = rest.strip().strip("\"'")
    try:
        if name == "/exit":
            return False
        if name == "/reset":
            conversation.reset()
            conversation.console.print("The conversation starts anew.", highlight=False)
        elif name in ("/motion", "/video"):
            if not file:
                raise ValueError(f"say which: {name} FILE")
            add = conversation.add_motion if name == "/motion" else conversation.add_video
            add(Path(file).expanduser())
        elif name.startswith("/"):
            known = "\n".join(f"{command:14}{meaning}" for command, meaning in COMMANDS.items())
            said = known if name == "/help" else f"{name} is unknown:\n{known}"
            conversation.console.print(said, highlight=False, markup=False)
        elif line:
            conversation.ask(line)
    except (ValueError, TypeError, OSError, ImportError) as error:
        conversation.console.print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
    return True

"""A conversation of the app: `chat.Conversation`, whose answers come out piece by piece."""

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from rich.console import Console

from ..modeling_motion_llamo import MotionLlamoForConditionalGeneration
from ..processing.processing_motion_llamo import MotionLlamoProcessor
from .app_actions import without_folder
from .chat import Conversation


MAX_NEW_TOKENS = 256
_END = object()


class _Stopped(Exception):  # noqa: N818 (no error: it ends a generation that nobody waits for)
    pass


class _Screen(Console):
    """In place of a terminal: what is printed is put into a queue, notes apart from answers."""

    def __init__(self) -> None:
        super().__init__(file=io.StringIO())
        self.said: SimpleQueue[Any] = SimpleQueue()
        self.notes: list[str] = []
        self.is_stopped = False

    def print(self, *objects: Any, style: Any = None, end: str = "\n", **_: Any) -> None:
        if self.is_stopped:
            raise _Stopped
        text = " ".join(map(str, objects))
        if style == "dim":
            self.notes.append(text)
        else:
            self.said.put(text + end)


class StreamedConversation:
    """A visitor's conversation about one motion.

    Args:
        model, processor: A MotionLlamo.
        file: The motion file.
        skeleton, fps: What it does not say.

    Attributes:
        notes: What was said about the motion and the answers, besides the answers.

    Raises:
        FileNotFoundError, ValueError: If the file holds no motion that the model takes.
    """

    def __init__(
        self,
        model: MotionLlamoForConditionalGeneration,
        processor: MotionLlamoProcessor,
        file: Path,
        skeleton: str | None = None,
        fps: float | None = None,
    ) -> None:
        self._file, self._screen = file, _Screen()
        self._conversation = Conversation(model, processor, self._screen, skeleton, fps, MAX_NEW_TOKENS)
        self._conversation.add_motion(file)

    @property
    def notes(self) -> list[str]:
        return [without_folder(note, self._file) for note in self._screen.notes]

    def ask(self, question: str) -> Iterator[str]:
        """The answer so far, each time there is more of it. Closed early, it ends the generation, as if nothing had been asked.

        Raises:
            ValueError: If the conversation with this question is longer than the model's context.
        """
        screen, failures = _Screen(), []
        screen.notes, self._conversation.console = self._screen.notes, screen

        def generate() -> None:
            try:
                self._conversation.ask(question)
            except Exception as error:  # raised again where the answer is read
                failures.append(error)
            screen.said.put(_END)

        worker = threading.Thread(target=generate)
        worker.start()
        try:
            answer = ""
            while (piece := screen.said.get()) is not _END:
                answer += piece
                yield answer.strip()
        finally:
            screen.is_stopped = True
            worker.join()
        if failures:
            raise failures[0]

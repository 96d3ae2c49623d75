"""What the app does for a visitor, without the page: each action takes what was typed and uploaded, and returns what is found.

All errors that a visitor can cause are a `ValueError` whose words are fit for them: no folder of the machine is named.
"""

import logging
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..modeling_motionpatches import MotionPatchesModel
from ..pipeline_zero_shot_motion_classification import ZeroShotMotionClassificationPipeline
from ..processing.processing_motionpatches import MotionTextProcessor, ResolvedMotion
from ..processing.readers import READABLE_SUFFIXES, read_motion
from .app_library import Library
from .evaluation import embed_motions
from .inference import search, texts_by_motion
from .localisation import Localisation, embed_recording, localise


#: Files that can be uploaded: motions that one file holds. AMC files need an ASF file beside them.
UPLOAD_SUFFIXES = tuple(suffix for suffix in READABLE_SUFFIXES if suffix != ".amc")
MAX_LINES = 1000
MAX_LETTERS = 2000
#: How much more than the largest upload an archive may unpack to.
MAX_UNPACKED = 8

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenedMotion:
    """An uploaded motion file, read.

    Args:
        name: Name of the file, without its folder.
        motion: The motion, with skeleton and frame rate settled.
        notes: What was guessed or changed on the way.
    """

    name: str
    motion: ResolvedMotion
    notes: tuple[str, ...] = ()

    @property
    def given(self) -> dict[str, Any]:
        """The motion as processors and pipelines take it."""
        return self.motion._asdict()

    @property
    def num_frames(self) -> int:
        return self.motion.joints.shape[-3]

    @property
    def facts(self) -> str:
        """Length, frame rate and skeleton in words."""
        _, skeleton, fps = self.motion
        return f"{self.num_frames / fps:.1f} s: {self.num_frames} frames at {fps:g} per second, skeleton {skeleton.name}"


class Actions:
    """What a visitor can ask of a model.

    Args:
        model, processor: The model and its processor.
        library: The motions that can be found, or `None`.
        max_upload_mb: The largest file, in MB.
    """

    def __init__(
        self,
        model: MotionPatchesModel,
        processor: MotionTextProcessor,
        library: Library | None = None,
        max_upload_mb: float = 50,
    ) -> None:
        self.model, self.processor, self.collection = model.eval(), processor, library
        self.max_bytes = int(max_upload_mb * 1e6)
        self._classify = ZeroShotMotionClassificationPipeline(
            model=model, processor=processor, task="zero-shot-motion-classification", device=model.device
        )

    def open(self, file: str | None, skeleton: str | None = None, fps: float | None = None) -> OpenedMotion:
        """Read an uploaded motion file.

        Args:
            file: The file, or `None` if none was uploaded.
            skeleton, fps: What it does not say.

        Raises:
            ValueError: If there is none, it is of another kind or too large, or holds no motion that can be read.
        """
        if not file:
            raise ValueError("upload a motion file first")
        path = Path(file)
        self._check_file(path)
        with noting() as notes, _fit_for_visitors(path):
            motion = read_motion(path, skeleton or None, fps or None)
            (resolved,) = self.processor.feature_extractor.resolve([motion])
        return OpenedMotion(path.name, resolved, tuple(without_folder(note, path) for note in notes))

    def _check_file(self, path: Path) -> None:
        if path.suffix.lower() not in UPLOAD_SUFFIXES:
            raise ValueError(
                f"{path.name} has the suffix {path.suffix or '(none)'}; expected a motion file: {', '.join(UPLOAD_SUFFIXES)}"
            )
        size = path.stat().st_size
        if size > self.max_bytes:
            raise ValueError(
                f"{path.name} has {size / 1e6:.1f} MB; the app takes up to {self.max_bytes / 1e6:g} MB: upload a part of it"
            )
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(member.file_size for member in archive.infolist())
            if unpacked > MAX_UNPACKED * self.max_bytes:
                raise ValueError(
                    f"{path.name} unpacks to {unpacked / 1e6:.1f} MB; the app takes up to "
                    f"{MAX_UNPACKED * self.max_bytes / 1e6:g} MB: upload a part of it"
                )

    def find_motions(
        self,
        text: str | None = None,
        opened: OpenedMotion | None = None,
        weight: float = 0.5,
        top_k: int = 4,
        where: str | None = None,
    ) -> list[dict[str, Any]]:
        """Hits of the library, as of `MotionIndex.search`; `where` has a condition a line.

        Raises:
            ValueError: If there is no library, nothing to search for, or a condition cannot be understood.
        """
        library = self._need_library()
        if text is not None:
            text = one_line(text, "a sentence, such as: a person kicks with the left leg")
        conditions = split_lines(where, "conditions") if where and where.strip() else None
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"\d+ motions were asked for")  # the page shows how many there are
            return library.index.search(
                text, None if opened is None else opened.given, weight, min(int(top_k), len(library)), conditions
            )

    def find_captions(self, opened: OpenedMotion, candidates: str | None = None, top_k: int = 5) -> list[dict[str, Any]]:
        """`{"text", "score"}` of the sentences that fit a motion best.

        Args:
            opened: The motion.
            candidates: A sentence a line; if there are none, the captions of the library.
            top_k: How many.

        Raises:
            ValueError: If there are no sentences.
        """
        if candidates and candidates.strip():
            texts = split_lines(candidates, "sentences")
            return texts_by_motion(self.model, self.processor, [opened.given], texts, int(top_k))[0]
        if self.collection is None or not self.collection.captions:
            raise ValueError("there are no captions to choose from; write some sentences, one a line")
        query = embed_motions(self.model, self.processor, [opened.given])
        found, scores = search(query, self.collection.caption_embeds, int(top_k))
        return [
            {"text": self.collection.captions[number], "score": float(score)}
            for number, score in zip(found[0], scores[0], strict=True)
        ]

    def classify(
        self, opened: OpenedMotion, labels: str, template: str = "A person {}.", multi_label: bool = False
    ) -> dict[str, float]:
        """Label → score, of labels that stand one a line; see `ZeroShotMotionClassificationPipeline`.

        Raises:
            ValueError: If there are no labels, or the template has no `{}`.
        """
        chosen = split_lines(labels, "labels")
        if template.count("{}") != 1 or template.replace("{}", "").count("{") or template.replace("{}", "").count("}"):
            raise ValueError(f"the sentence {template!r} needs {{}} once, where the label stands, such as: A person {{}}.")
        found = self._classify(opened.given, candidate_labels=chosen, hypothesis_template=template, multi_label=multi_label)
        return {entry["label"]: entry["score"] for entry in found}

    def localise(self, opened: OpenedMotion, sentences: str, top_k: int = 3, threshold: float | None = None) -> Localisation:
        """The moments that sentences, one a line, describe; see `localisation.localise`.

        Raises:
            ValueError: If there are no sentences, or the motion is of several persons.
        """
        queries = split_lines(sentences, "sentences", most=10)
        recording = embed_recording(self.model, self.processor, opened.given)
        return localise(self.model, self.processor, recording, queries, int(top_k), threshold)

    def _need_library(self) -> Library:
        if self.collection is None:
            raise ValueError("there are no motions to search in: the app was started without --index and --data")
        return self.collection


def one_line(text: str | None, expected: str) -> str:
    """Text without white space around it.

    Raises:
        ValueError: If nothing is left, or it is longer than `MAX_LETTERS`.
    """
    text = (text or "").strip()
    if not text:
        raise ValueError(f"write {expected}")
    if len(text) > MAX_LETTERS:
        raise ValueError(f"the text has {len(text)} letters; the app takes up to {MAX_LETTERS}")
    return text


def split_lines(text: str | None, what: str, most: int = MAX_LINES) -> list[str]:
    """The distinct lines of a text, without empty ones.

    Raises:
        ValueError: If there are none or too many.
    """
    lines = list(dict.fromkeys(line.strip() for line in (text or "").splitlines() if line.strip()))
    if not lines:
        raise ValueError(f"write {what}, one a line")
    if len(lines) > most:
        raise ValueError(f"there are {len(lines)} {what}; the app takes up to {most}")
    return [one_line(line, what) for line in lines]


@contextmanager
def noting() -> Iterator[list[str]]:
    """What is warned of in the block, each once; complete when the block has ended."""
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        yield notes
    notes += dict.fromkeys(str(warning.message) for warning in raised if issubclass(warning.category, UserWarning))


def with_notes(action: Callable[..., Any], *arguments: Any) -> tuple[Any, list[str]]:
    """What an action returns, and what it warned of."""
    with noting() as notes:
        result = action(*arguments)
    return result, notes


def without_folder(text: str, file: Path) -> str:
    """Words about an uploaded file without the folder that it lies in."""
    return text.replace(str(file), file.name).replace(f"{file.parent}/", "").replace(str(file.parent), "the upload")


@contextmanager
def _fit_for_visitors(file: Path) -> Iterator[None]:
    """Whatever goes wrong with a file in the block, as a `ValueError` that names no folder."""
    try:
        yield
    except (ValueError, TypeError, ImportError) as error:
        raise ValueError(without_folder(str(error), file)) from error
    except Exception as error:  # whatever the libraries that read a broken file raise
        _log.warning("%s cannot be read", file.name, exc_info=True)
        raise ValueError(f"{file.name} cannot be read as a motion: it is damaged, or of a kind that is not known") from error

"""What the app shows, as HTML. All words of files and captions are escaped."""

import base64
import html
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ..processing.animation import write_gif
from ..processing.motion_page import write_motion_page
from ..processing.processing_motionpatches import ResolvedMotion
from .app_library import Library


if TYPE_CHECKING:
    from .app_actions import Actions, OpenedMotion

_SECONDS = 8.0  # that a picture of a hit shows
_PICTURE_FPS = 10.0
_SIZE = 200  # pixels
_CARD = "display: inline-block; vertical-align: top; width: 210px; margin: 0 12px 14px 0; overflow-wrap: anywhere"
_PAGE_HEIGHT = 640  # pixels
_CAPTIONS = 3

_log = logging.getLogger(__name__)


def first_person(motion: ResolvedMotion) -> ResolvedMotion:
    """The motion of one person, of several the first."""
    return motion if motion.joints.ndim == 3 else motion._replace(joints=motion.joints[0])


def persons_note(motion: ResolvedMotion) -> list[str]:
    """That not all persons are drawn, if so."""
    return [] if motion.joints.ndim == 3 else [f"the first of {len(motion.joints)} persons is drawn"]


def moving_picture(motion: ResolvedMotion, words: str) -> str:
    """A motion as an `<img>` that moves, of its first seconds.

    Args:
        motion: The motion; of several persons the first is drawn.
        words: What is said where pictures are not seen.

    Raises:
        ValueError: If it cannot be drawn.
    """
    one = first_person(motion)
    shown = one._replace(joints=one.joints[: max(2, round(_SECONDS * one.fps))])
    with TemporaryDirectory() as folder:
        file = Path(folder) / "motion.gif"
        write_gif(file, shown._asdict(), picture_fps=_PICTURE_FPS, size=_SIZE)
        encoded = base64.b64encode(file.read_bytes()).decode()
    return f'<img src="data:image/gif;base64,{encoded}" width="{_SIZE}" alt="{html.escape(words)}">'


def motion_facts(opened: "OpenedMotion") -> str:
    """An uploaded motion as a picture that moves, its facts, and what was guessed of it."""
    notes = [*opened.notes, *persons_note(opened.motion)]
    try:
        picture = moving_picture(opened.motion, f"stick figure of {opened.name}")
    except ValueError as error:
        picture, notes = "", [*notes, f"it cannot be drawn: {error}"]
    return f"{picture}<p><b>{html.escape(opened.name)}</b><br>{html.escape(opened.facts)}</p>{notes_list(notes)}"


def notes_list(notes: Sequence[str]) -> str:
    """Notes as a list; empty without any."""
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return f"<ul>{items}</ul>" if items else ""


def hit_cards(hits: Sequence[Mapping[str, Any]], library: Library) -> str:
    """Hits of a search as pictures that move, each with its score, length and captions."""
    return "".join(_card(hit, library) for hit in hits)


def _card(hit: Mapping[str, Any], library: Library) -> str:
    try:
        picture = moving_picture(library.read(hit), f"stick figure of {hit['id']}")
    except FileNotFoundError:
        picture = _no_picture("its file is not on the machine of the app")
    except Exception as error:  # whatever a file that has changed since makes its reader raise
        _log.warning("no picture of %s", hit["id"], exc_info=error)
        picture = _no_picture("it cannot be drawn")
    captions = "<br>".join(html.escape(text) for text in (hit["captions"] or ())[:_CAPTIONS])
    name = f"<b>{hit['score']:.3f}</b> {html.escape(hit['id'])}, {hit['duration']:.1f} s"
    return f'<figure style="{_CARD}">{picture}<figcaption>{name}<br>{captions}</figcaption></figure>'


def _no_picture(why: str) -> str:
    return f'<div style="height: {_SIZE}px; border: 1px dashed grey; padding: 8px">no picture: {why}</div>'


def player(opened: "OpenedMotion", actions: "Actions", with_attention: bool) -> str:
    """A motion to play and turn beside its patches, as a frame that sees nothing of the page around it.

    Raises:
        ImportError: If plotly is not installed.
        ValueError: If the motion cannot be drawn.
    """
    model = actions.model if with_attention else None
    motion = first_person(opened.motion)._asdict()
    with TemporaryDirectory() as folder:
        file = Path(folder) / "motion.html"
        write_motion_page(file, motion, opened.name, model=model, processor=actions.processor)
        page = file.read_text(encoding="utf-8")
    return (
        f'<iframe title="{html.escape(opened.name)}" sandbox="allow-scripts" srcdoc="{html.escape(page)}" '
        f'style="width: 100%; height: {_PAGE_HEIGHT}px; border: 0"></iframe>'
    )

"""A page to try a model on: find motions and captions, see, classify and localise an uploaded motion, talk about it.

The page is made with Gradio. What it does is in `app_actions`, what it shows in `app_views`.
"""

import functools
import html
import inspect
import ipaddress
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ..processing.skeletons import list_skeletons
from .app_actions import MAX_LETTERS, UPLOAD_SUFFIXES, Actions, OpenedMotion, one_line, with_notes
from .app_chat import StreamedConversation
from .app_library import open_library
from .app_views import hit_cards, motion_facts, notes_list, player
from .chat import load_chat_model
from .inference import load_checkpoint
from .localisation import Localisation, draw_localisation


if TYPE_CHECKING:
    from gradio import Blocks

LOCAL_HOST = "127.0.0.1"
MAX_UPLOAD_MB = 50.0

_BY_TEXT, _BY_MOTION, _BY_BOTH = "the sentence", "the uploaded motion", "both"
_UPLOADS = "GRADIO_TEMP_DIR"  # where Gradio keeps them
_KEPT = 3600  # seconds that uploads and conversations are kept
_HITS = ["score", "motion", "seconds", "captions"]
_MOMENTS = ["sentence", "score", "from (s)", "to (s)"]
_LABELS = "walks forward\njumps\nwaves the left hand\nsits down"
_log = logging.getLogger(__name__)


def run_app(
    checkpoint: str,
    index: str | None = None,
    data: Path | None = None,
    llamo: str | None = None,
    host: str = LOCAL_HOST,
    port: int | None = None,
    max_upload_mb: float = MAX_UPLOAD_MB,
    console: Console | None = None,
) -> None:
    """`motionpatches app`: load the models and show the page until it is interrupted.

    Args:
        checkpoint, index, data, llamo, max_upload_mb: As `open_page`.
        host: Address to listen at. The default can be reached from this machine alone.
        port: Default the first free one from 7860 on.
        console: Where to print.

    Raises:
        OSError: If the port is taken.
        ImportError, ValueError, FileNotFoundError: As `open_page`.
    """
    console = console or Console()
    if not _is_local(host):
        console.print(
            f"{host} can be reached from other machines: whoever reaches it can use the models, search the motions and see "
            "their names and captions. There is no password.",
            style="yellow",
        )
    with private_uploads(), _ended_by_signal():
        page = open_page(checkpoint, index, data, llamo, max_upload_mb, console)
        with serving(page, host, port, max_upload_mb):
            console.print(f"the app is at {page.local_url} until Ctrl-C", highlight=False)
            page.block_thread()


@contextmanager
def private_uploads() -> Iterator[Path]:
    """Keep uploads in a folder that only this user of the machine can read, and that goes at the end of the block."""
    before = os.environ.get(_UPLOADS)
    with TemporaryDirectory(prefix="motionpatches-app-") as folder:
        os.environ[_UPLOADS] = folder
        try:
            yield Path(folder)
        finally:
            os.environ.pop(_UPLOADS)
            if before is not None:
                os.environ[_UPLOADS] = before


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """Let what service managers send end the block as Ctrl-C does, so that uploads are removed."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def serving(
    page: "Blocks", host: str = LOCAL_HOST, port: int | None = None, max_upload_mb: float = MAX_UPLOAD_MB
) -> Iterator[str]:
    """Serve a page in the background for the time of the block. The address is given.

    Raises:
        OSError: If the port is taken.
    """
    launch(page, host, port, max_upload_mb)
    try:
        yield page.local_url
    finally:
        page.close(verbose=False)


def launch(page: "Blocks", host: str = LOCAL_HOST, port: int | None = None, max_upload_mb: float = MAX_UPLOAD_MB) -> None:
    """Serve a page in the background: no file of the machine, no trace of an error, no call to others.

    Raises:
        OSError: If the port is taken.
    """
    page.queue(max_size=32).launch(
        server_name=host,
        server_port=port,
        share=False,
        max_file_size=int(max_upload_mb * 1e6),
        show_error=False,
        quiet=True,
        prevent_thread_lock=True,
        ssr_mode=False,
        enable_monitoring=False,
        footer_links=["api"],
    )


def open_page(
    checkpoint: str,
    index: str | None = None,
    data: str | Path | None = None,
    llamo: str | None = None,
    max_upload_mb: float = MAX_UPLOAD_MB,
    console: Console | None = None,
) -> "Blocks":
    """Load everything and build the page.

    Args:
        checkpoint: Folder or Hub id of the model.
        index: Folder of an index, or its name on the Hub: the motions that can be found.
        data: A folder of motion files or motion data. Without an index, it is what can be found; with one, pictures are taken
            from it.
        llamo: Folder or Hub id of a MotionLlamo to talk with.
        max_upload_mb: The largest file that can be uploaded, in MB.
        console: Where to print.

    Raises:
        ImportError: If Gradio, or FAISS where motions are to be found, is not installed.
        FileNotFoundError: If there is no such checkpoint, index or data.
        ValueError: If the checkpoint is of another kind or not the one of the index, or the limit is not above 0.
    """
    if not max_upload_mb > 0:
        raise ValueError(f"the upload limit is {max_upload_mb!r} MB; expected a number above 0")
    _need_gradio()
    model, processor = load_checkpoint(checkpoint)
    library = open_library(model, processor, index, data, console or Console())
    talk = None if llamo is None else load_chat_model(llamo)
    return build_page(Actions(model, processor, library, max_upload_mb), talk, "/".join(Path(checkpoint).parts[-2:]))


def build_page(actions: Actions, talk: tuple[Any, Any] | None = None, name: str = "") -> "Blocks":
    """The page.

    Args:
        actions: What it does.
        talk: A MotionLlamo and its processor, or `None`.
        name: What the model is called.

    Raises:
        ImportError: If Gradio is not installed.
    """
    _need_gradio()
    import gradio as gr

    with gr.Blocks(title="motionpatches", analytics_enabled=False, fill_width=True, delete_cache=(600, _KEPT)) as page:
        gr.Markdown("# motionpatches\n3D human motion and language in one space.")
        gr.HTML(f"<p>Model: {html.escape(name)}. {_says_library(actions)}</p>")
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                upload = _add_upload(gr, actions)
            with gr.Column(scale=3), gr.Tabs():
                with gr.Tab("Find motions"):
                    _add_find_motions(gr, actions, upload)
                with gr.Tab("Find captions"):
                    _add_find_captions(gr, actions, upload)
                with gr.Tab("See"):
                    _add_player(gr, actions, upload)
                with gr.Tab("Classify"):
                    _add_classify(gr, actions, upload)
                with gr.Tab("Localise"):
                    _add_localise(gr, actions, upload)
                if talk is not None:
                    with gr.Tab("Chat"):
                        _add_chat(gr, actions, talk, upload)
    return page


def explain_page(lines: str) -> "Blocks":
    """A page that only says something, in Markdown: what an app that cannot start lacks.

    Raises:
        ImportError: If Gradio is not installed.
    """
    _need_gradio()
    import gradio as gr

    with gr.Blocks(title="motionpatches", analytics_enabled=False) as page:
        gr.Markdown(lines)
    return page


# ---- the parts of the page ------------------------------------------------------------------------------------------------


def _add_upload(gr: Any, actions: Actions) -> list[Any]:
    """The motion file and what it does not say: the inputs that other parts take."""
    limit = f"{actions.max_bytes / 1e6:g} MB at most"
    file = gr.File(label=f"Motion file ({limit})", file_types=list(UPLOAD_SUFFIXES), type="filepath", elem_id="file")
    with gr.Accordion("What the file does not say", open=False):
        choices = [("the file says it", ""), *((known, known) for known in list_skeletons())]
        skeleton = gr.Dropdown(choices, value="", label="Skeleton")
        fps = gr.Number(0, label="Frames per second (0: the file says it)", minimum=0)
    facts = gr.HTML(elem_id="facts")

    def show(file: str | None, skeleton: str, fps: float | None) -> str:
        return motion_facts(actions.open(file, skeleton, fps)) if file else ""

    inputs = [file, skeleton, fps]
    _connect(gr, [file.change, skeleton.change, fps.change], show, inputs, facts, "open_motion")
    return inputs


def _add_find_motions(gr: Any, actions: Actions, upload: list[Any]) -> None:
    text = gr.Textbox("", label="Sentence", placeholder="a person kicks with the left leg", max_length=MAX_LETTERS)
    with gr.Row():
        by = gr.Radio([_BY_TEXT, _BY_MOTION, _BY_BOTH], value=_BY_TEXT, label="Find what is like")
        top_k = gr.Slider(1, 12, value=4, step=1, label="How many")
    with gr.Accordion("More", open=False):
        weight = gr.Slider(0, 1, value=0.5, label="Share of the motion, where both are asked for")
        where = gr.Textbox("", label="Conditions, one a line", placeholder="duration > 2", lines=2)
    button = gr.Button("Find motions", variant="primary")
    cards = gr.HTML(elem_id="hits")
    table = gr.Dataframe(headers=_HITS, label="Found", interactive=False, wrap=True)
    notes = gr.HTML()

    def find(
        text: str, by: str, top_k: int, weight: float, where: str, file: str | None, skeleton: str, fps: float | None
    ) -> tuple[str, list[list[Any]], str]:
        opened = None if by == _BY_TEXT else actions.open(file, skeleton, fps)
        sentence = None if by == _BY_MOTION else text
        hits, said = with_notes(actions.find_motions, sentence, opened, weight, top_k, where)
        rows = [
            [round(hit["score"], 4), hit["id"], round(hit["duration"], 2), "; ".join(hit["captions"] or ())] for hit in hits
        ]
        said += [] if hits else ["no motion meets the conditions"]
        cards = "" if actions.collection is None else hit_cards(hits, actions.collection)
        return cards, rows, notes_list(said)

    inputs = [text, by, top_k, weight, where, *upload]
    _connect(gr, [text.submit, button.click], find, inputs, [cards, table, notes], "find_motions")


def _add_find_captions(gr: Any, actions: Actions, upload: list[Any]) -> None:
    has_captions = actions.collection is not None and bool(actions.collection.captions)
    label = "Sentences, one a line" + ("; none: the captions of the motions that can be found" if has_captions else "")
    candidates = gr.Textbox("", label=label, lines=5)
    top_k = gr.Slider(1, 20, value=5, step=1, label="How many")
    button = gr.Button("Find captions", variant="primary")
    table = gr.Dataframe(headers=["score", "caption"], label="Found", interactive=False, wrap=True)
    notes = gr.HTML()

    def find(candidates: str, top_k: int, file: str | None, skeleton: str, fps: float | None) -> tuple[list[list[Any]], str]:
        opened = actions.open(file, skeleton, fps)
        found, said = with_notes(actions.find_captions, opened, candidates, top_k)
        return [[round(entry["score"], 4), entry["text"]] for entry in found], notes_list(said)

    _connect(gr, [button.click], find, [candidates, top_k, *upload], [table, notes], "find_captions")


def _add_player(gr: Any, actions: Actions, upload: list[Any]) -> None:
    attention = gr.Checkbox(True, label="Show what the model attends to")
    button = gr.Button("Show the motion", variant="primary")
    shown = gr.HTML(elem_id="player")
    notes = gr.HTML()

    def show(attention: bool, file: str | None, skeleton: str, fps: float | None) -> tuple[str, str]:
        page, said = with_notes(player, actions.open(file, skeleton, fps), actions, attention)
        return page, notes_list(said)

    _connect(gr, [button.click], show, [attention, *upload], [shown, notes], "show_motion")


def _add_classify(gr: Any, actions: Actions, upload: list[Any]) -> None:
    labels = gr.Textbox(_LABELS, label="Labels, one a line", lines=5)
    template = gr.Textbox("A person {}.", label="The sentence that {} stands in", max_length=MAX_LETTERS)
    several = gr.Checkbox(False, label="Several labels can be right: each score is for itself")
    button = gr.Button("Classify", variant="primary")
    scores = gr.Label(label="Scores", elem_id="scores")
    notes = gr.HTML()

    def classify(
        labels: str, template: str, several: bool, file: str | None, skeleton: str, fps: float | None
    ) -> tuple[dict[str, float], str]:
        opened = actions.open(file, skeleton, fps)
        found, said = with_notes(actions.classify, opened, labels, template, several)
        return found, notes_list(said)

    _connect(gr, [button.click], classify, [labels, template, several, *upload], [scores, notes], "classify")


def _add_localise(gr: Any, actions: Actions, upload: list[Any]) -> None:
    sentences = gr.Textbox("", label="Sentences, one a line", placeholder="a person jumps", lines=3)
    with gr.Row():
        top_k = gr.Slider(1, 10, value=3, step=1, label="Moments of each sentence")
        threshold = gr.Slider(-1, 1, value=-1, label="Least score of a moment")
    button = gr.Button("Find the moments", variant="primary")
    plot = gr.Plot(label="Scores over time", elem_id="moments")
    table = gr.Dataframe(headers=_MOMENTS, label="Moments", interactive=False)
    notes = gr.HTML()

    def find(
        sentences: str, top_k: int, threshold: float | None, file: str | None, skeleton: str, fps: float | None
    ) -> tuple[Any, list[list[Any]], str]:
        opened = actions.open(file, skeleton, fps)
        threshold = None if threshold == -1 else threshold  # which all scores reach
        found, said = with_notes(actions.localise, opened, sentences, top_k, threshold)
        return _draw(found, opened, threshold), _rows(found), notes_list(said)

    inputs = [sentences, top_k, threshold, *upload]
    _connect(gr, [button.click], find, inputs, [plot, table, notes], "localise")


def _draw(found: Localisation, opened: OpenedMotion, threshold: float | None) -> Any:
    return draw_localisation(found, opened.name, threshold, opened.motion)


def _rows(found: Localisation) -> list[list[Any]]:
    return [
        [moment["label"], round(moment["score"], 4), round(moment["start"], 2), round(moment["end"], 2)]
        for moment in found.moments
    ]


def _add_chat(gr: Any, actions: Actions, talk: tuple[Any, Any], upload: list[Any]) -> None:
    chatbot = gr.Chatbot(label="Conversation", render_markdown=False, elem_id="conversation", height=420, buttons=["copy"])
    question = gr.Textbox("", label="Question", placeholder="What does the person do?", max_length=MAX_LETTERS)
    with gr.Row():
        button = gr.Button("Ask", variant="primary")
        stop = gr.Button("Stop")
        again = gr.Button("Start anew")
    notes = gr.HTML()
    state = gr.State(None, time_to_live=_KEPT)

    def ask(
        question: str, history: list[Any], state: Any, file: str | None, skeleton: str, fps: float | None
    ) -> Iterator[tuple[list[Any], Any, str, str]]:
        question = one_line(question, "a question, such as: What does the person do?")
        actions.open(file, skeleton, fps)  # for what it says of a wrong file
        about = (file, skeleton, fps)
        if state is None or state[0] != about or not history:
            state, history = (about, StreamedConversation(*talk, Path(str(file)), skeleton or None, fps or None)), []
        before = [*history, _said_by("user", question)]
        yield before, state, "", ""
        for answer in state[1].ask(question):
            yield [*before, _said_by("assistant", answer)], state, "", notes_list(state[1].notes)

    outputs = [chatbot, state, question, notes]
    inputs = [question, chatbot, state, *upload]
    running = _connect(gr, [question.submit, button.click], ask, inputs, outputs, "chat")
    stop.click(None, cancels=[running], api_visibility="private")
    again.click(lambda: ([], None, "", ""), None, outputs, cancels=[running], api_visibility="private")


def _said_by(role: str, text: str) -> dict[str, str]:
    """A message of the conversation, which is shown as HTML."""
    return {"role": role, "content": html.escape(text, quote=False)}


# ---- what all parts share -------------------------------------------------------------------------------------------------


def _connect(gr: Any, triggers: list[Any], action: Callable[..., Any], inputs: list[Any], outputs: Any, name: str) -> Any:
    """Let triggers call an action, one call at a time in the whole app: the models are shared."""
    return gr.on(
        triggers, _say_errors(gr, action), inputs, outputs, api_name=name, concurrency_limit=1, concurrency_id="models"
    )


def _say_errors(gr: Any, action: Callable[..., Any]) -> Callable[..., Any]:
    """The action with errors as messages of the page: words for what a visitor can mend, and no more than that for others."""

    @contextmanager
    def said() -> Iterator[None]:
        try:
            yield
        except (ValueError, ImportError) as error:
            raise gr.Error(html.escape(str(error), quote=False), print_exception=False) from None
        except Exception:
            _log.exception("the app failed in %s", action.__qualname__)
            raise gr.Error("an error of the app; its log tells more", print_exception=False) from None

    if inspect.isgeneratorfunction(action):

        @functools.wraps(action)
        def stream(*arguments: Any) -> Iterator[Any]:
            with said():
                yield from action(*arguments)

        return stream

    @functools.wraps(action)
    def call(*arguments: Any) -> Any:
        with said():
            return action(*arguments)

    return call


def _says_library(actions: Actions) -> str:
    number = 0 if actions.collection is None else len(actions.collection)
    return f"{number} motions can be found." if number else "No motions to find: start it with --index or --data."


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _need_gradio() -> None:
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise ImportError("the app needs Gradio: pip install 'motionpatches[app]'") from error

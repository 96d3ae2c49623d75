"""What the commands of `motionpatches` share: the app, how errors are shown, options that several have.

Imports that take seconds stand inside the commands, so that `--help` is quick.
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape


app = typer.Typer(
    help="3D human motion and language in one space: train, evaluate, classify, retrieve, embed.\n\n"
    "New here? `motionpatches quickstart` makes motions, trains a small model on them and shows what it can do.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)
console = Console()
_errors = Console(stderr=True)
_SHOWN = (ValueError, TypeError, OSError, ImportError, FloatingPointError)

Checkpoint = Annotated[str, typer.Argument(help="Folder or Hub id of a trained model.")]
Data = Annotated[Path, typer.Option("--data", help="Folder of motion data, or of motion files (BVH, glTF, C3D, NumPy …).")]
Skeleton = Annotated[str | None, typer.Option(help="Skeleton of files that do not say theirs, e.g. smpl22.")]
Template = Annotated[
    str | None, typer.Option(help="Text into which a label is put, of a contrastive model; default “A person {}.”")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Replace a field of the recipe: --set epochs=10. Repeatable.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --output.")]
PushEpochs = Annotated[
    str | None, typer.Option(help="Push each epoch's checkpoint to this Hub repository, in the background.")
]
Private = Annotated[
    bool | None, typer.Option("--private/--public", help="Of a new repository; default as your account says.")
]
Fps = Annotated[float | None, typer.Option(help="Frames per second of files that do not say theirs.")]
Unit = Annotated[str | None, typer.Option(help="Unit of files that do not say theirs, e.g. centimetres.")]
UpAxis = Annotated[str | None, typer.Option(help="Up axis of files that do not say theirs, e.g. z.")]
Person = Annotated[str | None, typer.Option(help="Which person of a file of several: name or index.")]
BodyModel = Annotated[Path | None, typer.Option(help="Body model for files of SMPL parameters.")]
Asf = Annotated[Path | None, typer.Option(help="ASF file with the skeleton of an AMC file.")]


def read_options(skeleton: str | None, **options: Any) -> Any:
    """`ReadOptions` for a file, from a command's options; the skeleton by its name."""
    from ..processing.recording import ReadOptions
    from ..processing.skeletons import get_skeleton

    return ReadOptions(skeleton=None if skeleton is None else get_skeleton(skeleton), **options)


def command(function: Callable[..., None], name: str | None = None) -> Callable[..., None]:
    """Register a command whose foreseeable errors are one line for a person; MOTIONPATCHES_TRACEBACK=1 shows them whole."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except KeyboardInterrupt:
            _errors.print("interrupted; what was saved before is whole")
            raise typer.Exit(130) from None
        except _SHOWN as error:
            if os.environ.get("MOTIONPATCHES_TRACEBACK"):
                raise
            _errors.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
            raise typer.Exit(1) from None

    app.command(name)(wrapper)
    return wrapper

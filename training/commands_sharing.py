"""The commands that make something for others: export, push, draw, figure, app."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from .commands import (
    Asf,
    BodyModel,
    Checkpoint,
    Data,
    Fps,
    Person,
    Private,
    Skeleton,
    Unit,
    UpAxis,
    command,
    console,
    read_options,
)


@command
def export(
    checkpoint: Checkpoint,
    output: Annotated[Path, typer.Option(help="Folder for motion_tower, text_tower, processor and configuration.")],
    export_format: Annotated[str, typer.Option("--format", help="onnx or torch-export.")] = "onnx",
    int8: Annotated[bool, typer.Option("--int8", help="Also write ONNX files with weights in 8 bits.")] = False,
) -> None:
    """Write the two towers as ONNX or torch.export graphs, checked against PyTorch."""
    from .inference import load_checkpoint
    from .tower_export import check_request, export_towers

    check_request(output, export_format, int8)
    model, processor = load_checkpoint(checkpoint)
    report = export_towers(model, processor, output, export_format, int8)
    table = Table("file", "largest difference from PyTorch", "least cosine similarity")
    for name, found in report["towers"].items():
        table.add_row(name, f"{found['max_difference']:.1e}", f"{found['min_cosine']:.5f}")
    console.print(table)
    console.print(f"exported: {output}", highlight=False, markup=False)


@command
def push(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a checkpoint, e.g. runs/first/best.")],
    repo_id: Annotated[str, typer.Argument(help="Name on the Hub: user/name.")],
    results: Annotated[
        list[Path] | None, typer.Option(help="Results file of `evaluate`, for the card. Repeatable; a run's own is found.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the weights as the Hub names it, e.g. cc-by-4.0.")] = None,
    data_licence: Annotated[str | None, typer.Option(help="Licence of the training data, for the card.")] = None,
    language: Annotated[str | None, typer.Option(help="Language of the captions, e.g. en, for the card.")] = None,
    card: Annotated[Path | None, typer.Option(help="A card of your own, put there as it is.")] = None,
    new_card: Annotated[bool, typer.Option("--new-card", help="Write a new card over one written by hand.")] = False,
    private: Private = None,
    revision: Annotated[str | None, typer.Option(help="Branch to commit to; default main.")] = None,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Open a pull request in place of a commit.")] = False,
    message: Annotated[str | None, typer.Option(help="Commit message.")] = None,
) -> None:
    """Share a checkpoint on the Hub: model, processor, pipeline code and card in one commit. Log in with `hf auth login`."""
    from .sharing import push_checkpoint

    facts = {"licence": licence, "data_licence": data_licence, "language": language}
    commit = push_checkpoint(
        checkpoint,
        repo_id,
        results=results,
        facts={key: value for key, value in facts.items() if value is not None},
        card=card,
        new_card=new_card,
        private=private,
        revision=revision,
        create_pr=create_pr,
        commit_message=message,
    )
    console.print(f"pushed: {commit.pr_url or commit.commit_url}", highlight=False, markup=False, soft_wrap=True)


@command
def draw(
    file: Annotated[Path, typer.Argument(help="A motion file.")],
    output: Annotated[
        Path, typer.Option(help="What is written: .png, .pdf, .svg: a strip of poses; .gif, .mp4; .html: a page to play it.")
    ],
    title: Annotated[str | None, typer.Option(help="Words above, such as a caption.")] = None,
    num_poses: Annotated[int | None, typer.Option("--poses", help="Poses in a strip; default 6.", min=1)] = None,
    size: Annotated[int | None, typer.Option(help="Width of an animation in pixels; default 320.")] = None,
    picture_fps: Annotated[float | None, typer.Option(help="Pictures per second of an animation; default 20.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="The camera of an animation goes with the person.")] = False,
    checkpoint: Annotated[
        str | None, typer.Option(help="Folder or Hub id of a model whose patches and attention a page shows.")
    ] = None,
    layer: Annotated[int | None, typer.Option(help="Attention of which layer; default the last.")] = None,
    rollout: Annotated[bool, typer.Option("--rollout", help="Follow the attention through the layers below.")] = False,
    skeleton: Skeleton = None,
    fps: Fps = None,
    unit: Unit = None,
    up_axis: UpAxis = None,
    person: Person = None,
    body_model: BodyModel = None,
    asf: Asf = None,
) -> None:
    """Draw a motion file: stick figures, an animation, or a page that plays it beside its patches and a model's attention."""
    from .drawing import Drawing, draw_motion

    options = read_options(skeleton, fps=fps, unit=unit, up_axis=up_axis, person=person, body_model=body_model, asf=asf)
    drawing = Drawing(title, num_poses, size, picture_fps, follow or None, checkpoint, layer, rollout or None)
    kind = draw_motion(file, output, drawing, options)
    console.print(f"{kind}: {output}", highlight=False, markup=False)


@command
def figure(
    number: Annotated[int, typer.Argument(help="Figure of the paper: 4, 5, 7, 8 or 9.")],
    checkpoint: Annotated[str, typer.Option(help="Folder or Hub id of a trained model.")],
    data: Data,
    output: Annotated[Path, typer.Option(help="A .png, .pdf or .svg file.")],
    split: Annotated[str, typer.Option(help="Which split of the data to take.")] = "test",
    num: Annotated[int, typer.Option("--rows", help="How many motions or texts.", min=1)] = 3,
    ids: Annotated[list[str] | None, typer.Option("--id", help="Show this motion (4, 7, 9). Repeatable.")] = None,
    queries: Annotated[
        list[str] | None, typer.Option("--query", help="Search by this text (5, 8), after captions of the data. Repeatable.")
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="Another checkpoint to compare with (8, 9).")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the choice of motions and captions.")] = 0,
    layer: Annotated[int, typer.Option(help="Attention of which layer (7); -1 is the last.")] = -1,
    rollout: Annotated[bool, typer.Option("--rollout", help="Follow the attention through the layers below (7).")] = False,
) -> None:
    """Draw a figure of the paper with a checkpoint: patches (4), retrieval (5, 8), attention (7), captions found (9)."""
    from .figures import FigureRequest, draw_figure

    request = FigureRequest(number, checkpoint, data, split, num, ids or (), queries or (), baseline, seed, layer, rollout)
    draw_figure(request, output)
    console.print(f"drawn in {output}", highlight=False, markup=False)


def show_app(
    checkpoint: Annotated[str, typer.Option(help="Folder or Hub id of a trained model.")],
    index: Annotated[
        str | None, typer.Option(help="Folder of an index, or its name on the Hub: the motions to find.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of motion files or data: what is found, or pictures of the index.")
    ] = None,
    llamo: Annotated[str | None, typer.Option(help="Folder or Hub id of a MotionLlamo to talk with.")] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; the default is reached from this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Default the first free one from 7860 on.", min=1, max=65535)] = None,
    max_upload_mb: Annotated[float, typer.Option(help="Largest file that can be uploaded, in MB.")] = 50,
) -> None:
    """A page in the browser: find, see, classify and localise motions, and talk about them."""
    from .app import run_app

    run_app(checkpoint, index, data, llamo, host, port, max_upload_mb, console)


command(show_app, "app")  # the name `app` is that of all commands

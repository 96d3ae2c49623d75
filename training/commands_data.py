"""The commands about motion data and checkpoints as they are found: prepare, convert, inspect."""

from pathlib import Path
from typing import Annotated

import typer

from .commands import Asf, BodyModel, Fps, Person, Skeleton, Unit, UpAxis, command, console, read_options


@command
def prepare(
    name: Annotated[
        str,
        typer.Argument(help="humanml3d, kitml, babel60, babel120, babel_qa, interhuman, ntu; folder: files with a table."),
    ],
    root: Annotated[Path, typer.Option(help="Folder of the data set, in the layout of its owner.")],
    output: Annotated[Path, typer.Option(help="Folder for Parquet files, card and report; it appears when it is whole.")],
    num_workers: Annotated[int | None, typer.Option(help="Processes; default one for each core.", min=1)] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a data set in --output.")] = False,
    sub_clips: Annotated[
        bool | None,
        typer.Option("--sub-clips/--no-sub-clips", help="HumanML3D, KIT-ML: rows of captions of a part; default yes."),
    ] = None,
    amass: Annotated[Path | None, typer.Option(help="BABEL: folder of AMASS; default amass in --root.")] = None,
    body_model: Annotated[Path | None, typer.Option(help="BABEL: the body model; default body_models in --root.")] = None,
    protocol: Annotated[str | None, typer.Option(help="NTU RGB+D: xsub (the default), xview or xset.")] = None,
    seed: Annotated[int | None, typer.Option(help="Folder: seed of splits that the table does not say; default 0.")] = None,
    skeleton: Skeleton = None,
    fps: Fps = None,
    push_to: Annotated[str | None, typer.Option("--push-to-hub", help="Name on the Hub, user/name, to push to.")] = None,
    private: Annotated[
        bool | None, typer.Option("--private/--public", help="Of a new repository; default private unless all may share it.")
    ] = None,
) -> None:
    """Make a data set of a download: HumanML3D, KIT-ML, BABEL, InterHuman, NTU RGB+D, or motion files with a table. Resumable."""
    from .preparing import available_cores, make_corpus, print_report, push_dataset
    from .preparing import prepare as build

    of_owner = {"sub_clips": sub_clips, "amass": amass, "body_model": body_model, "protocol": protocol}
    corpus = make_corpus(name, root, **of_owner, seed=seed, skeleton=skeleton, fps=fps)
    report = build(corpus, output, num_workers or available_cores(), overwrite, progress=True)
    print_report(report, console)
    console.print(f"prepared: {output}", highlight=False, markup=False)
    if push_to is not None:
        commit = push_dataset(output, push_to, private)
        console.print(f"pushed: {commit.commit_url}", highlight=False, markup=False, soft_wrap=True)


@command
def convert(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of the published code: a .pt or .safetensors file.")],
    dataset: Annotated[str, typer.Option(help="What it was trained on: humanml3d or kitml.")],
    statistics: Annotated[
        tuple[Path, Path], typer.Option(help="Mean_raw.npy and Std_raw.npy of that data set.", metavar="MEAN STD")
    ],
    text_model: Annotated[str, typer.Option(help="Folder or Hub id of its text model, e.g. distilbert-base-uncased.")],
    output: Annotated[Path, typer.Option(help="Folder to write the converted model to.")],
    num_heads: Annotated[
        int | None, typer.Option(help="Attention heads of its ViT, if it is none of timm's tiny, small, base or large.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a checkpoint in --output.")] = False,
) -> None:
    """Convert a checkpoint of the published MotionPatches code, so that this package and transformers load it."""
    from .conversion import convert_checkpoint

    difference = convert_checkpoint(checkpoint, dataset, statistics, text_model, output, num_heads, overwrite)
    console.print(f"motion features differ from timm's by at most {difference:.1e}", highlight=False)
    console.print(f"converted: {output}", highlight=False, markup=False)


@command
def inspect(
    file: Annotated[Path, typer.Argument(help="A motion file.")],
    skeleton: Skeleton = None,
    fps: Fps = None,
    unit: Unit = None,
    up_axis: UpAxis = None,
    person: Person = None,
    body_model: BodyModel = None,
    asf: Asf = None,
    output: Annotated[Path | None, typer.Option(help="The picture; default <name>_inspect.png in this folder.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write what was understood to this JSON file.")] = None,
) -> None:
    """Show what is understood of a motion file: skeleton, unit, axes, size, sides, warnings, and a picture."""
    from .inspection import check_outputs, draw_inspection, inspect_motion, print_inspection
    from .results import write_json

    options = read_options(skeleton, fps=fps, unit=unit, up_axis=up_axis, person=person, body_model=body_model, asf=asf)
    picture = output or Path(f"{file.stem}_inspect.png")
    check_outputs(file, options, picture, json_file)
    found = inspect_motion(file, options)
    print_inspection(found, console)
    if json_file is not None:
        write_json(json_file, found.to_dict())
        console.print(f"written to {json_file}", highlight=False, markup=False)
    if found.why_not_drawn is None:
        draw_inspection(found).savefig(picture, dpi=110)
    drawn = f"not drawn: {found.why_not_drawn}" if found.why_not_drawn else f"drawn in {picture}"
    console.print(drawn, highlight=False, markup=False)

"""The commands that use a model: classify, retrieve, index, search, captions, chat, localise, attend, embed."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from .commands import Checkpoint, Data, Fps, Private, Skeleton, Template, command, console


@command
def classify(
    checkpoint: Checkpoint,
    motions: Annotated[list[Path], typer.Argument(help="Motion files (BVH, glTF, C3D, NumPy …).")],
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", help="A label, e.g. walks; repeat for each. A classifier has classes of its own."),
    ] = None,
    hypothesis_template: Template = None,
    multi_label: Annotated[bool, typer.Option("--multi-label", help="Score each label on its own.")] = False,
    top: Annotated[int | None, typer.Option(help="How many labels to show; default all, of a classifier 5.", min=1)] = None,
    skeleton: Skeleton = None,
    fps: Fps = None,
) -> None:
    """Name what a person does: among labels of your choice, without training; or by a classifier that knows its classes."""
    from .classifier import classification_pipeline

    pipe, arguments = classification_pipeline(checkpoint, labels or [], hypothesis_template, multi_label)
    for file in motions:
        scores = pipe(str(file), **arguments, top_k=top, skeleton=skeleton, fps=fps)
        console.print(f"\n[bold]{escape(str(file))}[/]", highlight=False)
        table = Table("score", "label")
        for entry in scores:
            table.add_row(f"{entry['score']:.3f}", escape(entry["label"]))
        console.print(table)


@command
def retrieve(
    checkpoint: Checkpoint,
    data: Data,
    query: Annotated[list[str] | None, typer.Option(help="Find motions by this text. Repeatable.")] = None,
    motion: Annotated[list[Path] | None, typer.Option(help="Find captions by this motion file. Repeatable.")] = None,
    top: Annotated[int, typer.Option(help="How many hits to show.", min=1)] = 3,
    split: Annotated[str, typer.Option(help="Which split of the data to search.")] = "test",
    picture: Annotated[Path | None, typer.Option(help="Draw the motions found into this PNG.")] = None,
) -> None:
    """Search motions with a sentence (--query), or captions with a motion (--motion)."""
    from .inference import draw_hits, load_checkpoint, load_gallery, motions_by_text, texts_by_motion

    if not query and not motion:
        raise ValueError("pass --query TEXT to find motions, or --motion FILE to find captions")
    model, processor = load_checkpoint(checkpoint)
    gallery = load_gallery(data, split)
    if query:
        found = motions_by_text(model, processor, query, gallery, top)
        for text, hits in zip(query, found, strict=True):
            console.print(f"\n[bold]{escape(text)}[/]", highlight=False)
            table = Table("score", "motion", "captions")
            for hit in hits:
                table.add_row(f"{hit['score']:.3f}", hit["id"], "; ".join(hit["captions"]))
            console.print(table)
        if picture is not None:
            draw_hits(processor, gallery, query, found).savefig(picture, dpi=110)
            console.print(f"drawn in {picture}", highlight=False)
    if motion:
        texts = [text for captions in gallery.captions for text in captions]
        for file, hits in zip(motion, texts_by_motion(model, processor, [str(m) for m in motion], texts, top), strict=True):
            console.print(f"\n[bold]{escape(str(file))}[/]", highlight=False)
            table = Table("score", "caption")
            for hit in hits:
                table.add_row(f"{hit['score']:.3f}", hit["text"])
            console.print(table)


@command
def index(
    folder: Annotated[Path, typer.Argument(help="Folder of motion files (BVH, glTF, C3D, NumPy …) or of motion data.")],
    checkpoint: Annotated[str, typer.Option(help="Folder or Hub id of a trained model.")],
    output: Annotated[Path, typer.Option(help="Folder of the index; one that is there is brought up to date.")],
    kind: Annotated[str | None, typer.Option(help="flat, ivf or hnsw; default that of the index there, else flat.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the kind: --set nprobe=64. Repeatable.", metavar="NAME=NUMBER"),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Of motion data, which split; default all.")] = None,
    metadata: Annotated[
        Path | None,
        typer.Option(help="Table with file_name, captions and columns of your own; default metadata.csv in the folder."),
    ] = None,
    suffixes: Annotated[
        list[str] | None, typer.Option("--suffix", help="Files that are motions too: --suffix .csv. Repeatable.")
    ] = None,
    skeleton: Skeleton = None,
    fps: Fps = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an index of another checkpoint or folder in --output.")
    ] = False,
    push_to: Annotated[
        str | None, typer.Option("--push-to-hub", help="Name on the Hub, user/name, to push the index to.")
    ] = None,
    private: Private = None,
) -> None:
    """Embed a folder of motions once, to search in. Resumable; with torchrun or accelerate launch, several processes share it."""
    from .indexing import parse_settings, print_index_report, update_index
    from .motion_index import MotionIndex

    report = update_index(
        folder, checkpoint, output, kind, parse_settings(settings or []), split, metadata, suffixes or [], skeleton, fps,
        overwrite, progress=True,
    )  # fmt: skip
    if os.environ.get("RANK", "0") != "0":
        return
    print_index_report(report, console)
    console.print(f"indexed: {output}", highlight=False, markup=False)
    if push_to is not None:
        commit = MotionIndex.load(output, checkpoint).push_to_hub(push_to, private)
        console.print(f"pushed: {commit.commit_url}", highlight=False, markup=False, soft_wrap=True)


@command
def search(
    text: Annotated[str | None, typer.Argument(help="A sentence.")] = None,
    index: Annotated[str, typer.Option(help="Folder of an index, or its name on the Hub.")] = "",
    motion: Annotated[Path | None, typer.Option(help="Search by this motion file, alone or with the sentence.")] = None,
    weight: Annotated[float, typer.Option(help="Of the motion beside a sentence, from 0 to 1.", min=0, max=1)] = 0.5,
    top_k: Annotated[int, typer.Option(help="How many motions.", min=1)] = 10,
    where: Annotated[
        list[str] | None, typer.Option(help="A condition on a column: --where 'duration > 2'. Repeatable; all are met.")
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Look at all motions, whatever the kind of the index.")] = False,
    checkpoint: Annotated[str | None, typer.Option(help="What the index was made by, if it has moved.")] = None,
    skeleton: Skeleton = None,
    fps: Fps = None,
    output: Annotated[Path | None, typer.Option(help="Write what was found to this JSON file too.")] = None,
) -> None:
    """Search an index by a sentence, a motion, or both: motionpatches search "a person kicks" --index FOLDER."""
    from .indexing import print_hits, search_index
    from .results import write_json

    if not index:
        raise ValueError("say where to search: --index FOLDER; `motionpatches index` makes one")
    hits = search_index(index, text, motion, weight, top_k, where or [], exact, checkpoint, skeleton, fps)
    print_hits(hits, console)
    if output is not None:
        write_json(output, {"text": text, "motion": None if motion is None else str(motion), "hits": hits})
        console.print(f"written to {output}", highlight=False, markup=False)


@command
def captions(
    motion: Annotated[Path, typer.Argument(help="A motion file.")],
    candidates: Annotated[Path, typer.Option(help="Text file with a sentence a line.")],
    checkpoint: Annotated[str, typer.Option(help="Folder or Hub id of a trained model.")],
    top: Annotated[int | None, typer.Option(help="How many to show; default all.", min=1)] = None,
    skeleton: Skeleton = None,
    fps: Fps = None,
) -> None:
    """Rank candidate sentences for a motion."""
    from .indexing import rank_captions

    table = Table("score", "caption")
    for entry in rank_captions(checkpoint, motion, candidates, top, skeleton, fps):
        table.add_row(f"{entry['score']:.3f}", escape(entry["text"]))
    console.print(table)


@command
def chat(
    checkpoint: Checkpoint,
    motion: Annotated[Path, typer.Argument(help="A motion file.")],
    question: Annotated[list[str] | None, typer.Option(help="Ask this, and leave. Repeatable.")] = None,
    skeleton: Skeleton = None,
    fps: Fps = None,
    max_new_tokens: Annotated[int, typer.Option(help="Most tokens of an answer.", min=1)] = 256,
) -> None:
    """Talk about a motion with a MotionLlamo on the terminal; answers appear word by word."""
    from .chat import chat as talk

    talk(checkpoint, motion, question or (), skeleton, fps, max_new_tokens, console)


@command
def localise(
    checkpoint: Checkpoint,
    motion: Annotated[Path, typer.Argument(help="A motion file, of any length.")],
    query: Annotated[list[str], typer.Option(help="Find the moments that this sentence describes. Repeatable.")],
    window: Annotated[
        list[float] | None,
        typer.Option(help="Seconds of windows; default 1, 2, 4 and 8, as far as the model takes them. Repeatable."),
    ] = None,
    stride: Annotated[float, typer.Option(help="Seconds from one window to the next.")] = 0.25,
    top_k: Annotated[int, typer.Option(help="The most moments to show of each sentence.", min=1)] = 3,
    threshold: Annotated[float | None, typer.Option(help="Least score of a moment.")] = None,
    max_overlap: Annotated[
        float, typer.Option(help="Drop a moment that overlaps a better one by more than this (IoU, 0 to 1).", min=0, max=1)
    ] = 0.1,
    skeleton: Skeleton = None,
    fps: Fps = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the scores over time into this PNG.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write moments, windows and scores to this JSON file.")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(help="Keep the embedded windows in this .safetensors file; where it exists they are taken from it."),
    ] = None,
) -> None:
    """Find the moments of a long recording that sentences describe."""
    from .localisation import run_localise

    run_localise(
        checkpoint,
        motion,
        query,
        console,
        window,
        stride,
        top_k,
        threshold,
        max_overlap,
        skeleton,
        fps,
        picture,
        json_file,
        keep,
    )


@command
def attend(
    checkpoint: Checkpoint,
    motion: Annotated[Path, typer.Argument(help="A motion file.")],
    picture: Annotated[Path, typer.Option(help="Draw the attention into this PNG.")] = Path("attention.png"),
    layer: Annotated[int, typer.Option(help="Which layer of the motion tower; -1 is the last.")] = -1,
    rollout: Annotated[bool, typer.Option("--rollout", help="Follow the attention through the layers below.")] = False,
    skeleton: Skeleton = None,
    fps: Fps = None,
) -> None:
    """Show which windows and body parts of a motion the model looks at."""
    from ..processing.plotting_attention import plot_attention
    from .inference import load_checkpoint

    model, processor = load_checkpoint(checkpoint)
    patches = processor.feature_extractor
    (resolved,) = patches.resolve([str(motion)], skeleton=skeleton, fps=fps)
    inputs = patches.to_patches([patches.prepare(resolved)], "pt", padding="longest", return_attention_mask=True)
    mask = inputs["motion_attention_mask"] if patches.return_attention_mask else None
    attention = model.get_motion_attention(
        inputs["motion_values"].to(model.device), None if mask is None else mask.to(model.device), layer, rollout
    )
    figure = plot_attention(
        inputs["motion_values"][0],
        attention[0].cpu(),
        inputs["motion_attention_mask"][0],
        resolved.joints,
        resolved.skeleton,
    )
    figure.savefig(picture, dpi=110)
    console.print(f"drawn in {picture}", highlight=False)


@command
def embed(
    checkpoint: Checkpoint,
    source: Annotated[
        Path, typer.Argument(help="Folder of motion data or motion files, or a .txt file with a text a line.")
    ],
    output: Annotated[Path, typer.Option(help="A .safetensors or .parquet file.")],
    split: Annotated[str, typer.Option(help="Which split of motion data to embed.")] = "test",
) -> None:
    """Write the embeddings of a folder of motions, or of a file of texts."""
    from .evaluation import embed_motions, embed_texts
    from .inference import check_embedding_suffix, load_checkpoint, load_gallery, write_embeddings

    check_embedding_suffix(output)
    model, processor = load_checkpoint(checkpoint)
    if source.is_file():
        ids = [line.strip() for line in source.read_text(encoding="utf-8").splitlines() if line.strip()]
        if not ids:
            raise ValueError(f"{source} has no texts: expected one a line")
        embeddings = embed_texts(model, processor, ids)
    else:
        gallery = load_gallery(source, split)
        ids, embeddings = gallery.ids, embed_motions(model, processor, gallery.motions, progress=True)
    write_embeddings(output, ids, embeddings)
    console.print(f"{len(ids)} embeddings of {embeddings.shape[1]} dimensions written to {output}", highlight=False)

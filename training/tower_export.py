"""The two towers as graphs that run without this package: ONNX, or `torch.export`, with the processor beside them."""

import json
import logging
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram
from transformers import PreTrainedModel

from ..processing.processing_motionpatches import MotionTextProcessor
from .folders import replace_folder
from .onnx_inference import require_onnx
from .results import write_json
from .tower_graphs import TowerGraph, capture, list_graphs


SUFFIXES = {"onnx": ".onnx", "torch-export": ".pt2"}
REPORT = "export.json"
#: The first with Gelu as one operator; Attention as one, from 23 on, was no faster in onnxruntime on a CPU.
OPSET = 20
#: Largest difference from PyTorch, as a share of the largest value of the embeddings.
TOLERANCE = 1e-4


def export_towers(
    model: PreTrainedModel,
    processor: MotionTextProcessor,
    folder: str | Path,
    export_format: str = "onnx",
    int8: bool = False,
    tolerance: float = TOLERANCE,
) -> dict[str, Any]:
    """Write `motion_tower` and `text_tower` as graphs, checked against PyTorch, with processor and configuration beside them.

    The graphs take what the processor returns, in batches of any size: `motion_values` (B, 3, F, 5·N) float32 and, where the
    processor returns it and the tower takes it, `motion_attention_mask` (B, F/N) int64; `input_ids` and `attention_mask` (B, L)
    int64. Of P persons motions are (B, P, 3, F, 5·N) with a mask (B, P, F/N). They return `motion_embeds` and `text_embeds`
    (B, projection_dim) float32 of the `…WithProjection` classes: not scaled to unit length.

    F/N goes from one window to the length of the position table, L from two tokens to the limit of the tokenizer. For longer
    motions the model interpolates its table; a graph refuses them. A motion tower other than a ViT over motion patches takes no
    mask, and is exported for motions of `max_frames` frames alone.

    Args:
        model: A [`MotionPatchesModel`], or one of its towers with projection, which is exported alone then.
        processor: Its processor.
        folder: Where to. It must be empty, new, or hold nothing but an earlier export, which is replaced.
        export_format: `"onnx"`: `.onnx` files, their weights inside up to 2 GB and in a file beside them above.
            `"torch-export"`: `.pt2` files for `torch.export.load(file).module()`, called with the inputs by name.
        int8: Also write `.int8.onnx` files: the weights of linear layers in 8 bits, their inputs quantised as they come.
        tolerance: Largest difference from PyTorch, as a share of the largest value of the embeddings.

    Returns:
        The content of `export.json`: `"towers"` has for each file how far it is from PyTorch (`max_difference`, `min_cosine`) and
        over which batch sizes and lengths that was found; beside it the limits, the files and the versions.

    Raises:
        ValueError: For another format or model, a processor that does not fit the model, or int8 with `torch-export`.
        FileExistsError: If the folder holds files that no export wrote.
        ImportError: If a package of the extra `onnx` is missing.
        FloatingPointError: If a graph differs from PyTorch by more than the tolerance; `folder` stays as it was.
    """
    folder = Path(folder)
    check_request(folder, export_format, int8)
    graphs = list_graphs(model, processor)
    report: dict[str, Any] = {"format": export_format, "opset": OPSET if export_format == "onnx" else None, "towers": {}}
    report["limits"] = {graph.name: graph.limits for graph in graphs}

    def write(target: Path) -> None:
        for graph in graphs:
            file = target / f"{graph.name}{SUFFIXES[export_format]}"
            program = capture(graph)
            if export_format == "onnx":
                save_onnx(program, graph, file)
            else:
                torch.export.save(program, file)
            run = onnx_runner(file) if export_format == "onnx" else program_runner(file)
            report["towers"][file.name] = _check(graph, run, file.name, tolerance)
            if int8:
                small = file.with_suffix(".int8.onnx")
                quantize_onnx(file, small)
                report["towers"][small.name] = compare(graph, onnx_runner(small))
        processor.save_pretrained(target)
        model.config.save_pretrained(target)
        report["files"] = sorted([*(str(file.relative_to(target)) for file in target.rglob("*") if file.is_file()), REPORT])
        report["versions"] = _versions(export_format)
        write_json(target / REPORT, report)

    replace_folder(folder, write)
    return report


def check_request(folder: Path, export_format: str, int8: bool = False) -> None:
    """Raise what `export_towers` raises of its arguments, before a model is loaded for it."""
    if export_format not in SUFFIXES:
        raise ValueError(f"export format {export_format!r} is unknown; choose one of {', '.join(map(repr, SUFFIXES))}")
    if int8 and export_format != "onnx":
        raise ValueError(f"int8 files are written with format 'onnx' alone, got {export_format!r}")
    if export_format == "onnx":
        require_onnx("onnx", "onnxscript", "onnxruntime")
    check_folder(folder)


def check_folder(folder: Path) -> None:
    """Raise a `FileExistsError` unless the folder is new, empty, or holds an earlier export and nothing else."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{str(folder)!r} is a file; the export needs a folder")
    if not folder.exists():
        return
    report = folder / REPORT
    ours = set(json.loads(report.read_text(encoding="utf-8")).get("files", [])) if report.exists() else set()
    found = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    foreign = sorted(found - ours)
    if foreign:
        shown = ", ".join(foreign[:3]) + (", …" if len(foreign) > 3 else "")
        raise FileExistsError(
            f"{str(folder)!r} holds {len(foreign)} files that no export wrote ({shown}); choose another folder, or empty it"
        )


def save_onnx(program: ExportedProgram, graph: TowerGraph, file: Path) -> None:
    """Translate a program into ONNX; its limits go into the metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on axes that share a name, and on naming those that are a multiple of one
        translated = torch.onnx.export(
            program,
            input_names=list(graph.axes),
            output_names=[graph.output],
            dynamic_shapes=graph.axes,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert translated is not None
    translated.model.metadata_props.update({name: str(value) for name, value in graph.limits.items()})
    translated.save(file)


def quantize_onnx(source: Path, target: Path) -> None:
    """Linear layers of an ONNX file with weights in 8 bits, a scale for each output; their inputs are quantised as they come.

    Weights keep to 7 of the 8 bits: processors without dot products of 8-bit integers (x86 before VNNI) would overflow.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(source)
    del model.graph.value_info[:]  # shapes of transposed weights, which are stale once the quantiser has turned them
    root = logging.getLogger()
    hint = "pre-processing before quantization"  # whose shape inference cannot follow sizes that vary
    unwanted: Callable[[logging.LogRecord], bool] = lambda record: hint not in record.getMessage()  # noqa: E731
    root.addFilter(unwanted)
    try:
        quantize_dynamic(
            model,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            use_external_data_format=any(source.parent.glob(f"{source.name}.data")),
        )
    finally:
        root.removeFilter(unwanted)


def onnx_runner(file: Path) -> Callable[[dict[str, torch.Tensor]], np.ndarray]:
    """Inputs → embeddings of an ONNX file, by onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, {name: value.numpy() for name, value in inputs.items()})[0]


def program_runner(file: Path) -> Callable[[dict[str, torch.Tensor]], np.ndarray]:
    """Inputs → embeddings of a `.pt2` file."""
    module = torch.export.load(file).module()
    return lambda inputs: module(**inputs).detach().numpy()


@torch.no_grad()
def compare(graph: TowerGraph, run: Callable[[dict[str, torch.Tensor]], np.ndarray]) -> dict[str, Any]:
    """How far a graph is from PyTorch over batches of several sizes, lengths and masks."""
    differences, scales, cosines = [], [], []
    sizes = graph.lengths_to_check()
    for batch, length in sizes:
        inputs = graph.sample(batch, length)
        expected, found = graph.module(**inputs).numpy(), run(inputs)
        differences.append(np.abs(found - expected).max())
        scales.append(np.abs(expected).max())
        lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
        cosines.append(((found * expected).sum(axis=1) / lengths).min())
    # Python's max would pass over a difference that is no number.
    return {
        "max_difference": float(np.max(differences)),
        "largest_value": float(np.max(scales)),
        "min_cosine": float(np.min(cosines)),
        f"batch_sizes_and_{graph.unit}": [[batch, graph.step * length] for batch, length in sizes],
    }


def _check(
    graph: TowerGraph, run: Callable[[dict[str, torch.Tensor]], np.ndarray], name: str, tolerance: float
) -> dict[str, Any]:
    found = compare(graph, run)
    if not found["max_difference"] <= tolerance * found["largest_value"]:
        raise FloatingPointError(
            f"{name} differs from PyTorch by {found['max_difference']:.1e} where values reach {found['largest_value']:.1e}; at "
            f"most {tolerance:g} of that was expected. Nothing was written"
        )
    return found


def _versions(export_format: str) -> dict[str, str]:
    packages = (
        "motionpatches",
        "torch",
        "transformers",
        *(("onnx", "onnxscript", "onnxruntime") if export_format == "onnx" else ()),
    )
    return {name: metadata.version(name) for name in packages}

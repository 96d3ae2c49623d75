"""How fast the two towers embed, as ratios against timm's ViT-B/16 in the same run, and what less precision costs.

    python benchmarks/embedding_speed.py --output docs/results/embedding_speed.json \
        --checkpoint quickstart/run/best --data quickstart/data

Speed is of random weights at full size: ViT-B/16 over 224 frames (70 patches), DistilBERT-base over 24 tokens. Recall is of the
checkpoint, at each precision. Without a checkpoint, or a package, a part is left out, and the results say so.
"""

import copy
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import timm
import torch
import typer
from transformers import DistilBertConfig, PreTrainedConfig

from motionpatches import (
    MotionPatchesConfig,
    MotionPatchesModel,
    MotionPatchProcessor,
    MotionTextProcessor,
    motion_vit_config,
)
from motionpatches.processing.corpora import load_motions
from motionpatches.training.builder import train_tokenizer
from motionpatches.training.evaluation import embed_motions, embed_texts
from motionpatches.training.inference import load_checkpoint
from motionpatches.training.metrics import retrieval_metrics
from motionpatches.training.onnx_inference import OnnxMotionPatches
from motionpatches.training.results import environment, write_json
from motionpatches.training.tower_export import export_towers
from motionpatches.training.tower_graphs import TowerGraph, list_graphs


TOKENS = 24  # a caption of HumanML3D has 12 words on average (Guo et al. 2022), and few have more than 20
BASELINE, TIMM = "sdpa, float32", "timm ViT-B/16, float32"
Jobs = dict[str, Callable[[], Any]]


def main(
    output: Annotated[Path, typer.Option(help="Results file.")],
    checkpoint: Annotated[Path | None, typer.Option(help="Trained model whose recall is measured.")] = None,
    data: Annotated[Path | None, typer.Option(help="Its data, with a split test.")] = None,
    repeats: int = 9,
    threads: Annotated[int, typer.Option(help="CPU threads; 0: as many as there are cores.")] = 0,
    seed: int = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Two layers and few repeats: to see that it runs.")] = False,
) -> None:
    """Measure and write the ratios."""
    torch.set_num_threads(threads or os.cpu_count() or 1)
    repeats = 3 if quick else repeats
    left_out: dict[str, str] = {}
    speed = {}
    for device in ("cpu", *(("cuda",) if torch.cuda.is_available() else ())):
        speed[device] = measure_speed(torch.device(device), repeats, seed, 2 if quick else None, left_out)
    recall = None
    if checkpoint is not None and data is not None:
        recall = measure_recall(checkpoint, data, left_out)
    else:
        left_out["recall"] = "--checkpoint and --data were not given"
    content = {
        "task": "embedding_speed",
        "command": f"python benchmarks/embedding_speed.py --repeats {repeats} --threads {threads} --seed {seed}"
        + (" --quick" if quick else "")
        + (" --checkpoint … --data …" if recall else ""),
        "data": f"random weights and inputs; motions of 224 frames, texts of {TOKENS} tokens; recall on the split test",
        "seed": seed,
        "threads": torch.get_num_threads(),
        "processor instructions": processor_instructions(),
        "speed": speed,
        "recall": recall,
        "left out": left_out,
        **environment(),
    }
    content["versions"].update({name: metadata.version(name) for name in ("timm", "onnxruntime") if installed(name)})
    write_json(output, content)
    report(content)


def measure_speed(
    device: torch.device, repeats: int, seed: int, layers: int | None, left_out: dict[str, str]
) -> dict[str, dict[str, Any]]:
    """`{tower, batch size: {variant: embeddings per second}}` and the ratios, medians of repeats that take turns."""
    torch.manual_seed(seed)
    depth = {} if layers is None else {"num_hidden_layers": layers}
    motion_config: PreTrainedConfig = motion_vit_config("base", **depth)
    text_config = DistilBertConfig() if layers is None else DistilBertConfig(n_layers=layers)
    model = MotionPatchesModel(MotionPatchesConfig(motion_config=motion_config, text_config=text_config)).eval()
    tokenizer = train_tokenizer(["a person walks"], vocab_size=200)
    processor = MotionTextProcessor(MotionPatchProcessor(normalization=None), tokenizer)
    vit = timm.create_model("vit_base_patch16_224", img_size=(224, 80), num_classes=0, depth=layers or 12).eval()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        exported = None
        if device.type == "cpu" and installed("onnxruntime") and installed("onnxscript"):
            export_towers(model, processor, Path(folder) / "exported", int8=True)
            threads = torch.get_num_threads()
            exported = {
                precision: OnnxMotionPatches.from_folder(Path(folder) / "exported", precision == "int8", threads)
                for precision in ("float32", "int8")
            }
        elif device.type == "cpu":
            left_out["ONNX"] = "the extra onnx is not installed"
        for graph, length in zip(list_graphs(model, processor), (14, TOKENS), strict=True):
            variants = torch_variants(graph, device, left_out)
            for batch in (1, 32):
                inputs = full_inputs(graph, batch, length)
                jobs = torch_jobs(variants, {name: value.to(device) for name, value in inputs.items()})
                if graph.name == "motion_tower":
                    jobs.update(timm_jobs(vit, inputs["motion_values"], device))
                for precision, towers in (exported or {}).items():
                    jobs[f"ONNX, {precision}"] = onnx_job(towers, graph.name, inputs)
                found[f"{graph.name}, batch of {batch}"] = rates(jobs, batch, repeats, device)
    return found


def full_inputs(graph: TowerGraph, batch: int, length: int) -> dict[str, torch.Tensor]:
    """Inputs whose masks hide nothing, so that timm, which has none, does the same work."""
    inputs = graph.sample(batch, length)
    return {name: torch.ones_like(value) if name.endswith("mask") else value for name, value in inputs.items()}


def torch_variants(graph: TowerGraph, device: torch.device, left_out: dict[str, str]) -> dict[str, torch.nn.Module]:
    """The tower under eager and SDPA attention, compiled, and in half precision."""
    found: dict[str, torch.nn.Module] = {}
    for attention, dtype in (("eager", torch.float32), ("sdpa", torch.float32), ("sdpa", torch.bfloat16)):
        module = copy.deepcopy(graph.module).to(device, dtype)
        part = module.tower.motion_model if graph.name == "motion_tower" else module.tower.text_model
        part.set_attn_implementation(attention)
        found[f"{attention}, {str(dtype).removeprefix('torch.')}"] = module
    compiler = device.type != "cpu" or shutil.which(os.environ.get("CXX", "g++"))
    if not compiler:
        left_out["torch.compile"] = "there is no C++ compiler (g++), which inductor needs on a CPU"
        return found
    for name in ("sdpa, float32", "sdpa, bfloat16"):
        compiled = torch.compile(copy.deepcopy(found[name]), dynamic=False)
        found[name.replace("sdpa", "torch.compile")] = compiled  # type: ignore[assignment]
    return found


def torch_jobs(variants: dict[str, torch.nn.Module], inputs: dict[str, torch.Tensor]) -> Jobs:
    """One run of each variant."""

    def job(module: torch.nn.Module) -> Callable[[], Any]:
        dtype = next(module.parameters()).dtype
        cast = {name: value.to(dtype) if value.is_floating_point() else value for name, value in inputs.items()}
        return lambda: module(**cast)

    return {name: job(module) for name, module in variants.items()}


def timm_jobs(vit: torch.nn.Module, values: torch.Tensor, device: torch.device) -> Jobs:
    """timm's ViT-B/16 on the same motions, its class token pooled as ours."""

    def job(dtype: torch.dtype) -> Callable[[], Any]:
        module, cast = copy.deepcopy(vit).to(device, dtype), values.to(device, dtype)
        return lambda: module(cast)

    return {TIMM: job(torch.float32), TIMM.replace("float32", "bfloat16"): job(torch.bfloat16)}


def onnx_job(towers: OnnxMotionPatches, name: str, inputs: dict[str, torch.Tensor]) -> Callable[[], Any]:
    """One run of an exported tower."""
    arrays = {key: value.numpy() for key, value in inputs.items()}
    return lambda: towers.run(name, **arrays)


@torch.inference_mode()
def rates(jobs: Jobs, batch: int, repeats: int, device: torch.device) -> dict[str, dict[str, float]]:
    """Embeddings per second of each job, and how many times faster each is than SDPA and timm's in float32."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for job in jobs.values():  # compiles, and fills caches
        job()
        job()
    for _ in range(repeats):  # in turn, so that a busy machine is busy for all
        for name, job in jobs.items():
            seconds[name].append(timed(job, device))
    median = {name: float(np.median(times)) for name, times in seconds.items()}
    found = {
        "embeddings per second": {name: batch / value for name, value in median.items()},
        f"times faster than {BASELINE}": {name: median[BASELINE] / value for name, value in median.items()},
    }
    if TIMM in median:
        found[f"times faster than {TIMM}"] = {name: median[TIMM] / value for name, value in median.items()}
    return found


def timed(job: Callable[[], Any], device: torch.device) -> float:
    """Seconds of one run."""
    started = time.perf_counter()
    result = job()
    if device.type == "cuda":
        torch.cuda.synchronize()
    elapsed = time.perf_counter() - started
    del result
    return elapsed


def measure_recall(checkpoint: Path, data: Path, left_out: dict[str, str]) -> dict[str, Any]:
    """Strict text→motion recall of a trained model at each precision, and how far its embeddings move."""
    model, processor = load_checkpoint(checkpoint)
    model = model.cpu()
    rows = load_motions(data)["test"]
    captions = [texts[0] for texts in rows["captions"]]
    embeddings: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # some motions are longer than the model takes, and each precision says so
        embeddings["PyTorch, float32"] = embed_motions(model, processor, rows), embed_texts(model, processor, captions)
        if installed("onnxruntime") and installed("onnxscript"):
            export_towers(model, processor, Path(folder) / "exported", int8=True)
            for precision in ("float32", "int8"):
                towers = OnnxMotionPatches.from_folder(Path(folder) / "exported", precision == "int8")
                embeddings[f"ONNX, {precision}"] = towers.embed_motions(rows), towers.embed_texts(captions)
        else:
            left_out["recall of ONNX"] = "the extra onnx is not installed"
        half = model.to(torch.bfloat16)
        embeddings["PyTorch, bfloat16"] = embed_motions(half, processor, rows), embed_texts(half, processor, captions)
    exact = embeddings["PyTorch, float32"]
    found: dict[str, Any] = {"num": len(rows), "distinct_captions": len(set(captions))}
    for name, (motions, texts) in embeddings.items():
        scores = retrieval_metrics(texts, motions, captions, protocol="strict")["t2m"]
        found[name] = {
            **{key: scores[key] for key in ("R@1", "R@10")},
            "least cosine similarity to float32, motions": float((motions * exact[0]).sum(axis=1).min()),
            "least cosine similarity to float32, texts": float((texts * exact[1]).sum(axis=1).min()),
        }
    return found


def installed(package: str) -> bool:
    """Whether a package is there."""
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def processor_instructions() -> list[str] | str:
    """Those of the processor's instructions that make bfloat16 and int8 fast, where the system tells."""
    facts = Path("/proc/cpuinfo")
    flags = (
        next((line.split() for line in facts.read_text().splitlines() if line.startswith("flags")), [])
        if facts.exists()
        else []
    )
    telling = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
    return [flag for flag in telling if flag in flags] if flags else "unknown"


def report(content: dict[str, Any]) -> None:
    """Print the ratios."""
    for device, towers in content["speed"].items():
        for tower, found in towers.items():
            for key, values in found.items():
                print(f"{device}, {tower}, {key}:", {name: round(value, 2) for name, value in values.items()})
    for name, values in (content["recall"] or {}).items():
        print(f"recall, {name}:", values)
    print("left out:", content["left out"] or "nothing")


if __name__ == "__main__":
    typer.run(main)

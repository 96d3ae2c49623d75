"""How robust motion patches are to the skeleton, for each choice of canonical frame, root, statistics and interpolation.

    python benchmarks/robustness.py --data FOLDER --output docs/results/robustness.json

It goes on where a run of it stopped; FOLDER holds the data sets cmu, cmu_asf, bandai_namco and utd_mhad in the layout of
`motionpatches.processing.corpora.load_motions`. `report_robustness.py` writes the tables, and says what each number means.
"""

import copy
import json
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow.parquet as pq
import torch
import typer
from datasets import Dataset, DatasetDict, concatenate_datasets
from transformers import AutoModel, AutoProcessor

from motionpatches import MotionPatchProcessor, list_skeletons, make_motions
from motionpatches.processing.canonical import canonicalize, face_forward, relative_to_root
from motionpatches.processing.corpora import load_motions, to_dataset
from motionpatches.processing.processing_motionpatches import ACROSS_SKELETONS
from motionpatches.training.evaluation import embed_motions, embed_texts
from motionpatches.training.loop import train
from motionpatches.training.recipe import parse_recipe
from motionpatches.training.results import environment, write_json
from motionpatches.training.run import describe_data


app = typer.Typer(add_completion=False, no_args_is_help=True)

# A small ViT and a small text model, both from scratch, alike for all settings.
MODEL = {
    "motion_size": "tiny",
    "motion_depth": 3,
    "motion_pooling": "mean",
    "text_name": None,
    "text_pooling": "mean",
    "projection_dim": 128,
    "projection_dropout": 0.1,
    "max_frames": 112,
    "batch_size": 64,
    "lr_motion": 1.0e-3,
    "lr_text": 5.0e-4,
    "lr_head": 1.0e-3,
    "weight_decay": 0.01,
    "warmup_ratio": 0.1,
    "tracker": "none",
    "augment_heading": 20,
    "augment_tempo": 0.1,
    "augment_offset": 0.02,
    "augment_jitter": 0.005,
}
NO_AUGMENTATION = dict.fromkeys(("augment_heading", "augment_tempo", "augment_offset", "augment_jitter"), 0)
#: What recipes start from.
BASE = dict(ACROSS_SKELETONS)
#: Every setting is the base with one thing changed, but for the published one.
SETTINGS: dict[str, dict[str, Any]] = {
    "base: canonical frame, leg-length scale, relative root, shared point statistics of at least 10 cm, landmarks": {},
    "as published: source frame, global root, joint statistics of at least 1 mm per skeleton, half_pixel": {
        "canonicalize": False,
        "body_scale": None,
        "root": "global",
        "normalization": "joints",
        "min_std": 0.001,
        "per_skeleton": True,
        "interpolation": "half_pixel",
    },
    "half_pixel": {"interpolation": "half_pixel"},
    "global root": {"root": "global"},
    "no scale": {"body_scale": None},
    "point statistics per skeleton": {"per_skeleton": True},
    "joint statistics per skeleton": {"normalization": "joints", "per_skeleton": True},
    "statistics of at least 1 mm": {"min_std": 0.001},
    "statistics of at least 30 cm": {"min_std": 0.3},
    "no augmentation": NO_AUGMENTATION,
    "align_corners": {"interpolation": "align_corners"},
    "arc_length": {"interpolation": "arc_length"},
    "more noise": {"augment_offset": 0.04, "augment_jitter": 0.02},
}
TRAINED_SKELETONS = ("smpl22", "body21", "cmu31", "kit21")
UNSEEN_SKELETON = "kinect20"
#: Actions of UTD-MHAD that the other data sets name too: its label → labels and a caption of theirs.
NAMED_ACTIONS = {
    "walking in place": (("walk", "walk-back", "walk/stride", "slow walk"), "a person walks."),
    "jogging in place": (("run", "run/jog", "dash"), "a person runs."),
    "right hand wave": (("wave-right-hand",), "a person waves the right hand."),
    "front boxing": (("punch/strike", "punch"), "a person punches."),
}


def main(
    data: Annotated[Path, typer.Option(help="Folder with the four data sets.")],
    output: Annotated[Path, typer.Option(help="Results file; what it holds already is not measured again.")],
    settings: Annotated[list[str] | None, typer.Option(help="Only settings whose name begins with this.")] = None,
    seed: int = 0,
    procedural_epochs: int = 8,
    real_epochs: int = 12,
    precision: str = "no",
) -> None:
    """Train and judge each setting."""
    chosen = [name for name in SETTINGS if not settings or any(name.startswith(start) for start in settings)]
    results = json.loads(output.read_text()) if output.exists() else {"settings": {}}
    results |= {"task": "robustness", "seed": seed, "epochs": {"procedural": procedural_epochs, "real": real_epochs}}
    results |= {"precision": precision, **environment()}
    made, real = Procedural(seed), Real(data, seed)
    results["data"] = {"procedural": describe_data(made.train), "real": describe_data(real.train)}
    results["chance"] = {**made.chance(), **real.chance()}
    if "nearest neighbour on joints" not in results:
        results["nearest neighbour on joints"] = {**made.judge(embed_plainly, None), **real.judge(embed_plainly, None)}
        write_json(output, results)
    for name in chosen:
        fields = {**MODEL, **BASE, **SETTINGS[name], "seed": seed, "precision": precision}
        entry = results["settings"].setdefault(name, {})
        if "patches" not in entry:
            print(f"== {name}: patches", flush=True)
            entry["patches"] = patch_distances(fields, made)
            entry["untrained"] = {"procedural": judge_patches(fields, made), "real": judge_patches(fields, real)}
            write_json(output, results)
    for name in chosen:
        fields = {**MODEL, **BASE, **SETTINGS[name], "seed": seed, "precision": precision}
        entry = results["settings"][name]
        for part, corpus, epochs in (("procedural", made, procedural_epochs), ("real", real, real_epochs)):
            if part not in entry:
                print(f"== {name}: {part}", flush=True)
                entry[part] = train_and_judge({**fields, "epochs": epochs}, corpus)
                write_json(output, results)
        if name.startswith("base") and "seen" not in entry:
            entry["seen"] = {
                part: train_and_judge({**fields, "epochs": epochs}, corpus, corpus.train_with_target)
                for part, corpus, epochs in (("procedural", made, procedural_epochs), ("real", real, real_epochs))
            }
        write_json(output, results)


def train_and_judge(fields: dict[str, Any], corpus: Any, rows: Dataset | None = None) -> dict[str, Any]:
    """A model trained on the corpus, judged with shared statistics for skeletons that it never saw, and with such as were fitted
    on the target's motions without their labels."""
    with tempfile.TemporaryDirectory() as folder:
        train(
            parse_recipe("robustness", fields),
            DatasetDict(train=corpus.train if rows is None else rows),
            Path(folder) / "run",
        )
        checkpoint = Path(folder) / "run" / "last"
        model, processor = AutoModel.from_pretrained(checkpoint), AutoProcessor.from_pretrained(checkpoint)
    texts = lambda captions: embed_texts(model, processor, captions)  # noqa: E731
    judged = {"shared": corpus.judge(lambda rows: embed_motions(model, processor, rows), texts)}
    patches = processor.feature_extractor
    new = [i for i, skeleton in enumerate(corpus.target["skeleton"]) if skeleton not in patches.statistics]
    if new:
        patches.fit(list(corpus.target.select(new).with_format("numpy")), shared=False)
        judged["fitted"] = corpus.judge(lambda rows: embed_motions(model, processor, rows), texts)
    return judged


def embed_plainly(rows: Dataset, frames: int = 32) -> np.ndarray:
    """The baseline: leg-length scale, each frame relative to its pelvis, first frame facing forward, points that all skeletons
    have, `frames` frames. Shape (N, frames · points · 3)."""
    patches = MotionPatchProcessor(normalization=None)
    common = ["left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "head"]
    common += [f"{side}_{point}" for side in ("left", "right") for point in ("shoulder", "elbow", "wrist")]
    embedded = []
    for motion in patches.resolve(list(rows.with_format("numpy"))):
        joints = canonicalize(motion.joints, motion.skeleton, body_scale=0.8)
        joints = relative_to_root(face_forward(joints, motion.skeleton), motion.skeleton)
        at = [motion.skeleton.landmarks[point] for point in common]
        embedded.append(sample_frames(joints[:, at], frames).reshape(-1))
    return np.stack(embedded)


def sample_frames(frames: np.ndarray, num: int = 32) -> np.ndarray:
    """`num` frames evenly over a motion, linear in between: shape (T, …) → (num, …)."""
    moments = np.linspace(0, len(frames) - 1, num)
    below = np.minimum(moments.astype(int), len(frames) - 2)
    weight = (moments - below).reshape(-1, *(1,) * (frames.ndim - 1))
    return frames[below] * (1 - weight) + frames[below + 1] * weight


def judge_patches(fields: dict[str, Any], corpus: Any) -> dict[str, Any]:
    """Nearest neighbour on the motion patches themselves: what a setting carries across before anything is learned."""
    processor = make_processor(fields, corpus)

    def embed(rows: Dataset) -> np.ndarray:
        embedded = []
        for motion in processor.resolve(list(rows.with_format("numpy"))):
            prepared = processor.prepare(motion)
            values = processor.to_patches([prepared], truncation="start", padding="longest", warn=False)["motion_values"][0]
            frames = np.moveaxis(values, 1, 0)[: min(len(prepared.joints), processor.max_frames)]
            embedded.append(sample_frames(frames).reshape(-1))
        return np.stack(embedded)

    judged = {"shared": corpus.judge(embed, None)}
    new = [i for i, skeleton in enumerate(corpus.target["skeleton"]) if skeleton not in processor.statistics]
    if new:
        processor.fit(list(corpus.target.select(new).with_format("numpy")), shared=False)
        judged["fitted"] = corpus.judge(embed, None)
    return judged


def make_processor(fields: dict[str, Any], corpus: Any) -> MotionPatchProcessor:
    """The processor of a setting, fitted on the training motions of a corpus."""
    processor = MotionPatchProcessor(
        canonicalize=fields["canonicalize"],
        body_scale=fields["body_scale"],
        root=fields["root"],
        interpolation=fields["interpolation"],
        normalization=fields["normalization"],
        min_std=fields["min_std"],
        per_skeleton=fields["per_skeleton"],
        max_frames=fields["max_frames"],
    )
    return processor.fit(list(corpus.train.with_format("numpy")))


def nearest(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Index of the nearest gallery item for each query, by Euclidean distance."""
    return (
        torch.cdist(torch.tensor(queries, dtype=torch.float32), torch.tensor(gallery, dtype=torch.float32)).argmin(1).numpy()
    )


def accuracy(predicted: Sequence[Any], truth: Sequence[Any]) -> float:
    """Percent of equal entries."""
    return 100 * float(np.mean([a == b for a, b in zip(predicted, truth, strict=True)]))


class Procedural:
    """Captioned procedural motion on four skeletons, and the actions on one that training leaves out."""

    def __init__(self, seed: int, each: int = 250) -> None:
        def make(num: int, skeleton: str, part: int) -> Dataset:
            return to_dataset(make_motions(num, skeleton, 1000 * (seed + 1) + part), f"procedural_{skeleton}")

        self.train = concatenate_datasets([make(each, name, index) for index, name in enumerate(TRAINED_SKELETONS)])
        self.train_with_target = concatenate_datasets([self.train, make(each, UNSEEN_SKELETON, 50)])
        self.target = make(190, UNSEEN_SKELETON, 60)
        self.labels = sorted(set(self.target["label"]))

    def chance(self) -> dict[str, float]:
        share = 100 / len(self.labels)
        return {"zero-shot": share, "nearest neighbour": share}

    def judge(self, embed: Any, embed_text: Any) -> dict[str, float]:
        motions, truth = embed(self.target), self.target["label"][:]
        judged = {
            "nearest neighbour": accuracy([self.train[int(i)]["label"] for i in nearest(motions, embed(self.train))], truth)
        }
        if embed_text is not None:
            best = (motions @ embed_text([f"A person {label}." for label in self.labels]).T).argmax(1)
            judged["zero-shot"] = accuracy([self.labels[i] for i in best], truth)
        return judged


class Real:
    """CMU and Bandai-Namco motions for training, without the trials that exist on both CMU skeletons; UTD-MHAD as the target."""

    def __init__(self, data: Path, seed: int, num_bandai: int = 800) -> None:
        every = load_motions(data, ["cmu", "cmu_asf", "bandai_namco", "utd_mhad"])
        source = {}
        for file in [*(data / "cmu").glob("*.parquet"), *(data / "cmu_asf").glob("*.parquet")]:
            table = pq.read_table(file, columns=["id", "source_id"]).to_pydict()
            source |= {key: _trial(value) for key, value in zip(table["id"], table["source_id"], strict=True)}
        all_rows = concatenate_datasets(list(every.values()))
        names, ids = np.array(all_rows["dataset"][:]), np.array(all_rows["id"][:])
        trials = np.array([source.get(id_, "") for id_ in ids])
        twice = set(trials[names == "cmu"]) & set(trials[names == "cmu_asf"])
        whole = {name: {t: i for i, t in enumerate(trials) if names[i] == name and ids[i].startswith(name) and t in twice}
                 for name in ("cmu", "cmu_asf")}  # fmt: skip
        pairs = sorted(set(whole["cmu"]) & set(whole["cmu_asf"]))
        self.body21 = all_rows.select([whole["cmu"][trial] for trial in pairs])
        self.cmu31 = all_rows.select([whole["cmu_asf"][trial] for trial in pairs])

        rows = every["train"]
        names = np.array(rows["dataset"][:])
        held_out = np.array([source.get(id_, "") in twice for id_ in rows["id"]])
        bandai = np.random.default_rng(seed).permutation(np.flatnonzero(names == "bandai_namco"))[:num_bandai]
        cmu = np.flatnonzero(np.isin(names, ("cmu", "cmu_asf")) & ~held_out)
        self.train = rows.select(sorted([*bandai.tolist(), *cmu.tolist()]))
        utd = rows.select(np.flatnonzero(names == "utd_mhad").tolist())
        self.train_with_target = concatenate_datasets([self.train, utd])
        self.gallery = utd
        test = every["test"]
        self.target = test.select([i for i, name in enumerate(test["dataset"]) if name == "utd_mhad"])
        named = concatenate_datasets([self.target, utd])
        self.named = named.select([i for i, label in enumerate(named["label"]) if label in NAMED_ACTIONS])

    def chance(self) -> dict[str, float]:
        return {
            "cmu retrieval": 100 / len(self.body21),
            "utd named": 100 / len(NAMED_ACTIONS),
            "utd named, nearest neighbour": 100 / len(NAMED_ACTIONS),
            "utd 27, nearest neighbour": 100 / len(set(self.gallery["label"])),
        }

    def judge(self, embed: Any, embed_text: Any) -> dict[str, float]:
        one, other = embed(self.body21), embed(self.cmu31)
        right = np.arange(len(one))
        judged = {"cmu retrieval": (accuracy(nearest(one, other), right) + accuracy(nearest(other, one), right)) / 2}
        target = embed(self.target)
        found = nearest(target, embed(self.gallery))
        judged["utd 27, nearest neighbour"] = accuracy(
            [self.gallery[int(i)]["label"] for i in found], self.target["label"][:]
        )
        named, truth = embed(self.named), self.named["label"][:]
        action = {label: name for name, (labels, _) in NAMED_ACTIONS.items() for label in labels}
        known = self.train.select([i for i, label in enumerate(self.train["label"]) if label in action])
        judged["utd named, nearest neighbour"] = accuracy(
            [action[known[int(i)]["label"]] for i in nearest(named, embed(known))], truth
        )
        if embed_text is not None:
            best = (named @ embed_text([caption for _, caption in NAMED_ACTIONS.values()]).T).argmax(1)
            judged["utd named"] = accuracy([list(NAMED_ACTIONS)[i] for i in best], truth)
        return judged


def _trial(source: str) -> str:
    """`CMU 02_06 frames 220-373@20fps, HumanML3D 000327` → `02_06`."""
    return source.split()[1]


def patch_distances(fields: dict[str, Any], made: Procedural, num: int = 38) -> dict[str, float]:
    """The same procedural motions on every named skeleton: how far their patches lie apart, against different motions.

    Statistics are those of the training skeletons; a skeleton without is given the shared ones.
    """
    processor = make_processor(fields, made)
    judged = {}
    for statistics in ("shared", "fitted"):
        patches, own = [], copy.deepcopy(processor)
        for skeleton in list_skeletons():
            motions = _made(skeleton, num)
            if statistics == "fitted" and skeleton not in TRAINED_SKELETONS:
                own.fit(motions, shared=False)
            patches.append(own(motions, truncation="center")["motion_values"].reshape(num, -1))
        values = torch.tensor(np.stack(patches))  # (skeletons, motions, values)
        flat = values.reshape(-1, values.shape[-1])
        distances = torch.cdist(flat, flat).reshape(len(values), num, len(values), num).permute(0, 2, 1, 3)
        across = ~torch.eye(len(values), dtype=torch.bool)
        same = distances[across].diagonal(dim1=1, dim2=2).mean()
        different = distances[across][:, ~torch.eye(num, dtype=torch.bool)].mean()
        judged[f"{statistics}: same / different"] = float(same / different)
        hits = distances[across].argmin(-1) == torch.arange(num)
        judged[f"{statistics}: nearest is the same motion"] = 100 * float(hits.float().mean())
    return judged


@lru_cache
def _made(skeleton: str, num: int) -> list[dict[str, Any]]:
    return make_motions(num, skeleton, seed=99)


if __name__ == "__main__":
    typer.run(main)

"""A shared checkpoint gives the same answers with the package installed and by `trust_remote_code=True` without it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import CAPTIONS, swinging_motion, tiny_config
from hub_server import TOKEN, LocalHub
from huggingface_hub import constants
from transformers import AutoModel, AutoModelForVideoClassification, AutoProcessor

from motionpatches import (
    MotionPatchesForMotionClassification,
    MotionPatchesModel,
    MotionPatchesMotionModelWithProjection,
    MotionPatchesTextModelWithProjection,
    MotionPatchProcessor,
    MotionTextProcessor,
)
from motionpatches.training.export import save_checkpoint
from motionpatches.training.sharing import push_to_hub


CLASSES = {
    "model": MotionPatchesModel,
    "motion_tower": MotionPatchesMotionModelWithProjection,
    "text_tower": MotionPatchesTextModelWithProjection,
    "classifier": MotionPatchesForMotionClassification,
}
LABELS = ["walks", "jumps", "waves"]

# What both processes do with a checkpoint; `trust` is what they differ in.
ANSWERS = """
def answers(kind, where, motion, captions, labels, **trust):
    import torch
    from transformers import AutoFeatureExtractor, AutoModel, AutoModelForVideoClassification, AutoProcessor, pipeline
    auto_class = AutoModelForVideoClassification if kind == "classifier" else AutoModel
    model = auto_class.from_pretrained(where, **trust).eval()
    if kind == "classifier":
        processor = AutoFeatureExtractor.from_pretrained(where, **trust)
        motions = dict(processor(motion, return_tensors="pt"))
    else:
        processor = AutoProcessor.from_pretrained(where, **trust)
        motions = dict(processor(motions=motion, return_tensors="pt"))
        texts = dict(processor(text=captions, return_tensors="pt", padding=True))
    inputs = motions if kind in ("motion_tower", "classifier") else texts if kind == "text_tower" else {**motions, **texts}
    with torch.no_grad():
        outputs = model(**inputs)
    key = {"model": "motion_embeds", "motion_tower": "motion_embeds", "text_tower": "text_embeds", "classifier": "logits"}
    found = {"numbers": outputs[key[kind]].tolist(), "module": type(model).__module__}
    try:
        if kind == "model":
            classify = pipeline("zero-shot-motion-classification", model=where, **trust)
            found["scores"] = classify(motion, candidate_labels=labels)
        if kind == "classifier":
            found["scores"] = pipeline("motion-classification", model=where, **trust)(motion)
    except OSError as error:
        found["scores"] = str(error)
    return found, model, processor
"""
LOADED = """
import json, sys
import numpy as np
import motionpatches
job = json.load(open(sys.argv[1]))
motion = {"joints": np.load(job["joints"]), "skeleton": "smpl22", "fps": 20}
json.dump({kind: answers(kind, where, motion, job["captions"], job["labels"])[0]
           for kind, where in job["hub"].items()}, open(job["output"], "w"))
"""
REMOTE = """
import importlib, json, os, sys
class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "motionpatches":
            raise ModuleNotFoundError("No module named 'motionpatches'")
sys.meta_path.insert(0, NotInstalled())
import numpy as np
job = json.load(open(sys.argv[1]))
motion = {"joints": np.load(job["joints"]), "skeleton": "smpl22", "fps": 20}
def ask(kind, where):
    return answers(kind, where, motion, job["captions"], job["labels"], trust_remote_code=True)
found = {}
for kind in job["folders"]:
    first, model, processor = ask(kind, job["folders"][kind])
    saved = os.path.join(job["resaved"], kind)
    model.save_pretrained(saved)
    processor.save_pretrained(saved)
    found[kind] = {"folder": first, "hub": ask(kind, job["hub"][kind])[0], "resaved": ask(kind, saved)[0]}
try:
    from transformers import AutoProcessor
    AutoProcessor.from_pretrained(job["folders"]["model"], trust_remote_code=True)(motions="walk.bvh")
except ImportError as error:
    found["file"] = str(error)
json.dump(found, open(job["output"], "w"))
"""


@pytest.fixture(scope="module")
def shared(tokenizer, motions, tmp_path_factory):
    """All classes saved and pushed: the job for the processes, and a local Hub that holds them."""
    folder = tmp_path_factory.mktemp("remote_code")
    processor = MotionPatchProcessor(patch_size=8, max_frames=64, padding="longest").fit(motions[:1])
    with LocalHub() as hub, pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", hub.url)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        np.save(folder / "joints.npy", swinging_motion("smpl22", 40))
        job = {"joints": str(folder / "joints.npy"), "captions": CAPTIONS, "labels": LABELS, "folders": {}, "hub": {}}
        for kind, model_class in CLASSES.items():
            torch.manual_seed(0)
            own = {"id2label": dict(enumerate(LABELS))} if kind == "classifier" else {}
            model = model_class(tiny_config(tokenizer, **own)).eval()
            its_processor = processor if kind == "classifier" else MotionTextProcessor(processor, tokenizer)
            save_checkpoint(model, its_processor, folder / kind)
            push_to_hub(model, its_processor, f"someone/{kind}", token=TOKEN)
            job["folders"][kind], job["hub"][kind] = str(folder / kind), f"someone/{kind}"
        yield folder, job, hub


def run_process(code, name, folder, job, hub):
    """Run code in a fresh process that knows nothing but the local Hub; returns what it wrote."""
    job = {**job, "output": str(folder / f"{name}.out.json"), "resaved": str(folder / "resaved")}
    (folder / f"{name}.json").write_text(json.dumps(job))
    (folder / f"{name}.py").write_text(ANSWERS + code)
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(folder / f"{name}_home"),
        "OMP_NUM_THREADS": "1",
    }
    for inherited in ("HF_MODULES_CACHE", "HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        environment.pop(inherited, None)
    command = [sys.executable, str(folder / f"{name}.py"), str(folder / f"{name}.json")]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads((folder / f"{name}.out.json").read_text())


@pytest.fixture(scope="module")
def loaded(shared):
    """Answers of a process with the package, by the names on the Hub."""
    return run_process(LOADED, "loaded", *shared)


@pytest.fixture(scope="module")
def remote(shared):
    """Answers of a process without the package, from folder, Hub and re-saved folder."""
    return run_process(REMOTE, "remote", *shared)


def expected_numbers(kind, folder, motion):
    auto_class = AutoModelForVideoClassification if kind == "classifier" else AutoModel
    model = auto_class.from_pretrained(folder / kind).eval()
    processor = AutoProcessor.from_pretrained(folder / "model")
    motions = dict(processor(motions=motion, return_tensors="pt"))
    texts = dict(processor(text=CAPTIONS, return_tensors="pt", padding=True))
    with torch.no_grad():
        if kind == "text_tower":
            return model(**texts).text_embeds
        if kind == "classifier":
            return model(**motions).logits
        return model(**motions, **(texts if kind == "model" else {})).motion_embeds


@pytest.mark.parametrize("kind", CLASSES)
def test_with_the_package_a_pushed_model_loads_by_its_name(kind, shared, loaded):
    motion = {"joints": swinging_motion("smpl22", 40), "skeleton": "smpl22", "fps": 20}
    assert loaded[kind]["module"].startswith("motionpatches.")
    np.testing.assert_allclose(loaded[kind]["numbers"], expected_numbers(kind, shared[0], motion), atol=1e-6)


@pytest.mark.parametrize("origin", ["folder", "hub", "resaved"])
@pytest.mark.parametrize("kind", CLASSES)
def test_without_the_package_a_model_gives_the_same_numbers(kind, origin, loaded, remote):
    assert remote[kind][origin]["module"].startswith("transformers_modules.")
    np.testing.assert_allclose(remote[kind][origin]["numbers"], loaded[kind]["numbers"], atol=1e-6)


@pytest.mark.parametrize("origin", ["folder", "hub", "resaved"])
@pytest.mark.parametrize("kind", ["model", "classifier"])
def test_without_the_package_a_pipeline_gives_the_same_scores(kind, origin, loaded, remote):
    ours, theirs = loaded[kind]["scores"], remote[kind][origin]["scores"]
    assert not isinstance(theirs, str), theirs
    assert [entry["label"] for entry in theirs] == [entry["label"] for entry in ours]
    assert [entry["score"] for entry in theirs] == pytest.approx([entry["score"] for entry in ours], abs=1e-6)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_model_saved_again_without_the_package_keeps_code_and_auto_map(kind, shared, remote):
    first, again = shared[0] / kind, shared[0] / "resaved" / kind
    maps = [json.loads((folder / "config.json").read_text())["auto_map"] for folder in (first, again)]
    assert maps[0] == maps[1]
    code = {name for name in os.listdir(first) if name.endswith(".py") and "pipeline" not in name}
    assert len(code) > 3
    assert code <= set(os.listdir(again))


def test_without_the_package_a_motion_file_is_refused_with_the_way_out(remote):
    assert "pip install motionpatches" in remote["file"]

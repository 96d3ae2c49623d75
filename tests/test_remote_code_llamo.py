"""A shared MotionLlamo gives the same answers with the package installed and by `trust_remote_code=True` without it."""

import json
import os

import numpy as np
import pytest
import torch
from conftest import swinging_motion
from hub_server import TOKEN, LocalHub
from huggingface_hub import constants
from test_modeling_motion_llamo import chat_tokenizer, made, motion_processor  # noqa: F401 (two of them are fixtures)
from test_remote_code import run_process

from motionpatches.training.export import save_checkpoint
from motionpatches.training.sharing import push_to_hub


KINDS = {"projector": ("projector", "window", False), "cross_talker": ("cross_talker", "frame", True)}

# What both processes do with a checkpoint; `trust` is what they differ in.
CHAT = """
def chat(kind, where, job, **trust):
    import numpy as np
    import torch
    from transformers import AutoModelForMultimodalLM, AutoProcessor, pipeline
    motion = {"joints": np.load(job["joints"]), "skeleton": "smpl22", "fps": 20}
    parts = [{"type": "motion", "motion": motion}, {"type": "text", "text": "what does the person do?"}]
    if kind == "cross_talker":
        parts.insert(1, {"type": "video", "video": torch.from_numpy(np.load(job["frames"]))})
    conversation = [{"role": "user", "content": parts}]
    model = AutoModelForMultimodalLM.from_pretrained(where, **trust).eval()
    processor = AutoProcessor.from_pretrained(where, **trust)
    inputs = processor.apply_chat_template(
        conversation, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    with torch.no_grad():
        logits = model(**inputs).logits[0, -1]
        ids = model.generate(**inputs, max_new_tokens=5, do_sample=False, eos_token_id=None)
    found = {"logits": logits.tolist(), "ids": ids[0].tolist(), "module": type(model).__module__}
    try:
        ask = pipeline("motion-text-to-text", model=where, **trust)
        found["said"] = ask(conversation, max_new_tokens=5, return_full_text=False, generate_kwargs={"eos_token_id": None})
        found["said"] = found["said"][0]["generated_text"]
    except OSError as error:
        found["said"] = str(error)
    return found, model, processor
"""
LOADED = """
import json, sys
import motionpatches
job = json.load(open(sys.argv[1]))
json.dump({kind: chat(kind, where, job)[0] for kind, where in job["hub"].items()}, open(job["output"], "w"))
"""
REMOTE = """
import json, os, sys
class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "motionpatches":
            raise ModuleNotFoundError("No module named 'motionpatches'")
sys.meta_path.insert(0, NotInstalled())
job = json.load(open(sys.argv[1]))
found = {}
for kind, where in job["folders"].items():
    first, model, processor = chat(kind, where, job, trust_remote_code=True)
    saved = os.path.join(job["resaved"], kind)
    model.save_pretrained(saved)
    processor.save_pretrained(saved)
    hub, again = (chat(kind, place, job, trust_remote_code=True)[0] for place in (job["hub"][kind], saved))
    found[kind] = {"folder": first, "hub": hub, "resaved": again}
try:
    processor.apply_chat_template([{"role": "user", "content": [{"type": "motion", "motion": "walk.bvh"}]}], tokenize=True)
except ImportError as error:
    found["file"] = str(error)
json.dump(found, open(job["output"], "w"))
"""


@pytest.fixture(scope="module")
def shared(chat_tokenizer, motion_processor, tmp_path_factory):  # noqa: F811
    """Both fusions saved and pushed: the job for the processes, and a local Hub that holds them."""
    folder = tmp_path_factory.mktemp("remote_llamo")
    with LocalHub() as hub, pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", hub.url)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        np.save(folder / "joints.npy", swinging_motion("smpl22", 40))
        np.save(folder / "frames.npy", np.random.default_rng(0).integers(0, 255, (3, 3, 16, 16), dtype=np.uint8))
        job = {"joints": str(folder / "joints.npy"), "frames": str(folder / "frames.npy"), "folders": {}, "hub": {}}
        for kind, (fusion, unit, video) in KINDS.items():
            model, processor = made(chat_tokenizer, motion_processor, fusion, unit, video)
            torch.nn.init.normal_(model.lm_head.weight)  # answers that differ
            save_checkpoint(model, processor, folder / kind)
            push_to_hub(model, processor, f"someone/{kind}", token=TOKEN)
            job["folders"][kind], job["hub"][kind] = str(folder / kind), f"someone/{kind}"
        yield folder, job, hub


@pytest.fixture(scope="module")
def loaded(shared):
    """Answers of a process with the package, by the names on the Hub."""
    return run_process(CHAT + LOADED, "loaded", *shared)


@pytest.fixture(scope="module")
def remote(shared):
    """Answers of a process without the package, from folder, Hub and re-saved folder."""
    return run_process(CHAT + REMOTE, "remote", *shared)


@pytest.mark.parametrize("origin", ["folder", "hub", "resaved"])
@pytest.mark.parametrize("kind", KINDS)
def test_without_the_package_a_model_says_the_same(kind, origin, loaded, remote):
    ours, theirs = loaded[kind], remote[kind][origin]
    assert ours["module"].startswith("motionpatches.")
    assert theirs["module"].startswith("transformers_modules.")
    np.testing.assert_allclose(theirs["logits"], ours["logits"], atol=1e-5)
    assert theirs["ids"] == ours["ids"]


@pytest.mark.parametrize("origin", ["folder", "hub"])
@pytest.mark.parametrize("kind", KINDS)
def test_without_the_package_the_pipeline_says_the_same(kind, origin, loaded, remote):
    assert loaded[kind]["said"].strip()
    assert remote[kind][origin]["said"] == loaded[kind]["said"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_saved_again_without_the_package_keeps_code_and_auto_map(kind, shared, remote):
    first, again = shared[0] / kind, shared[0] / "resaved" / kind
    maps = [json.loads((folder / "config.json").read_text())["auto_map"] for folder in (first, again)]
    assert maps[0] == maps[1]
    assert set(maps[0]) == {"AutoConfig", "AutoModelForMultimodalLM"}
    code = {name for name in os.listdir(first) if name.endswith(".py") and "pipeline" not in name}
    assert {"modeling_motion_llamo.py", "motion_fusion.py", "processing_motion_llamo.py"} <= code
    assert code <= set(os.listdir(again))


def test_without_the_package_a_motion_file_is_refused_with_the_way_out(remote):
    assert "pip install motionpatches" in remote["file"]

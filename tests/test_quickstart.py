"""The first thing a new user runs, at a small size."""

import json

import pytest
from rich.console import Console
from transformers import AutoModel, AutoProcessor, pipeline

from motionpatches import MotionPatchesModel
from motionpatches.training.quickstart import TRAINED_SKELETONS, UNSEEN_SKELETON, make_data, run_quickstart


def test_it_leaves_what_it_promises(quickstart_folder):
    assert isinstance(AutoModel.from_pretrained(quickstart_folder / "run" / "best"), MotionPatchesModel)
    for picture in ("retrieval.png", "motion_patches.png"):
        assert (quickstart_folder / picture).read_bytes().startswith(b"\x89PNG")
    results = json.loads((quickstart_folder / "results.json").read_text())
    assert len(results["results"]) == 3
    for gallery in results["results"].values():
        assert gallery["chance"]["strict"]["t2m"]["R@1"] == pytest.approx(100 / gallery["num"])
        assert gallery["zero_shot"]["num_classes"] >= 10
    unseen = results["results"][f"unseen {UNSEEN_SKELETON}"]
    assert unseen["statistics"] == {UNSEEN_SKELETON: "shared"}


def test_the_unseen_skeleton_and_the_test_motions_are_not_trained_on():
    data, galleries = make_data(seed=0, motions_per_skeleton=19)
    assert set(data["train"]["skeleton"]) == set(TRAINED_SKELETONS)
    assert UNSEEN_SKELETON not in TRAINED_SKELETONS
    parts = [data["train"], data["validation"], *galleries.values()]
    motions = [{tuple(joints[:30]) for joints in part["joints"]} for part in parts]
    for index, first in enumerate(motions):
        assert all(first.isdisjoint(second) for second in motions[index + 1 :])


def test_an_earlier_quickstart_is_not_overwritten(quickstart_folder):
    with pytest.raises(FileExistsError, match="holds an earlier quickstart"):
        run_quickstart(quickstart_folder, 0, Console(quiet=True))


def test_classification_of_a_sample_file_works_for_any_label(quickstart_folder):
    classify = pipeline("zero-shot-motion-classification", model=str(quickstart_folder / "run" / "best"))
    files = sorted((quickstart_folder / "motions").glob("*.npz"))
    assert len(files) == 19
    assert len(classify([str(f) for f in files], candidate_labels=["walks", "jumps"])) == 19
    assert AutoProcessor.from_pretrained(quickstart_folder / "run" / "best").feature_extractor.fps == 20

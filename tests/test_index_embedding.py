"""Embedding a library: what cannot be used is told, a killed run goes on, and processes share the work."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import swinging_motion

from motionpatches.training import index_embedding
from motionpatches.training.evaluation import embed_motions
from motionpatches.training.index_embedding import embed_source
from motionpatches.training.index_sources import open_source
from motionpatches.training.indexing import update_index


NUM = 10


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Ten motion files, of which the last has the content of the first, and two that are broken."""
    folder = tmp_path_factory.mktemp("library")
    for number in range(NUM):
        joints = swinging_motion(seed=number % (NUM - 1), num_frames=40)
        np.savez(folder / f"{number}.npz", joints=joints, skeleton="smpl22", fps=20)
    (folder / "bad.bvh").write_text("HIERARCHY\n")
    joints = swinging_motion(seed=50)
    joints[7, 3] = np.nan
    np.savez(folder / "holes.npz", joints=joints, skeleton="smpl22", fps=20)
    return folder


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(index_embedding, "SHARD_MOTIONS", 2)


def run(model, processor, library, folder, known=frozenset(), fingerprint="mine"):
    return embed_source(model, processor, open_source(library), known, folder, fingerprint)


def vectors_of(embedded):
    table = embedded.found
    return dict(zip(table["key"].to_pylist(), np.array(table["embedding"].to_pylist(), np.float32), strict=True))


def test_every_content_is_embedded_once_and_what_cannot_be_is_told(model, processor, library, tmp_path):
    embedded = run(model, processor, library, tmp_path / "work")
    assert embedded.num_new == NUM - 1
    assert embedded.keys[0] == embedded.keys[NUM - 1]
    expected = embed_motions(model, processor, [str(library / f"{number}.npz") for number in range(NUM)])
    found = vectors_of(embedded)
    np.testing.assert_allclose([found[key] for key in embedded.keys[:NUM]], expected, atol=1e-5)
    faults = {name: (kind, detail) for name, kind, detail in embedded.faults}
    assert set(faults) == {"bad.bvh", "holes.npz"}
    assert faults["holes.npz"][0] == "motion that cannot be read"
    assert "values that are NaN or infinite, the first at frame 7, joint 3" in faults["holes.npz"][1]
    assert str(library) not in str(faults)


def test_what_is_known_is_not_embedded(model, processor, library, tmp_path):
    keys = run(model, processor, library, tmp_path / "first").keys
    embedded = run(model, processor, library, tmp_path / "second", known={keys[1], keys[2]})
    assert embedded.num_new == NUM - 3
    assert not {keys[1], keys[2]} & set(vectors_of(embedded))


def test_copies_of_a_broken_file_are_told_of_too(model, processor, tmp_path):
    folder = tmp_path / "library"
    folder.mkdir()
    for name in ("a.bvh", "b.bvh"):
        (folder / name).write_text("HIERARCHY\n")
    faults = run(model, processor, folder, tmp_path / "work").faults
    assert [name for name, *_ in faults] == ["a.bvh", "b.bvh"]


def test_a_file_that_cannot_be_opened_is_told_of(model, processor, library, tmp_path, monkeypatch):
    source = open_source(library)
    original = type(source).key

    def closed(self, index):
        if index == 3:
            raise PermissionError(13, "Permission denied", str(library / "3.npz"))
        return original(self, index)

    monkeypatch.setattr(type(source), "key", closed)
    embedded = embed_source(model, processor, source, set(), tmp_path / "work", "mine")
    assert ("3.npz", "file that cannot be read", "[Errno 13] Permission denied: '3.npz'") in embedded.faults
    assert embedded.keys[3] is None
    assert embedded.num_new == NUM - 2


def test_one_motion_that_the_model_does_not_take_leaves_the_others(model, processor, library, tmp_path):
    patches = processor.feature_extractor
    patches.statistics = {"smpl22": patches.statistics["smpl22"]}  # and none for others
    folder = tmp_path / "library"
    folder.mkdir()
    for skeleton in ("smpl22", "cmu31"):
        np.savez(folder / f"{skeleton}.npz", joints=swinging_motion(skeleton), skeleton=skeleton, fps=20)
    embedded = run(model, processor, folder, tmp_path / "work")
    ((name, kind, detail),) = embedded.faults
    assert (name, kind) == ("cmu31.npz", "motion that the model does not take")
    assert "no statistics" in detail
    assert embedded.num_new == 1


def test_motions_that_are_cut_are_noted(model, processor, tmp_path):
    folder = tmp_path / "library"
    folder.mkdir()
    for num_frames in (64, 65):
        np.savez(folder / f"{num_frames}.npz", joints=swinging_motion(num_frames=num_frames), skeleton="smpl22", fps=20)
    table = run(model, processor, folder, tmp_path / "work").found
    notes = dict(zip(table["num_frames"].to_pylist(), table["notes"].to_pylist(), strict=True))
    assert notes == {64: [], 65: ["it is longer than max_frames=64 (3.2 s) and was cut (truncation='start')"]}


def test_shards_of_another_checkpoint_are_not_used(model, processor, library, tmp_path):
    run(model, processor, library, tmp_path / "work")
    assert run(model, processor, library, tmp_path / "work").num_resumed == NUM - 1
    embedded = run(model, processor, library, tmp_path / "work", fingerprint="another")
    assert (embedded.num_new, embedded.num_resumed) == (NUM - 1, 0)


# ---- real processes -------------------------------------------------------------------------------------------------------

SCRIPT = """
import json, os, signal, sys
from accelerate import PartialState
from motionpatches.training import index_embedding
from motionpatches.training.indexing import update_index

library, checkpoint, output, die_after = sys.argv[1:]
index_embedding.SHARD_MOTIONS = 2
write, embed, counts = index_embedding._write_shard, index_embedding._embed, {"shards": 0, "motions": 0}

def write_or_die(table, folder):
    if counts["shards"] == int(die_after):
        (folder / "torn.tmp").write_bytes(b"half a shard")
        os.kill(os.getpid(), signal.SIGKILL)
    write(table, folder)
    counts["shards"] += 1

def count(model, patches, prepared):
    counts["motions"] += len(prepared)
    return embed(model, patches, prepared)

index_embedding._write_shard, index_embedding._embed = write_or_die, count
report = update_index(library, checkpoint, output)
state = PartialState()
path = f"{output}.{state.process_index}.json"
open(path, "w").write(json.dumps({"processes": state.num_processes, **counts, "report": report}))
"""


def run_script(num_processes, library, checkpoint, output, die_after=-1):
    script = output.parent / "script.py"
    script.write_text(SCRIPT)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(num_processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [sys.executable, *(launcher if num_processes > 1 else []), script, library, checkpoint, output, str(die_after)],
        env=environment, capture_output=True, text=True, timeout=200,
    )  # fmt: skip


def rows_of(output):
    return pq.read_table(output / "data").to_pylist()


@pytest.mark.slow
def test_two_processes_go_on_with_a_killed_run_and_make_the_index_of_one(library, trained_run, tmp_path):
    checkpoint, output = trained_run / "best", tmp_path / "index"
    killed = run_script(1, library, checkpoint, output, die_after=2)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not output.exists()
    done = run_script(2, library, checkpoint, output)
    assert done.returncode == 0, done.stderr
    both = [json.loads((tmp_path / f"index.{rank}.json").read_text()) for rank in (0, 1)]
    assert [entry["processes"] for entry in both] == [2, 2]
    assert sorted(entry["motions"] for entry in both) == [2, 3]  # each a share of what the two shards of two had left
    assert both[0]["report"] == both[1]["report"]
    assert (both[0]["report"]["resumed"], both[0]["report"]["embedded"]) == (4, NUM - 1 - 4)
    assert not output.with_name("index.partial").exists()
    alone = update_index(library, str(checkpoint), tmp_path / "alone")
    assert alone["left_out"] == both[0]["report"]["left_out"]
    rows, expected = rows_of(output), rows_of(tmp_path / "alone")
    assert [row["id"] for row in rows] == [row["id"] for row in expected]
    found, wanted = ([row["embedding"] for row in table] for table in (rows, expected))
    np.testing.assert_allclose(found, wanted, atol=1e-5)

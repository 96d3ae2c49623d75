"""`motionpatches prepare`: the folder is whole or not there; what was pushed is what `load_dataset` reads."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import datasets
import numpy as np
import psutil
import pytest
import test_sharing
import yaml
from conftest import run_command, swinging_motion
from datasets import load_dataset
from hub_server import USER
from huggingface_hub import constants
from test_corpora_humanml3d import add_motion, write_lists

from motionpatches import MotionPatchProcessor
from motionpatches.processing.corpora import load_motions
from motionpatches.training import preparing
from motionpatches.training.preparing import make_corpus, prepare, push_dataset


hub = test_sharing.hub


@pytest.fixture
def humanml3d(tmp_path):
    root = tmp_path / "HumanML3D"
    for name in ("000001", "M000001", "000002", "000003"):
        add_motion(root, name, ["he walks", ("he turns", 1.0, 4.0)])
    write_lists(root, train=["000001", "M000001", "000004"], val=["000002"], test=["000003"])
    return root


@pytest.fixture
def folder(tmp_path):
    """Motion files with a table, for whom may share them."""
    root = tmp_path / "files"
    root.mkdir()
    rows = ["file_name,caption,split"]
    for number in range(4):
        np.savez(root / f"{number}.npz", joints=swinging_motion(seed=number), skeleton="smpl22", fps=20)
        rows.append(f"{number}.npz,a person does {number},{'train' if number < 3 else 'test'}")
    (root / "metadata.csv").write_text("\n".join(rows))
    return root


def front_matter(text):
    return yaml.safe_load(text.split("---")[1])


def test_both_loaders_read_what_was_prepared(humanml3d, tmp_path, monkeypatch):
    monkeypatch.setattr("motionpatches.processing.building.SHARD_ITEMS", 1)
    prepare(make_corpus("humanml3d", humanml3d), tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out" / "data").iterdir())[-2:] == [
        "train-00001-of-00002.parquet", "validation-00000-of-00001.parquet"
    ]  # fmt: skip
    ours, theirs = load_motions(tmp_path / "out"), load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    for split, ids in {
        "train": ["000001", "000001_20-80", "M000001", "M000001_20-80"],
        "validation": ["000002", "000002_20-80"],
        "test": ["000003", "000003_20-80"],
    }.items():
        assert ours[split]["id"][:] == theirs[split]["id"][:] == ids
    assert ours["train"]["dataset"][:] == ["humanml3d"] * 4
    row = ours["train"].with_format("numpy")[0]
    expected = np.load(humanml3d / "new_joints" / "000001.npy")
    np.testing.assert_array_equal(row["joints"].reshape(row["num_frames"], row["num_joints"], 3), expected)
    MotionPatchProcessor(normalization=None)(row)
    streamed = load_dataset(str(tmp_path / "out"), streaming=True)["train"]
    assert [row["id"] for row in streamed] == ours["train"]["id"][:]


def test_the_card_states_splits_counts_licence_and_provenance(humanml3d, tmp_path):
    prepare(make_corpus("humanml3d", humanml3d), tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    data = front_matter(text)
    assert [found["split"] for found in data["configs"][0]["data_files"]] == ["train", "validation", "test"]
    assert (data["license"], data["license_name"]) == ("other", "humanml3d")
    assert "| train | `train.txt` | 3 | 2 | 4 | 2 | 4 |" in text
    assert "| train | neither motion nor caption file | 1 |" in text
    assert "AMASS, whose licence" in text
    assert "needs the right to do so" in text


def test_the_command_prints_what_was_found_and_what_was_not(humanml3d, tmp_path):
    result = run_command("prepare", "humanml3d", "--root", humanml3d, "--output", tmp_path / "out", "--num-workers", 1)
    assert result.exit_code == 0, result.output
    assert "skipped: neither motion nor caption file" in result.output
    assert "000004" in result.output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["splits"]["train"]["skipped"]["neither motion nor caption file"]["cases"][0]["id"] == "000004"
    assert report["splits"]["train"]["mirrored"]["pairs"] == 1
    assert "datasets" in report["versions"]
    assert str(tmp_path) not in json.dumps(report)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["humanml4d"], "unknown data set 'humanml4d'; known: humanml3d, kitml, babel60"),
        (["humanml3d", "--protocol", "xsub"], "humanml3d has no setting protocol; leave it out"),
        (["kitml", "--root", "nowhere"], "no folder 'nowhere' to prepare (KIT-ML)"),
        (["interhuman"], "expected the layout of InterHuman"),
    ],
)
def test_a_wrong_request_is_one_line(humanml3d, tmp_path, arguments, message):
    name, *more = arguments
    result = run_command("prepare", name, "--root", humanml3d, "--output", tmp_path / "out", *more, columns=400)
    assert result.exit_code == 1
    assert message in result.output
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_there_already_is_left_alone(humanml3d, tmp_path, monkeypatch):
    corpus = make_corpus("humanml3d", humanml3d)
    first = prepare(corpus, tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr(preparing, "build", None)  # nothing is built
        assert prepare(corpus, tmp_path / "out") == first
    write_lists(humanml3d, train=["000001"])
    with pytest.raises(FileExistsError, match=r"holds another data set.*--overwrite"):
        prepare(corpus, tmp_path / "out")
    assert len(load_motions(tmp_path / "out")["train"]) == 4
    prepare(corpus, tmp_path / "out", overwrite=True)
    assert len(load_motions(tmp_path / "out")["train"]) == 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("important")
    with pytest.raises(FileExistsError, match="holds something else"):
        prepare(corpus, tmp_path / "mine")


def test_a_disk_without_hard_links_gets_copies(folder, tmp_path, monkeypatch):
    def refused(*_):
        raise OSError("not supported")

    monkeypatch.setattr(os, "link", refused)
    prepare(make_corpus("folder", folder), tmp_path / "out")
    assert [len(rows) for rows in load_motions(tmp_path / "out").values()] == [3, 1]


def test_a_replacement_that_broke_off_between_its_renames_is_undone(humanml3d, tmp_path, monkeypatch):
    corpus = make_corpus("humanml3d", humanml3d)
    first = prepare(corpus, tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "out.old")
    (tmp_path / "out.new" / "data").mkdir(parents=True)
    monkeypatch.setattr(preparing, "build", None)  # nothing is built
    assert prepare(corpus, tmp_path / "out") == first
    assert not (tmp_path / "out.new").exists()


def living_members(group):
    """The processes of a process group, without those that only wait to be buried."""
    found = (process for process in psutil.process_iter(["status"]) if process.info["status"] != psutil.STATUS_ZOMBIE)
    members = []
    for process in found:
        with suppress(ProcessLookupError):  # it ended meanwhile
            members += [process.pid] * (os.getpgid(process.pid) == group)
    return members


@pytest.fixture
def start_command():
    """Starts a command in a process group of its own, of which nothing is left in the end."""
    started = []

    def start(*arguments):
        command = [sys.executable, "-m", "motionpatches", *map(str, arguments)]
        started.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        )
        return started[-1]

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_a_killed_command_leaves_nothing_that_looks_whole_and_goes_on(start_command, humanml3d, tmp_path):
    text = humanml3d / "texts" / "000002.txt"
    content = text.read_bytes()
    text.unlink()
    os.mkfifo(text)  # of the second shard: whoever reads it waits
    output = tmp_path / "data" / "out"
    process = start_command("prepare", "humanml3d", "--root", humanml3d, "--output", output, "--num-workers", 2)
    partial, end = output.with_name("out.partial"), time.monotonic() + 120
    while not (partial / "train-00000.note.json").exists():
        assert time.monotonic() < end, "it does not get there"
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert process.returncode == -signal.SIGKILL
    while living_members(process.pid):  # its workers end with it
        assert time.monotonic() < end, "a worker goes on without its parent"
        time.sleep(0.02)
    assert not output.exists()
    with pytest.raises(FileNotFoundError, match="holds no motions"):
        load_motions(tmp_path / "data")
    with pytest.raises(FileNotFoundError, match="holds no prepared data set"):
        push_dataset(partial, "mine")
    text.unlink()
    text.write_bytes(content)
    done = (partial / "train-00000.parquet").stat()
    prepare(make_corpus("humanml3d", humanml3d), output)
    kept = (output / "data" / "train-00000-of-00001.parquet").stat()
    assert (kept.st_mtime_ns, kept.st_size) == (done.st_mtime_ns, done.st_size)  # not built a second time
    assert [len(rows) for rows in load_motions(output).values()] == [4, 2, 2]
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["out"]


@pytest.mark.parametrize("step", ["make_card", "card_digest"])
def test_a_break_at_the_very_end_leaves_the_old_data_and_loses_no_shard(humanml3d, tmp_path, monkeypatch, step):
    corpus = make_corpus("humanml3d", humanml3d)
    prepare(corpus, tmp_path / "data" / "out")
    write_lists(humanml3d, train=["000001"])

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(preparing, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(corpus, tmp_path / "data" / "out", overwrite=True)
    assert len(load_motions(tmp_path / "data")["train"]) == 4
    monkeypatch.setattr("motionpatches.processing.corpora_humanml3d.HumanML3D.read", interrupted)  # all is read already
    prepare(corpus, tmp_path / "data" / "out", overwrite=True)
    assert len(load_motions(tmp_path / "data")["train"]) == 2


def test_what_was_pushed_is_loaded_by_its_name(hub, folder, tmp_path, monkeypatch):
    prepare(make_corpus("folder", folder), tmp_path / "mine")
    result = run_command(
        "prepare", "folder", "--root", folder, "--output", tmp_path / "mine", "--push-to-hub", "mine", columns=400
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert f"pushed: {hub.url}/datasets/{USER}/mine/commit/" in result.output
    repository = f"datasets/{USER}/mine"
    assert hub.commits(repository) == ["Upload mine"]
    assert not hub.repositories[repository].private
    assert f'load_dataset("{USER}/mine")' in hub.files(repository)["README.md"].decode()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", hub.url)
    address = hub.url + "/datasets/{repo_id}/resolve/{revision}/{path}"
    monkeypatch.setattr(datasets.config, "HUB_DATASETS_URL", address)
    loaded = load_dataset(f"{USER}/mine", cache_dir=str(tmp_path / "cache"))
    assert {split: rows["id"][:] for split, rows in loaded.items()} == {
        "train": ["0.npz", "1.npz", "2.npz"],
        "test": ["3.npz"],
    }
    row = loaded["test"].with_format("numpy")[0]
    np.testing.assert_allclose(row["joints"].reshape(-1, 22, 3), swinging_motion(seed=3), atol=1e-6)
    streamed = load_dataset(f"{USER}/mine", streaming=True)
    assert next(iter(streamed["train"]))["captions"] == ["a person does 0"]


def test_data_that_may_not_be_passed_on_goes_to_a_private_repository(hub, humanml3d, tmp_path):
    prepare(make_corpus("humanml3d", humanml3d), tmp_path / "out")
    push_dataset(tmp_path / "out", "human")
    assert hub.repositories[f"datasets/{USER}/human"].private
    with pytest.raises(ValueError, match="exists and is private, not public"):
        push_dataset(tmp_path / "out", "human", private=False)


def test_a_push_that_breaks_off_leaves_nothing_and_the_next_completes_it(hub, folder, tmp_path):
    prepare(make_corpus("folder", folder), tmp_path / "mine")
    for hub.broken in ("upload", "commit"):
        with pytest.raises(ConnectionError, match="push again"):
            push_dataset(tmp_path / "mine", "mine")
        assert set(hub.files(f"datasets/{USER}/mine")) == {".gitattributes"}
    hub.broken = None
    push_dataset(tmp_path / "mine", "mine")
    assert "data/train-00000-of-00001.parquet" in hub.files(f"datasets/{USER}/mine")


def test_a_newer_version_takes_the_place_of_the_older_one_and_an_edited_card_stays(hub, folder, tmp_path, monkeypatch):
    repository = f"datasets/{USER}/mine"
    with monkeypatch.context() as patched:
        patched.setattr("motionpatches.processing.building.SHARD_ITEMS", 1)
        prepare(make_corpus("folder", folder), tmp_path / "old")
    push_dataset(tmp_path / "old", "mine")
    assert "data/train-00002-of-00003.parquet" in hub.files(repository)
    hub.put(repository, "notes.txt", b"mine")
    prepare(make_corpus("folder", folder), tmp_path / "new")
    push_dataset(tmp_path / "new", "mine")
    assert set(hub.files(repository)) == {
        ".gitattributes", "README.md", "report.json", "notes.txt", "data/train-00000-of-00001.parquet",
        "data/test-00000-of-00001.parquet",
    }  # fmt: skip
    assert "# new" in hub.files(repository)["README.md"].decode()
    edited = hub.files(repository)["README.md"] + b"\nMeasured in the gym.\n"
    hub.put(repository, "README.md", edited)
    push_dataset(tmp_path / "old", "mine")
    assert hub.files(repository)["README.md"] == edited
    assert "data/train-00002-of-00003.parquet" in hub.files(repository)
    (tmp_path / "new" / "README.md").write_text("# By hand\n")
    for name in ("new", "old"):
        push_dataset(tmp_path / name, "mine")
        assert hub.files(repository)["README.md"] == b"# By hand\n"

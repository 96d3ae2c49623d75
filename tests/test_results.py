"""Results files say where their numbers come from."""

import json
import sys

import pytest

from motionpatches.training import results


def test_environment_names_versions_and_device():
    found = results.environment()
    assert {"python", "torch", "transformers", "motionpatches"} <= set(found["versions"])
    assert found["device"]


def test_command_line_hides_folders(monkeypatch):
    words = [
        "/usr/bin/motionpatches",
        "evaluate",
        "/home/me/run/best",
        "--data",
        "mocap/a",
        "--set=text_name=/opt/x/y",
        "jumps and/or runs",
    ]
    monkeypatch.setattr(sys, "argv", words)
    expected = "motionpatches evaluate run/best --data mocap/a --set=text_name=x/y jumps and/or runs"
    assert results.command_line() == expected


def test_a_failed_write_leaves_the_old_file(tmp_path):
    results.write_json(tmp_path / "deep" / "results.json", {"a": 1})
    with pytest.raises(TypeError):
        results.write_json(tmp_path / "deep" / "results.json", {"a": object()})
    assert json.loads((tmp_path / "deep" / "results.json").read_text()) == {"a": 1}

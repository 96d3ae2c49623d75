"""The benchmarks still fit the package that they measure."""

import importlib.util
import sys
from pathlib import Path

import pytest


FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.stem)
def test_what_a_benchmark_imports_is_there(file, monkeypatch):
    if file.stem == "speed":
        pytest.importorskip("cv2", reason="opencv-python-headless is of the extra `bench`")
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location(f"benchmark_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)

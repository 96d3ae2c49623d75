"""transformers' own common tests, of the installed version, out of its sdist: `python fetch.py FOLDER` puts them there."""

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import transformers


STAND_INS = Path(__file__).parent / "stand_ins"


def fetch(folder: Path) -> Path:
    """Unpack the folder `tests` of the sdist into `folder`/VERSION, unless it is there, and add the stand-ins.

    Returns:
        The folder to be put on the import path.

    Raises:
        RuntimeError: If pip does not download that version.
    """
    version = transformers.__version__
    target = folder / version
    if not (target / "done").exists():
        shutil.rmtree(target, ignore_errors=True)
        with tempfile.TemporaryDirectory() as downloads:
            _unpack(_download(version, Path(downloads)), target)
        (target / "done").touch()
    shutil.copytree(STAND_INS / "tests", target / "tests", dirs_exist_ok=True)
    shutil.copy2(STAND_INS / "fetch_hub_objects_for_ci.py", target)
    (target / "tests" / "__init__.py").touch()  # the sdist leaves it out, and a configuration test reads it
    return target


def _download(version: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", f"transformers=={version}", "--dest", str(folder), "--quiet"]
    command += ["--no-binary", "transformers", "--no-deps", "--no-build-isolation"]
    if subprocess.run(command, check=False).returncode:
        raise RuntimeError(f"pip could not download the sdist of transformers {version}; its common tests are in no wheel")
    (archive,) = folder.glob(f"transformers-{version}.tar.gz")
    return archive


def _unpack(archive: Path, target: Path) -> None:
    root = archive.name.removesuffix(".tar.gz")
    with tarfile.open(archive) as tar:
        members = [member for member in tar.getmembers() if member.name.startswith(f"{root}/tests/")]
        for member in members:
            member.name = member.name.removeprefix(f"{root}/")
        tar.extractall(target, members=members, filter="data")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    fetch(parser.parse_args().folder)

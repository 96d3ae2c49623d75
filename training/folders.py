"""Folders that are whole at any moment: a new one is filled beside the old one and then put in its place."""

import shutil
from collections.abc import Callable
from pathlib import Path


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Fill a new folder with `write` and put it in the place of `folder`, which stays whole until then."""
    new = start_replacing(folder)
    try:
        write(new)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    finish_replacing(folder)


def start_replacing(folder: Path) -> Path:
    """Make an empty folder to fill, beside `folder`; `finish_replacing` puts it in its place."""
    recover_folder(folder)
    new = filled_beside(folder)
    new.mkdir(parents=True)
    return new


def filled_beside(folder: Path) -> Path:
    """The folder that `start_replacing` makes."""
    return folder.with_name(folder.name + ".new")


def finish_replacing(folder: Path) -> None:
    """Put the filled folder in the place of `folder`."""
    old = set_aside(folder)
    if folder.exists():
        folder.rename(old)
    filled_beside(folder).rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def recover_folder(folder: Path) -> None:
    """Clear what a replacement left that broke off; one that broke off between its two renames is undone."""
    old = set_aside(folder)
    if old.exists() and not folder.exists():
        old.rename(folder)
    for leftover in (filled_beside(folder), old):
        shutil.rmtree(leftover, ignore_errors=True)


def set_aside(folder: Path) -> Path:
    """Where the old folder is between the two renames of a replacement."""
    return folder.with_name(folder.name + ".old")

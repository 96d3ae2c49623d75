"""What the README says is true: its numbers stand in results files, its links and commands exist."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from motionpatches.training.cli import app
from motionpatches.training.recipe import list_recipes


ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = README[README.index("## Results") : README.index("## Development")]


def numbers_in(value, lists=False):
    if isinstance(value, dict) or (lists and isinstance(value, list)):
        items = value.values() if isinstance(value, dict) else value
        return {number for item in items for number in numbers_in(item, lists)}
    return {f"{value:.1f}"} if isinstance(value, (int, float)) and not isinstance(value, bool) else set()


def test_every_number_of_the_results_comes_from_a_results_file():
    measured = set()
    for file in (ROOT / "docs" / "results").glob("*.json"):
        content = json.loads(file.read_text(encoding="utf-8"))
        measured |= {number.removeprefix("-") for number in numbers_in(content.get("results", content))}
    said = set(re.findall(r"(?<![\w.])\d+\.\d(?![\w.])", RESULTS))
    assert len(said) > 20
    assert said <= measured


def test_every_number_of_the_page_on_motion_llamo_comes_from_its_results_files():
    page = (ROOT / "docs" / "llamo.md").read_text(encoding="utf-8")
    page = page[page.index("## Results") : page.index("## What is not here")]
    measured = set()
    for file in (ROOT / "docs" / "results").glob("*instructions.json"):
        content = json.loads(file.read_text(encoding="utf-8"))
        measured |= {number.removeprefix("-") for number in numbers_in(content, lists=True)}
    said = set(re.findall(r"(?<![\w.])\d+\.\d(?![\w.])", page))
    assert len(said) > 100
    assert said <= measured


def test_the_counts_of_the_common_tests_are_those_of_their_file():
    total = json.loads((ROOT / "docs" / "results" / "test_transformers.json").read_text(encoding="utf-8"))["total"]
    sentence = re.search(r"(\d+) pass, (\d+) do not apply, and (\d+) fail", RESULTS)
    assert [int(number) for number in sentence.groups()] == [total["passed"], total["skipped"], total["failed"]]


def test_links_and_pictures_exist():
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert len(targets) > 5
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_commands_and_options_exist():
    commands = re.findall(r"^motionpatches (\w+)(.*)$", README, re.MULTILINE)
    assert len(commands) > 5
    for name, rest in commands:
        shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"})
        assert shown.exit_code == 0, name
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in shown.output, (name, option)
        for recipe in re.findall(r"--recipe (\w+)", rest):
            assert recipe in list_recipes()


@pytest.mark.parametrize("target", ["quickstart", "test"])
def test_make_targets_exist(target):
    assert f"make {target}" in README
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)

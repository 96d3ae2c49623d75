"""Holds each outcome against `expected.yaml`: an unlisted skip or failure fails the run, as does a listed one that is gone."""

import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import yaml


FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))

from fetch import fetch  # noqa: E402


sys.path.insert(0, str(fetch(FOLDER.parent.parent / "build" / "transformers-tests")))
COMPARED = "clip.py"  # what is run for comparison, and not judged


class Outcomes:
    """What became of each test, by (class, test)."""

    def __init__(self):
        self.found = {}
        self.messages = {}  # of skips and failures
        self.compared = set()

    def pytest_runtest_logreport(self, report):
        file, class_name, test = report.nodeid.split("::")
        key = (class_name, test)
        if file.endswith(COMPARED):
            self.compared.add(class_name)
        if report.failed:  # a subtest that fails, too, fails its test
            self.found[key] = "failed"
            self.messages[key] = getattr(getattr(report.longrepr, "reprcrash", None), "message", report.longreprtext)
        elif report.skipped and self.found.get(key) != "failed":  # nor has a test passed that skipped a subtest
            self.found[key] = "skipped"
            self.messages[key] = report.longrepr[2].removeprefix("Skipped: ")
        elif report.when == "call":
            self.found.setdefault(key, "passed")

    def judge(self, expected, whole):
        """Sentences about what differs from the list; none if all is as listed. A `whole` run misses no test."""
        complaints = []
        for (class_name, test), outcome in sorted(self.found.items()):
            if class_name in self.compared:
                continue
            name = f"{class_name}::{test}"
            failure = expected["failures"].get(test, {})
            twin = failure.get("classes", {}).get(class_name)
            if outcome == "failed" and twin is None:
                complaints.append(f"{name} failed, which is not listed")
            elif outcome == "failed" and not re.search(failure["message"], self.messages[class_name, test]):
                complaints.append(f"{name} failed in another way than listed: {self.messages[class_name, test]}")
            elif outcome == "failed" and self.compared and self.found.get((twin, test)) != "failed":
                complaints.append(f"{name} failed, but {twin} does not fail it")
            elif outcome != "failed" and twin is not None:
                complaints.append(f"{name} is listed as a failure, but {outcome}")
            groups = [group for group in expected["skips"] if _is_listed(group["tests"].get(test, ()), class_name)]
            if outcome == "skipped":
                reason = self.messages[class_name, test]
                if not any(re.match(group["message"], reason) for group in groups):
                    complaints.append(f"{name} was skipped, which is not listed: {reason}")
            elif groups and not any(group.get("hardware") for group in groups):
                complaints.append(f"{name} is listed as skipped, but {outcome}")
        gone = self._gone(expected) if whole else []
        return complaints + [f"{name} is listed, but no class has such a test" for name in gone]

    def _gone(self, expected):
        listed = {*expected["failures"], *(test for group in expected["skips"] for test in group["tests"])}
        return sorted(listed - {test for _, test in self.found})

    def counts(self):
        counted = defaultdict(Counter)
        for (class_name, _), outcome in self.found.items():
            counted[class_name][outcome] += 1
        return {name: {kind: count[kind] for kind in ("passed", "failed", "skipped")} for name, count in counted.items()}


def _is_listed(classes, class_name):
    return classes == "all" or class_name in classes


def pytest_addoption(parser):
    parser.addoption("--output", help="write the counts of each class to this JSON file")


def pytest_configure(config):
    config.outcomes = Outcomes()
    config.pluginmanager.register(config.outcomes)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    config = session.config
    if config.option.collectonly or session.exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return
    expected = yaml.safe_load((FOLDER / "expected.yaml").read_text(encoding="utf-8"))
    config.complaints = config.outcomes.judge(expected, whole=not config.option.keyword)
    session.exitstatus = pytest.ExitCode.TESTS_FAILED if config.complaints else pytest.ExitCode.OK
    if config.getoption("--output"):
        _write(Path(config.getoption("--output")), config.outcomes)


def _write(path, outcomes):
    from motionpatches.training.results import environment, write_json

    counts = outcomes.counts()
    compared = {name: count for name, count in counts.items() if name in outcomes.compared}
    ours = {name: count for name, count in counts.items() if name not in outcomes.compared}
    total = {kind: sum(count[kind] for count in ours.values()) for kind in ("passed", "failed", "skipped")}
    failures = sorted(
        f"{name}::{test}" for (name, test), outcome in outcomes.found.items() if outcome == "failed" and name in ours
    )
    results = {
        "command": "make test-transformers",
        "total": total,
        "classes": ours,
        "compared": compared,
        "failures": failures,
    }
    write_json(path, {**results, **environment()})


def pytest_terminal_summary(terminalreporter, config):
    terminalreporter.section("transformers' common tests")
    for name, count in sorted(config.outcomes.counts().items(), key=lambda item: item[0] in config.outcomes.compared):
        note = " (for comparison)" if name in config.outcomes.compared else ""
        terminalreporter.line(f"{name}{note}: " + ", ".join(f"{number} {kind}" for kind, number in count.items()))
    complaints = getattr(config, "complaints", None)
    if complaints:
        terminalreporter.section("not as listed in expected.yaml")
        for complaint in complaints:
            terminalreporter.line(complaint)
    elif complaints is not None:
        terminalreporter.line("every failure and every skip is listed in expected.yaml, with its reason")

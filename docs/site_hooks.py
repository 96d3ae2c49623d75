"""What mkdocs does not know by itself: how the package's folders are imported, and tables that are made when the site is built.

A page asks for a table by a comment, such as `<!-- made when the site is built: results -->`.
"""

import ast
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml


ROOT = Path(__file__).resolve().parent.parent
API_FOLDER = ROOT / "build" / "api"
PACKAGES = {
    "motionpatches": "modeling_motionpatches",
    "motionpatches/processing": "processing",
    "motionpatches/training": "training",
}
_MARK = re.compile(r"<!-- made when the site is built: (\w+) -->")


def on_startup(**_: Any) -> None:
    """Lay the sources out as they are imported, for mkdocstrings, which reads them without importing them."""
    shutil.rmtree(API_FOLDER, ignore_errors=True)
    for name, folder in PACKAGES.items():
        shutil.copytree(ROOT / folder, API_FOLDER / name, ignore=shutil.ignore_patterns("__pycache__"))


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put tables where a page asks for them."""
    return _MARK.sub(lambda found: MAKERS[found[1]](), markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Leave out marks that say nothing here: in types and around [`Name`], as transformers has them; empty heads of tables."""
    html = re.sub(r"<code>(`[^<]+)</code>", lambda found: f"<code>{re.sub('[`*]', '', found[1])}</code>", html)
    html = re.sub(r"\[(<code>[\w.]+</code>)\]", r"\1", html)
    return re.sub(r"<thead>\s*<tr>(\s*<th[^>]*></th>)+\s*</tr>\s*</thead>", "", html)


# ---- what was measured ----------------------------------------------------------------------------------------------------


def results_table() -> str:
    """A section for each results file: what wrote it, of what, and with which versions. No value is typed by hand."""
    return "\n".join(_describe_results(file) for file in _results_files())


def _results_files() -> list[Path]:
    return sorted((ROOT / "docs" / "results").rglob("*.json"))


def _describe_results(file: Path) -> str:
    facts = json.loads(file.read_text(encoding="utf-8"))
    name = file.relative_to(ROOT / "docs").as_posix()
    training = facts.get("training") or {}
    rows = {
        "command": _code(facts.get("command")),
        "data": _plain(facts.get("data")),
        "split": _plain(facts.get("split")),
        "seed": _plain(facts.get("seed", facts.get("seeds", training.get("seed")))),
        "versions": ", ".join(f"{library} {version}" for library, version in facts.get("versions", {}).items()),
        "commit": _code(facts.get("commit")),
        "device": _plain(facts.get("device")),
    }
    always = ("command", "data", "seed")
    lines = [f"| {key} | {value or 'not stated in the file'} |" for key, value in rows.items() if value or key in always]
    return "\n".join(
        [f"## {Path(name).relative_to('results')}", "", f"[{name}]({name})", "", "| | |", "|---|---|", *lines, ""]
    )


def _code(value: Any) -> str:
    return f"`{value}`" if value else ""


def _plain(value: Any) -> str:
    """A value of a JSON file in one cell."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return "<br>".join(f"{key}: {_plain(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_plain(item) for item in value)
    return str(value).replace("|", "\\|")


# ---- what others own ------------------------------------------------------------------------------------------------------


def licences_table() -> str:
    """The licences that the builders of data sets state, which also go into the cards of what `prepare` makes."""
    lines = ["| data set | licence, as its owner states it | may be passed on |", "|---|---|---|"]
    for about in _abouts():
        title = f"[{about.title}]({about.homepage})"
        lines.append(f"| {title} | {about.licence} | {'yes' if about.may_be_shared else 'no'} |")
    return "\n".join(lines)


def _abouts() -> list[Any]:
    from motionpatches.processing import corpora_babel, corpora_babel_qa, corpora_humanml3d, corpora_interhuman, corpora_ntu

    modules = (corpora_humanml3d, corpora_babel, corpora_babel_qa, corpora_interhuman, corpora_ntu)
    found = {
        about.title: about
        for module in modules
        for item in vars(module).values()
        if isinstance(item, type) and item.__module__ == module.__name__ and (about := getattr(item, "about", None))
    }
    return list(found.values())


def weights_table() -> str:
    """The pretrained weights that recipes name, and where they say their licence."""
    used: dict[str, list[str]] = {}
    for file in _recipes():
        for field in ("motion_name", "text_name", "language_name"):
            if name := yaml.safe_load(file.read_text(encoding="utf-8")).get(field):
                used.setdefault(name, []).append(file.stem)
    lines = ["| weights | its card, which states the licence | recipes |", "|---|---|---|"]
    for name, recipes in sorted(used.items()):
        page = name if "/" in name else f"timm/{name}" if "." in name else name
        url = f"https://huggingface.co/{page}"
        lines.append(f"| `{name}` | [{url.removeprefix('https://')}]({url}) | {', '.join(f'`{r}`' for r in recipes)} |")
    return "\n".join(lines)


# ---- recipes, commands, examples ------------------------------------------------------------------------------------------


def _recipes() -> list[Path]:
    return sorted((ROOT / "training" / "recipes").glob("*.yaml"))


def recipes_listing() -> str:
    """All packaged recipes as they are."""
    return "\n".join(f"## {file.stem}\n\n```yaml\n{file.read_text(encoding='utf-8')}```\n" for file in _recipes())


def commands_listing() -> str:
    """What `--help` says of each command."""
    import typer

    from motionpatches.training.cli import app

    group = typer.main.get_command(app)
    return "\n".join(_describe_command(name, command) for name, command in group.commands.items())  # type: ignore[attr-defined]


def _describe_command(name: str, command: Any) -> str:
    lines = [f"## {name}", "", command.help or "", "", "| | |", "|---|---|"]
    for parameter in command.params:
        if parameter.name == "help":
            continue
        shown = " / ".join([*parameter.opts, *parameter.secondary_opts])
        shown = shown if shown.startswith("-") else parameter.name.upper()
        help_text = " ".join((getattr(parameter, "help", None) or "").split()).replace("|", "\\|")
        lines.append(f"| `{shown}` | {help_text}{' **Required.**' if parameter.required else ''} |")
    return "\n".join([*lines, ""])


def examples_listing() -> str:
    """Each script of examples/: what it shows, and its code."""
    return "\n".join(_describe_example(file) for file in sorted((ROOT / "examples").glob("*.py")))


def _describe_example(file: Path) -> str:
    code = file.read_text(encoding="utf-8")
    says = ast.get_docstring(ast.parse(code)) or ""
    return f'## {file.stem}\n\n{says}\n\n??? example "examples/{file.name}"\n\n' + "\n".join(_indented(code)) + "\n"


def _indented(code: str) -> Iterator[str]:
    yield "    ```python"
    for line in code.splitlines():
        yield f"    {line}" if line else ""
    yield "    ```"


MAKERS: dict[str, Callable[[], str]] = {
    "results": results_table,
    "licences": licences_table,
    "weights": weights_table,
    "recipes": recipes_listing,
    "commands": commands_listing,
    "examples": examples_listing,
}

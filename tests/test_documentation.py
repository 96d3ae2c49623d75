"""Every python and shell block of the README and of docs/ is run here, or stands on a list that says why it is not."""

import importlib
import importlib.util
import json
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import test_sharing
import torch
import yaml
from conftest import TINY_RECIPE, run_command, swinging_motion
from hub_server import USER
from markdown_it import MarkdownIt
from test_corpora_humanml3d import add_motion, write_lists

import motionpatches
from motionpatches import get_skeleton, make_motions, write_npz
from motionpatches.processing.motion import Motion
from motionpatches.training.recipe import list_recipes


ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
hub = test_sharing.hub

#: Languages of blocks that are run, and of those that hold nothing to run.
RUN = ("python", "bash", "sh")
NOT_RUN = ("", "text", "yaml", "bibtex")

#: Commands that are not run here: a pattern, and why. One that matches no command any more is an error.
ELSEWHERE = {
    r"^make \w": "a target of the Makefile, which is there (test below)",
    r"^(torchrun|accelerate launch) ": "several processes: tests/test_distributed.py starts them",
    r"^motionpatches train … ": "is cut short on the page",
    r"^motionpatches reproduce (?!--list)": "trains models of full size: tests/test_reproduction.py runs it on tiny ones",
    r"^motionpatches convert ": "needs weights that others own: tests/test_convert_motionpatches_to_hf.py runs it on made ones",
}

#: Commands that serve until they are stopped; their own tests start them.
SERVING = r"^motionpatches app\b"

#: What is added to a command, so that it takes seconds.
TINY_TRAINING = {**TINY_RECIPE, "epochs": 1, "select_on": None}
TINY_LANGUAGE = {
    "language_name": None, "language_width": 32, "language_depth": 1, "language_heads": 2, "vocab_size": 300, "max_tokens": 256,
    "num_questions": 8, "num_validation_questions": 4, "epochs": 1, "batch_size": 8, "tracker": "none",
}  # fmt: skip


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    code: str

    @property
    def place(self):
        return f"{self.page}:{self.line}"


def read_blocks(page):
    tokens = MarkdownIt().parse((ROOT / page).read_text(encoding="utf-8"))
    return [
        Block(page, token.map[0] + 1, token.info.strip(), token.content)
        for token in tokens
        if token.type in ("fence", "code_block")
    ]


PAGES = ["README.md", *(path.relative_to(ROOT).as_posix() for path in sorted(DOCS.rglob("*.md")))]
BLOCKS = {page: read_blocks(page) for page in PAGES}
RUN_PAGES = [page for page in PAGES if any(block.language in RUN for block in BLOCKS[page])]


def commands_of(code):
    """Commands of a shell block: whole lines, without comments."""
    lines = code.replace("\\\n", " ").splitlines()
    return [
        " ".join(shlex.split(line, comments=True)) and line.strip() for line in lines if shlex.split(line, comments=True)
    ]


def reason(command):
    return next((pattern for pattern in (*ELSEWHERE, SERVING) if re.search(pattern, command)), None)


COMMANDS = [
    (block, command)
    for blocks in BLOCKS.values()
    for block in blocks
    if block.language in ("bash", "sh")
    for command in commands_of(block.code)
]


# ---- nothing is left out --------------------------------------------------------------------------------------------------


def test_each_block_says_what_it_is():
    blocks = [block for found in BLOCKS.values() for block in found]
    assert len(blocks) > 40
    assert [block.place for block in blocks if block.language not in RUN + NOT_RUN] == []
    hidden = [
        block.place
        for block in blocks
        if block.language in NOT_RUN
        and re.search(r"^(\$ |motionpatches |make |pip |import |from \w+ import )", block.code, re.M)
    ]
    assert hidden == []


def test_each_command_is_one_of_ours_or_on_the_list():
    unknown = [
        f"{block.place}: {command}"
        for block, command in COMMANDS
        if not command.startswith("motionpatches ") and not reason(command)
    ]
    assert unknown == []


def test_the_list_holds_nothing_that_no_page_says():
    said = {reason(command) for _, command in COMMANDS}
    assert [pattern for pattern in ELSEWHERE if pattern not in said] == []


def test_targets_and_extras_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    texts = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
    targets = {(page, name) for page, text in texts.items() for name in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.M)}
    assert len(targets) > 5
    assert [found for found in sorted(targets) if not re.search(rf"^{found[1]}:", makefile, re.M)] == []
    extras = {(page, name) for page, text in texts.items() for name in re.findall(r"motionpatches\[(\w+)\]", text)}
    assert [found for found in sorted(extras) if f'"{found[1]}":' not in setup] == []


# ---- every block works ----------------------------------------------------------------------------------------------------


def write_motion(file):
    np.savez(file, joints=swinging_motion(num_frames=60), skeleton="smpl22", fps=20)


def write_files(folder, num=12):
    """Motion files with a table of captions, labels and splits."""
    folder.mkdir()
    lines = ["file_name,caption,label,split"]
    for number, made in enumerate(make_motions(num, "smpl22", actions=["wave", "kick", "squat"])):
        write_npz(folder / f"{number}.npz", Motion(made["joints"], get_skeleton(made["skeleton"]), made["fps"]))
        split = ("train", "train", "validation", "test")[number * 4 // num]
        lines.append(f'{number}.npz,"{made["captions"][0]}",{made["label"]},{split}')
    (folder / "metadata.csv").write_text("\n".join(lines))


def write_bvh(file):
    write_library(file.parent / "bvh")
    (file.parent / "bvh" / "walks.bvh").rename(file)


def write_library(folder):
    """BVH files, written by the example that searches them."""
    spec = importlib.util.spec_from_file_location("own_bvh_library", ROOT / "examples" / "own_bvh_library.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.make_library(folder)
    (folder / "kicks.bvh").rename(folder / "take1.bvh")


def write_humanml3d(root):
    for name in ("000001", "000002", "000003"):
        add_motion(root, name, ["he walks", ("he turns", 1.0, 4.0)])
    write_lists(root, train=["000001"], val=["000002"], test=["000003"])


def write_recording(file):
    joints = np.concatenate([made["joints"] for made in make_motions(2, "smpl22", actions=["kick", "wave"])])
    write_npz(file, Motion(joints, get_skeleton("smpl22"), 20))


@pytest.fixture
def on_the_page(after_quickstart, named_folder, trained_run, hub, monkeypatch):
    """Puts what a page speaks of, and does not make itself, into the current folder."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(after_quickstart / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    made = {
        "CHECKPOINT": lambda path: path.symlink_to(after_quickstart / "quickstart" / "run" / "best"),
        "DIR": lambda path: path.symlink_to(named_folder),
        "DATA": lambda path: path.symlink_to(named_folder),
        "my_mocap": lambda path: path.symlink_to(named_folder),
        "generated": lambda path: path.symlink_to(named_folder),
        "runs/first": lambda path: path.symlink_to(trained_run),
        "runs/second": lambda path: path.symlink_to(trained_run),
        "my_files": write_files,
        "generated_files": write_files,
        "HumanML3D": write_humanml3d,
        "library": write_library,
        "walk.npz": write_motion,
        "walk.bvh": write_bvh,
        "recording.npz": write_recording,
        "texts.txt": lambda path: path.write_text("a person walks\na person kicks\n"),
    }

    def prepare(page):
        text = (ROOT / page).read_text(encoding="utf-8")
        if "--root my_mocap" in text:
            made["my_mocap"] = write_files
        (after_quickstart / "runs").mkdir()
        for name, make in made.items():
            if re.search(rf"(?<![\w/]){name}\b", text) and not re.search(rf"--output {name}(?![\w/])", text):
                make(after_quickstart / name)

    return prepare


def settings(fields):
    return [part for name, value in fields.items() for part in ("--set", f"{name}={'' if value is None else value}")]


def in_small(command, language_model, encoder):
    """Arguments of a command line, which make it take seconds and no download."""
    arguments = shlex.split(command, comments=True)[1:]
    arguments = [f"all-mpnet-base-v2={encoder}" if part.startswith("sentence-transformers/") else part for part in arguments]
    name = arguments[0]
    if name == "train":
        arguments += settings(TINY_TRAINING)
    elif name == "instruct":
        arguments += settings(TINY_LANGUAGE | ({"language_name": str(language_model)} if "--recipe" in arguments else {}))
    elif name == "finetune":
        arguments += settings({"epochs": 1, "batch_size": 8})
    elif name == "prepare":
        arguments += ["--num-workers", 1]
    elif name == "chat":
        arguments += ["--question", "Which action is this?", "--max-new-tokens", 4] if "--question" not in arguments else []
    elif name == "evaluate" and "runs/answers/best" in arguments:
        arguments += ["--num-questions", 4, "--max-new-tokens", 4]
    return arguments


def embeddings(num, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(num, 8, generator=generator), dim=-1)


#: Names that the blocks of a page take for given.
GIVEN = {
    "docs/evaluation.md": {
        "text_embeds": embeddings(40, 0),
        "motion_embeds": embeddings(40, 1),
        "embeds_of_the_captions": embeddings(40, 2),
        "captions": [f"caption {number % 30}" for number in range(40)],
        "ids": [f"id {number}" for number in range(40)],
        "batches": [(embeddings(40, 0).numpy(), embeddings(40, 1).numpy())],
    }
}

#: What must be true of the names that the blocks of a page leave.
LEFT = {
    "README.md": lambda names: names["classify"].task == "zero-shot-motion-classification",
    "docs/quickstart.md": lambda names: names["inputs"]["motion_values"].shape[1] == 3,
    "docs/concepts.md": lambda names: names["attention"].shape[1:] == (names["inputs"]["motion_values"].shape[2] // 16, 5),
    "docs/motion_files.md": lambda names: (
        names["values"].shape == (1, 2, 3, 224, 80) and len(names["skeleton"].chains["left_arm"]) == 5
    ),
    "docs/models.md": lambda names: names["scores"].shape == (1, 2),
    "docs/own_library.md": lambda names: names["report"]["indexed"] == 6 and len(names["index"]) == 6,
    "docs/own_skeleton.md": lambda names: "studio" in names["processor"].feature_extractor.statistics,
    "docs/llamo.md": lambda names: isinstance(names["answer"][0]["generated_text"], str),
    "docs/pictures.md": lambda _: all(
        Path(name).stat().st_size for name in ("kick.png", "kick.gif", "kick.html", "found.png")
    ),
    "docs/localise.md": lambda names: names["moment"]["end"] > names["moment"]["start"],
    "docs/evaluate_generator.md": lambda names: names["scores"]["num"] == 40,
}


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    """In the place of a pretrained language model."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from motionpatches.training.builder import train_tokenizer

    folder = tmp_path_factory.mktemp("language")
    tokenizer = train_tokenizer(["which action is this? kick wave squat left right both"] * 20, 200)
    tokenizer.add_special_tokens({"eos_token": "[SEP]"})
    tokenizer.model_max_length = 256
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, vocab_size=len(tokenizer),
        eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", RUN_PAGES)
def test_the_blocks_of_a_page_work(page, on_the_page, language_model, still_text_model):
    on_the_page(page)
    names = dict(GIVEN.get(page, {}))
    for block in BLOCKS[page]:
        code = re.sub(r"\b(user|me)/(?=my|other)", f"{USER}/", block.code)
        if block.language == "python":
            exec(compile(code, block.place, "exec"), names)
        elif block.language in RUN:
            for command in commands_of(code):
                if reason(command) is None:
                    done = run_command(*in_small(command, language_model, still_text_model))
                    assert done.exit_code == 0, f"{block.place}: {command}\n{done.output}\n{done.exception!r}"
    assert LEFT.get(page, lambda _: True)(names)


# ---- the site -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("site_hooks", DOCS / "site_hooks.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def leaves(nav):
    for item in nav:
        for value in item.values() if isinstance(item, dict) else [item]:
            yield from leaves(value) if isinstance(value, list) else [value]


def test_the_navigation_names_every_page_once():
    listed = list(leaves(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))
    assert sorted(listed) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def test_links_between_pages_lead_somewhere():
    broken = [
        f"{page}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\((?!http|#)([^)#\s]+)", (ROOT / page).read_text(encoding="utf-8"))
        if not ((ROOT / page).parent / target).exists()
    ]
    assert broken == []


def test_the_reference_has_every_public_name():
    asked = re.findall(
        r"^::: (\S+)$", "\n".join(path.read_text(encoding="utf-8") for path in (DOCS / "api").glob("*.md")), re.M
    )
    assert len(asked) == len(set(asked))
    for name in asked:
        module, _, item = name.rpartition(".")
        assert hasattr(importlib.import_module(module), item), name
    assert {name.rpartition(".")[2] for name in asked} >= set(motionpatches.__all__)


def test_tables_are_made_from_files(hooks):
    marks = [
        mark
        for path in DOCS.rglob("*.md")
        for mark in re.findall(r"<!-- made when the site is built: (\w+) -->", path.read_text())
    ]
    assert sorted(marks) == sorted(hooks.MAKERS)
    tables = {mark: hooks.MAKERS[mark]() for mark in marks}
    for file in (DOCS / "results").rglob("*.json"):
        facts = json.loads(file.read_text(encoding="utf-8"))
        section = (
            tables["results"]
            .partition(f"[results/{file.relative_to(DOCS / 'results').as_posix()}]")[2]
            .partition("\n## ")[0]
        )
        assert f"torch {facts['versions']['torch']}" in section
        assert facts.get("command") is None or f"`{facts['command']}`" in section
    assert (
        tables["recipes"].count("```yaml")
        == len(list((ROOT / "training" / "recipes").glob("*.yaml")))
        >= len(list_recipes())
    )
    assert "CC BY-NC-SA 4.0" in tables["licences"]
    assert "| `--hypothesis-template` |" in tables["commands"]
    assert all(f"examples/{file.name}" in tables["examples"] for file in (ROOT / "examples").glob("*.py"))
    assert "`distilbert-base-uncased`" in tables["weights"]


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path, monkeypatch):
    pytest.importorskip("mkdocstrings", reason="mkdocs is of the extra `docs`")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    build(load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(tmp_path / "site")))
    pages = {
        name: (tmp_path / "site" / "api" / name / "index.html").read_text("utf-8") for name in ("processing", "training")
    }
    assert "sample points for each body part" in pages["processing"]
    assert (
        "<p>What the Hub says of the commit: <code>commit_url</code>" in pages["training"]
    )  # no part of it taken for a type
    outside = re.compile(r'<(?:script|link)[^>]+(?:src|href)="https?://')
    assert [path for path in (tmp_path / "site").rglob("*.html") if outside.search(path.read_text(encoding="utf-8"))] == []

"""The paper's tables: every one runs to its end on made-up data, does nothing twice, and says what it lacks."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import run_command
from datasets import Dataset
from transformers import (
    AutoModel,
    AutoProcessor,
    CLIPConfig,
    CLIPModel,
    DistilBertConfig,
    DistilBertModel,
    ViTConfig,
    ViTModel,
)

from motionpatches import make_motions
from motionpatches.processing.corpora import to_dataset
from motionpatches.training import loop, protocols, reproduction
from motionpatches.training.builder import train_tokenizer
from motionpatches.training.paper_tables import list_tables, load_table
from motionpatches.training.recipe import list_recipes
from motionpatches.training.reproduction import Request, make_plan


SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
OVERRIDES = {
    "motion_size": "tiny",
    "motion_depth": 1,
    "projection_dim": 16,
    "max_frames": 64,
    "epochs": 1,
    "batch_size": 4,
    "tracker": "none",
}


def short(motions, num_frames=36):
    return [{**motion, "joints": motion["joints"][:num_frames]} for motion in motions]


def couples(num, seed):
    """Rows of two persons who share a frame."""
    firsts, seconds = (
        to_dataset(short(make_motions(num, "smpl22", s), 30), "x").with_format("numpy") for s in (seed, seed + 50)
    )
    rows = []
    for first, second in zip(firsts, seconds, strict=True):
        frames = min(first["num_frames"], second["num_frames"])
        pair = [
            row["joints"].reshape(-1, 22, 3)[:frames] + np.eye(3)[0] * place for place, row in enumerate((first, second))
        ]
        rows.append({**first, "joints": np.stack(pair).astype(np.float32).reshape(-1), "num_frames": frames, "persons": 2})
    return [{key: value for key, value in row.items() if key != "dataset"} for row in rows]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The four data sets in the layout that docs/reproduce.md describes."""
    folder = tmp_path_factory.mktemp("corpora")

    def rows(num, seed, skeleton, fps):
        return to_dataset(short(make_motions(num, skeleton, seed, fps)), "x").remove_columns("dataset")

    splits = {
        ("humanml3d", "train"): rows(8, 0, "smpl22", 20.0),
        ("humanml3d", "validation"): rows(4, 1, "smpl22", 20.0),
        ("humanml3d", "test"): rows(12, 2, "smpl22", 20.0),
        ("kitml", "train"): rows(8, 3, "kit21", 12.5),
        ("kitml", "validation"): rows(4, 4, "kit21", 12.5),
        ("kitml", "test"): rows(12, 5, "kit21", 12.5),
        ("babel60", "test"): rows(19, 6, "smpl22", 20.0),
        ("interhuman", "train"): Dataset.from_list(couples(6, 7)),
        ("interhuman", "test"): Dataset.from_list(couples(4, 8)),
    }
    for (name, split), part in splits.items():
        (folder / name).mkdir(exist_ok=True)
        part.to_parquet(str(folder / name / f"{split}.parquet"))
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Small stand-ins of the pretrained weights that the recipes name."""
    folder = tmp_path_factory.mktemp("weights")
    tokenizer = train_tokenizer([caption for motion in make_motions(19) for caption in motion["captions"]], 120)
    for patch_size in (8, 16, 32):
        vit = ViTConfig(**SIZES, image_size=64, patch_size=patch_size, layer_norm_eps=1e-6)
        ViTModel(vit, add_pooling_layer=False).save_pretrained(folder / f"vit{patch_size}")
    text = DistilBertConfig(
        vocab_size=len(tokenizer), dim=32, hidden_dim=32, n_layers=1, n_heads=2, max_position_embeddings=64
    )
    DistilBertModel(text).save_pretrained(folder / "distilbert")
    ends = {"bos_token_id": tokenizer.cls_token_id, "eos_token_id": tokenizer.sep_token_id}
    clip_text = {**SIZES, "vocab_size": len(tokenizer), "max_position_embeddings": 64, **ends}
    clip = CLIPConfig(text_config=clip_text, vision_config={**SIZES, "image_size": 64, "patch_size": 16})
    CLIPModel(clip).save_pretrained(folder / "clip")
    for name in ("distilbert", "clip"):
        tokenizer.save_pretrained(folder / name)
    names = {f"vit_{size}_patch16_224.augreg_in21k": "vit16" for size in ("tiny", "small", "base", "large")}
    names |= {f"vit_base_patch{size}_224.augreg_in21k": f"vit{size}" for size in (8, 32)}
    names |= {"distilbert-base-uncased": "distilbert", "openai/clip-vit-base-patch16": "clip"}
    return {name: str(folder / found) for name, found in names.items()}


def command(tables, data, output, weights, *extra, **overrides):
    """`motionpatches reproduce` with tiny models."""
    settings = [word for key, value in {**OVERRIDES, **overrides}.items() for word in ("--set", f"{key}={value}")]
    local = [word for name, folder in weights.items() for word in ("--weights", f"{name}={folder}")]
    return run_command("reproduce", *tables, "--data", data, "--output", output, *settings, *local, *extra)


@pytest.fixture(scope="module")
def everything(data, weights, tmp_path_factory):
    """All tables, reproduced once: the output folder and what was printed."""
    output = tmp_path_factory.mktemp("reproduced")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(protocols, "SMALL_BATCH", 4)
        result = command(["all"], data, output, weights)
    assert result.exit_code == 0, result.output
    return output, result.output


def read(output, table, form="paper"):
    return json.loads((Path(output) / f"{table}-{form}-seed0.json").read_text())


def rows_of(report):
    return [row for section in report["sections"] for row in section["rows"]]


@pytest.mark.parametrize("name", [f"table{number}" for number in range(2, 12)])
def test_a_table_shows_our_numbers_beside_the_published_ones_in_both_directions(everything, name):
    output, printed = everything
    table, report = load_table(name), read(everything[0], name)
    for section, found in zip(table.sections, report["sections"], strict=True):
        ways = {"zero_shot"} if section.protocol == "zero_shot" else {"t2m", "m2t"}
        assert set(found["chance"]) == ways
        for row, entry in zip(section.rows, found["rows"], strict=True):
            assert entry["published"] == row.published
            assert set(row.published) == ways
            assert (entry["measured"] is None) == (row.run is None)
            for way in ways:
                assert " │ ".join(f"{number:.2f}" for number in row.published[way].values()) in _squeeze(printed)
                if row.run is not None:
                    assert np.isfinite(list(entry["measured"][way].values())).all()
                    shown = " │ ".join(f"{entry['measured'][way][column]:.2f}" for column in table.columns)
                    assert f"here │ {shown}" in _squeeze(printed)
            chance = " │ ".join(f"{number:.2f}" for number in next(iter(found["chance"].values())).values())
            assert f"chance │ │ {chance}" in _squeeze(printed)
    assert set(report["versions"]) >= {"motionpatches", "torch"}
    for run in report["runs"].values():
        assert (run["seed"], run["epochs"]) == (0, 1)
    assert str(output) not in json.dumps(report)  # a results file is no place for a machine's folders


def _squeeze(text):
    return " ".join(text.split())


def test_small_batches_and_the_whole_test_split_are_judged_apart(everything):
    whole, small = (section["rows"][-1]["measured"]["t2m"] for section in read(everything[0], "table2")["sections"])
    assert small["R@5"] == 100  # here a batch holds four
    assert whole["R@5"] < 100


def test_every_row_of_ours_has_the_model_that_its_recipe_says(everything):
    output, _ = everything
    sizes = {run.name: AutoModel.from_pretrained(run / "best").config for run in output.iterdir() if run.is_dir()}
    assert len(sizes) == 29  # what several tables need is trained once
    for data in ("humanml3d", "kitml"):
        assert sizes[f"{data}-paper-seed0"].motion_config.hidden_size == 32  # the stand-in
        assert sizes[f"{data}_scratch-paper-seed0"].motion_config.hidden_size == 192  # --weights does not reach it
        assert sizes[f"{data}_patch32-paper-seed0"].patch_size == 32
        assert sizes[f"{data}_joints-paper-seed0"].motion_config.hidden_size == 32
        assert sizes[f"{data}_joints_scratch-paper-seed0"].patch_size == 1
        clip = sizes[f"{data}_clip-paper-seed0"]
        assert (clip.motion_config.model_type, clip.text_config.model_type) == ("clip_vision_model", "clip_text_model")
        assert clip.text_pooling == "eos"
    assert sizes["interhuman-paper-seed0"].num_persons == 2


def test_zero_shot_on_another_skeleton_takes_its_statistics_from_the_train_split_and_says_so(everything, data):
    output, printed = everything
    report = read(output, "table5")
    zero_shot = next(row for row in rows_of(report) if row["label"] == "Ours, on HumanML3D")
    assert zero_shot["statistics"] == {"kit21": "kit21"}
    said = "Ours, on HumanML3D: the statistics of kit21 are fitted on the motions of the train split of kitml, without captions."
    assert said in report["notes"]
    assert said in _squeeze(printed)
    best = output / "humanml3d-paper-seed0" / "best"
    assert "kit21" not in AutoProcessor.from_pretrained(best).feature_extractor.statistics  # the model itself is left alone
    transferred = output / "kitml_finetune-from-humanml3d-paper-seed0"
    assert json.loads((transferred / "results.json").read_text())["start"].endswith("humanml3d-paper-seed0/best")
    assert (output / "kitml_finetune-from-humanml3d_and_kitml-paper-seed0" / "best").is_dir()


def test_babel_is_asked_with_the_papers_prompt_and_another_number_of_labels_is_said(everything):
    output, _ = everything
    content = json.loads((output / "humanml3d-paper-seed0" / "evaluations" / "babel60.json").read_text())
    assert content["results"]["all"]["zero_shot"]["template"] == "A person {}"
    assert "The test split of babel60 has 19 labels, the paper 60." in read(output, "table6")["notes"]


def test_nothing_is_done_twice(everything, data, weights, monkeypatch):
    output, _ = everything

    def forbidden(*_, **__):
        raise AssertionError("done twice")

    monkeypatch.setattr(reproduction, "train", forbidden)
    monkeypatch.setattr(reproduction, "evaluate", forbidden)
    before = read(output, "table9")["sections"]
    result = command(["table9"], data, output, weights)
    assert result.exit_code == 0, result.output
    assert read(output, "table9")["sections"] == before
    result = command(["table11"], data / "elsewhere", output, weights)  # all is there: the data is not needed
    assert result.exit_code == 0, result.output
    result = command(["all"], data, output, weights, "--dry-run")
    assert result.output.count("finished") == 29 + 32
    assert "to do" not in result.output


def test_a_finished_run_with_other_settings_or_other_data_is_not_taken(everything, data, weights, tmp_path):
    output, _ = everything
    result = command(["table6"], data, output, weights, epochs=2)
    assert result.exit_code == 1
    assert "humanml3d-paper-seed0 holds a finished run with other values of epochs" in _squeeze(result.output)
    (tmp_path / "humanml3d").mkdir()
    (tmp_path / "humanml3d" / "train.parquet").write_bytes(b"other")
    result = command(["table2"], tmp_path, output, weights)
    assert "humanml3d/train.parquet differ in size; choose another --output" in _squeeze(result.output)
    (tmp_path / "babel60").mkdir()
    (tmp_path / "humanml3d" / "train.parquet").unlink()
    (tmp_path / "babel60" / "test.parquet").write_bytes(b"other")
    result = command(["table6"], tmp_path, output, weights)
    assert "babel60.json was made with other data: babel60/test.parquet" in _squeeze(result.output)


def test_an_interrupted_table_goes_on_where_it_stopped(data, weights, tmp_path, monkeypatch):
    validate, calls, trained = loop.evaluate, [], []

    def interrupted(*arguments, **kwargs):
        calls.append(1)
        if len(calls) == 4:  # the second epoch of the second run
            raise KeyboardInterrupt
        return validate(*arguments, **kwargs)

    monkeypatch.setattr(loop, "evaluate", interrupted)
    assert command(["table5"], data, tmp_path, weights, epochs=2).exit_code == 130
    result = command(["table5"], data, tmp_path, weights, "--dry-run", epochs=2)
    states = [line.split("│")[2:5:2] for line in result.output.splitlines() if "│ train" in line]
    assert [[word.strip() for word in state] for state in states] == [
        ["kitml-paper-seed0", "finished"],
        ["humanml3d-paper-seed0", "interrupted"],
        ["kitml_finetune-from-humanml3d-paper-seed0", "to do"],
    ]
    original, fit, fitted_on = reproduction.train, reproduction.fit_processor, []

    def fitted(patches, rows, *arguments, **kwargs):
        known = set(patches.statistics)
        fit(patches, rows, *arguments, **kwargs)
        fitted_on.extend(rows["id"] for _ in set(patches.statistics) - known)

    monkeypatch.setattr(reproduction, "fit_processor", fitted)

    def watched(recipe, rows, output, **kwargs):
        trained.append((output.name, kwargs["resume"]))
        return original(recipe, rows, output, **kwargs)

    monkeypatch.setattr(reproduction, "train", watched)
    result = command(["table5"], data, tmp_path, weights, epochs=2)
    assert result.exit_code == 0, result.output
    assert trained == [("humanml3d-paper-seed0", True), ("kitml_finetune-from-humanml3d-paper-seed0", False)]
    history = (tmp_path / "humanml3d-paper-seed0" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in history] == [1, 2]
    assert {run["epochs"] for run in read(tmp_path, "table5")["runs"].values()} == {2}
    train_split = Dataset.from_parquet(str(data / "kitml" / "train.parquet"))
    assert fitted_on == [train_split["id"][:]]  # the zero-shot row's alone, and nothing of the test split


def test_several_processes_are_refused_with_a_way_to_use_them(data, weights, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = command(["table7"], data, tmp_path, weights)
    assert result.exit_code == 1
    assert "reproduce works in one process. Train a run with several: torchrun" in _squeeze(result.output)


def test_a_run_of_the_train_command_is_taken(data, weights, tmp_path):
    settings = {**OVERRIDES, "text_name": weights["distilbert-base-uncased"]}
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    run = tmp_path / "kitml_scratch-paper-seed0"
    assert run_command("train", "--recipe", "kitml_scratch", "--data", data, "--output", run, *words).exit_code == 0
    printed = command(["table3"], data, tmp_path, weights, "--dry-run").output
    assert [line for line in printed.splitlines() if "train" in line and "finished" in line and run.name in line]


def test_the_published_form_runs_too(data, weights, tmp_path, monkeypatch):
    load, judged = reproduction.load_checkpoint, []
    monkeypatch.setattr(reproduction, "load_checkpoint", lambda folder: judged.append(folder.name) or load(folder))
    result = command(["table3"], data, tmp_path, weights, "--form", "published")
    assert result.exit_code == 0, result.output
    report = read(tmp_path, "table3", "published")
    assert set(report["runs"]) == {"kitml-published-seed0", "kitml_scratch-published-seed0"}
    assert report["runs"]["kitml-published-seed0"]["recipe"]["motion_pooling"] == "mean"
    assert judged == ["best", "best"]


def test_a_form_changes_what_all_recipes_stand_on_and_nothing_else(tmp_path):
    changed = {
        "motion_pooling", "normalization", "canonicalize", "batch_size", "lr_motion", "lr_head", "loss",
    }  # fmt: skip
    for name in list_tables():
        paper, _ = make_plan(load_table(name), Request(tmp_path, tmp_path))
        published, _ = make_plan(load_table(name), Request(tmp_path, tmp_path, form="published", seed=3))
        for key, job in paper.items():
            before, after = job.recipe.to_dict(), published[key].recipe.to_dict()
            differing = {field for field, value in before.items() if after[field] != value}
            on_humanml3d = "humanml3d" in before["datasets"] or "interhuman" in before["datasets"]
            assert differing == (changed | {"seed"}) - ({"lr_motion"} if on_humanml3d else set())
            assert published[key].folder.name == job.folder.name.replace("paper-seed0", "published-seed3")


def test_missing_data_is_named_with_what_can_run_without_it(data, weights, tmp_path):
    for name in ("humanml3d", "babel60"):
        (tmp_path / "data" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "data" / name).symlink_to(data / name)
    result = command(["table2", "table5", "table7"], tmp_path / "data", tmp_path / "out", weights)
    assert result.exit_code == 1
    said = _squeeze(result.output)
    assert "table5, table7:" in said
    assert "lacks interhuman/test.parquet, interhuman/train.parquet, kitml/test.parquet, kitml/train.parquet" in said
    assert said.endswith("these tables can run: table2, table6")
    assert not (tmp_path / "out").exists()  # table2 was not begun either
    planned = command(["table5"], tmp_path / "data", tmp_path / "out", weights, "--dry-run").output
    assert planned.count("to do, data missing") == 5
    assert planned.count("to do") == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table1", "--data", "."], "no table 'table1' of the paper; pass all, or one of: table2, table3"),
        (["table2"], "say which tables and which data"),
        (["table2", "--data", ".", "--form", "mine"], "unknown form 'mine'; known: paper, published"),
        (
            ["table2", "--data", ".", "--set", "text_name=x"],
            "--set text_name=x: .* decided by the table; --weights NAME=FOLDER",
        ),
        (["table2", "--data", ".", "--set", "seed=1"], "decided by --seed"),
        (["table2", "--data", ".", "--set", "epoch=1"], "unknown field 'epoch'"),
        (
            ["table2", "--data", ".", "--weights", "bert=x"],
            "no recipe of a table names the weights bert; they name .*distilbert",
        ),
        (["table2", "--data", ".", "--weights", "distilbert"], "--weights distilbert: expected NAME=FOLDER"),
    ],
)
def test_mistakes_are_named(words, message, tmp_path):
    import re

    result = run_command("reproduce", *words, "--output", tmp_path / "out")
    assert result.exit_code == 1
    assert re.search(message, _squeeze(result.output))


def test_the_list_has_every_table_and_the_tables_every_recipe_of_the_paper():
    printed = run_command("reproduce", "--list").output
    assert list_tables() == [f"table{number}" for number in range(2, 12)]
    used = set()
    for name in list_tables():
        table = load_table(name)
        assert f"│ {name} " in printed
        assert table.title in _squeeze(printed)
        used |= {run.recipe for run in table.runs.values()}
        judged = {row.run for section in table.sections for row in section.rows if row.run}
        started_from = {run.init_from for run in table.runs.values()}
        assert set(table.runs) <= judged | started_from
    others = {"quickstart", "humanml3d_published", "kitml_published"}
    assert {name for name in list_recipes() if not name.startswith("open_mocap")} - others == used
    assert all(recipe in printed for recipe in used)


def test_the_page_names_the_command_and_the_recipes_of_every_table():
    page = (Path(__file__).parents[1] / "docs" / "reproduce.md").read_text()
    for name in list_tables():
        (line,) = [line for line in page.splitlines() if f"reproduce {name} --data DIR`" in line]
        assert line.startswith(f"| Table {name.removeprefix('table')},")
        assert all(f"`{run.recipe}`" in line for run in load_table(name).runs.values())

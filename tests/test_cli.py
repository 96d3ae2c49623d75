"""The console command, as a person types it."""

import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import TINY_RECIPE, run_command, swinging_motion
from safetensors import safe_open


def test_help_names_every_command():
    result = run_command("--help")
    assert result.exit_code == 0
    commands = (
        "quickstart train instruct reproduce finetune evaluate compare score classify retrieve embed index search captions chat "
        "localise app attend draw figure prepare convert export push inspect"
    )
    for name in commands.split():
        assert re.search(rf"\b{name}\b", result.output)


def test_train_then_evaluate(data_folder, tmp_path):
    (tmp_path / "mine.yaml").write_text("\n".join(f"{k}: {'' if v is None else v}" for k, v in TINY_RECIPE.items()))
    recipe = tmp_path / "mine.yaml"
    result = run_command(
        "train", "--recipe", recipe, "--data", data_folder, "--output", tmp_path / "run", "--set", "epochs=1"
    )
    assert result.exit_code == 0, result.output
    assert "best epoch 1 of 1" in result.output
    result = run_command("evaluate", tmp_path / "run" / "best", "--data", data_folder, "--output", tmp_path / "results.json")
    assert result.exit_code == 0, result.output
    assert "chance" in result.output
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["results"]["all"]["num"] == 12
    assert written["training"]["epochs"] == 1
    assert written["split"] == "test"
    assert str(tmp_path) not in json.dumps(written)  # a results file tells no folders of a machine


def test_classify_prints_scores_for_a_file(trained_run, motion_file):
    result = run_command("classify", trained_run / "best", motion_file, "--label", "waves", "--label", "kicks")
    assert result.exit_code == 0, result.output
    scores = [float(number) for number in re.findall(r"0\.\d{3}", result.output)]
    assert sum(scores) == pytest.approx(1, abs=0.002)


def test_classify_takes_skeleton_and_fps_of_a_bare_array(trained_run, tmp_path):
    np.save(tmp_path / "walk.npy", swinging_motion())
    arguments = ("classify", trained_run / "best", tmp_path / "walk.npy", "--label", "waves")
    result = run_command(*arguments)
    assert result.exit_code == 1
    assert "22 joints and says no skeleton" in result.output
    assert run_command(*arguments, "--skeleton", "smpl22", "--fps", "20").exit_code == 0


def test_retrieve_both_ways_and_draw(trained_run, data_folder, motion_file, tmp_path):
    picture = tmp_path / "found.png"
    result = run_command(
        "retrieve", trained_run / "best", "--data", data_folder, "--query", "a person waves", "--motion", motion_file,
        "--top", "2", "--picture", picture,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "a person waves" in result.output
    assert len(re.findall(r"-?0\.\d{3}", result.output)) == 4
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_retrieve_in_a_folder_of_files(trained_run, motion_file):
    result = run_command("retrieve", trained_run / "best", "--data", motion_file.parent, "--query", "a person waves")
    assert result.exit_code == 0, result.output
    assert "walk.npz" in result.output


def test_attend_draws_what_the_model_looks_at(trained_run, motion_file, tmp_path):
    pictures = [tmp_path / "last.png", tmp_path / "rollout.png"]
    assert run_command("attend", trained_run / "best", motion_file, "--picture", pictures[0]).exit_code == 0
    assert run_command("attend", trained_run / "best", motion_file, "--picture", pictures[1], "--rollout").exit_code == 0
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)
    result = run_command("attend", trained_run / "best", motion_file, "--layer", "7")
    assert result.exit_code == 1
    assert "there is no layer 7; the motion tower has 1" in result.output


def test_embed_motions_and_texts(trained_run, data_folder, tmp_path):
    result = run_command("embed", trained_run / "best", data_folder, "--output", tmp_path / "motions.parquet")
    assert result.exit_code == 0, result.output
    table = pq.read_table(tmp_path / "motions.parquet")
    assert (table.num_rows, table.column_names, len(table["embedding"][0])) == (12, ["id", "embedding"], 32)
    (tmp_path / "texts.txt").write_text("a person waves\n\nsomeone kicks\n")
    assert (
        run_command("embed", trained_run / "best", tmp_path / "texts.txt", "--output", tmp_path / "t.safetensors").exit_code
        == 0
    )
    with safe_open(tmp_path / "t.safetensors", "numpy") as file:
        assert json.loads(file.metadata()["ids"]) == ["a person waves", "someone kicks"]
        assert file.get_tensor("embeddings").shape == (2, 32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "/nowhere/model", "--data", "."), "no checkpoint folder '/nowhere/model'"),
        (("evaluate", "{run}/best", "--data", "/nowhere"), "no folder '/nowhere'"),
        (("evaluate", "{run}/best", "--data", "{data}", "--split", "dev"), "no split 'dev'; it has train, validation, test"),
        (("evaluate", "{run}", "--data", "{data}"), r"has no model (config.json)"),
        (("retrieve", "{run}/best", "--data", "{data}"), "pass --query TEXT to find motions, or --motion FILE"),
        (("embed", "{run}/best", "{data}", "--output", "e.csv"), "cannot write embeddings to 'e.csv'"),
        (("train", "--recipe", "nothing", "--data", "{data}", "--output", "x"), "no recipe 'nothing'"),
        (("train", "--recipe", "quickstart", "--data", "{data}", "--output", "{run}"), "already holds a run"),
    ],
)
def test_mistakes_end_in_one_line_and_status_1(arguments, message, trained_run, data_folder):
    result = run_command(*(argument.format(run=trained_run, data=data_folder) for argument in arguments))
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_checkpoint_without_a_processor(model, motion_file, tmp_path):
    model.save_pretrained(tmp_path / "bare")
    result = run_command("classify", tmp_path / "bare", motion_file, "--label", "walks")
    assert result.exit_code == 1
    assert "has no processor (processor_config.json)" in result.output


def test_interruption_is_said(monkeypatch, data_folder, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("motionpatches.training.loop.train", interrupted)
    result = run_command("train", "--recipe", "quickstart", "--data", data_folder, "--output", tmp_path / "run")
    assert result.exit_code == 130
    assert "interrupted" in result.output

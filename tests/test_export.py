"""A checkpoint folder is whole, or it is the one from before."""

import json
import re

import pytest
from conftest import tiny_config
from transformers import AutoModel, AutoTokenizer

from motionpatches import (
    MotionPatchesForMotionClassification,
    MotionPatchesMotionModelWithProjection,
    MotionPatchesTextModelWithProjection,
)
from motionpatches.training.export import read_card, save_checkpoint
from motionpatches.training.folders import replace_folder


def test_everything_a_checkpoint_needs_is_in_the_folder(model, processor, tmp_path):
    save_checkpoint(model, processor, tmp_path / "model", {"recipe_name": "mine", "results": "R@1 of **12.3**"})
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"config.json", "model.safetensors", "processor_config.json", "tokenizer.json", "README.md"} <= names
    travelling = ("modeling_motionpatches", "processing_motionpatches", "motion_inputs", "patches", "skeletons", "canonical")
    assert {f"{module}.py" for module in travelling} <= names
    assert not [name for name in names if name.endswith((".bin", ".pkl", ".pt"))]
    auto_map = json.loads((tmp_path / "model" / "config.json").read_text())["auto_map"]
    assert auto_map["AutoModel"] == "modeling_motionpatches.MotionPatchesModel"
    card = (tmp_path / "model" / "README.md").read_text()
    assert "`mine`" in card
    assert "R@1 of **12.3**" in card
    assert "Not measured yet." not in card


def test_an_unmeasured_model_says_so(model, processor, tmp_path):
    save_checkpoint(model, processor, tmp_path / "model")
    assert "Not measured yet." in (tmp_path / "model" / "README.md").read_text()


def test_a_failed_save_leaves_the_old_folder(tmp_path):
    folder = tmp_path / "model"
    replace_folder(folder, lambda target: (target / "a").write_text("old"))

    def fail(target):
        (target / "a").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_folder(folder, fail)
    assert (folder / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    folder.rename(tmp_path / "model.old")  # what a crash between the two renames leaves: the only copy
    with pytest.raises(OSError, match="disk full"):
        replace_folder(folder, fail)
    assert (folder / "a").read_text() == "old"
    replace_folder(folder, lambda target: (target / "b").write_text("new"))
    assert [path.name for path in folder.iterdir()] == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_card_states_licences_and_limits_and_invents_nothing(model, processor, tmp_path):
    save_checkpoint(model, processor, tmp_path / "plain")
    plain = (tmp_path / "plain" / "README.md").read_text()
    assert "license:" not in plain
    assert "language:" not in plain
    assert "| recipe | not stated, seed: not stated, epochs: not stated |" in plain
    assert "3.2 seconds at most" in plain  # 64 frames at 20 a second
    facts = {"licence": "cc-by-4.0", "data_licence": "MIT", "language": "de", "licence_note": "Ask first.", "seed": 0}
    save_checkpoint(model, processor, tmp_path / "told", {**facts, "epochs": None})
    told = (tmp_path / "told" / "README.md").read_text()
    for part in ("license: cc-by-4.0", "language: de", "| weights | cc-by-4.0 |", "| training data | MIT |", "Ask first."):
        assert part in told
    assert "seed: 0, epochs: not stated" in told
    with pytest.raises(ValueError, match=r"unknown facts license; a card states .*licence"):
        save_checkpoint(model, processor, tmp_path / "typo", {"license": "mit"})


@pytest.mark.parametrize(
    ("model_class", "sentence", "absent"),
    [
        (MotionPatchesMotionModelWithProjection, "The motion tower of", "text tower |"),
        (MotionPatchesTextModelWithProjection, "The text tower of", "motion tower |"),
        (MotionPatchesForMotionClassification, "with 2\nclasses: “walks”, “jumps”.", "text tower |"),
    ],
)
def test_towers_and_classifiers_have_cards_of_their_own(model_class, sentence, absent, tokenizer, processor, tmp_path):
    labels = {"id2label": {0: "walks", 1: "jumps"}} if model_class is MotionPatchesForMotionClassification else {}
    model = model_class(tiny_config(tokenizer, **labels))
    save_checkpoint(model, processor, tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    assert sentence in card
    assert absent not in card
    assert "{{" not in card
    assert "{%" not in card
    loaded = AutoModel.from_pretrained(tmp_path / "model")
    assert type(loaded) is model_class


def test_a_text_tower_is_saved_with_a_tokenizer_alone(tokenizer, tmp_path):
    save_checkpoint(MotionPatchesTextModelWithProjection(tiny_config(tokenizer)), tokenizer, tmp_path / "model")
    assert "AutoTokenizer" in (tmp_path / "model" / "README.md").read_text()
    assert AutoTokenizer.from_pretrained(tmp_path / "model").get_vocab() == tokenizer.get_vocab()


def test_the_example_of_every_card_is_python(model, processor, tokenizer, tmp_path):
    towers = (MotionPatchesMotionModelWithProjection, MotionPatchesTextModelWithProjection)
    models = [model, *(c(tiny_config(tokenizer)) for c in (*towers, MotionPatchesForMotionClassification))]
    for number, each in enumerate(models):
        save_checkpoint(each, processor, tmp_path / f"model{number}")
        card = (tmp_path / f"model{number}" / "README.md").read_text()
        code = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
        compile(code, "README.md", "exec")
        assert f'"model{number}"' in code


def test_an_edit_of_a_card_is_known_and_a_line_end_is_none(model, processor, tmp_path):
    save_checkpoint(model, processor, tmp_path / "model", {"seed": 3})
    readme = tmp_path / "model" / "README.md"
    assert read_card(tmp_path / "model").facts == {"seed": 3}
    readme.write_bytes(readme.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert not read_card(tmp_path / "model").is_edited
    readme.write_text(readme.read_text() + "More.\n")
    assert read_card(tmp_path / "model").is_edited

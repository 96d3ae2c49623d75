"""A checkpoint folder is whole, or it is the one from before."""

import json

import pytest

from motionpatches.training.export import replace_folder, save_checkpoint


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
    replace_folder(folder, lambda target: (target / "b").write_text("new"))
    assert [path.name for path in folder.iterdir()] == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]

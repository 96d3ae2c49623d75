"""Recipes: what a run is decided by, checked before it starts."""

import pytest
import yaml

from motionpatches.training.recipe import list_recipes, load_classification_recipe, load_recipe


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_of_the_package_loads(name):
    assert load_recipe(name).name == name


def test_types_and_overrides(tmp_path):
    (tmp_path / "mine.yaml").write_text("motion_size: tiny\nlr_text: 2e-5\ndatasets: [a, b]\ntext_name:\n")
    recipe = load_recipe(tmp_path / "mine.yaml", ["epochs=3", "unique_captions=false", "select_on=[a]", "max_grad_norm="])
    assert recipe.name == "mine"
    assert (recipe.model.motion_size, recipe.model.text_name) == ("tiny", None)
    assert recipe.run.lr_text == pytest.approx(2e-5)  # YAML alone reads 2e-5 as a string
    assert (recipe.run.datasets, recipe.run.select_on) == (["a", "b"], ["a"])
    assert (recipe.run.epochs, recipe.run.unique_captions, recipe.run.max_grad_norm) == (3, False, None)
    assert load_recipe("quickstart").to_dict()["text_depth"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3", "unknown field 'epoch'; did you mean epochs"),
        ("epochs: many", "recipe 'bad': argument --epochs: invalid int value: 'many'"),
        ("loss: triplet", "argument --loss: invalid choice: 'triplet'"),
        ("- 1", "must be a flat mapping"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_recipe(tmp_path / "bad.yaml")


def test_missing_recipes():
    with pytest.raises(
        FileNotFoundError, match=r"no recipe 'humanml'; pass the path of a .yaml file or one of: .*quickstart"
    ):
        load_recipe("humanml")
    with pytest.raises(FileNotFoundError, match=r"no recipe file 'mine.yaml'"):
        load_recipe("mine.yaml")
    with pytest.raises(ValueError, match="must have the form field=value"):
        load_recipe("quickstart", ["epochs"])


def test_a_recipe_extends_another_one(tmp_path):
    (tmp_path / "mine.yaml").write_text("extends: kitml_scratch\nepochs: 3\nprojection_dropout:\n")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "next.yml").write_text("extends: ../mine.yaml\nbatch_size: 8\n")
    recipe = load_recipe(tmp_path / "below" / "next.yml", ["lr_head=1"])
    assert recipe.name == "next"
    assert recipe.model.projection_dropout is None  # an empty value replaces too
    assert (recipe.run.batch_size, recipe.run.epochs, recipe.run.datasets, recipe.run.lr_head) == (8, 3, ["kitml"], 1.0)
    assert (recipe.model.motion_name, recipe.model.text_name) == (None, "distilbert-base-uncased")
    (tmp_path / "flat.yaml").write_text(yaml.safe_dump(recipe.to_dict()))
    assert "extends" not in recipe.to_dict()
    assert load_recipe(tmp_path / "flat.yaml").to_dict() == recipe.to_dict()
    (tmp_path / "labels.yaml").write_text("extends: classification\nepochs: 1\n")
    assert load_classification_recipe(tmp_path / "labels.yaml").run.lr_classifier == 1e-3


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        (
            {"bad": "nothing"},
            FileNotFoundError,
            "recipe 'bad' extends 'nothing': no recipe 'nothing'; .* one of: .*quickstart",
        ),
        ({"bad": "gone.yaml"}, FileNotFoundError, "recipe 'bad' extends 'gone.yaml': no recipe file '.*gone.yaml'"),
        ({"bad": "bad.yaml"}, ValueError, "recipe 'bad' extends itself: .*bad.yaml → .*bad.yaml"),
        ({"bad": "b.yaml", "b": "bad.yaml"}, ValueError, "extends itself: .*bad.yaml → .*b.yaml → .*bad.yaml"),
        (
            {"bad": "[quickstart]"},
            ValueError,
            "recipe 'bad' must extend one recipe, by its name or path; got \\['quickstart'\\]",
        ),
        ({"bad": "classification"}, ValueError, "recipe 'bad' is for classification training"),
    ],
)
def test_mistakes_of_extending_are_named(tmp_path, files, error, message):
    for name, base in files.items():
        (tmp_path / f"{name}.yaml").write_text(f"extends: {base}\n")
    with pytest.raises(error, match=message):
        load_recipe(tmp_path / "bad.yaml")


def test_a_variant_can_stand_on_another_base():
    bases = {"humanml3d_paper": "humanml3d_published", "kitml_paper": "kitml_published"}
    assert load_recipe("kitml_paper", bases=bases).to_dict() == load_recipe("kitml_published").to_dict()
    variant, base = load_recipe("kitml_patch8", bases=bases).to_dict(), load_recipe("kitml_published").to_dict()
    assert {key for key in base if base[key] != variant[key]} == {"motion_name", "patch_size"}


# The table of differences between the paper and its published code; rates are those of motion, text and head.
FORMS = {
    "humanml3d_paper": ("cls", "points", True, "softmax_sum", 256, [1e-4, 1e-5, 1e-3], 0.5),
    "kitml_paper": ("cls", "points", True, "softmax_sum", 256, [1e-4, 1e-5, 1e-3], 0.0),
    "humanml3d_published": ("mean", "joints", False, "softmax_mean", 128, [1e-4, 1e-5, 1e-4], 0.5),
    "kitml_published": ("mean", "joints", False, "softmax_mean", 128, [1e-5, 1e-5, 1e-5], 0.0),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_forms_differ_where_paper_and_published_code_do(name):
    recipe = load_recipe(name)
    model, processor, run = recipe.model, recipe.processor, recipe.run
    rates = [run.lr_motion, run.lr_text, run.lr_head]
    found = (model.motion_pooling, processor.normalization, processor.canonicalize, model.loss, run.batch_size)
    assert (*found, rates, model.projection_dropout) == FORMS[name]
    assert (model.motion_name, model.text_name) == ("vit_base_patch16_224.augreg_in21k", "distilbert-base-uncased")
    assert (run.schedule, run.schedule_stretch, run.epochs, run.max_grad_norm) == ("cosine", 2.0, 50, None)
    assert (processor.padding, processor.window_mask, processor.root) == ("max_length", False, "global")
    assert (model.temperature, model.learn_logit_scale, processor.resampling) == (0.07, False, "repeat")


@pytest.mark.parametrize("name", [name for name in list_recipes() if name.startswith(("humanml3d", "kitml", "interhuman"))])
def test_what_the_paper_does_not_have_is_off(name):
    values = load_recipe(name).to_dict()
    assert not any(value for key, value in values.items() if key.startswith("augment_"))
    assert (values["weight_decay"], values["warmup_ratio"], values["unique_captions"]) == (0.0, 0.0, False)
    assert (values["layer_decay"], values["ema_decay"], values["length_buckets"]) == (1.0, None, 1)
    assert (values["per_skeleton"], values["body_scale"], values["precision"]) == (True, None, "no")

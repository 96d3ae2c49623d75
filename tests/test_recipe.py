"""Recipes: what a run is decided by, checked before it starts."""

import pytest

from motionpatches.training.recipe import list_recipes, load_recipe


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

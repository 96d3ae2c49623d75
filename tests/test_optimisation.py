"""Rates of the parameters, and the average of the weights."""

import pytest
import torch
from conftest import TINY_RECIPE

from motionpatches.training.builder import build_model, build_processor
from motionpatches.training.optimisation import compile_towers, make_average, parameter_groups
from motionpatches.training.recipe import parse_recipe


RATES = {"lr_motion": 1.0, "lr_text": 2.0, "lr_head": 3.0, "learn_logit_scale": True}


def built(tiny_data, **fields):
    recipe = parse_recipe("tiny", {**TINY_RECIPE, **RATES, **fields})
    model = build_model(recipe, build_processor(recipe, tiny_data["train"]))
    groups = parameter_groups(model, recipe.run)
    rate = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert sum(len(group["params"]) for group in groups) == len(rate) == len(trained)
    return groups, {name: rate[id(parameter)] for name, parameter in trained.items()}


def test_three_groups_hold_every_trained_parameter_once(tiny_data):
    groups, rates = built(tiny_data)
    assert [group["name"] for group in groups] == ["motion", "text", "head"]
    assert {name.split(".")[0] for name in rates} > {"motion_model", "text_model", "logit_scale"}
    for name, rate in rates.items():
        of_motion = name.startswith(("motion_model.", "motion_norm."))
        assert rate == (1.0 if of_motion else 2.0 if name.startswith("text_model.") else 3.0), name


def test_a_tower_without_a_rate_is_frozen(tiny_data):
    groups, rates = built(tiny_data, lr_text=0)
    assert [group["name"] for group in groups] == ["motion", "head"]
    assert {name.split(".")[0] for name in rates} >= {"motion_model", "motion_projection", "text_projection"}
    assert not any(name.startswith("text_model.") for name in rates)


def test_each_layer_learns_slower_than_the_one_above(tiny_data):
    _, rates = built(tiny_data, layer_decay=0.5, motion_depth=3, text_depth=2)
    expected = {
        "motion_norm.weight": 1.0,
        "motion_model.layers.2.": 1.0,
        "motion_model.layers.1.": 0.5,
        "motion_model.layers.0.": 0.25,
        "motion_model.embeddings.": 0.125,
        "text_model.transformer.layer.1.": 2.0,
        "text_model.transformer.layer.0.": 1.0,
        "text_model.embeddings.": 0.5,
        "motion_projection.": 3.0,
        "logit_scale": 3.0,
    }
    for start, rate in expected.items():
        found = {name: value for name, value in rates.items() if name.startswith(start)}
        assert found, start
        assert set(found.values()) == {rate}, start


@pytest.mark.parametrize("decay", [0, 1.5])
def test_impossible_decays(tiny_data, decay):
    with pytest.raises(ValueError, match="layer_decay must be above 0 and at most 1"):
        built(tiny_data, layer_decay=decay)
    with pytest.raises(ValueError, match="ema_decay must be between 0 and 1"):
        make_average(torch.nn.Linear(1, 1), decay)


def test_the_average_follows_the_weights_slowly_but_forgets_the_first_ones():
    layer = torch.nn.Linear(1, 1, bias=False)
    average = make_average(layer, 0.9)
    expected, values = None, [float(step) for step in range(40)]
    for step, value in enumerate(values):
        layer.weight.data.fill_(value)
        average.update_parameters(layer)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = value if expected is None else decay * expected + (1 - decay) * value
    assert average.module.weight.item() == pytest.approx(expected, rel=1e-5)
    assert 25 < expected < 36  # behind the last value, 39, by about 1 / (1 - 0.9)


def test_compiled_towers_have_the_same_weights_and_results(model, processor, captions, motions):
    inputs = processor(motions=motions[:3], text=captions[:3], return_tensors="pt", padding=True)
    with torch.no_grad():
        plain = model(**inputs).logits_per_motion
        names = list(model.state_dict())
        compile_towers([model.motion_model, model.text_model], "aot_eager")
        torch.testing.assert_close(model(**inputs).logits_per_motion, plain, rtol=1e-4, atol=1e-4)
    assert list(model.state_dict()) == names
    assert model.motion_model._compiled_call_impl is not None

"""Attention maps and found captions of several motions: what is drawn where, and that words stay apart."""

from itertools import combinations

import numpy as np
import pytest
from conftest import swinging_motion
from matplotlib.colors import to_hex
from matplotlib.text import Text

from motionpatches.processing.plotting import CORRECT_GREEN
from motionpatches.processing.plotting_figures import plot_attention_maps, plot_found_captions


def item(seed, most, windows=3, size=8):
    rng = np.random.default_rng(seed)
    attention = rng.uniform(0, 0.01, (windows, 5))
    attention[seed, 2] = most
    return {
        "joints": swinging_motion("smpl22", 20, seed),
        "skeleton": "smpl22",
        "caption": f"motion {seed}",
        "motion_values": rng.normal(size=(3, windows * size, 5 * size)).astype(np.float32),
        "mask": np.array([1, 1, 0]),
        "attention": attention,
    }


def result(names=("",), texts=("a person walks", "someone jumps"), captions=("someone jumps",)):
    hits = [{"text": text, "score": 0.9 - 0.1 * rank} for rank, text in enumerate(texts)]
    motion = {"joints": swinging_motion("cmu31", 20), "skeleton": "cmu31", "captions": list(captions)}
    return {**motion, "hits": dict.fromkeys(names, hits)}


def test_maps_share_one_scale_and_stand_in_their_row():
    figure = plot_attention_maps([item(0, 0.5), item(1, 0.25)])
    figure.draw_without_rendering()
    maps = [image for ax in figure.axes for image in ax.images if image.get_cmap().name == "inferno"]
    assert len(maps) == 2
    for row, image in enumerate(maps):
        shown = image.get_array()
        assert np.unravel_index(shown.argmax(), shown.shape) == (row, 2)
        assert image.get_clim() == (0, 50)
        assert shown.mask[2].all()
    tops = [image.axes.get_position().y1 for image in maps]
    assert tops[0] > tops[1]
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == ["motion 0", "motion 1"]


def words_of(figure):
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return {id(text): (text, text.get_window_extent()) for text in texts}.values()


LONG = "a person who stands in the middle of a room raises the left arm high above the head and waves with it several times"


@pytest.mark.parametrize("names", [("",), ("runs/one/best", "runs/two/best")])
def test_words_stay_apart_and_on_the_page(names):
    rows = [result(names, [LONG, "x", LONG + " again", "y " * 80, LONG]), result(names, captions=[LONG, LONG])]
    figure = plot_found_captions(rows)
    found = list(words_of(figure))
    for text, box in found:
        assert box.x0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y0 >= 0, text
        assert box.y1 <= figure.bbox.y1, text
    for (one, box), (other, other_box) in combinations(found, 2):
        assert not box.overlaps(other_box), f"{one.get_text()!r} overlaps {other.get_text()!r}"


def test_own_captions_are_green_and_the_best_come_first():
    figure = plot_found_captions([result(("left", "right"))])
    words = [text for text, _ in words_of(figure)]
    for title in ("left", "right"):
        assert any(text.get_text() == title for text in words)
    green = [text.get_text() for text in words if to_hex(text.get_color()) == CORRECT_GREEN.lower()]
    assert sorted(green) == sorted(["2.  0.80", "someone jumps"] * 2)
    heights = {text.get_text(): box.y0 for text, box in words_of(figure)}
    assert heights["1.  0.90"] > heights["2.  0.80"]


def test_only_the_asked_for_hits_are_drawn():
    figure = plot_found_captions([result(texts=["one", "two", "three"])], num_hits=2)
    words = [text.get_text() for text, _ in words_of(figure)]
    assert "two" in words
    assert "three" not in words


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="items is empty"):
        plot_attention_maps([])
    with pytest.raises(ValueError, match="results is empty"):
        plot_found_captions([])
    with pytest.raises(ValueError, match="of different models; expected hits of one"):
        plot_found_captions([result(["one"]), result(["two"])])

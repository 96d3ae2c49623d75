"""The picture of attention shows each weight at its window and part."""

import numpy as np
import pytest
from conftest import swinging_motion
from matplotlib.backends.backend_agg import FigureCanvasAgg

from motionpatches import plot_attention


def inputs(windows=4, size=8):
    values = np.random.default_rng(0).normal(size=(3, windows * size, 5 * size)).astype(np.float32)
    attention = np.zeros((windows, 5))
    attention[1, 3], attention[2, 0] = 0.75, 0.25
    return values, attention


def heat(figure):
    """The panel with the colour bar, its weights, and the colour bar's axes."""
    bar = next(ax for ax in figure.axes if "attention" in ax.get_ylabel())
    (panel,) = [ax for ax in figure.axes if any(image.colorbar is not None for image in ax.images)]
    return panel, panel.images[-1].get_array(), bar


def test_weights_stand_in_percent_at_their_window_and_part():
    values, attention = inputs()
    panel, shown, _ = heat(plot_attention(values, attention))
    assert shown.shape == (4, 5)
    assert np.unravel_index(shown.argmax(), shown.shape) == (1, 3)
    assert shown[1, 3] == pytest.approx(75)
    assert [label.get_text() for label in panel.get_xticklabels()][3] == "right\narm"
    assert tuple(panel.images[-1].get_extent()) == tuple(panel.images[0].get_extent()) == (0, 40, 32, 0)


def test_padding_is_not_coloured():
    values, attention = inputs()
    _, shown, _ = heat(plot_attention(values, attention, mask=[1, 1, 1, 0]))
    assert shown.mask[3].all()
    assert not shown.mask[:3].any()


def test_the_motion_stands_above_if_it_is_given():
    values, attention = inputs()
    with_poses = plot_attention(values, attention, joints=swinging_motion("smpl22"), skeleton="smpl22", title="a wave")
    assert len(with_poses.axes) == len(plot_attention(values, attention).axes) + 1
    assert with_poses._suptitle.get_text() == "a wave"
    FigureCanvasAgg(with_poses).draw()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attention": np.zeros((3, 5))}, r"attention has shape \(3, 5\) .* expected \(4, 5\)"),
        ({"attention": np.full((4, 5), -1.0)}, "negative values"),
        ({"attention": np.full((4, 5), np.nan)}, "NaN"),
        ({"motion_values": np.zeros((2, 3, 32, 40))}, "one motion"),
        ({"joints": np.zeros((10, 22, 3))}, "pass skeleton="),
    ],
)
def test_wrong_input_is_named(change, message):
    values, attention = inputs()
    with pytest.raises(ValueError, match=message):
        plot_attention(**{"motion_values": values, "attention": attention, **change})

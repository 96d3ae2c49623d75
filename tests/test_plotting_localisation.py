"""The picture of scores over time shows each score at its time, and the moments where they are."""

import numpy as np
import pytest
from conftest import swinging_motion
from matplotlib.backends.backend_agg import FigureCanvasAgg

from motionpatches import plot_localisation


LABELS = ["a person kicks", "a person $sits"]


def inputs():
    spans = [(start, start + length) for length in (1.0, 2.0) for start in np.arange(0, 10.01 - length, 0.5)]
    seconds = np.array([*spans, (0.0, 10.0)])
    scores = np.random.default_rng(0).normal(size=(2, len(seconds)))
    return {"seconds": seconds, "scores": scores, "labels": LABELS}


def moment(label, start, end, score):
    return {"label": label, "start": start, "end": end, "score": score}


def line(ax, label):
    (found,) = [line for line in ax.lines if line.get_label() == label]
    return np.asarray(found.get_xdata()), np.asarray(found.get_ydata())


def test_each_window_length_is_a_line_at_the_middles_of_its_windows():
    given = inputs()
    figure = plot_localisation(**given)
    assert [ax.get_title(loc="left") for ax in figure.axes] == LABELS
    for ax, scores in zip(figure.axes, given["scores"], strict=True):
        x, y = line(ax, "windows of 2 s")
        np.testing.assert_allclose(x, np.arange(1, 9.01, 0.5))
        np.testing.assert_allclose(y, scores[19:36])
        x, y = line(ax, "windows of 10 s")  # one window: as wide as it is
        assert x.tolist() == [0, 10]
        assert y.tolist() == [scores[-1]] * 2
        assert ax.get_xlim() == (0, 10)
    FigureCanvasAgg(figure).draw()


def test_moments_truth_and_threshold_stand_with_their_label():
    moments = [moment(LABELS[1], 2.0, 4.0, 0.3), moment(LABELS[1], 6.0, 7.0, 0.8)]
    figure = plot_localisation(**inputs(), moments=moments, truth={LABELS[0]: [(1.0, 3.0)]}, threshold=0.25)
    first, second = figure.axes
    assert not first.patches
    assert sorted((patch.get_x(), patch.get_width()) for patch in second.patches) == [(2, 2), (6, 1)]
    texts = {text.get_position()[0]: text.get_text() for text in second.texts}
    assert texts == {6.5: "1\n0.80", 3.0: "2\n0.30"}
    assert line(first, "truth")[0].tolist() == [1, 3]
    assert [artist.get_label() for artist in second.lines].count("truth") == 0
    assert line(second, "threshold")[1].tolist() == [0.25, 0.25]
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} >= {"truth", "threshold", "moments found", "windows of 1 s"}


def test_poses_stand_above_with_their_times():
    figure = plot_localisation(
        **inputs(), joints=swinging_motion("smpl22", 60), skeleton="smpl22", title="long.npz", num_poses=3
    )
    poses = figure.axes[0]
    assert len(figure.axes) == 3
    assert [label.get_text() for label in poses.get_xticklabels()] == ["0.0 s", "5.0 s", "10.0 s"]
    assert figure._suptitle.get_text() == "long.npz"
    FigureCanvasAgg(figure).draw()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": LABELS[:1]}, r"scores \(2, 37\), for 1 labels; expected \(windows, 2\)"),
        ({"labels": [], "scores": np.zeros((0, 37))}, "at least one label"),
        ({"seconds": np.zeros((37, 3))}, r"seconds has shape \(37, 3\)"),
        ({"scores": np.full((2, 37), np.nan)}, "NaN or infinity"),
        ({"moments": [moment("a person waves", 0, 1, 0.5)]}, r"\['a person waves'\], which are none of the labels"),
        ({"truth": {"nobody": []}}, "none of the labels"),
        ({"joints": np.zeros((10, 22, 3))}, "pass skeleton="),
    ],
)
def test_wrong_input_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        plot_localisation(**{**inputs(), **change})

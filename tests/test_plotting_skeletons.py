"""Figures of skeletons, and the page that shows them: numbers that cannot be read or a stale table mislead."""

import importlib.util
import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.text import Text

from motionpatches import get_skeleton, list_skeletons
from motionpatches.processing.plotting import PART_COLORS
from motionpatches.processing.plotting_skeletons import NO_CHAIN_GREY, plot_rest_pose


DOCS = Path(__file__).parents[1] / "docs"
every_skeleton = pytest.mark.parametrize("name", list_skeletons())


def numbers_of(figure):
    """Joint index → positions (2,) of the joints that carry this number; those of enlarged views come last."""
    found = {}
    for text in figure.axes[0].texts:
        if text.get_text().isdigit():
            found.setdefault(int(text.get_text()), []).append(np.array(text.xy))
    return found


def marker_at(figure, position):
    """The one dot that is drawn at a position."""
    (dot,) = (
        line
        for line in figure.axes[0].lines
        if line.get_marker() == "o" and np.allclose(line.get_xydata(), position, atol=1e-9)
    )
    return dot


@every_skeleton
def test_every_joint_is_numbered_and_no_number_is_cut_or_covers_another(name):
    figure = plot_rest_pose(name)
    assert set(numbers_of(figure)) == set(range(get_skeleton(name).num_nodes))
    figure.draw_without_rendering()
    ax = figure.axes[0]
    texts = [ax.title, *ax.texts, *ax.get_legend().get_texts()]
    # The box of an annotation holds its leader line too, which may pass other numbers.
    boxes = [Text.get_window_extent(text) for text in texts]
    for text, box in zip(texts, boxes, strict=True):
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        assert inside, f"{text.get_text()!r} is cut: {box}"
    for (one, box), (other, other_box) in combinations(zip(texts, boxes, strict=True), 2):
        assert not box.overlaps(other_box), f"{one.get_text()!r} overlaps {other.get_text()!r}"


@every_skeleton
def test_joints_have_the_colour_of_their_chain_and_virtual_ones_are_hollow(name):
    skeleton = get_skeleton(name)
    figure = plot_rest_pose(name)
    parts = {joint: part for part in (*PART_COLORS, "torso") for joint in skeleton.chains[part]}
    for joint, positions in numbers_of(figure).items():
        for position in positions:
            dot = marker_at(figure, position)
            assert same_color(dot.get_color(), PART_COLORS[parts[joint]] if joint in parts else NO_CHAIN_GREY)
            assert same_color(dot.get_markerfacecolor(), "white") == (joint >= skeleton.num_joints)


def test_joints_in_no_chain_are_smaller():
    figure = plot_rest_pose("ntu25")
    sizes = {joint: marker_at(figure, at[0]).get_markersize() for joint, at in numbers_of(figure).items()}
    thumbs = (22, 24)
    assert max(sizes[joint] for joint in thumbs) < min(size for joint, size in sizes.items() if joint not in thumbs)


@every_skeleton
def test_the_figure_faces_the_reader_and_stands_upright(name):
    skeleton, numbers = get_skeleton(name), numbers_of(plot_rest_pose(name))
    for left, right in skeleton.mirror_pairs:
        if len(numbers[left]) == 1:
            assert numbers[left][0][0] > numbers[right][0][0]
    at = {point: numbers[skeleton.landmarks[point]][0] for point in ("head", "neck", "pelvis", "left_knee", "left_ankle")}
    heights = [position[1] for position in at.values()]
    assert heights == sorted(heights, reverse=True)


def test_title_tells_unit_up_axis_and_counts():
    title = plot_rest_pose("panoptic19").axes[0].get_title()
    assert title == "panoptic19: 19 joints + 1 virtual, centimetres, -y up"


def test_given_axes_are_drawn_on_and_no_global_figure_is_made():
    ax = Figure(figsize=(9, 9)).add_subplot()
    assert plot_rest_pose("smpl22", ax=ax) is ax.figure
    assert {text.get_text() for text in ax.texts} == {str(joint) for joint in range(22)}
    assert pyplot.get_fignums() == []


def test_a_skeleton_of_ones_own_with_joints_that_mark_nothing_is_drawn():
    smpl = get_skeleton("smpl22")
    mine = replace(
        smpl, name="mine", joint_names=(*smpl.joint_names, "prop"), parents=(*smpl.parents, 20), points=(*smpl.points, None)
    )
    figure = plot_rest_pose(mine)
    assert set(numbers_of(figure)) == set(range(23))
    assert figure.axes[0].get_title().startswith("mine: 23 joints")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown skeleton 'smpl'; known: body21"):
        plot_rest_pose("smpl")


# ---- docs/skeletons.md --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("draw_skeletons", DOCS / "draw_skeletons.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_script_writes(script):
    written = (DOCS / "skeletons.md").read_text(encoding="utf-8")
    assert written == script.page(), "run: python docs/draw_skeletons.py"


def test_the_page_shows_a_small_figure_of_every_skeleton_and_no_other_lies_there(script):
    shown = re.findall(r"\]\(images/skeletons/(\w+)\.png\)", script.page())
    assert shown == list_skeletons()
    assert sorted(path.stem for path in (DOCS / "images" / "skeletons").iterdir()) == list_skeletons()
    for name in shown:
        assert (DOCS / "images" / "skeletons" / f"{name}.png").stat().st_size <= 60_000


def test_the_page_says_of_every_skeleton_what_it_is_and_where_that_is_written(script):
    page = script.page()
    for name in list_skeletons():
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        about, source = section.strip().split("\n\n")[:2]
        assert len(about) > 20
        assert re.match(r"Source: \S.+\. Unit: \w+\. Up axis: -?[xyz]\.$", source)
        rows = re.findall(r"^\| (\d+) \| `([^`]+)`", section, re.MULTILINE)
        assert [joint for _, joint in rows] == list(get_skeleton(name).joint_names)


def test_drawing_a_skeleton_gives_a_small_png(script):
    assert script.picture("smpl22").startswith(b"\x89PNG")

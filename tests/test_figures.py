"""The paper's figures of a tiny checkpoint: the right motions, texts and attention are drawn, and can be drawn again."""

import matplotlib.colors
import matplotlib.figure
import numpy as np
import pytest
from conftest import swinging_motion
from matplotlib.text import Text

from motionpatches import write_npz
from motionpatches.processing.motion import Motion
from motionpatches.processing.plotting import CORRECT_GREEN
from motionpatches.processing.skeletons import get_skeleton
from motionpatches.training.figures import FIGURES, FigureRequest, draw_figure
from motionpatches.training.inference import load_checkpoint, load_gallery, motions_by_text, texts_by_motion


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were written, in order."""
    figures, save = [], matplotlib.figure.Figure.savefig
    monkeypatch.setattr(
        matplotlib.figure.Figure,
        "savefig",
        lambda self, *args, **kwargs: (figures.append(self), save(self, *args, **kwargs)),
    )
    return figures


def words(figure):
    return [text.get_text().replace("\n", " ") for text in figure.findobj(Text) if text.get_text().strip()]


def request(number, trained_run, data_folder, **more):
    return FigureRequest(number, str(trained_run / "best"), data_folder, **more)


@pytest.mark.parametrize("number", sorted(FIGURES))
def test_every_figure_is_written_and_is_the_same_again(number, trained_run, data_folder, tmp_path, drawn):
    asked = request(number, trained_run, data_folder, num=2)
    draw_figure(asked, tmp_path / "new" / "one.png")
    draw_figure(asked, tmp_path / "new" / "two.png")
    one, two = ((tmp_path / "new" / f"{name}.png").read_bytes() for name in ("one", "two"))
    assert one.startswith(b"\x89PNG")
    assert one == two
    draw_figure(request(number, trained_run, data_folder, num=2, seed=1), tmp_path / "three.svg")
    assert words(drawn[0]) != words(drawn[2])


def test_figure_4_shows_the_motions_that_were_named(trained_run, data_folder, tmp_path, drawn):
    gallery = load_gallery(data_folder)
    ids = [gallery.ids[3], gallery.ids[8]]
    draw_figure(request(4, trained_run, data_folder, num=2, ids=ids), tmp_path / "figure.png")
    titles = [ax.get_title().replace("\n", " ") for ax in drawn[0].axes if ax.get_title()]
    assert titles == [gallery.captions[3][0], gallery.captions[8][0]]
    assert len([ax for ax in drawn[0].axes if ax.images]) == 2


def test_figure_5_shows_what_the_checkpoint_finds(trained_run, data_folder, tmp_path, drawn):
    query = "somebody kicks"
    draw_figure(request(5, trained_run, data_folder, queries=[query]), tmp_path / "figure.png")
    rows = [figure.get_suptitle().replace("\n", " ") for figure in drawn[0].subfigs]
    gallery = load_gallery(data_folder)
    captions = {text for texts in gallery.captions for text in texts}
    assert rows[2] == query
    assert len({*rows[:2]} & captions) == 2
    model, processor = load_checkpoint(trained_run / "best")
    for row, figure in zip(rows, drawn[0].subfigs, strict=True):
        (hits,) = motions_by_text(model, processor, [row], gallery, 3)
        for rank, (ax, hit) in enumerate(zip(figure.axes, hits, strict=True), 1):
            title = ax.get_title().split("\n")
            assert title[0] == f"{rank}.  {hit['score']:.2f}"
            assert " ".join(title[1:]).strip() == hit["captions"][0]
            is_green = matplotlib.colors.to_hex(ax.spines["left"].get_edgecolor()) == CORRECT_GREEN.lower()
            assert is_green == (row in hit["captions"])


def test_figure_7_shows_the_layer_that_was_asked_for(trained_run, data_folder, tmp_path, drawn):
    for more in ({}, {"rollout": True}):
        draw_figure(request(7, trained_run, data_folder, num=1, **more), tmp_path / "figure.png")
    last, rolled = (
        next(image.get_array() for ax in figure.axes for image in ax.images if image.get_cmap().name == "inferno")
        for figure in drawn
    )
    assert last.sum() == pytest.approx(100, abs=0.01)
    assert rolled.sum() == pytest.approx(100, abs=0.01)
    assert not np.allclose(last, rolled)
    with pytest.raises(ValueError, match="there is no layer 7"):
        draw_figure(request(7, trained_run, data_folder, layer=7), tmp_path / "figure.png")


def test_figure_8_puts_the_baseline_before_the_checkpoint(trained_run, data_folder, tmp_path, drawn):
    asked = request(8, trained_run, data_folder, num=1, queries=["a wave"], baseline=str(trained_run / "last"))
    draw_figure(asked, tmp_path / "figure.png")
    assert [figure.get_suptitle() for figure in drawn[0].subfigs] == ["run/last: a wave", "run/best: a wave"]


def test_figure_9_shows_what_the_checkpoint_finds(trained_run, data_folder, tmp_path, drawn):
    gallery = load_gallery(data_folder)
    asked = request(9, trained_run, data_folder, num=1, ids=[gallery.ids[2]], baseline=str(trained_run / "last"))
    draw_figure(asked, tmp_path / "figure.png")
    shown = words(drawn[0])
    assert shown.index("run/last") < shown.index("run/best")
    texts = [text for captions in gallery.captions for text in captions]
    model, processor = load_checkpoint(trained_run / "best")
    (hits,) = texts_by_motion(model, processor, [gallery.motions.with_format("numpy")[2]], texts, 5)
    for rank, hit in enumerate(hits, 1):
        assert f"{rank}.  {hit['score']:.2f}" in shown
        assert hit["text"] in shown
    assert any(gallery.captions[2][0] in text for text in shown)


@pytest.mark.filterwarnings("ignore:.* longer than max_frames")
def test_a_folder_of_files_has_names_for_captions(trained_run, tmp_path, drawn):
    (tmp_path / "files").mkdir()
    for number in range(2):
        motion = Motion(swinging_motion("smpl22", 300, number), get_skeleton("smpl22"), 20.0)
        write_npz(tmp_path / "files" / f"take{number}.npz", motion)
    with pytest.warns(UserWarning, match="2 different motions for 3 rows"):
        draw_figure(request(4, trained_run, tmp_path / "files"), tmp_path / "figure.png")
    titles = sorted(ax.get_title() for ax in drawn[0].axes if ax.get_title())
    assert titles == [f"take{number}.npz (the first 4.8 s of 15.0 s)" for number in range(2)]
    last_poses = [ax.get_xticklabels()[-1].get_text() for ax in drawn[0].axes if ax.get_title()]
    assert last_poses == ["95", "95"]
    with pytest.raises(ValueError, match="no captions to take as queries; pass all 3 queries"):
        draw_figure(request(5, trained_run, tmp_path / "files"), tmp_path / "figure.png")
    with pytest.raises(ValueError, match="no captions to search in"):
        draw_figure(request(9, trained_run, tmp_path / "files", num=2), tmp_path / "figure.png")
    draw_figure(request(5, trained_run, tmp_path / "files", num=1, queries=["a walk"]), tmp_path / "found.png")
    assert (tmp_path / "found.png").exists()


BAD = [
    ({"number": 6}, "figure 6 of the paper shows no checkpoint at work; those that do are 4: motions beside"),
    ({"number": 4, "num": 0}, "a figure of 0 rows"),
    ({"number": 5, "ids": ["x"]}, r"figure 5 \(motions found by texts\) takes no ids"),
    ({"number": 4, "queries": ["x"]}, "takes no queries"),
    ({"number": 7, "baseline": "x"}, "takes no baseline"),
    ({"number": 9, "layer": 0}, "takes no layer and rollout"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[message for _, message in BAD])
def test_impossible_requests(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        FigureRequest(**{"checkpoint": "none", "data": tmp_path, **arguments})


def test_wrong_names_are_said_before_anything_is_written(trained_run, data_folder, tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.png, \.pdf, \.svg"):
        draw_figure(request(4, trained_run, data_folder), tmp_path / "figure.gif")
    with pytest.raises(ValueError, match=r"has no motion 'nobody'; ids look like '"):
        draw_figure(request(4, trained_run, data_folder, ids=["nobody"]), tmp_path / "figure.png")
    with pytest.raises(FileNotFoundError, match="no folder"):
        draw_figure(request(4, trained_run, tmp_path / "none"), tmp_path / "figure.png")
    assert not list(tmp_path.iterdir())

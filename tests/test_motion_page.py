"""The page that plays a motion: what it holds, and what a browser makes of it."""

import base64
import io
import re
import shutil
import sys

import numpy as np
import pytest
from conftest import smpl_motion, swinging_motion
from PIL import Image

from motionpatches import MotionPatchProcessor, get_skeleton
from motionpatches.processing.motion_page import plot_motion_player, write_motion_page
from motionpatches.processing.patched_motion import patch_motion
from motionpatches.processing.plotting import PART_COLORS
from motionpatches.processing.skeletons import PARTS


go = pytest.importorskip("plotly.graph_objects")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def traces_of(figure, kind):
    return [trace for trace in figure.data if trace.type == kind]


def points(trace):
    return np.array([trace.x, trace.y, trace.z], dtype=float).T


def test_each_frame_shows_the_chains_at_that_time():
    motion = smpl_motion(num_frames=12)
    figure = plot_motion_player(motion)
    assert [frame.name for frame in figure.frames] == [str(number) for number in range(12)]
    assert len(figure.layout.sliders[0].steps) == 12
    skeleton = get_skeleton("smpl22")
    start = motion["joints"][0, 0]
    for number, frame in enumerate(figure.frames):
        assert list(frame.traces) == list(range(len(frame.data)))
        for trace, part in zip(frame.data, PARTS, strict=False):
            assert (trace.name, trace.line.color) == (part.replace("_", " "), PART_COLORS[part])
            found = points(trace)[:, [1, 2, 0]]  # plotly's z is up
            bones = np.linalg.norm(np.diff(found, axis=0), axis=1)
            chain = motion["joints"][number, list(skeleton.chains[part])]
            np.testing.assert_allclose(bones, np.linalg.norm(np.diff(chain, axis=0), axis=1), atol=0.004)
        height = points(frame.data[2])[0, 2] - points(figure.frames[0].data[2])[0, 2]
        assert height == pytest.approx(motion["joints"][number, 0, 1] - start[1], abs=0.002)


def test_left_stays_left():
    rest = np.repeat(get_skeleton("smpl22").rest_pose[None], 2, axis=0)
    figure = plot_motion_player({"joints": rest, "skeleton": "smpl22", "fps": 20})
    arms = {trace.name: points(trace) for trace in figure.data[:5]}
    eye = figure.layout.scene.camera.eye
    to_the_right = np.cross([-eye.x, -eye.y, 0], [0, 0, 1])  # of the reader
    assert (arms["left arm"] @ to_the_right).mean() > (arms["right arm"] @ to_the_right).mean()
    foot = points(figure.data[0])  # the right leg: its last bone points ahead
    assert (foot[-1] - foot[-2])[:2] @ [eye.x, eye.y] > 0
    assert points(figure.data[2])[:, 2].argmax() == len(get_skeleton("smpl22").chains["torso"]) - 1  # the head is above


def test_the_patches_are_an_image_of_the_values_with_grey_padding():
    motion = smpl_motion(num_frames=20)
    figure = plot_motion_player(motion)
    (image,) = traces_of(figure, "image")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(image.source.partition(",")[2])))).astype(float)
    values = patch_motion(motion, MotionPatchProcessor(normalization=None)).motion_values
    assert pixels.shape == (32, 80, 3)
    for channel in range(3):
        assert np.corrcoef(pixels[:20, :, channel].ravel(), values[channel, :20].ravel())[0, 1] > 0.99
    assert np.ptp(pixels[20:]) == 0
    assert tuple(figure.layout.yaxis.range) == (32, 0)
    assert tuple(figure.layout.xaxis.range) == (0, 80)
    assert not traces_of(figure, "heatmap")


def test_attention_stands_beside_and_on_the_body(model, processor):
    motion = smpl_motion(num_frames=28)
    found = patch_motion(motion, processor.feature_extractor, model)
    figure = plot_motion_player(motion, model, processor)
    (heat,) = traces_of(figure, "heatmap")
    np.testing.assert_allclose(np.array(heat.z, dtype=float), 100 * found.attention, atol=0.001)
    assert heat.coloraxis == "coloraxis"
    colors = figure.layout.coloraxis
    assert (colors.cmin, colors.cmax) == (0, pytest.approx(100 * found.attention.max()))
    skeleton = get_skeleton("smpl22")
    for number in (0, 9, 27):
        marks = next(trace for trace in figure.frames[number].data if trace.mode == "markers")
        by_name = dict(zip(marks.text, marks.marker.color, strict=True))
        for part, joint in (("right_leg", -1), ("left_arm", -1), ("torso", -1), ("right_arm", 2)):
            name = skeleton.joint_names[skeleton.chains[part][joint]]
            expected = 100 * found.attention[number // 8, PARTS.index(part)]
            assert by_name[name] == pytest.approx(expected, abs=0.001)
        lines = [trace for trace in figure.frames[number].data if trace.type == "scatter"]
        assert [(line.yaxis, line.y[0]) for line in lines] == [("y", number + 0.5), ("y2", number + 0.5)]


@pytest.mark.parametrize("name", ["coco17", "smplx55", "kit21"])
def test_skeletons_of_any_kind_have_all_their_joints(name):
    skeleton = get_skeleton(name)
    motion = {"joints": swinging_motion(name, 4), "skeleton": name, "fps": 20}
    figure = plot_motion_player(motion)
    in_chains = {joint for chain in skeleton.chains.values() for joint in chain}
    marks = next(trace for trace in figure.data if trace.mode == "markers")
    assert set(marks.text) == {skeleton.joint_names[joint] for joint in in_chains}
    loose = [trace for trace in figure.data if trace.name == "in no chain"]
    joints_left = [j for j, parent in enumerate(skeleton.parents) if parent >= 0 and j not in in_chains]
    assert sum(value is None for trace in loose for value in trace.x) == max(len(joints_left) - 1, 0)
    assert len(loose) == bool(joints_left)
    heights = np.concatenate([points(trace) for trace in figure.data[:5]])[:, 2]
    assert 1.0 < np.ptp(heights) < 2.2  # metres


def test_the_time_is_that_of_the_motion():
    motion = {**smpl_motion(num_frames=60), "fps": 60}
    figure = plot_motion_player(motion)
    assert len(figure.frames) == 20
    assert figure.layout.sliders[0].steps[-1].label == "0.95 s"
    play = figure.layout.updatemenus[0].buttons[0].args[1]
    assert play["frame"]["duration"] == 50


def test_a_cut_motion_says_so(model, processor):
    with pytest.warns(UserWarning, match="longer than max_frames=64"):
        figure = plot_motion_player(smpl_motion(num_frames=100), model, processor, title="a walk")
    assert len(figure.frames) == 64
    assert figure.layout.title.text == "a walk<br><i>the first 3.2 s of 5.0 s</i>"


def test_a_page_is_one_file_and_its_title_is_text(tmp_path):
    title = 'a <b>"quick"</b> </script><img src=x onerror=alert(1)> & turn'
    write_motion_page(tmp_path / "new" / "page.html", smpl_motion(num_frames=4), title)
    text = (tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert "<title>a &lt;b&gt;" in text
    assert "<img src=x" not in text
    assert "onerror=alert" in text  # the words are there, as words
    sources = re.findall(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=[\"']?([^\"'\s>]+)", text)
    assert not sources
    assert list((tmp_path / "new").iterdir()) == [tmp_path / "new" / "page.html"]


def test_a_model_comes_with_its_processor(model):
    with pytest.raises(ValueError, match="pass processor="):
        plot_motion_player(smpl_motion(), model)


def test_without_plotly_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(ImportError, match=r"pip install 'motionpatches\[pages\]'"):
        write_motion_page(tmp_path / "page.html", smpl_motion())
    assert not list(tmp_path.iterdir())


STATE = """() => {
    const plot = document.querySelector('.plotly-graph-div');
    const lines = plot._fullData.filter(trace => trace.type === 'scatter');
    return {
        frame: plot._fullLayout.sliders[0].active,
        body: Array.from(plot._fullData[0].z),
        times: lines.map(line => line.y[0]),
        eye: plot._fullLayout.scene._scene.getCamera().eye,
        title: document.querySelector('.gtitle').textContent,
    };
}"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_a_browser_plays_winds_and_turns_it(tmp_path, model, processor):
    playwright = pytest.importorskip("playwright.sync_api")
    title = "<i>one</i> & two"
    motion = smpl_motion(num_frames=12)
    write_motion_page(tmp_path / "page.html", motion, title, model=model, processor=processor)
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page(viewport={"width": 1000, "height": 650})
        asked, broken = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: broken.append(str(error)))
        page.goto((tmp_path / "page.html").as_uri())
        page.wait_for_function("!!document.querySelector('.plotly-graph-div')?._fullLayout?.scene?._scene?.glplot?.camera")
        body = {"x": 160, "y": 120, "width": 380, "height": 400}
        start, start_picture = page.evaluate(STATE), page.screenshot(clip=body)
        page.get_by_text("Play", exact=True).click()
        page.wait_for_function("document.querySelector('.plotly-graph-div')._fullLayout.sliders[0].active === 11")
        page.wait_for_function(f"({STATE})().times[0] === 11.5")
        end, end_picture = page.evaluate(STATE), page.screenshot(clip=body)
        middle = page.locator(".slider-rail-touch-rect").bounding_box()
        page.mouse.click(middle["x"] + middle["width"] * 0.5, middle["y"] + middle["height"] / 2)
        page.wait_for_function(f"Math.abs(({STATE})().times[0] - 6) < 2")
        wound = page.evaluate(STATE)
        page.mouse.move(250, 300)
        page.mouse.down()
        for right in range(260, 600, 20):  # until it has turned: a slow machine misses the first moves
            page.mouse.move(right, 300)
            page.wait_for_timeout(100)
            if page.evaluate(STATE)["eye"] != start["eye"]:
                break
        page.mouse.up()
        turned = page.evaluate(STATE)
        page.screenshot(path=tmp_path / "page.png")
        browser.close()
    assert (start["frame"], start["times"]) == (0, [0.5, 0.5])
    assert end["times"] == [11.5, 11.5]
    frames = plot_motion_player(motion, model, processor).frames
    for state, number in ((start, 0), (end, 11), (wound, round(wound["times"][0] - 0.5))):
        np.testing.assert_allclose(state["body"], frames[number].data[0].z)
    assert turned["eye"] != start["eye"]
    assert start_picture != end_picture
    assert start["title"] == title
    assert asked == [(tmp_path / "page.html").as_uri()]
    assert not broken
    with Image.open(tmp_path / "page.png") as picture:
        left = np.asarray(picture.convert("RGB")).astype(int)[:, :550]
    for part in ("right_leg", "left_arm"):  # the body is drawn, not only described
        color = [int(PART_COLORS[part][at : at + 2], 16) for at in (1, 3, 5)]
        assert (np.abs(left[120:] - color).sum(axis=-1) < 40).sum() > 50

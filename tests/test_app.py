"""The app as visitors meet it: through its interface over HTTP, and in a browser."""

import io
import os
import runpy
import shutil
import stat
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml
from conftest import swinging_motion, tiny_config
from rich.console import Console
from test_chat import checkpoint as llamo_checkpoint  # noqa: F401 (fixture)
from test_modeling_motion_llamo import chat_tokenizer, motion_processor  # noqa: F401 (fixtures)

from motionpatches import MotionIndex, MotionPatchesModel, MotionPatchProcessor, MotionTextProcessor
from motionpatches.training.export import save_checkpoint
from motionpatches.training.inference import load_checkpoint


pytest.importorskip("gradio")
pytest.importorskip("faiss")
gradio_client = pytest.importorskip("gradio_client")

from motionpatches.training import app  # noqa: E402
from motionpatches.training.app_space import VARIABLES, space_page, upload_limit  # noqa: E402


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SPACE = Path(__file__).parents[1] / "space"
CAPTIONS = {"walk.npz": "a person walks", "jump.npz": "a <b>person</b> jumps", "wave.npz": "someone waves"}
LIMIT_MB = 0.5


@pytest.fixture(scope="module")
def motions(tmp_path_factory):
    """Motion files with captions."""
    folder = tmp_path_factory.mktemp("library") / "motions"
    folder.mkdir()
    for seed, name in enumerate(CAPTIONS):
        np.savez(folder / name, joints=swinging_motion(seed=seed), skeleton="smpl22", fps=20)
    rows = [f'{name},"{text}"' for name, text in CAPTIONS.items()]
    (folder / "metadata.csv").write_text("\n".join(["file_name,caption", *rows]))
    return folder


@pytest.fixture(scope="module")
def checkpoint(tokenizer, motions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("app") / "checkpoint"
    patches = MotionPatchProcessor(patch_size=8, max_frames=64, padding="longest")
    patches.fit([{"joints": swinging_motion(), "skeleton": "smpl22", "fps": 20}])
    save_checkpoint(MotionPatchesModel(tiny_config(tokenizer)), MotionTextProcessor(patches, tokenizer), folder)
    return folder


@pytest.fixture(scope="module")
def server(checkpoint, motions, llamo_checkpoint):  # noqa: F811
    """Address of an app at work, and the folder of its uploads."""
    with pytest.MonkeyPatch.context() as patch, app.private_uploads() as uploads:
        patch.setattr("motionpatches.training.app_chat.MAX_NEW_TOKENS", 8)
        page = app.open_page(str(checkpoint), None, motions, str(llamo_checkpoint), LIMIT_MB, Console(file=io.StringIO()))
        with app.serving(page, max_upload_mb=LIMIT_MB) as address:
            yield address, uploads


@pytest.fixture(scope="module")
def client(server, tmp_path_factory):
    return gradio_client.Client(server[0], verbose=False, download_files=tmp_path_factory.mktemp("downloads"))


@pytest.fixture
def uploaded(motions):
    return gradio_client.handle_file(motions / "jump.npz"), "", 0


def rows(table):
    return table["data"]


def test_a_sentence_finds_motions_with_pictures(client, checkpoint, motions):
    index = MotionIndex(load_checkpoint(checkpoint))
    index.add(motions)
    expected = index.search("someone waves", top_k=2)
    cards, table, _ = client.predict("someone waves", "the sentence", 2, 0.5, "", None, "", 0, api_name="/find_motions")
    assert [row[1] for row in rows(table)] == [hit["id"] for hit in expected]
    assert [row[0] for row in rows(table)] == pytest.approx([hit["score"] for hit in expected], abs=1e-3)
    assert cards.count('<img src="data:image/gif;base64,') == 2
    assert str(motions) not in cards + str(table)


def test_words_of_captions_are_shown_as_words(client, uploaded):
    cards, table, _ = client.predict("", "the uploaded motion", 1, 0.5, "", *uploaded, api_name="/find_motions")
    assert rows(table)[0][1] == "jump.npz"
    assert "a &lt;b&gt;person&lt;/b&gt; jumps" in cards


def test_an_uploaded_motion_is_described_captioned_classified_and_localised(client, uploaded):
    facts = client.predict(*uploaded, api_name="/open_motion")
    assert "2.0 s: 40 frames at 20 per second, skeleton smpl22" in facts
    assert "data:image/gif" in facts
    table, _ = client.predict("", 2, *uploaded, api_name="/find_captions")
    assert len(rows(table)) == 2
    assert {row[1] for row in rows(table)} < set(CAPTIONS.values())
    scores, _ = client.predict("walks\njumps", "A person {}.", False, *uploaded, api_name="/classify")
    assert {entry["label"] for entry in scores["confidences"]} == {"walks", "jumps"}
    plot, table, _ = client.predict("a person walks", 2, -1, *uploaded, api_name="/localise")
    assert plot["plot"].startswith("data:image/")
    assert 1 <= len(rows(table)) <= 2
    assert client.predict("a person walks", 2, 1, *uploaded, api_name="/localise")[1]["data"] == []
    page, _ = client.predict(True, *uploaded, api_name="/show_motion")
    assert page.startswith('<iframe title="jump.npz" sandbox="allow-scripts" srcdoc=')


def test_an_answer_is_streamed_and_a_conversation_goes_on(server, motions, tmp_path):
    client = gradio_client.Client(server[0], verbose=False, download_files=tmp_path)
    file = gradio_client.handle_file(motions / "jump.npz")
    job = client.submit("what happens?", [], file, "", 0, api_name="/chat")
    history, emptied, notes = job.result()
    assert len(job.outputs()) > 2
    assert [message["role"] for message in history] == ["user", "assistant"]
    assert (emptied, "jump.npz: 40 frames" in notes) == ("", True)
    longer, *_ = client.predict("and then?", history, file, "", 0, api_name="/chat")
    assert [message["role"] for message in longer] == ["user", "assistant"] * 2
    emptied, *_ = client.predict("what happens?", [], file, "", 0, api_name="/chat")  # its display was cleared
    assert emptied == history
    other = gradio_client.handle_file(motions / "walk.npz")
    anew, *_ = client.predict("what happens?", longer, other, "", 0, api_name="/chat")
    assert len(anew) == 2


def test_what_cannot_be_done_is_one_sentence(client, tmp_path):
    (tmp_path / "broken.bvh").write_text("HIERARCHY\nnonsense")
    with pytest.raises(gradio_client.exceptions.AppError, match=r"broken\.bvh: not a readable BVH file") as caught:
        client.predict(gradio_client.handle_file(tmp_path / "broken.bvh"), "", 0, api_name="/open_motion")
    assert "Traceback" not in str(caught.value)
    assert "motionpatches-app" not in str(caught.value)
    with pytest.raises(gradio_client.exceptions.AppError, match="upload a motion file first"):
        client.predict("walks", "A person {}.", False, None, "", 0, api_name="/classify")
    (tmp_path / "text.txt").write_text("HIERARCHY")
    with pytest.raises(gradio_client.exceptions.AppError, match="Invalid file type"):
        client.predict(gradio_client.handle_file(tmp_path / "text.txt"), "", 0, api_name="/open_motion")


def test_an_error_of_the_app_shows_nothing_of_it(client, uploaded, monkeypatch, caplog):
    def fails(*_, **__):
        raise RuntimeError("at /secret/place")

    monkeypatch.setattr(app.Actions, "open", fails)
    with pytest.raises(gradio_client.exceptions.AppError, match="an error of the app; its log tells more") as caught:
        client.predict(*uploaded, api_name="/open_motion")
    assert "secret" not in str(caught.value)
    assert "at /secret/place" in caplog.text


def test_no_file_of_the_machine_can_be_read(server, checkpoint, motions):
    address, uploads = server
    here = Path.cwd()
    known = [Path("/etc/passwd"), here / "setup.py", Path(app.__file__), checkpoint / "config.json", motions / "walk.npz"]
    for file in known:
        assert file.is_file() or file == here / "setup.py"
    for path in [*known, "setup.py", "..%2f..%2fetc%2fpasswd", f"{uploads}/../passwd"]:
        for route in (f"file={path}", f"file/{path}", f"static/{path}", f"stream/{path}"):
            answer = httpx.get(f"{address}gradio_api/{route}")
            assert answer.status_code in (403, 404, 405), (route, answer.text)
            assert str(path) == "setup.py" or "root:" not in answer.text


@pytest.mark.parametrize("kind", ["path", "meta", "url", "text"])
def test_no_file_of_the_machine_can_be_given_as_an_upload(server, motions, kind):
    address, _ = server
    file = str(motions / "walk.npz")
    meta = {"_type": "gradio.FileData"}
    given = {
        "path": {"path": file},
        "meta": {"path": file, "meta": meta},
        "url": {"path": "walk.npz", "url": f"file://{file}", "meta": meta},
        "text": file,
    }[kind]
    asked = httpx.post(f"{address}gradio_api/call/open_motion", json={"data": [given, "", 0]})
    answer = httpx.get(f"{address}gradio_api/call/open_motion/{asked.json()['event_id']}", timeout=60).text
    assert answer.startswith("event: error")
    assert "40 frames" not in answer
    assert "Traceback" not in answer


def test_uploads_are_limited_and_lie_where_only_their_owner_reads(server):
    address, uploads = server
    url = f"{address}gradio_api/upload"
    assert httpx.post(url, files={"files": ("big.npz", b"x" * 600_000)}).status_code == 413
    assert not list(uploads.rglob("big.npz"))
    answer = httpx.post(url, files={"files": ("../../evil.bvh", b"x")})
    (file,) = answer.json()
    assert Path(file).parent.parent == uploads
    assert stat.S_IMODE(uploads.stat().st_mode) == stat.S_IRWXU


def test_uploads_go_when_the_app_ends(monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "before")
    with app.private_uploads() as folder:
        (folder / "file").write_text("private")
        assert os.environ["GRADIO_TEMP_DIR"] == str(folder)
    assert not folder.exists()
    assert os.environ["GRADIO_TEMP_DIR"] == "before"


def test_the_page_asks_nobody_else(server):
    address, _ = server
    config = httpx.get(f"{address}config").json()
    assert config["analytics_enabled"] is False


class TestCommand:
    def run(self, monkeypatch, **choice):
        """Run the command until it would wait, and return what it printed and the address that it listened at."""
        console, heard = Console(file=io.StringIO(), width=300), []
        monkeypatch.setattr("gradio.Blocks.block_thread", lambda page: heard.append((page.server_name, page.server_port)))
        app.run_app(console=console, **choice)
        return console.file.getvalue(), heard[0]

    def test_it_listens_to_this_machine_alone(self, checkpoint, monkeypatch):
        said, (host, _) = self.run(monkeypatch, checkpoint=str(checkpoint))
        assert host == "127.0.0.1"
        assert "the app is at http://127.0.0.1:" in said
        assert "other machines" not in said

    def test_it_warns_of_an_open_address(self, checkpoint, monkeypatch):
        said, (host, _) = self.run(monkeypatch, checkpoint=str(checkpoint), host="0.0.0.0")
        assert host == "0.0.0.0"
        assert "can be reached from other machines" in said
        assert "There is no password" in said

    def test_a_taken_port_is_told(self, server, checkpoint, monkeypatch):
        port = int(server[0].rstrip("/").rpartition(":")[2])
        with pytest.raises(OSError, match=str(port)):
            self.run(monkeypatch, checkpoint=str(checkpoint), port=port)

    def test_what_is_missing_is_named_before_anything_is_served(self, checkpoint, monkeypatch, tmp_path):
        with pytest.raises(FileNotFoundError, match="no checkpoint folder"):
            app.open_page(str(tmp_path / "none"))
        with pytest.raises(FileNotFoundError, match="no folder"):
            app.open_page(str(checkpoint), data=tmp_path / "none")
        with pytest.raises(ValueError, match="upload limit is 0 MB"):
            app.open_page(str(checkpoint), max_upload_mb=0)
        monkeypatch.setitem(sys.modules, "gradio", None)
        with pytest.raises(ImportError, match=r"pip install 'motionpatches\[app\]'"):
            app.open_page(str(checkpoint))


class TestSpace:
    def words(self, page):
        return str(page.get_config_file()["components"])

    def test_it_says_what_is_missing(self):
        words = self.words(space_page({}))
        assert "`MODEL_ID` is not set" in words
        assert all(f"`{name}`" in words for name in VARIABLES)

    def test_it_says_what_cannot_be_loaded(self, tmp_path):
        assert "no checkpoint folder" in self.words(space_page({"MODEL_ID": str(tmp_path / "<none>")}))
        assert "&lt;none&gt;" in self.words(space_page({"MODEL_ID": str(tmp_path / "<none>")}))

    def test_it_loads_what_the_variables_name(self, checkpoint, motions):
        words = self.words(space_page({"MODEL_ID": str(checkpoint), "DATA_FOLDER": str(motions), "MAX_UPLOAD_MB": "3"}))
        assert "3 motions can be found" in words
        assert "3 MB at most" in words

    @pytest.mark.parametrize("text", ["much", "-1", "inf", "nan"])
    def test_a_limit_is_a_number(self, text):
        with pytest.raises(ValueError, match=f"MAX_UPLOAD_MB is '{text}'"):
            upload_limit({"MAX_UPLOAD_MB": text})

    def test_its_program_runs(self, monkeypatch, capsys):
        monkeypatch.delenv("MODEL_ID", raising=False)
        found = []
        monkeypatch.setattr("gradio.Blocks.block_thread", lambda page: found.append(httpx.get(page.local_url).text))
        runpy.run_path(str(SPACE / "app.py"), run_name="__main__")
        assert "MODEL_ID` is not set" in found[0]
        assert "the app is at http" in capsys.readouterr().out

    def test_its_header_names_what_is_there(self):
        _, header, text = (SPACE / "README.md").read_text(encoding="utf-8").split("---\n", 2)
        facts = yaml.safe_load(header)
        assert facts["sdk"] == "gradio"
        assert (SPACE / facts["app_file"]).is_file()
        assert all(f"`{name}`" in text for name in VARIABLES)


def type_into(page, label, text):
    """Type as a person does, who sees a part of the page before they type: one that just appears may begin anew."""
    box = page.get_by_label(label, exact=True)
    for _ in range(10):
        box.fill(text)
        page.wait_for_timeout(400)
        if box.input_value() == text:
            return
    raise AssertionError(f"{text!r} does not stay in {label!r}")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_in_a_browser(server, motions, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    pytest.importorskip("plotly")
    broken = tmp_path / "broken.bvh"
    broken.write_text("HIERARCHY\nnonsense")
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page(viewport={"width": 1250, "height": 900})
        asked, failed = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.goto(server[0])

        type_into(page, "Sentence", "someone waves")
        page.get_by_role("button", name="Find motions").click()
        page.locator("#hits figure").nth(2).wait_for()
        seen = page.locator("#hits img").evaluate_all("images => images.map(image => image.naturalWidth)")
        assert seen == [200] * 3
        assert "a <b>person</b> jumps" in page.locator("#hits").inner_text()
        page.screenshot(path=tmp_path / "find.png")

        page.locator("#file input[type=file]").set_input_files(broken)
        toast = page.locator(".toast-body")
        toast.wait_for()
        assert "broken.bvh: not a readable BVH file" in toast.inner_text()
        assert "Traceback" not in page.content()
        page.screenshot(path=tmp_path / "wrong.png")
        page.locator(".toast-close").click()
        page.locator("#file").get_by_label("Clear").click()

        page.locator("#file input[type=file]").set_input_files(motions / "jump.npz")
        page.locator("#facts img").wait_for()
        assert "40 frames at 20 per second" in page.locator("#facts").inner_text()

        page.get_by_role("tab", name="Classify").click()
        type_into(page, "Labels, one a line", "dances\nrests")
        page.get_by_role("button", name="Classify").click()
        page.locator("#scores").get_by_text("rests").first.wait_for()
        assert "dances" in page.locator("#scores").inner_text()

        page.get_by_role("tab", name="Localise").click()
        type_into(page, "Sentences, one a line", "someone dances")
        page.get_by_role("button", name="Find the moments").click()
        page.locator("#moments img").wait_for()

        page.get_by_role("tab", name="See").click()
        page.get_by_role("button", name="Show the motion").click()
        player = page.frame_locator("#player iframe")
        player.get_by_text("Play", exact=True).wait_for()
        player.locator(".gl-container canvas").first.wait_for()
        page.screenshot(path=tmp_path / "see.png")

        page.get_by_role("tab", name="Chat").click()
        type_into(page, "Question", "what <i>happens</i>?")
        page.get_by_role("button", name="Ask").click()
        page.locator("#conversation [data-testid=bot]").wait_for()
        assert "what <i>happens</i>?" in page.locator("#conversation").inner_text()
        page.screenshot(path=tmp_path / "chat.png")
        browser.close()
    assert not [url for url in asked if not url.startswith((server[0], "data:", "blob:", "about:"))]
    assert not failed

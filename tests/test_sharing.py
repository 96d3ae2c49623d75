"""A push to the Hub is whole or is not; the card says what was measured; nothing of others is lost."""

import json
import re
import shutil

import pytest
import torch
from conftest import run_command, tiny_config
from hub_server import READER, TOKEN, USER, LocalHub
from huggingface_hub import constants
from huggingface_hub.utils import _http
from safetensors.torch import load, load_file, save_file

from motionpatches import MotionPatchesModel, MotionPatchesMotionModelWithProjection
from motionpatches.training.export import save_checkpoint
from motionpatches.training.sharing import push_checkpoint, push_to_hub


REPO = f"{USER}/model"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub on this machine, and somebody who is logged in to it."""
    with LocalHub() as hub:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, hub.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no_token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(_http.time, "sleep", lambda _: None)  # between the library's own retries
        yield hub


@pytest.fixture
def other_model(tokenizer):
    torch.manual_seed(1)
    return MotionPatchesModel(tiny_config(tokenizer)).eval()


@pytest.fixture
def run_folder(trained_run, tmp_path):
    """A training run of one's own to push, change and break."""
    folder = tmp_path / "run"
    for name in ("best", "last"):
        shutil.copytree(trained_run / name, folder / name)
    shutil.copy(trained_run / "results.json", folder)
    return folder


def holds(files, model):
    """Whether the weights among files are those of a model."""
    weights, expected = load(files["model.safetensors"]), model.state_dict()
    return all(torch.equal(weights[name], expected[name]) for name in weights)


def readme(hub, branch="main"):
    return hub.files(REPO, branch)["README.md"].decode()


def test_all_goes_there_in_one_commit(hub, model, processor):
    commit = push_to_hub(model, processor, REPO, commit_message="first")
    assert hub.commits(REPO) == ["first"]
    assert commit.commit_url.startswith(f"{hub.url}/{REPO}/commit/")
    needed = {"config.json", "model.safetensors", "processor_config.json", "tokenizer.json", "README.md"}
    assert needed | {"modeling_motionpatches.py", "pipeline_zero_shot_motion_classification.py"} <= set(hub.files(REPO))
    assert holds(hub.files(REPO), model)
    assert f'from_pretrained("{REPO}")' in readme(hub)


def test_a_name_alone_is_in_ones_own_namespace(hub, model, processor):
    push_to_hub(model, processor, "model")
    assert f'from_pretrained("{REPO}")' in readme(hub)


@pytest.mark.parametrize("where", ["upload", "commit"])
def test_an_interrupted_first_push_leaves_nothing_and_the_next_completes_it(where, hub, model, processor):
    hub.broken = where
    with pytest.raises(ConnectionError, match=r"broke off.*push again"):
        push_to_hub(model, processor, REPO)
    assert set(hub.files(REPO)) == {".gitattributes"}
    uploads, hub.broken = hub.uploads, None
    push_to_hub(model, processor, REPO)
    assert holds(hub.files(REPO), model)
    assert len(hub.commits(REPO)) == 1
    assert hub.uploads - uploads == (1 if where == "upload" else 0)  # what had arrived is not sent again


@pytest.mark.parametrize("where", ["upload", "commit"])
def test_an_interrupted_push_leaves_the_older_model_whole(where, hub, model, other_model, processor):
    push_to_hub(model, processor, REPO)
    before, hub.broken = hub.files(REPO), where
    with pytest.raises(ConnectionError):
        push_to_hub(other_model, processor, REPO, facts={"language": "en"})
    assert hub.files(REPO) == before


def test_an_older_model_is_replaced_in_one_commit_and_other_files_stay(hub, model, other_model, processor):
    push_to_hub(model, processor, REPO, commit_message="old")
    hub.put(REPO, "demo.mp4", b"mine")
    hub.put(REPO, "model.safetensors.index.json", b"{}")
    push_to_hub(other_model, processor, REPO, facts={"recipe_name": "newer"}, commit_message="new")
    assert hub.commits(REPO)[-1] == "new"
    assert len(hub.commits(REPO)) == 4
    assert holds(hub.files(REPO), other_model)
    assert "`newer`" in readme(hub)
    assert hub.files(REPO)["demo.mp4"] == b"mine"
    assert "model.safetensors.index.json" not in hub.files(REPO)  # transformers would look there


def test_a_tower_that_follows_a_whole_model_does_not_keep_its_processor(hub, model, processor, tokenizer):
    push_to_hub(model, processor, REPO)
    tower = MotionPatchesMotionModelWithProjection(tiny_config(tokenizer))
    push_to_hub(tower, processor.feature_extractor, REPO)
    assert "processor_config.json" not in hub.files(REPO)
    assert "preprocessor_config.json" in hub.files(REPO)
    assert "The motion tower of" in readme(hub)


def test_pushing_the_same_again_makes_no_commit(hub, model, processor):
    push_to_hub(model, processor, REPO)
    push_to_hub(model, processor, REPO)
    assert len(hub.commits(REPO)) == 1


def test_a_branch_and_a_pull_request_leave_main_alone(hub, model, processor):
    push_to_hub(model, processor, REPO, revision="experiment")
    assert holds(hub.files(REPO, "experiment"), model)
    assert set(hub.files(REPO)) == {".gitattributes"}
    assert push_to_hub(model, processor, REPO, create_pr=True).pr_url.endswith("/discussions/1")
    assert set(hub.files(REPO)) == {".gitattributes"}
    assert holds(hub.files(REPO, "refs/pr/1"), model)
    with pytest.raises(ValueError, match="goes to the main branch"):
        push_to_hub(model, processor, REPO, create_pr=True, revision="experiment")


def test_what_is_to_be_private_is_never_put_into_a_public_repository(hub, model, processor):
    push_to_hub(model, processor, f"{USER}/secret", private=True)
    assert hub.repositories[f"{USER}/secret"].private
    push_to_hub(model, processor, REPO)
    with pytest.raises(ValueError, match="exists and is public, not private"):
        push_to_hub(model, processor, REPO, facts={"language": "en"}, private=True)
    assert len(hub.commits(REPO)) == 1


def test_mistakes_say_how_to_mend_them(hub, model, processor, monkeypatch):
    with pytest.raises(ValueError, match="no name on the Hub; expected 'user/name'"):
        push_to_hub(model, processor, "my model")
    with pytest.raises(PermissionError, match=r"no right to write to 'others/model'.*the name before the slash"):
        push_to_hub(model, processor, "others/model")
    with pytest.raises(PermissionError, match=r"no right to write.*the token needs the right to write"):
        push_to_hub(model, processor, REPO, token=READER)
    with pytest.raises(PermissionError, match=r"does not accept the token.*hf auth login"):
        push_to_hub(model, processor, REPO, token="hf_old")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(PermissionError, match="no token of the Hub: log in with `hf auth login`"):
        push_to_hub(model, processor, REPO)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(ConnectionError, match=r"127.0.0.1:1 broke off or could not be made"):
        push_to_hub(model, processor, REPO, token=TOKEN)
    assert not hub.repositories


def test_a_model_without_its_processor_is_not_pushed(hub, model, processor):
    with pytest.raises(TypeError, match=r"saved with its processor, a MotionTextProcessor: .* got none"):
        push_to_hub(model, None, REPO)
    with pytest.raises(TypeError, match="got a MotionPatchProcessor"):
        push_to_hub(model, processor.feature_extractor, REPO)
    assert not hub.repositories


def test_the_shell_pushes_a_run_with_what_it_measured(hub, run_folder, trained_run):
    result = run_command(
        "push", run_folder / "best", REPO, "--licence", "cc-by-4.0", "--language", "en", "--data-licence", "MIT"
    )
    assert result.exit_code == 0, result.output
    assert f"pushed: {hub.url}/{REPO}/commit/" in result.output
    card, trained = readme(hub), json.loads((trained_run / "results.json").read_text())
    assert "license: cc-by-4.0" in card
    assert "| weights | cc-by-4.0 |" in card
    assert "| training data | MIT |" in card
    assert "`tiny`, seed: 0" in card
    assert trained["data"]["train"] in card
    strict = trained["best"]["validation"]["all"]["retrieval"]["strict"]["t2m"]
    assert f"| strict | text→motion | {strict['R@1']:.1f} |" in card
    assert "chosen on this split: these numbers flatter" in card
    assert trained["versions"]["torch"] in card


def test_the_last_epoch_does_not_boast_with_the_best(hub, run_folder):
    content = json.loads((run_folder / "results.json").read_text())
    (run_folder / "results.json").write_text(json.dumps({**content, "best_epoch": 1}))
    push_checkpoint(run_folder / "last", REPO)
    assert f"epochs: {content['epochs']} |" in readme(hub)
    assert "### Validation split" not in readme(hub)
    push_checkpoint(run_folder / "best", f"{USER}/best")
    best = hub.files(f"{USER}/best")["README.md"].decode()
    assert f"epochs: 1, the best of {content['epochs']}" in best
    assert "### Validation split" in best


def test_what_a_run_under_way_measured_is_no_test_result_and_gives_way_to_the_results(
    hub, data_folder, model, processor, tmp_path
):
    save_checkpoint(model, processor, tmp_path / "run" / "best", {"validation": "### While training\n\nR@1 of **12.3**"})
    push_checkpoint(tmp_path / "run" / "best", REPO)
    assert "Not measured on test data yet.\n\n### While training\n\nR@1 of **12.3**\n\n## Licence" in readme(hub)
    results = tmp_path / "results.json"
    arguments = ("evaluate", tmp_path / "run" / "best", "--data", data_folder, "--output", results)
    assert run_command(*arguments).exit_code == 0
    push_checkpoint(tmp_path / "run" / "best", REPO, results=results)
    assert "Not measured" not in readme(hub)
    assert readme(hub).index("### Test split") < readme(hub).index("### While training")
    assert run_command(*arguments, "--split", "validation").exit_code == 0
    push_checkpoint(tmp_path / "run" / "best", REPO, results=results)
    assert "### Validation split" in readme(hub)
    assert "### While training" not in readme(hub)  # it says the same


def test_results_of_evaluate_are_known_by_the_weights(hub, run_folder, tiny_data, other_model, processor, tmp_path):
    tiny_data.save_to_disk(str(tmp_path / "data"))
    results = tmp_path / "results.json"
    done = run_command("evaluate", run_folder / "best", "--data", tmp_path / "data", "--output", results)
    assert done.exit_code == 0, done.output
    assert run_command("push", run_folder / "best", REPO, "--results", results).exit_code == 0
    measured = json.loads(results.read_text())
    assert "### Test split" in readme(hub)
    assert f"`{measured['command']}`" in readme(hub)
    zero_shot = measured["results"]["all"]["zero_shot"]
    assert f"| all | {zero_shot['num']} | {zero_shot['num_classes']} | {zero_shot['top1']:.1f} |" in readme(hub)
    with pytest.raises(ValueError, match=r"results.json was measured with other weights .* than this model's"):
        push_to_hub(other_model, processor, f"{USER}/other", results=results)
    assert f"{USER}/other" not in hub.repositories


def test_what_a_checkpoint_was_saved_with_is_still_in_its_card(hub, model, processor, tmp_path):
    save_checkpoint(model, processor, tmp_path / "converted", {"training_data": "Some data", "results": "R@1 of **12.3**"})
    push_checkpoint(tmp_path / "converted", REPO, facts={"language": "en"})
    for part in ("Some data", "R@1 of **12.3**", "captions: en", f'from_pretrained("{REPO}")'):
        assert part in readme(hub)


def test_a_card_edited_in_the_folder_goes_along_as_it_is(hub, run_folder):
    card = run_folder / "best" / "README.md"
    card.write_text(card.read_text() + "\nMade with care.\n")
    with pytest.raises(ValueError, match="written by hand, so nothing is added to it"):
        push_checkpoint(run_folder / "best", REPO, facts={"language": "en"})
    with pytest.warns(UserWarning, match="written by hand and goes along as it is"):
        push_checkpoint(run_folder / "best", REPO)
    assert readme(hub) == card.read_text()
    push_checkpoint(run_folder / "best", REPO, new_card=True)
    assert "Made with care." not in readme(hub)


def test_a_card_edited_on_the_hub_is_not_replaced_unasked(hub, model, processor):
    push_to_hub(model, processor, REPO)
    edited = readme(hub) + "\nEdited on the Hub.\n"
    hub.put(REPO, "README.md", edited.encode())
    with pytest.raises(ValueError, match="written by hand and would be replaced"):
        push_to_hub(model, processor, REPO, facts={"language": "en"})
    assert readme(hub) == edited
    push_to_hub(model, processor, REPO, new_card=True)
    assert "Edited on the Hub." not in readme(hub)


def test_a_card_of_ones_own_is_put_there_and_not_lost_later(hub, model, processor, tmp_path):
    own = tmp_path / "card.md"
    own.write_text("---\nlicense: mit\n---\n\n# Mine\n")
    push_to_hub(model, processor, REPO, card=own)
    assert readme(hub) == own.read_text()
    with pytest.raises(ValueError, match="written by hand and would be replaced"):
        push_to_hub(model, processor, REPO)
    own.write_text("---\nlicense: mit\n---\n\n# Mine, second edition\n")
    push_to_hub(model, processor, REPO, card=own)
    assert "second edition" in readme(hub)
    with pytest.raises(ValueError, match="put there as it is"):
        push_to_hub(model, processor, REPO, card=own, facts={"language": "en"})


def test_the_stub_that_the_hub_makes_is_no_card_of_anybody(hub, model, processor):
    push_to_hub(model, processor, REPO)
    hub.put(REPO, "README.md", b"---\nlicense: mit\n---\n")
    push_to_hub(model, processor, REPO)
    assert "## Use" in readme(hub)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{run}", REPO), r"has no model \(config.json\); did you mean '.*best'"),
        (("/nowhere", REPO), "no checkpoint folder '/nowhere'"),
        (("{run}/best", "a/b/c"), "no name on the Hub"),
        (("{run}/best", REPO, "--results", "{run}/best/config.json"), "no results file of a model: its task is None"),
        (("{run}/best", REPO, "--results", "/nowhere.json"), "no results file '/nowhere.json'"),
        (("{run}/best", REPO, "--card", "/nowhere.md"), "no card file '/nowhere.md'"),
    ],
)
def test_mistakes_on_the_shell_end_in_one_line(arguments, message, hub, trained_run):
    result = run_command("push", *(argument.format(run=trained_run) for argument in arguments))
    assert result.exit_code == 1
    assert re.search(message, result.output), result.output
    assert "Traceback" not in result.output
    assert not hub.repositories


def test_a_checkpoint_that_lacks_weights_is_not_pushed(hub, run_folder):
    weights = run_folder / "best" / "model.safetensors"
    tensors = load_file(weights)
    tensors.pop("text_projection.fc.weight")
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 weights of a MotionPatchesModel: \['text_projection.fc.weight'\]"):
        push_checkpoint(run_folder / "best", REPO)
    assert not hub.repositories

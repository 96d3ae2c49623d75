"""Sharing a checkpoint: one call that puts model, processor, pipeline code and card on the Hub, in one commit."""

import fnmatch
import json
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict, Unpack

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, DatasetCard, HfApi, get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import validate_repo_id
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForMultimodalLM,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedModel,
)

from .card_results import ResultsFile, check_results, describe_results, read_results, training_facts
from .export import CARD_FILE, SavedCard, read_card, save_checkpoint
from .results import card_digest


# What transformers would load in place of, or beside, the files of a new checkpoint that has none of that name.
_STALE = (
    "model.safetensors", "model-?????-of-?????.safetensors", "model.safetensors.index.json", "processor_config.json",
    "preprocessor_config.json",
)  # fmt: skip
_PROCESSORS = (
    ("processor_config.json", AutoProcessor),
    ("preprocessor_config.json", AutoFeatureExtractor),
    ("tokenizer_config.json", AutoTokenizer),
)
Results = str | Path | Sequence[str | Path] | None


class Where(TypedDict, total=False):
    """Where to push, and as what; see `push_to_hub`."""

    private: bool | None
    revision: str | None
    create_pr: bool
    commit_message: str | None
    token: str | None


def push_to_hub(
    model: PreTrainedModel,
    processor: Any,
    repo_id: str,
    *,
    results: Results = None,
    facts: Mapping[str, Any] | None = None,
    card: str | Path | None = None,
    new_card: bool = False,
    private: bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    commit_message: str | None = None,
    token: str | None = None,
) -> CommitInfo:
    """Put model, processor, pipeline code and card on the Hub together.

    All is one commit: an upload that breaks off leaves the branch as it was, and a second call completes it. Files of the same
    names are replaced, those that an older checkpoint alone had are deleted, all others stay.

    Args:
        model: Any model of this package.
        processor: Its processor; see `save_checkpoint`.
        repo_id: `"user/name"` or `"organisation/name"`, made if there is none; `"name"` alone is one of your own.
        results: Results files of `motionpatches train`, `finetune`, `evaluate` or `quickstart`; the card states what they say.
        facts: More for the card, such as `licence`, `data_licence`, `language`; see `save_checkpoint`. They come before what the
            results files say.
        card: File with a card of your own, which is put there as it is.
        new_card: Replace a card on the Hub that was written or edited by hand. Otherwise such a card is an error, so that it is
            not lost unseen.
        private: Whether a new repository is private; `None`: as your account's default is.
        revision: Branch to commit to, made if there is none; default `main`.
        create_pr: Open a pull request to `main` in place of a commit.
        commit_message: Default “Upload <model class>”.
        token: Default: the one of `hf auth login` or of the environment variable `HF_TOKEN`.

    Returns:
        What the Hub says of the commit: `commit_url`, `oid`, of a pull request `pr_url`.

    Raises:
        ConnectionError: If the Hub cannot be reached or the connection breaks off.
        FileNotFoundError: If a results file or the card is not there.
        PermissionError: If there is no token, or it may not write there.
        ValueError: If the name is none, results are of another model or of an unknown form, an existing repository is not as
            private as asked for, or a card that was edited would be lost.
        OSError: If the Hub refuses for another reason.
    """
    files = _read_all(results)
    check_results(files, model, processor)
    text = None if card is None else _read_text(card)
    if text is not None and (files or facts or new_card):
        raise ValueError("card=… is put there as it is: leave results, facts and new_card out, or leave the card out")
    merged = {**_facts_of(files), **(facts or {})}
    where: Where = {"private": private, "revision": revision, "create_pr": create_pr, "commit_message": commit_message}
    where["token"] = token
    return _push(model, processor, repo_id, merged, text, new_card or card is not None, **where)


def push_checkpoint(
    checkpoint: str | Path,
    repo_id: str,
    *,
    results: Results = None,
    facts: Mapping[str, Any] | None = None,
    card: str | Path | None = None,
    new_card: bool = False,
    **where: Unpack[Where],
) -> CommitInfo:
    """`push_to_hub` for a checkpoint folder; arguments and errors as there, and these differences.

    Of `best/` and `last/` in the folder of a training run, the card states what the run's `results.json` says. Else it states
    what the checkpoint's card was filled with when it was saved. A `README.md` that was edited since goes along as it is, which
    a warning says; `new_card` writes a new one.

    Raises:
        FileNotFoundError: If there is no such folder, or it lacks the model or the processor.
        ValueError: If weights are missing in the model; or if results or facts are given, but the `README.md` was edited.
    """
    folder = Path(checkpoint)
    model, processor = load_any(folder)
    files, run = _read_all(results), _read_run(folder)
    check_results(files, model, processor, run)
    saved = read_card(folder)
    if card is not None:
        if files or facts or new_card:
            raise ValueError("--card is put there as it is: leave --results, --new-card and what it should state out")
        text: str | None = _read_text(card)
    else:
        text = None if new_card else _edited_text(folder, saved, bool(files or facts))
    of_run: dict[str, Any] = {}
    if run is not None:
        is_best = folder.resolve().name == "best"
        of_run = training_facts(run, is_best)
        of_best_epoch = is_best or (run.training or {})["best_epoch"] == (run.training or {})["epochs"]
        others = [file for file in files if file != run]
        files = [run, *others] if of_best_epoch else others
    kept = dict(saved.facts)
    if any(file.split == "validation" and file.galleries for file in files):
        kept.pop("validation", None)  # the results say the same, and more
    merged = {**kept, **_facts_of(files), **of_run, **(facts or {})}
    return _push(model, processor, repo_id, merged, text, new_card or card is not None, **where)


def prepare_push(repo_id: str, *, private: bool | None = None, revision: str | None = None, token: str | None = None) -> str:
    """Find out before there is anything to push whether it can be; makes repository and branch where there are none.

    Args:
        repo_id, private, revision, token: As of `push_to_hub`.

    Returns:
        The name on the Hub, `"user/name"`.

    Raises:
        ConnectionError, PermissionError, OSError: As `push_to_hub`.
        ValueError: If the name is none, an existing repository is not as private as asked for, or its card was written by hand.
    """
    api = make_api(repo_id, token)
    with explain_hub_errors(api, repo_id), tempfile.TemporaryDirectory() as temporary:
        name = full_name(api, repo_id)
        present = _prepare_repository(api, name, private, revision)
        # How a file is to be uploaded, the Hub tells those alone who may write; nothing is uploaded here.
        api.preupload_lfs_files(name, [CommitOperationAdd("README.md", b"card")], revision=revision)
        card = _download_card(api, name, present, revision, Path(temporary))
    if card.is_edited or card.is_own:
        raise ValueError(
            f"the README.md of {name} was written by hand and would be replaced; choose another name or branch, or first push a "
            "checkpoint over it with `motionpatches push CHECKPOINT REPO --new-card`: the old one stays in the history there"
        )
    return name


def load_any(folder: Path) -> tuple[PreTrainedModel, Any]:
    """Model and processor of a checkpoint folder, whichever of the package's classes it holds.

    Raises:
        FileNotFoundError: If there is no such folder, or it lacks the model or the processor.
        ValueError: If weights are missing.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no checkpoint folder {str(folder)!r}")
    if not (folder / "config.json").exists():
        hint = f"; did you mean {str(folder / 'best')!r}?" if (folder / "best" / "config.json").exists() else ""
        raise FileNotFoundError(f"checkpoint {str(folder)!r} has no model (config.json){hint}")
    processor_class = next((found for file, found in _PROCESSORS if (folder / file).exists()), None)
    if processor_class is None:
        raise FileNotFoundError(
            f"checkpoint {str(folder)!r} has no processor ({', '.join(file for file, _ in _PROCESSORS)}); "
            f"processor.save_pretrained({str(folder)!r}) writes it"
        )
    is_llamo = AutoConfig.from_pretrained(folder).model_type == "motion_llamo"
    auto_class = AutoModelForMultimodalLM if is_llamo else AutoModel  # which would leave the head of MotionLlamo out
    model, info = auto_class.from_pretrained(folder, output_loading_info=True)
    if info["missing_keys"] or info["mismatched_keys"]:
        wrong = sorted([*info["missing_keys"], *map(str, info["mismatched_keys"])])
        raise ValueError(f"checkpoint {str(folder)!r} lacks {len(wrong)} weights of a {type(model).__name__}: {wrong[:5]} …")
    return model.eval(), processor_class.from_pretrained(folder)


def _read_all(results: Results) -> list[ResultsFile]:
    paths = [] if results is None else [results] if isinstance(results, (str, Path)) else results
    return [read_results(path) for path in paths]


def _read_run(folder: Path) -> ResultsFile | None:
    """The results file of the training run that a checkpoint folder is of; of `instruct` the saved card says what there is."""
    folder = folder.resolve()
    file = folder.parent / "results.json"
    if folder.name not in ("best", "last") or not file.exists() or _task_of(file) == "instruct":
        return None
    found = read_results(file)
    return found if found.task in ("train", "finetune") else None


def _task_of(file: Path) -> Any:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None  # read_results says what is wrong
    return content.get("task") if isinstance(content, dict) else None


def _facts_of(files: Sequence[ResultsFile]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for file in files:
        facts = {**training_facts(file), **facts}
    measured = describe_results(files)
    return {**facts, "results": measured} if measured else facts


def _read_text(card: str | Path) -> str:
    if not Path(card).is_file():
        raise FileNotFoundError(f"no card file {str(card)!r}")
    return Path(card).read_text(encoding="utf-8")


def _edited_text(folder: Path, saved: SavedCard, has_more: bool) -> str | None:
    """The text of a card that was written by hand, to go along as it is; `None` where a new one may be written."""
    if not (saved.is_edited or saved.is_own):
        return None
    if has_more:
        raise ValueError(
            f"{folder / 'README.md'} was written by hand, so nothing is added to it: put your results there and leave "
            "--results and what the card should state out, or pass --new-card to write a new card in its place"
        )
    warnings.warn(
        f"{folder / 'README.md'} was written by hand and goes along as it is; --new-card writes a new one", stacklevel=3
    )
    return saved.text


def _push(
    model: PreTrainedModel,
    processor: Any,
    repo_id: str,
    facts: dict[str, Any],
    card: str | None,
    may_replace_card: bool,
    **where: Unpack[Where],
) -> CommitInfo:
    revision, create_pr = where.get("revision"), where.get("create_pr", False)
    if create_pr and revision is not None:
        raise ValueError(f"a pull request goes to the main branch: leave revision={revision!r} or create_pr out")
    api = make_api(repo_id, where.get("token"))
    with explain_hub_errors(api, repo_id):
        name = full_name(api, repo_id)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "checkpoint"
        save_checkpoint(model, processor, folder, facts, name=name, card=card)
        with explain_hub_errors(api, name):
            present = _prepare_repository(api, name, where.get("private"), revision)
            if not may_replace_card:
                _check_card(name, _download_card(api, name, present, revision, Path(temporary) / "hub"), read_card(folder))
            # Not upload_folder: with hf_xet it makes several commits of a slow upload, and half a model would be on the branch.
            return api.create_commit(
                name,
                _operations(folder, present),
                commit_message=where.get("commit_message") or f"Upload {type(model).__name__}",
                revision=revision,
                create_pr=create_pr,
            )


def full_name(api: HfApi, repo_id: str) -> str:
    return repo_id if "/" in repo_id else f"{api.whoami()['name']}/{repo_id}"


def _prepare_repository(api: HfApi, repo_id: str, private: bool | None, revision: str | None) -> list[str]:
    """Make repository and branch where there are none; returns the files that are there."""
    api.create_repo(repo_id, private=private, exist_ok=True)
    is_private = bool(api.repo_info(repo_id).private)
    if private is not None and is_private != private:
        raise ValueError(
            f"{repo_id} exists and is {'private' if is_private else 'public'}, not {'private' if private else 'public'}; change "
            "that in its settings on the Hub, or push to another name"
        )
    if revision is not None and not revision.startswith("refs/"):
        api.create_branch(repo_id, branch=revision, exist_ok=True)
    return api.list_repo_files(repo_id, revision=revision)


def _download_card(api: HfApi, repo_id: str, present: Sequence[str], revision: str | None, download_to: Path) -> SavedCard:
    """The card on the Hub."""
    for file in ("README.md", CARD_FILE):
        if file in present:
            api.hf_hub_download(repo_id, file, revision=revision, local_dir=download_to)
    return read_card(download_to)


def _check_card(repo_id: str, theirs: SavedCard, new: SavedCard) -> None:
    """Raise a `ValueError` if the push would replace what somebody wrote: an edit on the Hub, or a card of their own."""
    if theirs.text != new.text and (theirs.is_edited or (theirs.is_own and not new.is_own)):
        raise ValueError(
            f"the README.md of {repo_id} was written by hand and would be replaced; download it and pass it as card=… "
            "(--card FILE), or pass new_card=True (--new-card) to replace it: the old one stays in the history there"
        )


def _operations(folder: Path, present: Sequence[str]) -> list[CommitOperationAdd | CommitOperationDelete]:
    """What puts the files of a folder into a repository in place of an older checkpoint."""
    written = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    stale = [file for file in present if file not in written and any(fnmatch.fnmatch(file, p) for p in _STALE)]
    return [
        *(CommitOperationAdd(name, path) for name, path in written.items()),
        *(CommitOperationDelete(file) for file in stale),
    ]


def make_api(repo_id: str, token: str | None) -> HfApi:
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"repo_id={repo_id!r} is no name on the Hub; expected 'user/name' or 'name': {error}") from error
    if (token or get_token()) is None:
        raise PermissionError(
            "there is no token of the Hub: log in with `hf auth login`, or set HF_TOKEN to a token with the right to write "
            "(https://huggingface.co/settings/tokens)"
        )
    return HfApi(token=token, library_name="motionpatches")


@contextmanager
def explain_hub_errors(api: HfApi, repo_id: str) -> Iterator[None]:
    """Errors of the Hub as errors that say how to mend them."""
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise ConnectionError("HF_HUB_OFFLINE is set, so nothing can be pushed; unset it") from error
    except HfHubHTTPError as error:
        raise _explain(error, repo_id) from error
    except (HTTPError, LocalEntryNotFoundError) as error:
        raise _broken(api, repo_id, error) from error
    except RuntimeError as error:  # how huggingface_hub wraps what happens in the threads of an upload
        cause = error.__cause__
        explained = _explain(cause, repo_id) if isinstance(cause, HfHubHTTPError) else _broken(api, repo_id, cause or error)
        raise explained from error


def has_edited_card(api: HfApi, name: str, present: Sequence[str], facts_file: str) -> bool:
    """Whether the card of a data set on the Hub says something that no push of this package wrote.

    Args:
        api: Of the account.
        name: The data set.
        present: Its files.
        facts_file: The JSON file there that holds `card_sha256` of the card that was pushed.
    """
    if "README.md" not in present:
        return False
    with tempfile.TemporaryDirectory() as temporary:
        files = {
            file: Path(api.hf_hub_download(name, file, repo_type="dataset", local_dir=temporary)).read_text(encoding="utf-8")
            for file in ("README.md", facts_file)
            if file in present
        }
    card = files["README.md"]
    written = json.loads(files.get(facts_file, "{}")).get("card_sha256")
    return bool(DatasetCard(card, ignore_metadata_errors=True).text.strip()) and card_digest(card) != written


def _explain(error: HfHubHTTPError, repo_id: str) -> OSError:
    status, said = error.response.status_code, error.server_message or str(error).strip()
    if status == 401 and not isinstance(error, RepositoryNotFoundError):
        return PermissionError(
            f"the Hub does not accept the token ({said}): log in anew with `hf auth login`, or set HF_TOKEN to a valid one"
        )
    if status in (401, 403, 404):
        return PermissionError(
            f"no right to write to {repo_id!r} ({said}): the name before the slash must be yours or an organisation's that you "
            "belong to, and the token needs the right to write; create_pr=True (--create-pr) proposes a change to a repository "
            "of others"
        )
    return OSError(f"the Hub refused the push to {repo_id!r} (status {status}): {said}")


def _broken(api: HfApi, repo_id: str, error: BaseException) -> ConnectionError:
    return ConnectionError(
        f"the connection to {api.endpoint} broke off or could not be made ({type(error).__name__}: {error}). A push is one "
        f"commit, so {repo_id!r} holds no half model; push again: what has arrived is not sent a second time"
    )

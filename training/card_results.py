"""Results files that commands of this package wrote → what a model card says of them."""

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from .protocols import PROTOCOLS


_COLUMNS = ("R@1", "R@2", "R@3", "R@5", "R@10", "MedR")
_JUDGED = (1, 5, 10)  # the recalls that choose the best epoch
# Keys of a gallery that a card states, or that print_classification shows and a card has no room for.
_RETRIEVAL_KEYS = {
    "num", "distinct_captions", "statistics", "retrieval", "chance", "zero_shot", "protocols", "intervals", "label_map",
}  # fmt: skip
_CLASSIFIER_KEYS = {"num", "num_classes", "top1", "top5", "macro_top1", "chance", "majority", "confused", "left_out"}
# Fields of a recipe that stand in a checkpoint too.
_IN_CONFIG = ("projection_dim", "motion_pooling", "text_pooling", "num_persons")
_IN_PROCESSOR = (
    "patch_size", "max_frames", "fps", "representation", "interpolation", "normalization", "min_std", "canonicalize",
    "body_scale", "resampling", "root",
)  # fmt: skip


@dataclass(frozen=True)
class ResultsFile:
    """What a results file says, whichever command wrote it.

    Attributes:
        name: The file's name, for messages.
        task: `"train"`, `"finetune"`, `"quickstart"` or `"evaluate"`.
        training: `recipe`, `seed`, `epochs`, `best_epoch` and `data` of the run; `None` where the file does not know.
        galleries: What `evaluate` or `evaluate_classifier` returned: gallery → results; empty where nothing was measured.
        data: Data sets and their numbers of motions, of all galleries or of each.
        split: Which split was measured; `None` where the galleries are splits themselves.
        weights: `weights_fingerprint` of the measured model; `None` where the file does not say.
        source: Command, versions, device and commit.
        start: What the training started from, where the file says.
    """

    name: str
    task: str
    training: dict[str, Any] | None
    galleries: dict[str, Any]
    data: Any
    split: str | None
    weights: str | None
    source: dict[str, Any]
    start: str | None = None


def read_results(path: str | Path) -> ResultsFile:
    """Read a results file of `motionpatches train`, `finetune`, `evaluate` or `quickstart`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no results file of one of these, lacks a part, or holds measurements that no card can state.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no results file {str(path)!r}; `motionpatches evaluate … --output FILE` writes one")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is no JSON file: {error}") from error
    task = content.get("task") if isinstance(content, dict) else None
    if task not in _READERS:
        raise ValueError(
            f"{str(path)!r} is no results file of a model: its task is {task!r}; expected one of {', '.join(_READERS)}"
        )
    try:
        source = {key: content.get(key) for key in ("command", "versions", "device", "commit")}
        found = ResultsFile(path.name, task, weights=content.get("weights"), source=source, **_READERS[task](content))
        for gallery, result in found.galleries.items():
            _check_gallery(gallery, result)
    except KeyError as error:
        raise ValueError(f"the results file {str(path)!r} (task {task!r}) has no {error}") from error
    except (TypeError, AttributeError) as error:
        raise ValueError(f"the results file {str(path)!r} (task {task!r}) has an unknown form: {error}") from error
    except ValueError as error:
        raise ValueError(f"the results file {str(path)!r}: {error}") from error
    return found


def _read_training(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: content[key] for key in ("recipe", "seed", "epochs", "best_epoch", "data")}


def _read_run(content: Mapping[str, Any]) -> dict[str, Any]:
    """Of `train` and `finetune`: what they measured chose the best epoch."""
    judged = content["best"].get("validation") if content["task"] == "train" else content.get("validation")
    return {
        "training": _read_training(content),
        "galleries": judged or {},
        "data": content["data"].get("validation"),
        "split": "validation",
        "start": content.get("start"),
    }


def _read_quickstart(content: Mapping[str, Any]) -> dict[str, Any]:
    training = {**_read_training(content), "recipe": {"name": "quickstart", **content["recipe"]}}
    return {"training": training, "galleries": content["results"], "data": content["data"], "split": None}


def _read_evaluation(content: Mapping[str, Any]) -> dict[str, Any]:
    training = content.get("training")
    return {
        "training": None if training is None else _read_training(training),
        "galleries": content["results"],
        "data": content["data"],
        "split": content["split"],
    }


_READERS = {"train": _read_run, "finetune": _read_run, "quickstart": _read_quickstart, "evaluate": _read_evaluation}


def _check_gallery(name: str, result: Mapping[str, Any]) -> None:
    known = _RETRIEVAL_KEYS if "retrieval" in result else _CLASSIFIER_KEYS
    unknown = sorted(set(result) - known)
    if unknown:
        raise ValueError(f"gallery {name!r} has results that the card does not know: {', '.join(unknown)}")


def weights_fingerprint(model: nn.Module) -> str:
    """SHA-256 of the names and values of a model's weights; the same in bfloat16 and the float32 that it is loaded as."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.detach().cpu()
        digest.update(f"{name} {tuple(values.shape)}".encode())
        digest.update((values.float() if values.is_floating_point() else values).contiguous().numpy().tobytes())
    return digest.hexdigest()


def check_results(files: Sequence[ResultsFile], model: nn.Module, processor: Any, run: ResultsFile | None = None) -> None:
    """Make sure that results are of this model: by the weights that a file names, else by its training run, else by its recipe.

    Args:
        files: The results.
        model, processor: What they are said to be of.
        run: The results file of the run that made the model, where it is known.

    Raises:
        ValueError: If they are of another model.
    """
    weights = weights_fingerprint(model) if any(file.weights for file in files) else None
    for file in files:
        if file.weights is not None:
            if file.weights != weights:
                raise ValueError(
                    f"{file.name} was measured with other weights ({file.weights[:12]}…) than this model's ({weights[:12]}…); "  # type: ignore[index]
                    "evaluate this model: motionpatches evaluate CHECKPOINT --data DATA --output FILE"
                )
        elif file.training is None:
            warnings.warn(
                f"{file.name} does not say which weights it was measured with; it is taken at its word", stacklevel=3
            )
        elif run is None:
            _check_recipe(file, model, processor)
    known = [file for file in ([run] if run else []) + list(files) if file.training is not None]
    for file in known[1:]:
        _check_same_run(known[0], file)


def _check_same_run(first: ResultsFile, second: ResultsFile) -> None:
    values = [{**(file.training or {}), "recipe": (file.training or {})["recipe"].get("name")} for file in (first, second)]
    for key in ("recipe", "seed", "epochs", "best_epoch"):
        if values[0][key] != values[1][key]:
            raise ValueError(
                f"{second.name} is of another model: its {key.replace('_', ' ')} is {values[1][key]!r}, that of {first.name} is "
                f"{values[0][key]!r}; leave it out, or evaluate this model"
            )


def _check_recipe(file: ResultsFile, model: Any, processor: Any) -> None:
    motion_processor = getattr(processor, "feature_extractor", processor)
    recipe = (file.training or {})["recipe"]
    for holder, fields in ((model.config, _IN_CONFIG), (motion_processor, _IN_PROCESSOR)):
        for field in fields:
            if field not in recipe or not hasattr(holder, field):
                continue
            wanted = None if recipe[field] == "none" else recipe[field]
            if getattr(holder, field) != wanted:
                raise ValueError(
                    f"{file.name} is of another model: its recipe has {field}={wanted!r}, this model {getattr(holder, field)!r}"
                )


def training_facts(file: ResultsFile, is_best: bool = True) -> dict[str, Any]:
    """What a results file knows of the training, as facts of a card.

    Args:
        file: The file.
        is_best: Whether the model is of the best epoch, not of the last.
    """
    training = file.training
    if training is None:
        return {}
    epochs, best = training["epochs"], training["best_epoch"]
    facts = {
        "recipe_name": training["recipe"].get("name"),
        "seed": training["seed"],
        "epochs": f"{best}, the best of {epochs}" if is_best and best != epochs else epochs,
        "training_data": training["data"].get("train"),
        "start": file.start,
    }
    if file.task != "evaluate":  # which trains nothing: its versions are of the measurement
        facts["trained_with"] = describe_versions(file.source)
    return {key: value for key, value in facts.items() if value is not None}


def describe_results(files: Sequence[ResultsFile]) -> str:
    """Markdown: what was measured, on what, by which protocol, with which command and versions; tables beside chance."""
    measured = [file for file in files if file.galleries]
    notes = []
    if any("retrieval" in result for file in measured for result in file.galleries.values()):
        used = {
            name: None for file in measured for result in file.galleries.values() for name in result.get("retrieval", ())
        }
        protocols = "; ".join(f"*{name}*: {PROTOCOLS[name.split(' (')[0]]}" for name in used)
        notes.append(
            "Retrieval: recalls in percent, MedR is the median rank; a gallery holds one item for each motion, with its first "
            f"caption. {protocols}. *chance* is what a model that scores all items alike gets."
        )
    return "\n\n".join([*notes, *(_describe_file(file) for file in measured)])


def describe_validation(record: Mapping[str, Any], names: Sequence[str] | None = None) -> str:
    """Markdown: what an epoch of a run under way got on the validation split, as a table beside chance, which says that it is no
    test result.

    Args:
        record: The epoch's line of `history.jsonl`, with `epoch`, `validation` (what `evaluate` returned) and `mean_recall`.
        names: The data sets that the mean recall is over; default each on its own.
    """
    galleries: Mapping[str, Any] = record["validation"]
    over = list(names or [name for name in galleries if name != "all"]) if len(galleries) > 1 else []
    mean = f"{record['mean_recall']:.2f}{' over ' + ', '.join(over) if over else ''}"
    ways = (("text→motion", "t2m"), ("motion→text", "m2t"))
    columns = ["gallery", "motions", *(f"{label} R@{k}" for label, _ in ways for k in _JUDGED)]
    has_labels = any("zero_shot" in result for result in galleries.values())
    rows = []
    for name, result in galleries.items():
        measured = (result["retrieval"]["strict"], result.get("zero_shot"), [name, str(result["num"])])
        by_chance = (result["chance"]["strict"], result.get("zero_shot", {}).get("chance"), [f"{name}, chance", ""])
        for recalls, classified, row in (measured, by_chance):
            row += [f"{recalls[way][f'R@{k}']:.1f}" for _, way in ways for k in _JUDGED]
            rows.append([*row, *([f"{classified['top1']:.1f}" if classified else "–"] if has_labels else [])])
    return (
        "### Validation while training\n\n**These are no test results.** They were measured on the validation split at the end "
        f"of epoch {record['epoch']}, to choose the best checkpoint of the run, and flatter it. What decides is the mean of the "
        f"recalls, {mean}. In percent; protocol: {PROTOCOLS['strict']}.\n\n"
        + _table([*columns, *(["zero-shot top-1"] if has_labels else [])], rows)
    )


def _describe_file(file: ResultsFile) -> str:
    title = "### Test galleries" if file.split is None else f"### {file.split.capitalize()} split"
    measured = f"Measured on {file.data}" if isinstance(file.data, str) else "Measured"
    command = f" by `{file.source['command']}`" if file.source["command"] else f" by `motionpatches {file.task}`"
    lines = [title, f"{measured}{command} ({describe_versions(file.source)})."]
    if file.task in ("train", "finetune"):
        lines.append("The best epoch was chosen on this split: these numbers flatter the model.")
    retrieval = {name: result for name, result in file.galleries.items() if "retrieval" in result}
    lines += [_describe_gallery(name, result, file.data) for name, result in retrieval.items()]
    zero_shot = {name: result["zero_shot"] for name, result in retrieval.items() if "zero_shot" in result}
    templates = sorted({values["template"] for values in zero_shot.values()})
    if zero_shot:
        shown = ", ".join(f"“{template}”" for template in templates)
        lines.append(f"Zero-shot classification in percent, labels put into {shown}:\n\n{_accuracies(zero_shot)}")
    classified = {name: result for name, result in file.galleries.items() if "retrieval" not in result}
    if classified:
        lines.append(f"Classification in percent:\n\n{_accuracies(classified)}")
        lines += [_describe_left_out(result["left_out"]) for result in classified.values() if result.get("left_out")]
    return "\n\n".join(line for line in lines if line)


def _describe_gallery(name: str, result: Mapping[str, Any], data: Any) -> str:
    of = f" ({data[name]})" if isinstance(data, Mapping) and name in data else ""
    used = ", ".join(
        f"{skeleton}: {'its own' if entry == skeleton else entry}" for skeleton, entry in result["statistics"].items()
    )
    head = (
        f"**{name}**{of}: {result['num']} motions, {result['distinct_captions']} distinct captions. Statistics used: {used}."
    )
    rows = []
    for protocol, directions in result["retrieval"].items():
        chance = result["chance"][protocol]["t2m"]
        scored = (("text→motion", directions["t2m"]), ("motion→text", directions["m2t"]), ("chance", chance))
        rows += [[protocol, direction, *(f"{values[c]:.1f}" for c in _COLUMNS)] for direction, values in scored]
    return f"{head}\n\n{_table(['protocol', 'direction', *_COLUMNS], rows)}"


def _accuracies(results: Mapping[str, Mapping[str, Any]]) -> str:
    columns = ["gallery", "motions", "classes", "top-1", "top-5", "mean over classes", "chance top-1", "chance top-5"]
    has_majority = any("majority" in values for values in results.values())
    rows = []
    for name, values in results.items():
        chance = values["chance"]
        numbers = [values["top1"], values["top5"], values["macro_top1"], chance["top1"], chance["top5"]]
        numbers += [values["majority"]["top1"]] if has_majority else []
        rows.append([name, str(values["num"]), str(values["num_classes"]), *(f"{number:.1f}" for number in numbers)])
    return _table([*columns, *(["most frequent class"] if has_majority else [])], rows)


def _describe_left_out(left_out: Mapping[str, Any]) -> str:
    unknown = left_out["unknown_labels"]
    if not left_out["unlabelled"] and not unknown:
        return ""
    listed = ", ".join(f"{label} ({count})" for label, count in unknown.items()) or "none"
    return f"Left out: {left_out['unlabelled']} motions without a label; those of labels that are no class: {listed}."


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def describe_versions(source: Mapping[str, Any]) -> str:
    """Versions, commit and device of a results file in one line."""
    versions = source["versions"] or {}
    shown = [f"{name} {versions[name]}" for name in ("motionpatches", "torch", "transformers") if name in versions]
    shown += [f"commit {source['commit']}"] if source["commit"] else []
    return ", ".join([*shown, *([source["device"]] if source["device"] else [])]) or "versions not stated"

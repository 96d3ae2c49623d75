"""An index on the disk and on the Hub: Parquet files of rows, a FAISS file beside them, and what there is to say of both.

index.json               kind, settings, checkpoint, what was left out and why
data/motions-*.parquet   the rows
index.faiss              the FAISS index of their column `embedding`
local.json               folders of this machine; never pushed
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, DatasetCard, DatasetCardData

from .folders import recover_folder, replace_folder
from .results import card_digest, command_line, environment, write_json
from .sharing import explain_hub_errors, full_name, has_edited_card, make_api


#: What a push uploads.
FILES = ("index.json", "index.faiss", "data/*.parquet")
FAISS_FILE = "index.faiss"
_FACTS_FILE, _LOCAL_FILE = "index.json", "local.json"
_VERSION = 1  # of the form of the folder
_SHARD_ROWS = 100_000
_SHOWN_CASES = 5
_CARD = """---
{{ card_data }}
---

# {{ title }}

An index of {{ num }} human motions, to be searched by a sentence or by a motion, made by `motionpatches index`
(motionpatches {{ version }}) with the checkpoint `{{ checkpoint }}`. It holds their embeddings ({{ size }} numbers each, of unit
length), not the motions themselves.

```python
from motionpatches import MotionIndex

index = MotionIndex.load("{{ name }}"{{ argument }})
index.search("a person kicks with the left leg")
```

An index is of one checkpoint: another one is refused. This one's fingerprint is `{{ fingerprint }}`.

| | |
|---|---|
| kind | {{ kind }} |
{% for key, value in settings -%}
| {{ key }} | {{ value }} |
{% endfor -%}
| columns | {{ columns }} |

{% if left_out -%}
Not in the index:

| source | reason | number |
|---|---|---|
{% for row in left_out -%}
| {{ row | join(" | ") }} |
{% endfor %}
`index.json` names them.
{% endif %}
Whoever passes this on needs the right to do so from the owners of the motions and of their captions.
"""


class FolderContent(NamedTuple):
    """What a folder holds.

    Args:
        facts: What `index.json` says.
        local: What `local.json` says; empty where there is none.
        table: The rows.
        faiss_file: The FAISS index.
    """

    facts: dict[str, Any]
    local: dict[str, Any]
    table: pa.Table
    faiss_file: Path


def by_kind(cases: Iterable[tuple[str, str, str]]) -> dict[str, dict[str, Any]]:
    """Id, kind and detail → for each kind, the most frequent first, `count` and `cases`."""
    kinds: dict[str, list[dict[str, str]]] = defaultdict(list)
    for name, kind, detail in cases:
        kinds[kind].append({"id": name, "detail": detail})
    return {
        kind: {"count": len(found), "cases": found} for kind, found in sorted(kinds.items(), key=lambda item: -len(item[1]))
    }


def read_facts(folder: Path) -> dict[str, Any] | None:
    """What the `index.json` of a folder says; `None` where the folder is no index.

    Raises:
        ValueError: If another version wrote it.
    """
    recover_folder(folder)
    file = folder / _FACTS_FILE
    try:
        facts = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    except ValueError:
        return None
    if not isinstance(facts, dict) or facts.get("task") != "index":
        return None
    if facts["version"] != _VERSION:
        raise ValueError(
            f"the index {folder} has the form {facts['version']}, and this version reads {_VERSION}; make it anew"
        )
    return facts


def write_folder(
    folder: Path, facts: Mapping[str, Any], local: Mapping[str, Any], table: pa.Table, write_faiss: Callable[[Path], None]
) -> None:
    """Write an index in the place of an older one, which stays whole until then.

    Raises:
        FileExistsError: If the folder holds something else.
        OSError: If it cannot be written.
    """
    if folder.exists() and read_facts(folder) is None and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} holds something else than an index; choose another folder")

    def write(new: Path) -> None:
        (new / "data").mkdir()
        num = max(-(-len(table) // _SHARD_ROWS), 1)
        for number in range(num):
            part = table.slice(number * _SHARD_ROWS, _SHARD_ROWS)
            pq.write_table(part, new / "data" / f"motions-{number:05d}-of-{num:05d}.parquet", compression="zstd")
        write_faiss(new / FAISS_FILE)
        write_json(new / _LOCAL_FILE, local)
        write_json(
            new / _FACTS_FILE, {"task": "index", "version": _VERSION, "command": command_line(), **facts, **environment()}
        )

    replace_folder(folder, write)


def read_folder(folder: Path) -> FolderContent:
    """Read what `write_folder` wrote.

    Raises:
        FileNotFoundError: If there is no index in the folder.
        ValueError: If it is not whole, or another version wrote it.
    """
    facts = read_facts(folder)
    if facts is None:
        raise FileNotFoundError(f"{str(folder)!r} holds no index; `motionpatches index FOLDER --output {folder}` makes one")
    shards = sorted((folder / "data").glob("motions-*-of-*.parquet"))
    table = pa.concat_tables([pq.read_table(shard) for shard in shards]) if shards else pa.table({})
    if len(table) != facts["num"] or not (folder / FAISS_FILE).is_file():
        raise ValueError(
            f"the index {folder} is not whole: {len(table)} of {facts['num']} rows, and "
            f"{'a' if (folder / FAISS_FILE).is_file() else 'no'} file {FAISS_FILE}; copy it again, or make it anew"
        )
    local = folder / _LOCAL_FILE
    return FolderContent(
        facts, json.loads(local.read_text(encoding="utf-8")) if local.is_file() else {}, table, folder / FAISS_FILE
    )


# ---- the Hub --------------------------------------------------------------------------------------------------------------


def make_card(facts: Mapping[str, Any], name: str, licence: str | None) -> str:
    """The card of an index on the Hub: how to search in it, what made it, what is not in it.

    Args:
        facts: What `index.json` says.
        name: On the Hub.
        licence: As the Hub names it, or `None`.
    """
    data = DatasetCardData(
        license=licence,
        tags=["motionpatches", "human-motion", "3d", "motion-capture", "embeddings", "faiss"],
        configs=[{"config_name": "default", "data_files": [{"split": "motions", "path": "data/motions-*"}]}],
    )
    from_hub = facts["checkpoint"]["hub_id"]
    card = DatasetCard.from_template(
        data,
        template_str=_CARD,
        title=name.rpartition("/")[2],
        name=name,
        num=facts["num"],
        size=facts["size"],
        version=metadata.version("motionpatches"),
        checkpoint=facts["checkpoint"]["label"],
        argument="" if from_hub else ", checkpoint=…",
        fingerprint=facts["checkpoint"]["fingerprint"],
        kind=facts["kind"],
        settings=list(facts["settings"].items()),
        columns=", ".join(f"`{column}`" for column in facts["columns"]),
        left_out=[
            (source, kind, found["count"]) for source, kinds in facts["left_out"].items() for kind, found in kinds.items()
        ],
    )
    return str(card)


def push_folder(
    folder: Path, repo_id: str, private: bool | None, commit_message: str | None, token: str | None, licence: str | None
) -> CommitInfo:
    """Put an index on the Hub as a data set, in one commit; arguments and errors as `MotionIndex.push_to_hub`."""
    facts = read_facts(folder) or {}
    api = make_api(repo_id, token)
    with explain_hub_errors(api, repo_id):
        name = full_name(api, repo_id)
        api.create_repo(name, repo_type="dataset", private=private, exist_ok=True)
        is_private = bool(api.repo_info(name, repo_type="dataset").private)
        if private is not None and is_private != private:
            raise ValueError(
                f"{name} exists and is {'private' if is_private else 'public'}, not {'private' if private else 'public'}; change "
                "that in its settings on the Hub, push to another name, or say --private or --public as it is"
            )
        present = api.list_repo_files(name, repo_type="dataset")
        card = make_card(facts, name, licence)
        contents = {} if has_edited_card(api, name, present, _FACTS_FILE) else {"README.md": card}
        contents[_FACTS_FILE] = json.dumps({**facts, "card_sha256": card_digest(card)}, indent=2) + "\n"
        files = {f"data/{file.name}": file for file in sorted((folder / "data").iterdir())}
        files[FAISS_FILE] = folder / FAISS_FILE
        stale = [file for file in present if file.startswith("data/") and file.endswith(".parquet") and file not in files]
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            *(CommitOperationAdd(file, path) for file, path in files.items()),
            *(CommitOperationAdd(file, text.encode()) for file, text in contents.items()),
            *(CommitOperationDelete(file) for file in stale),
        ]
        message = commit_message or f"Upload an index of {facts['num']} motions"
        return api.create_commit(name, operations, repo_type="dataset", commit_message=message)

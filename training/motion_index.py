"""A library of motions to search in: embeddings with their columns, and a FAISS index over them."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from huggingface_hub import CommitInfo, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalEntryNotFoundError

from ..modeling_motionpatches import MotionPatchesModel
from ..processing.processing_motionpatches import MotionTextProcessor
from .evaluation import embed_motions, embed_texts
from .index_checkpoint import Checkpoint
from .index_embedding import embed_source, process_state
from .index_filters import Where
from .index_folder import FILES, by_kind, push_folder, read_folder, write_folder
from .index_rows import EMBEDDING, check_fits, empty_rows, make_rows, merge_rows
from .index_sources import open_source
from .inference import MOTION_SUFFIXES
from .vector_index import VectorIndex


# Columns of the index that a hit does not show.
_HIDDEN = (EMBEDDING, "key", "notes", "source")
CheckpointLike = str | Path | tuple[MotionPatchesModel, MotionTextProcessor]


class MotionIndex(VectorIndex):
    """Motions that can be searched by a sentence, by a motion, or by both.

        index = MotionIndex("runs/first/best")
        index.add("library/")
        index.search("a person kicks with the left leg", where="duration > 2")
        index.save("library_index")

    Each motion is a row: `id`, `path`, `captions`, `source` (where it was added from), `skeleton`, `num_frames`, `fps`,
    `duration` in seconds, `notes` (what was guessed of it), `key` (its content), `embedding`, and the columns of its own that it
    came with. A motion whose content is known is not embedded again.

    Args:
        checkpoint: Folder or Hub id of a `MotionPatchesModel`, or model and processor.
        kind, settings: `"flat"`, `"ivf"` or `"hnsw"`, and its settings; see `VectorIndex`.

    Raises:
        ValueError: If there is no such kind or setting.
        ImportError: If FAISS is not installed.
    """

    def __init__(self, checkpoint: CheckpointLike, kind: str = "flat", settings: Mapping[str, int] | None = None) -> None:
        super().__init__(None, kind, settings)
        self.checkpoint = Checkpoint(checkpoint)
        #: Source → the folder that its paths are relative to, on this machine.
        self.folders: dict[str, str] = {}
        #: Source → what is not in the index: id, kind and detail.
        self.left_out: dict[str, list[tuple[str, str, str]]] = {}
        self._made_by: dict[str, Any] | None = None  # of an index that was loaded: the checkpoint's label and fingerprint

    @property
    def table(self) -> pa.Table:
        """All rows with all columns."""
        if self._table is None:
            model, _ = self.checkpoint.load()
            self._table = empty_rows(model.config.projection_dim)
        return self._table

    @property
    def fingerprint(self) -> str:
        """Of the checkpoint that the index is made by; see `index_checkpoint.checkpoint_fingerprint`."""
        return self.checkpoint.fingerprint if self._made_by is None else self._made_by["fingerprint"]

    # ---- what is in it ----------------------------------------------------------------------------------------------------

    def add(
        self,
        source: Any,
        name: str | None = None,
        split: str | None = None,
        metadata: str | Path | None = None,
        suffixes: Sequence[str] = MOTION_SUFFIXES,
        skeleton: str | None = None,
        fps: float | None = None,
        prune: bool = False,
        work_dir: str | Path | None = None,
        batch_size: int = 64,
        progress: bool = False,
    ) -> dict[str, Any]:
        """Put motions into the index. What is there with the same id and content stays; other content takes its place.

        In a launch of several processes (`accelerate launch`, `torchrun`) all of them call this, and each embeds a share; all
        have the whole index then.

        Args:
            source, name, split, metadata, suffixes, skeleton, fps: The motions; see `index_sources.open_source`.
            prune: Remove what an earlier call put there from the source of this name and is no longer in it.
            work_dir: For embeddings while this goes on, in a folder that all processes see; a call that was killed goes on with
                them. Default a temporary one, with which a killed call begins anew.
            batch_size: Motions in one forward pass.
            progress: Show a progress bar on stderr.

        Returns:
            The report. `found` = `indexed` + the counts in `left_out` of motions that are there; `added`, `changed`, `unchanged`,
            `removed`; `embedded` of them now, `resumed` from a call that was killed; `left_out`, by reason, with all cases;
            `notes`, what was guessed of motions that are in; `other_files`, by suffix.

        Raises:
            ValueError: If the index is of another checkpoint, ids collide with those of another source, columns have other
                types than those of the index or reserved names, or as `open_source`.
            FileNotFoundError, TypeError: As `open_source`.
        """
        opened = open_source(source, name, split, metadata, suffixes, skeleton, fps)
        self._check_checkpoint()
        check_fits(self.table, opened)
        if process_state().num_processes > 1 and work_dir is None:
            raise ValueError("several processes need a folder that all of them see: pass work_dir=…")
        model, processor = self.checkpoint.load()
        known = set(self.table["key"].to_pylist())
        with TemporaryDirectory() as temporary:
            folder = Path(temporary if work_dir is None else work_dir)
            embedded = embed_source(model, processor, opened, known, folder, self.fingerprint, batch_size, progress)
        new = make_rows(opened, embedded, self.table)
        table, counts = merge_rows(self.table, new, opened.name, set(opened.columns["id"].to_pylist()), prune)
        self._replace_table(table)
        if opened.folder is not None:
            self.folders[opened.name] = str(opened.folder.resolve())
        self.left_out[opened.name] = [*opened.faults, *embedded.faults]
        notes = zip(new["id"].to_pylist(), new["notes"].to_pylist(), strict=True)
        return {
            "source": opened.name,
            "found": len(opened),
            "indexed": len(new),
            **counts,
            "embedded": embedded.num_new,
            "resumed": embedded.num_resumed,
            "left_out": by_kind(self.left_out[opened.name]),
            "notes": [{"id": name, "note": note} for name, said in notes for note in said],
            "other_files": opened.other_files,
        }

    def remove(self, ids: Iterable[str]) -> int:
        """Take motions out of the index; returns how many.

        Raises:
            KeyError: If an id is not there; nothing is removed then.
        """
        wanted = {ids} if isinstance(ids, str) else set(ids)
        missing = sorted(wanted - set(self.table["id"].to_pylist()))
        if missing:
            raise KeyError(f"{len(missing)} ids are not in the index, such as {', '.join(missing[:5])}")
        self._replace_table(self.table.filter(pc.invert(pc.is_in(self.table["id"], pa.array(sorted(wanted), pa.string())))))
        return len(wanted)

    # ---- searching --------------------------------------------------------------------------------------------------------

    def search(
        self,
        text: str | None = None,
        motion: Any = None,
        weight: float = 0.5,
        top_k: int = 10,
        where: Where = None,
        exact: bool = False,
    ) -> list[dict[str, Any]]:
        """The motions that are most like a sentence, a motion, or both.

        Args:
            text: The sentence.
            motion: Whatever the processor takes: a file, an array, a `Motion`, a dict.
            weight: Of the motion, where both are given; the text has the rest.
            top_k: How many.
            where: Conditions on columns, all of which a hit meets, such as `"duration > 2"`; see `index_filters.matching_rows`.
                The hits are the exact best of the motions that meet them.
            exact: Look at all motions, whatever the kind of the index.

        Returns:
            Best first, each with `score`, `id`, `path` and its other columns. The score is the cosine similarity, of both the
            weighted mean of the two. `path` begins with the folder where that is known on this machine.

        Raises:
            ValueError: If neither or nothing is asked for, `weight` is not between 0 and 1, the index is empty or of another
                checkpoint, or a condition cannot be understood.

        Warns:
            UserWarning: If fewer than `top_k` motions meet the conditions, or are in the index.
        """
        if text is None and motion is None:
            raise ValueError("say what to search for: a text, a motion, or both")
        if not 0 <= weight <= 1:
            raise ValueError(f"weight is {weight!r}; expected the motion's share, from 0 to 1")
        self._check_checkpoint()
        model, processor = self.checkpoint.load()
        shares = {"text": 1 - weight, "motion": weight} if text is not None and motion is not None else {}
        query = np.zeros((1, self.vectors.shape[1]), np.float32)
        if text is not None:
            query += shares.get("text", 1) * embed_texts(model, processor, [text])
        if motion is not None:
            query += shares.get("motion", 1) * embed_motions(model, processor, [motion])
        scores, rows = self.search_vectors(query, top_k, where, exact)
        if rows.shape[1] < top_k:
            which = "in the index" if where is None else "that meet the conditions"
            warnings.warn(f"{top_k} motions were asked for, and there are {rows.shape[1]} {which}", stacklevel=2)
        return self._to_hits(rows[0], scores[0])

    def _to_hits(self, rows: np.ndarray, scores: np.ndarray) -> list[dict[str, Any]]:
        found = self.table.take(pa.array(rows)).to_pylist()
        hits = []
        for row, score in zip(found, scores, strict=True):
            folder = self.folders.get(row["source"])
            if folder is not None and row["path"] is not None:
                row["path"] = str(Path(folder) / row["path"])
            hits.append({"score": float(score), **{column: value for column, value in row.items() if column not in _HIDDEN}})
        return hits

    # ---- on the disk and on the Hub ---------------------------------------------------------------------------------------

    def _check_checkpoint(self) -> None:
        """Raise a `ValueError` if the index was made by another checkpoint."""
        if self._made_by is not None and self._made_by["fingerprint"] != self.checkpoint.fingerprint:
            raise ValueError(
                f"the index was made by the checkpoint {self._made_by['label']} "
                f"({self._made_by['fingerprint'][:12]}…), and this is {self.checkpoint.label} "
                f"({self.checkpoint.fingerprint[:12]}…): their embeddings cannot be compared. Use that "
                "checkpoint, or make the index anew with this one"
            )

    def describe(self) -> dict[str, Any]:
        """What `index.json` says: kind, settings, checkpoint, columns, and what was left out and why."""
        made_by = self._made_by or {
            "label": self.checkpoint.label,
            "fingerprint": self.fingerprint,
            "hub_id": self.checkpoint.hub_id,
        }
        return {
            "kind": self.kind,
            "settings": self.used_settings,
            "given_settings": self.settings,
            "num": len(self),
            "size": self.vectors.shape[1],
            "columns": self.table.column_names,
            "trained_with": self._trained_with,
            "checkpoint": made_by,
            "left_out": {source: by_kind(cases) for source, cases in self.left_out.items()},
        }

    def save(self, folder: str | Path) -> None:
        """Write the index into a folder, in the place of an older index, which stays whole until then.

        In a launch of several processes, the first one writes and the others wait.

        Raises:
            ValueError: If the index is empty.
            FileExistsError: If the folder holds something else.
        """
        if not len(self):
            raise ValueError("the index is empty, so there is nothing to save; add motions first")
        state = process_state()
        if state.is_main_process:
            rows = self.build()
            local = {"checkpoint": self.checkpoint.name, "folders": self.folders}
            write_folder(
                Path(folder).absolute(),
                self.describe(),
                local,
                self.table,
                lambda file: rows.save_faiss_index(EMBEDDING, str(file)),
            )
        state.wait_for_everyone()

    @classmethod
    def load(
        cls,
        folder_or_repo: str | Path,
        checkpoint: CheckpointLike | None = None,
        revision: str | None = None,
        token: str | None = None,
    ) -> "MotionIndex":
        """Read an index.

        Args:
            folder_or_repo: The folder, or the name of a data set on the Hub.
            checkpoint: What the index was made by; default what it says itself, which is loaded when it is first needed.
            revision, token: Of the Hub.

        Raises:
            FileNotFoundError: If there is no index.
            ValueError: If it was made by another checkpoint or does not say by which, or is not whole.
        """
        folder = Path(folder_or_repo)
        if not folder.is_dir():
            if str(folder_or_repo).startswith((".", "/")) or str(folder_or_repo).count("/") != 1:
                raise FileNotFoundError(
                    f"no folder {str(folder_or_repo)!r} with an index, and no name on the Hub, user/name"
                )
            try:
                found = snapshot_download(
                    str(folder_or_repo), repo_type="dataset", revision=revision, token=token, allow_patterns=list(FILES)
                )
            except (HfHubHTTPError, HTTPError, LocalEntryNotFoundError) as error:
                reason = str(error).partition("\n")[0]
                raise FileNotFoundError(
                    f"no folder {str(folder_or_repo)!r} with an index here, and the Hub gave none of that name ({reason}); make "
                    "one with `motionpatches index`, or check the name"
                ) from error
            folder = Path(found)
        content = read_folder(folder)
        made_by = content.facts["checkpoint"]
        chosen = checkpoint or content.local.get("checkpoint") or made_by["hub_id"]
        if chosen is None:
            raise ValueError(
                f"the index was made by the checkpoint {made_by['label']}, which is not here: pass checkpoint=…"
            )
        index = cls(chosen, content.facts["kind"], content.facts["given_settings"])
        index._made_by = made_by
        if checkpoint is not None:
            index._check_checkpoint()
        index.folders = dict(content.local.get("folders", {}))
        index.left_out = {
            source: [(case["id"], kind, case["detail"]) for kind, found in kinds.items() for case in found["cases"]]
            for source, kinds in content.facts["left_out"].items()
        }
        index._replace_table(content.table)
        index._load_faiss(content.faiss_file, content.facts["trained_with"])
        return index

    def push_to_hub(
        self,
        repo_id: str,
        private: bool | None = None,
        commit_message: str | None = None,
        token: str | None = None,
        licence: str | None = None,
    ) -> CommitInfo:
        """Put the index on the Hub as a data set with a card, in one commit. Folders of this machine are not in it.

        A card that was edited on the Hub stays.

        Args:
            repo_id: `"user/name"`, made if there is none; `"name"` alone is one of your own.
            private: Whether a new repository is private; default as your account's is.
            commit_message: Default “Upload an index of … motions”.
            token: Default: the one of `hf auth login` or of the environment variable `HF_TOKEN`.
            licence: Of captions and embeddings, as the Hub names it, for the card.

        Raises:
            ConnectionError, PermissionError, OSError: As `sharing.push_to_hub`.
            ValueError: If the index is empty, the name is none, or an existing repository is not as private as asked for.
        """
        with TemporaryDirectory() as temporary:
            self.save(Path(temporary) / "index")
            return push_folder(Path(temporary) / "index", repo_id, private, commit_message, token, licence)

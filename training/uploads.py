"""Checkpoints that go to the Hub while the training goes on."""

import os
import shlex
import shutil
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from .sharing import Where, prepare_push, push_checkpoint


_PREFIX = ".pushing-"  # of folders beside the checkpoint


@dataclass(frozen=True)
class _Snapshot:
    """A checkpoint as it was.

    Args:
        number: How many pushes were asked for with it.
        source: The checkpoint's folder, in which there may be another one by now.
        holder: The folder that `copy` is in, and is deleted with.
        copy: The snapshot.
        step, epoch: Steps and epochs done.
    """

    number: int
    source: Path
    holder: tempfile.TemporaryDirectory[str]
    copy: Path
    step: int
    epoch: int

    def __str__(self) -> str:
        return f"{self.source.name} of epoch {self.epoch} (step {self.step})"


class BackgroundPush:
    """Pushes checkpoints in a thread of its own, one at a time, each as one commit by `push_checkpoint`.

    A push that fails is told of on stderr and stops nothing; the next one starts anew. A checkpoint that comes while another is
    on its way waits, and takes the place of one that waits already.

    Args:
        repo_id, private, revision, token: Where to; see `push_to_hub`.

    Raises:
        ConnectionError, PermissionError, ValueError, OSError: If no push can succeed, so that this is known before the training;
            see `prepare_push`.
    """

    def __init__(
        self, repo_id: str, *, private: bool | None = None, revision: str | None = None, token: str | None = None
    ) -> None:
        self.repo_id = prepare_push(repo_id, private=private, revision=revision, token=token)
        self._where: Where = {"private": private, "revision": revision, "token": token}
        self._changed = threading.Condition()
        self._under_way: _Snapshot | None = None
        self._waiting: _Snapshot | None = None
        self._last: Path | None = None
        self._num_pushed = self._num_arrived = 0  # the number of the newest snapshot, and of the newest that has arrived

    def push(self, folder: Path, step: int, epoch: int) -> None:
        """Push a checkpoint as it is now, and return at once; the folder may be replaced or deleted afterwards.

        Args:
            folder: A checkpoint folder, as `save_checkpoint` wrote it.
            step: Steps that the training has done.
            epoch: Epochs that it has done.
        """
        if self._last is None:
            _clear_leftovers(folder.parent)
        self._last = folder
        self._num_pushed += 1
        try:
            self._hand_over(_take_snapshot(self._num_pushed, folder, step, epoch))
        except (OSError, RuntimeError) as error:  # no room for the snapshot, no thread to be had
            _say(f"warning: {folder} of epoch {epoch} (step {step}) is not pushed: {error}. Training goes on")

    def _hand_over(self, snapshot: _Snapshot) -> None:
        skipped = None
        with self._changed:
            if self._under_way is None:
                threading.Thread(target=self._work, name="push to the Hub", daemon=True).start()
                self._under_way = snapshot
            else:
                skipped, self._waiting = self._waiting, snapshot
        if skipped is not None:
            _say(f"{skipped} is not pushed to {self.repo_id}: {snapshot} came before its turn")
            skipped.holder.cleanup()

    def close(self, timeout: float) -> bool:
        """Wait for what is under way; call it when the training has ended.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether the last checkpoint has arrived. If not, a message says how to push it by hand.
        """
        try:
            with self._changed:
                if self._under_way is not None:
                    newest = self._waiting or self._under_way
                    _say(
                        f"waiting up to {timeout:.0f} s for the push of {newest} to {self.repo_id}; Ctrl-C ends the waiting"
                    )
                self._changed.wait_for(lambda: self._under_way is None, timeout)
        finally:
            has_arrived = self._num_arrived == self._num_pushed
            if not has_arrived:
                _say(f"warning: the last checkpoint is not on the Hub; push it with: {self._command()}")
        return has_arrived

    def _work(self) -> None:
        """Push what there is, to the end."""
        with self._changed:
            snapshot = self._under_way
        while snapshot is not None:
            has_arrived = self._push(snapshot)
            snapshot.holder.cleanup()
            with self._changed:
                if has_arrived:
                    self._num_arrived = snapshot.number
                snapshot = self._under_way = self._waiting
                self._waiting = None
                self._changed.notify_all()

    def _push(self, snapshot: _Snapshot) -> bool:
        title = f"Epoch {snapshot.epoch}, step {snapshot.step}: {snapshot.source.name}"
        where: Where = {**self._where, "commit_message": title}
        try:
            push_checkpoint(snapshot.copy, self.repo_id, **where)
        except Exception as error:  # whatever it is, the training is worth more
            said = str(error) if isinstance(error, (OSError, ValueError)) else f"{type(error).__name__}: {error}"
            _say(
                f"warning: the push of {snapshot} to {self.repo_id} failed: {said}. Training goes on; the next push tries again"
            )
            return False
        return True

    def _command(self) -> str:
        words = ["motionpatches", "push", str(self._last), self.repo_id]
        if self._where["private"] is not None:
            words.append("--private" if self._where["private"] else "--public")
        if self._where["revision"] is not None:
            words += ["--revision", self._where["revision"]]
        return shlex.join(words)


def _take_snapshot(number: int, folder: Path, step: int, epoch: int) -> _Snapshot:
    """Beside the folder, where its weights need no room; with the results of the run, if it has ended."""
    holder = tempfile.TemporaryDirectory(prefix=_PREFIX, dir=folder.parent, ignore_cleanup_errors=True)
    copy = Path(holder.name) / folder.name
    results = folder.parent / "results.json"
    try:
        shutil.copytree(folder, copy, copy_function=_copy)
        # A file that is older than the checkpoint is of another run.
        if results.exists() and results.stat().st_mtime_ns >= (folder / "config.json").stat().st_mtime_ns:
            shutil.copy2(results, holder.name)
    except OSError:
        holder.cleanup()
        raise
    return _Snapshot(number, folder, holder, copy, step, epoch)


def _copy(source: str, target: str) -> None:
    """Copy a file; weights, which nobody edits and which are replaced as whole files, become a second name of the same file."""
    if source.endswith(".safetensors"):
        with suppress(OSError):  # a file system without such links
            return os.link(source, target)
    shutil.copy2(source, target)
    return None


def _clear_leftovers(folder: Path) -> None:
    """Delete the snapshots of a run that was killed."""
    for leftover in folder.glob(f"{_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _say(text: str) -> None:
    """Print on stderr, above a progress bar; not a Python warning, as those are neither for threads nor above a bar."""
    with suppress(Exception):  # a terminal that is closed
        tqdm.write(text, file=sys.stderr)

"""Long work that says where it stands in a file, so that other processes see it and can ask it to stop.

A job is a folder ``jobs/<id>`` of the project: ``job.json`` (replaced about once a second), ``log`` (output
of a detached process), ``cancel`` (a flag anybody may put there) and ``.lock``, which the working process
holds: when that process dies, however it dies, the lock goes with it. A heartbeat that cannot be written
never stops the work.
"""

import fcntl
import json
import os
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from engine.errors import Cancelled, ProsectError
from engine.paths import ProjectPaths
from engine.progress import Progress
from engine.views.jobs import PASSING

JOB_FILE, LOG_FILE, LOCK_FILE, CANCEL_FLAG = "job.json", "log", ".lock", "cancel"
JOB_VARIABLE = "PROSECT_JOB"
"""Environment variable with the id of the job that a detached process is."""
FORMAT = 1
BEAT_S = 1.0
ABANDONED_S = 60.0
"""A folder that nobody holds for so long is not about to be taken."""
KEPT = 50
"""Ended jobs whose folders are kept."""


def new_ident(kind: str) -> str:
    """Id of a job that starts now."""
    return f"{kind}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}"


def write_job(folder: Path, facts: dict[str, Any]) -> None:
    """Replace job.json; readers see the old text or the new one. Raises ``OSError``."""
    temporary = folder / f".{JOB_FILE}.{os.getpid()}.tmp"
    temporary.write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8", errors="replace")
    temporary.replace(folder / JOB_FILE)


def now_iso() -> str:
    """UTC time as job files have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Tracked:
    """A ``Progress`` that passes everything on and writes it down; raises ``Cancelled`` on the flag."""

    def __init__(
        self, inner: Progress, paths: ProjectPaths, kind: str, title: str, *, command: str = ""
    ) -> None:
        self._inner, self._paths = inner, paths
        given = os.environ.pop(JOB_VARIABLE, "")  # what this process starts is no part of the job's file
        self._folder = paths.jobs_dir / (given if _is_ident(given) else new_ident(kind))
        self._lock: IO[str] | None = None
        self._was_lost = False
        self._is_to_stop = False
        self._beaten = 0.0
        self._stage_began = 0.0
        self._facts: dict[str, Any] = {
            "v": FORMAT, "kind": kind, "title": title, "command": command or _command(), "pid": os.getpid(),
            "host": socket.gethostname(), "started": now_iso(), "state": "running", "stage": "", "done": 0,
            "total": None, "unit": "", "stage_started": now_iso(), "stages": [], "notes": [], "results": {},
            "message": "", "updated": now_iso(),
        }  # fmt: skip

    def start(self, stage: str, total: int | None, unit: str) -> None:
        """Begin a stage."""
        self._end_stage()
        self._inner.start(stage, total, unit)
        self._stage_began = time.monotonic()
        self._facts |= {"stage": stage, "done": 0, "total": total, "unit": unit, "stage_started": now_iso()}
        self.beat(is_forced=True)
        self._check()

    def advance(self, n: int = 1) -> None:
        """Count; raises ``Cancelled`` when anybody asked to stop."""
        self._facts["done"] += n
        self._inner.advance(n)
        if time.monotonic() - self._beaten >= BEAT_S:
            self.beat()
            self._check()
        elif self._is_to_stop:
            self._check()

    def note(self, text: str) -> None:
        """Pass a remark on and keep the last ones."""
        self._inner.note(text)
        self._facts["notes"] = [*self._facts["notes"][-19:], text]
        self.beat(is_forced=True)

    def finish(self) -> None:
        """End the stage."""
        self._inner.finish()
        self._end_stage()

    def result(self, name: str, value: object) -> None:
        """Say what the job made."""
        self._facts["results"][name] = str(value)

    @property
    def is_asked_to_stop(self) -> bool:
        """This process, or anybody through the flag, asked for it."""
        return self._is_to_stop or (self._folder / CANCEL_FLAG).exists()

    def ask_to_stop(self) -> None:
        """Raise ``Cancelled`` at the next report. May be called from a signal handler."""
        self._is_to_stop = True

    def _end_stage(self) -> None:
        if self._stage_began:
            seconds = round(time.monotonic() - self._stage_began, 3)
            over = [self._facts["stage"], self._facts["done"], self._facts["unit"], seconds]
            self._facts["stages"] = [*self._facts["stages"][-199:], over]
            self._stage_began = 0.0

    def beat(self, *, is_forced: bool = False) -> None:
        """Write where the work stands when the last time is a while ago."""
        now = time.monotonic()
        if now - self._beaten < BEAT_S and not is_forced:
            return
        self._beaten = now
        try:
            self._take_folder()
            write_job(self._folder, self._facts | {"updated": now_iso()})
        except OSError as error:
            if not self._was_lost:
                self._was_lost = True
                self._inner.note(f"other processes cannot see this job: {error.strerror or error}")

    def _check(self) -> None:
        if self._is_to_stop or (self._lock is not None and (self._folder / CANCEL_FLAG).exists()):
            raise Cancelled("stopped on request", hint="run the same command again to go on from here")

    def _take_folder(self) -> None:
        """Make the folder and hold its lock."""
        if self._lock is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):  # another process may remove the same ones
                _prune(self._paths.jobs_dir)
            lock = (self._folder / LOCK_FILE).open("w")
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._lock = lock

    def end(self, state: str, message: str = "") -> None:
        """Write the last word and let go of the lock."""
        self._end_stage()
        self._facts |= {"state": state, "message": message, "updated": now_iso()}
        with suppress(OSError):
            if self._lock is not None or self._folder.is_dir():
                self._take_folder()
                write_job(self._folder, self._facts)
        self._let_go()

    def vanish(self) -> None:
        """End without a trace: what made nothing and lost nothing is no news."""
        with suppress(OSError):
            (self._folder / JOB_FILE).unlink(missing_ok=True)  # first: whoever looks now sees no job
        shutil.rmtree(self._folder, ignore_errors=True)
        self._let_go()

    def others(self, root: Path) -> Iterator[Path]:
        """What lies below a folder beside the record of this job; empty folders are nothing."""
        return (p for p in root.rglob("*") if not p.is_dir() and self._folder not in p.parents)

    def _let_go(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()


@contextmanager
def tracked(progress: Progress, root: Path, kind: str, title: str) -> Iterator[Tracked]:
    """Run the body as a job of the project at ``root``, which need not exist before the first stage.

    A folder that the job made and left without anything but its own record is taken away again when it fails.

    Args:
        progress: where reports go besides.
        root: the project's folder.
        kind: audit, compile, train …
        title: one line for a list.
    """
    job = Tracked(progress, ProjectPaths(root), kind, title)
    absent = [folder for folder in (root, *root.parents) if not folder.exists()]
    try:
        if root.is_dir():
            job.beat(is_forced=True)
        yield job
    except BaseException as error:
        job.end(*_last_word(error))
        _take_away(job, absent)
        raise
    job.end("finished")


def _last_word(error: BaseException) -> tuple[str, str]:
    """State and message of a job that an error ended."""
    if isinstance(error, Cancelled):
        return "cancelled", error.message
    if isinstance(error, ProsectError):
        return "failed", f"{error.message}{f' ({error.hint})' if error.hint else ''}"
    return "failed", f"{type(error).__name__}: {error}"


def _take_away(job: Tracked, absent: Sequence[Path]) -> None:
    """Remove folders that were not there before, the project's first, unless anything was written there."""
    if not absent or not absent[0].is_dir() or any(job.others(absent[0])):
        return
    job.vanish()
    with suppress(OSError):
        for empty in sorted(absent[0].rglob("*"), reverse=True):
            empty.rmdir()
        for folder in absent:
            folder.rmdir()


def sweep(folder: Path) -> None:
    """Remove what readers of tokens that were killed left among the jobs in a folder."""
    with suppress(OSError):
        for path in folder.glob(f"{PASSING}-*"):
            if time.time() - path.stat().st_mtime > ABANDONED_S and not is_held(path):
                shutil.rmtree(path, ignore_errors=True)


def is_held(folder: Path) -> bool:
    """True while a process works on the job."""
    return is_locked(folder / LOCK_FILE)


def is_locked(path: Path) -> bool:
    """True while some process holds the lock on a file; a lock goes with its process."""
    try:
        with path.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def _is_ident(text: str) -> bool:
    return bool(text) and text.replace("-", "").isalnum()


def _command() -> str:
    """This process as a person would type it."""
    name, *words = sys.argv
    return shlex.join(["prosect" if Path(name).name in ("prosect", "main.py") else name, *words])


def _prune(folder: Path) -> None:
    """Remove the oldest ended jobs."""
    old = sorted(folder.iterdir(), key=lambda p: p.stat().st_mtime, reverse=True)
    for path in old[KEPT:]:
        if not is_held(path):
            shutil.rmtree(path, ignore_errors=True)

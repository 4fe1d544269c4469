"""Jobs of a project as front ends see them: list, look, ask to stop, start.

A job started here is the same ``prosect`` command that a shell would run, in a session of its own, so that it
outlives the terminal; what it says of itself lies in files (engine/jobs.py) and can be seen from anywhere.
"""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.errors import RuleError, StoreError, TrainError
from engine.jobs import (
    CANCEL_FLAG,
    FORMAT,
    JOB_FILE,
    JOB_VARIABLE,
    LOG_FILE,
    is_held,
    new_ident,
    now_iso,
    write_job,
)
from engine.manifest import hash_bytes, read_manifest
from engine.paths import ProjectPaths
from engine.store.build import read_current
from engine.views.jobs import PASSING, JobDetail, JobRow, JobStage, JobState, ShapedRow, TrainingCost

TAIL_BYTES = 20_000
N_LINES = 60
END_FILE = "exit"
"""Holds the exit status of a detached process once it is over."""
_DETACH = '( "$@"; echo $? > "$0" ) &'
"""The shell goes at once, so that the job is nobody's child: no zombie stays, and nobody needs to wait."""
DRY_RUN_S = 60.0
"""How long anybody may take to say what a run would take."""
START_S = 60.0
"""How long a process may take from its start to its first word."""


class Work:
    """The jobs of one project. Methods may be called from any thread."""

    def __init__(self, paths: ProjectPaths) -> None:
        self._paths = paths

    # -- looking ----------------------------------------------------------------------------------------

    def jobs(self) -> tuple[JobRow, ...]:
        """All jobs, those that run first, then the latest first."""
        folder = self._paths.jobs_dir
        rows = [r for p in folder.iterdir() if (r := self._row(p))] if folder.is_dir() else []
        rows.sort(key=lambda r: (r.state.is_alive, r.started), reverse=True)
        return tuple(rows)

    def job(self, ident: str) -> JobDetail:
        """One job with its stages and the end of its output.

        Raises:
            StoreError: there is none.
        """
        folder = self._folder(ident)
        row, facts = self._row(folder), _facts(folder)
        if row is None:
            raise StoreError(f"the job {ident} says nothing", hint=f"look into {folder}")
        stages = tuple(JobStage(str(n), int(d), str(u), float(s)) for n, d, u, s in facts.get("stages", ()))
        return JobDetail(
            row, str(facts.get("command", "")), stages, tuple(map(str, facts.get("notes", ()))), _tail(folder)
        )

    def _folder(self, ident: str) -> Path:
        folder = self._paths.jobs_dir / ident
        if "/" in ident or ident.startswith(".") or not folder.is_dir():
            raise StoreError(f"there is no job {ident!r}", hint=f"jobs lie in {self._paths.jobs_dir}")
        return folder

    def _row(self, folder: Path) -> JobRow | None:
        facts = _facts(folder)
        if not facts:
            return None
        state = self._state(folder, facts)
        if facts.get("kind") == PASSING and not state.is_alive:
            return None  # it was killed, and lost nothing
        is_running = state is JobState.RUNNING
        done, total = int(facts.get("done") or 0), facts.get("total")
        in_stage = _seconds(facts.get("stage_started"), facts.get("updated"))
        rate = done / in_stage if is_running and done and in_stage > 0 else None
        is_known = rate is not None and isinstance(total, int) and total > done
        end = now_iso() if state.is_alive else facts.get("updated")
        message = str(facts.get("message") or "")
        if state is JobState.FAILED and not message:
            message = next(iter(reversed(_tail(folder))), "it ended without a word")
        notes = facts.get("notes") or ()
        return JobRow(
            ident=folder.name,
            kind=str(facts.get("kind", "?")),
            title=str(facts.get("title", "")),
            state=state,
            stage=str(facts.get("stage", "")),
            done=done,
            total=int(total) if isinstance(total, int) else None,
            unit=str(facts.get("unit", "")),
            rate=rate,
            left_s=(total - done) / rate if is_known and rate and total is not None else None,
            elapsed_s=_seconds(facts.get("started"), end),
            started=str(facts.get("started", "")),
            host=str(facts.get("host", "")),
            pid=int(facts.get("pid") or 0),
            message=message or (str(notes[-1]) if notes else ""),
            results=tuple((str(k), str(v)) for k, v in (facts.get("results") or {}).items()),
            is_asked_to_stop=(folder / CANCEL_FLAG).exists(),
        )

    def _state(self, folder: Path, facts: dict[str, Any]) -> JobState:
        said = str(facts.get("state"))
        if said == "starting":
            if (folder / END_FILE).exists() or _seconds(facts.get("started"), now_iso()) > START_S:
                return JobState.FAILED
            return JobState.STARTING
        if said == "running":
            return JobState.RUNNING if is_held(folder) else JobState.BROKEN_OFF
        try:
            return JobState(said)
        except ValueError:
            return JobState.BROKEN_OFF

    # -- acting -----------------------------------------------------------------------------------------

    def cancel_job(self, ident: str) -> str:
        """Ask a job to stop at its next safe place; a second time, or if it makes nothing, end its process.

        Returns:
            what was done, in words.

        Raises:
            StoreError: no such job, it has ended, or its folder cannot be written.
        """
        folder = self._folder(ident)
        row = self._row(folder)
        if row is None or not row.state.is_alive:
            raise StoreError(f"{ident} has ended already")
        is_due = row.is_asked_to_stop or not row.is_work
        if is_due and row.host == socket.gethostname() and row.state is JobState.RUNNING:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(row.pid, signal.SIGTERM)
            return f"{ident} was ended" + ("; what it had saved is kept" if row.is_work else "")
        try:
            (folder / CANCEL_FLAG).touch()
        except OSError as error:
            raise StoreError(f"the job cannot be told to stop: {error.strerror}") from error
        return f"{ident} stops at its next safe place; again ends it at once"

    def start_compile(self, name: str, stamp: str = "") -> str:
        """Compile a rule file in a process of its own; the job's id.

        Args:
            name: of the file.
            stamp: of the text that was looked at; the job, too, compiles no other. Empty: whatever is there.

        Raises:
            RuleError: the file is another one by now.
        """
        rules = self._paths.rules_dir / f"{name}.rules"
        words = ["compile", str(self._root), str(rules.resolve())]
        if stamp:
            found = hash_bytes(rules.read_bytes()) if rules.is_file() else ""
            if found != stamp:
                raise RuleError(
                    f"{rules.name} is no longer the text that was looked at",
                    hint="look at its plan again, then compile",
                )
            words += ["--stamp", stamp]
        return self.start("compile", f"compile {rules.name}", words)

    def start_training(self, ident: str, options: Sequence[str] = ()) -> str:
        """Train on ``shaped/<ident>`` in a process of its own; the job's id.

        Args:
            ident: name of the folder.
            options: further words of ``prosect train``.
        """
        return self.start("train", f"train on {ident[:12]}", self._training(ident, options))

    @property
    def _root(self) -> Path:
        return self._paths.root.resolve()

    def start(self, kind: str, title: str, words: Sequence[str]) -> str:
        """Start a command in a process of its own; the job's id.

        Args:
            kind: as ``JobRow`` has it.
            title: one line for a list.
            words: what follows ``prosect``.

        Raises:
            StoreError: it cannot be started.
        """
        ident = new_ident(kind)
        while (self._paths.jobs_dir / ident).exists():
            ident += "x"
        folder = self._paths.jobs_dir / ident
        facts = {
            "v": FORMAT, "kind": kind, "title": title, "command": shlex.join(["prosect", *words]), "pid": 0,
            "host": socket.gethostname(), "started": now_iso(), "state": "starting", "updated": now_iso(),
        }  # fmt: skip
        command = [sys.executable, "-m", "engine.cli.main", *words, "--plain"]
        try:
            folder.mkdir(parents=True)
            write_job(folder, facts)
            with (folder / LOG_FILE).open("ab") as log:
                subprocess.run(  # noqa: S603 - our own interpreter and module
                    ["/bin/sh", "-c", _DETACH, str(folder / END_FILE), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env={**os.environ, JOB_VARIABLE: ident},
                    check=True,
                )
        except subprocess.CalledProcessError as error:
            raise StoreError(f"the job cannot be started: {error}") from error
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise StoreError(f"the job cannot be started: {error.strerror or error}") from error
        return ident

    # -- what there is to train on ----------------------------------------------------------------------

    def shaped(self) -> tuple[ShapedRow, ...]:
        """Finished shaped datasets, the latest first."""
        folder = self._paths.shaped_dir
        if not folder.is_dir():
            return ()
        pointer = read_current(self._paths) or {"readers": {}, "default": ""}
        published = pointer["readers"].get(pointer["default"], {}).get("index")
        rows = []
        for path in folder.iterdir():
            manifest = read_manifest(path) if path.is_dir() else None
            if manifest is None or manifest.stage != "compile":
                continue
            counts = manifest.facts.get("counts", {})
            made = datetime.fromtimestamp((path / "manifest.json").stat().st_mtime, UTC)
            rows.append(
                ShapedRow(
                    path.name, str(path), int(counts.get("kept", 0)), int(counts.get("total", 0)),
                    made.isoformat(timespec="seconds"), manifest.inputs.get("index") == published,
                )
            )  # fmt: skip
        return tuple(sorted(rows, key=lambda r: r.made, reverse=True))

    def training_cost(self, ident: str, options: Sequence[str] = ()) -> TrainingCost:
        """What training on ``shaped/<ident>`` would take: `prosect train --dry-run` in a process of its own.

        It takes a second or more, and none of what it needs is imported here.

        Args:
            ident: name of the folder.
            options: further words of ``prosect train``.

        Raises:
            TrainError: no such dataset, or options that the command refuses.
        """
        words = [*self._training(ident, options), "--dry-run", "--json"]
        command = [sys.executable, "-m", "engine.cli.main", *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=DRY_RUN_S, check=False)  # noqa: S603 - our own interpreter and module
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TrainError(f"nobody could say what training takes: {error}") from error
        if done.returncode:
            raise _refusal(done.stderr)
        found = json.loads(done.stdout)
        return TrainingCost(**{name: found[name] for name in TrainingCost.__slots__})

    def _training(self, ident: str, options: Sequence[str]) -> list[str]:
        shaped = self._paths.shaped_dir / ident
        if "/" in ident or not shaped.is_dir():
            raise TrainError(f"there is no shaped dataset {ident}", hint="compile first")
        return ["train", str(shaped.resolve()), *options]


def _refusal(said: str) -> TrainError:
    """What a command printed when it refused: its error, and its hint."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    named = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}
    return TrainError(named.get("error") or (lines[-1] if lines else "it says nothing"), named.get("hint"))


def _facts(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / JOB_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _seconds(start: Any, end: Any) -> float:
    """Seconds between two times; 0 where one cannot be read."""
    try:
        found = datetime.fromisoformat(str(end)) - datetime.fromisoformat(str(start))
    except (ValueError, TypeError):
        return 0.0
    return max(found.total_seconds(), 0.0)


def _tail(folder: Path) -> tuple[str, ...]:
    """The last lines of the output."""
    try:
        with (folder / LOG_FILE).open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(log.tell() - TAIL_BYTES, 0))
            text = log.read().decode("utf-8", "replace")
    except OSError:
        return ()
    return tuple(line for line in text.splitlines() if line.strip())[-N_LINES:]

"""What a run tells the outside while it runs: events.jsonl, its status, and the flag that stops it.

A front end tails the file, so losing a connection costs nothing. Every line is one JSON object with
``event`` (start, resume, log, step, save, stop, end, error), ``time`` (UTC) and, where it applies, ``step``.
After a resume, lines of steps beyond the resumed one occur again: the last line of a step holds.
"""

import json
import math
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from engine.errors import Cancelled
from engine.progress import Progress
from engine.training.checkpoint import mark_whole

STOP_FLAG = "stop"
"""A file of this name in the run's folder asks it to save and stop."""


class EventLog:
    """Appends to events.jsonl, one flushed line per event; silent on all processes but the first."""

    def __init__(self, path: Path, *, is_main: bool) -> None:
        self._path = path
        self.is_main = is_main
        self.has_begun = False
        """The run has started or gone on in this process."""

    def write(self, event: str, values: Mapping[str, Any] | None = None) -> None:
        """Append one event; numbers that are not finite are written as null."""
        self.has_begun |= event in ("start", "resume")
        if not self.is_main:
            return
        clean = {key: _finite(value) for key, value in (values or {}).items()}
        line = {"event": event, "time": datetime.now(UTC).isoformat(timespec="milliseconds")} | clean
        with self._path.open("a", encoding="utf-8") as f:
            f.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
            f.flush()
            os.fsync(f.fileno())


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def with_epoch(logs: Mapping[str, Any], share_used: float) -> dict[str, Any]:
    """Logged numbers with epochs over the whole dataset: the trainer counts over the pairs that it was given.

    Args:
        logs: as the trainer wrote them.
        share_used: share of the dataset's pairs that the run reaches, 0–1.
    """
    return {key: value * share_used if key == "epoch" else value for key, value in logs.items()}


# The signatures below are those of TrainerCallback, so some arguments go unused.
# ruff: noqa: ARG002


class RunCallback(TrainerCallback):  # type: ignore[misc]  # transformers ships no types
    """Logs, marks whole saves, reports progress, and stops at the end of a step when asked to."""

    def __init__(
        self,
        log: EventLog,
        run_dir: Path,
        progress: Progress,
        *,
        is_main: bool,
        n_processes: int,
        share_used: float = 1.0,
    ) -> None:
        self._log = log
        self._run_dir = run_dir
        self._progress = progress
        self._is_main = is_main
        self._n_processes = n_processes
        self._share_used = share_used
        self.was_stopped = False
        """Somebody asked to stop before the last step."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Count the step; save and stop when the flag file is there or the front end cancelled."""
        self._log.write("step", {"step": state.global_step, "of": state.max_steps})
        if self._is_asked_to_stop() and state.global_step < state.max_steps:
            self.was_stopped = True
            control.should_save = True
            control.should_training_stop = True
            self._log.write("stop", {"step": state.global_step})
        return control

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Write the numbers of a step."""
        values = with_epoch(logs or {}, self._share_used)
        self._log.write("log", values | {"step": state.global_step})

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Mark the save as whole: everything of it is on disk now."""
        if self._is_main:
            mark_whole(Path(args.output_dir) / f"checkpoint-{state.global_step}")
        self._log.write("save", {"step": state.global_step})

    def _is_asked_to_stop(self) -> bool:
        """The first process decides for all, so that none waits for another forever."""
        asked = [self._asked_here() if self._is_main else False]
        if self._n_processes > 1:
            from accelerate.utils import broadcast_object_list

            broadcast_object_list(asked, from_process=0)
        return asked[0]

    def _asked_here(self) -> bool:
        try:
            self._progress.advance()
        except Cancelled:
            return True
        return (self._run_dir / STOP_FLAG).exists()

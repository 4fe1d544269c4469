"""Looking at training runs through their files: a run is another process, and may be on its way or long dead.

Nothing here starts or imports the trainer. The only thing written is the flag that asks a run to stop.
"""

import json
from pathlib import Path
from typing import Any

from engine.errors import TrainError
from engine.jobs import is_locked
from engine.paths import ProjectPaths
from engine.run_views import ConceptOutcome, Point, RunDetail, RunRow, RunState

LOCK, STOP_FLAG = ".lock", "stop"
"""Files of a run's folder, as the trainer names them."""
_ENDINGS = {
    "end": RunState.FINISHED,
    "stop": RunState.STOPPED,
    "cancelled": RunState.STOPPED,
    "error": RunState.FAILED,
}
N_EVENTS = 30


def list_runs(paths: ProjectPaths) -> tuple[RunRow, ...]:
    """All runs of a project, the one with the latest event first."""
    if not paths.runs_dir.is_dir():
        return ()
    rows = [_row(folder, _events(folder)[0]) for folder in paths.runs_dir.iterdir() if folder.is_dir()]
    return tuple(sorted(rows, key=lambda r: (r.last, r.ident), reverse=True))


def read_run(paths: ProjectPaths, ident: str) -> RunDetail:
    """One run with its curves, events and outcome.

    Raises:
        TrainError: there is no such run.
    """
    folder = _folder(paths, ident)
    events, n_damaged = _events(folder)
    lines, concepts = _outcome(folder)
    settings = (
        _json(folder / "request.json").get("settings") or _json(folder / "run.json").get("settings") or {}
    )
    return RunDetail(
        row=_row(folder, events),
        series=_series(events),
        events=tuple(
            (str(e.get("time", "")), _say(e))
            for e in reversed(events)
            if e.get("event") not in ("step", "log")
        )[:N_EVENTS],
        n_damaged=n_damaged,
        settings=tuple((str(k), str(v)) for k, v in sorted(settings.items())),
        outcome_lines=lines,
        outcome=concepts,
    )


def ask_to_stop(paths: ProjectPaths, ident: str) -> None:
    """Ask a run to save and stop at its next step.

    Raises:
        TrainError: no such run, or its folder cannot be written.
    """
    try:
        (_folder(paths, ident) / STOP_FLAG).touch()
    except OSError as error:
        raise TrainError(f"the run cannot be told to stop: {error.strerror}") from error


def _folder(paths: ProjectPaths, ident: str) -> Path:
    folder = paths.runs_dir / ident
    if "/" in ident or ident.startswith(".") or not folder.is_dir():
        raise TrainError(f"there is no run {ident!r}", hint=f"runs lie in {paths.runs_dir}")
    return folder


def _events(folder: Path) -> tuple[list[dict[str, Any]], int]:
    try:
        *lines, _unfinished = (folder / "events.jsonl").read_bytes().split(b"\n")
    except OSError:
        return [], 0
    found, n_damaged = [], 0
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if isinstance(event, dict):
            found.append(event)
        else:
            n_damaged += 1
    return found, n_damaged


def _row(folder: Path, events: list[dict[str, Any]]) -> RunRow:
    steps = [e for e in events if e.get("event") == "step"]
    begun = next((e for e in events if e.get("event") in ("start", "resume")), {})
    return RunRow(
        ident=folder.name,
        state=_state(folder, events),
        step=int(steps[-1].get("step") or 0) if steps else 0,
        of=int(steps[-1]["of"]) if steps and steps[-1].get("of") else None,
        n_pairs=begun.get("n_used") or begun.get("n_pairs"),
        started=str(begun.get("time", "")),
        last=str(events[-1].get("time", "")) if events else "",
        has_outcome=(folder / "outcome.json").exists(),
    )


def _state(folder: Path, events: list[dict[str, Any]]) -> RunState:
    if is_locked(folder / LOCK):
        return RunState.RUNNING
    for event in reversed(events):
        if event.get("event") in _ENDINGS:
            return _ENDINGS[str(event["event"])]
        if event.get("event") in ("start", "resume"):
            break
    return RunState.BROKEN_OFF


def _series(events: list[dict[str, Any]]) -> tuple[tuple[str, tuple[Point, ...]], ...]:
    found: dict[str, dict[int, float]] = {}
    for event in events:
        if event.get("event") != "log":
            continue
        step = int(event.get("step") or 0)
        for key, value in event.items():
            if key not in ("event", "time", "step") and isinstance(value, int | float):
                found.setdefault(key, {})[step] = float(value)
    return tuple((name, tuple(Point(s, v) for s, v in sorted(p.items()))) for name, p in found.items())


def _say(event: dict[str, Any]) -> str:
    kind, step = str(event.get("event", "?")), event.get("step")
    text = kind if step is None else f"{kind} at step {int(step):,}"
    if kind in ("start", "resume"):
        used, pairs = event.get("n_used"), event.get("n_pairs")
        text += f": {used} of {pairs} pairs, {event.get('n_truncated', 0)} cut"
    return f"{text}: {event['message']}" if event.get("message") else text


def _outcome(folder: Path) -> tuple[tuple[str, ...], tuple[ConceptOutcome, ...]]:
    raw = _json(folder / "outcome.json")
    concepts = [
        ConceptOutcome(
            str(c["concept_id"]),
            str(c["name"]),
            is_moved=bool(c["is_moved"]),
            agrees=c["agrees"],
            **{k: float(c[k]) for k in _NUMBERS},
        )
        for c in raw.get("concepts", ())
        if c.get("is_scored") and all(isinstance(c.get(k), int | float) for k in _NUMBERS)
    ]
    concepts.sort(key=lambda c: -abs(c.forecast))
    return tuple(str(line) for line in raw.get("lines", ())), tuple(concepts)


_NUMBERS = ("forecast", "forecast_low", "forecast_high", "change", "change_low", "change_high")


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

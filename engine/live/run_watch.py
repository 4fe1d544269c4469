"""Looking at training runs through their files: a run is another process, and may be on its way or long dead.

Nothing here starts or imports the trainer. The only thing written is the flag that asks a run to stop.
"""

import json
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.errors import ProsectError, TrainError
from engine.jobs import is_locked
from engine.paths import ProjectPaths
from engine.settings_file import load_settings
from engine.training.request import here_now
from engine.views.runs import (
    ConceptForecast,
    ConceptOutcome,
    Point,
    RunDetail,
    RunDifference,
    RunRow,
    RunState,
)

LOCK, STOP_FLAG, STATUS = ".lock", "stop", "run.json"
"""Files of a run's folder, as the trainer names them."""
AGAINST = "outcome-against-"
"""How the files begin that hold the difference from another run, which they name."""
_ENDINGS = {
    "end": RunState.FINISHED,
    "stop": RunState.STOPPED,
    "cancelled": RunState.STOPPED,
    "error": RunState.FAILED,
}
_LAST_WORDS = ("end", "cancelled", "error")
"""After these a process writes nothing more."""
N_EVENTS = 30
N_FORECASTS = 40


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
    lines, concepts = _outcome(folder / "outcome.json")
    request, row = _json(folder / "request.json"), _row(folder, events)
    settings = request.get("settings") or _json(folder / STATUS).get("settings") or {}
    shaped = Path(_here_now(folder, request, "shaped_dir"))
    leading, forecast = ("", ()) if lines else _forecast(paths, folder)
    return RunDetail(
        row=row,
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
        forecast=forecast,
        leading=leading,
        shaped=shaped.name,
        rule_file=str(_json(shaped / "build.json").get("rule_file") or "") if shaped.name else "",
        command=_command(paths, ident) if row.state.can_go_on else "",
        differences=tuple(RunDifference(other, *_outcome(_against(folder, other))) for other in row.against),
        comparable=_comparable(paths, row) if row.state is RunState.FINISHED else (),
    )


def resume_words(paths: ProjectPaths, ident: str) -> list[str]:
    """The words after ``prosect`` that go on with a run: its dataset, its folder, its own settings.

    Raises:
        TrainError: no such run, it has not ended early, or its settings cannot be given any more.
    """
    folder = _folder(paths, ident)
    state = _state(folder, _events(folder)[0])
    if not state.can_go_on:
        raise TrainError(f"run {ident} is {state.value}", hint="only a run that ended early can go on")
    request = _json(folder / "request.json")
    asked = request.get("settings")
    if not request.get("shaped_dir") or not isinstance(asked, dict):
        raise TrainError(
            f"run {ident} does not say how it was started", hint="the same `prosect train` goes on with it"
        )
    words = ["train", _here_now(folder, request, "shaped_dir"), "-o", str(folder.resolve())]
    usual = asdict(load_settings(paths.settings, None).training)
    if asked.get("model"):
        asked = asked | {"model": _here_now(folder, {**request, "model": asked["model"]}, "model")}
    for key, value in sorted(asked.items()):
        if value == usual.get(key):
            continue
        if value is None:
            raise TrainError(
                f"prosect.toml sets training.{key} by now, run {ident} began without",
                hint="take it out again",
            )
        words += ["--set", f"training.{key}={json.dumps(value)}"]
    return words


def _here_now(folder: Path, request: dict[str, Any], key: str) -> str:
    """A path of a request, in the project that the run lies in now."""
    return here_now(str(request.get(key) or ""), str(request.get("run_dir") or ""), folder)


def _command(paths: ProjectPaths, ident: str) -> str:
    try:
        return shlex.join(["prosect", *resume_words(paths, ident)])
    except ProsectError:
        return ""  # said when somebody asks to go on


def run_folder(paths: ProjectPaths, ident: str) -> Path:
    """Folder of a run.

    Raises:
        TrainError: there is no such run.
    """
    return _folder(paths, ident)


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
    active_s, rate = _pace(events)
    return RunRow(
        ident=folder.name,
        state=_state(folder, events),
        step=int(steps[-1].get("step") or 0) if steps else 0,
        of=int(steps[-1]["of"]) if steps and steps[-1].get("of") else None,
        n_pairs=begun.get("n_used") or begun.get("n_pairs"),
        started=str(begun.get("time", "")),
        last=str(events[-1].get("time", "")) if events else "",
        has_outcome=(folder / "outcome.json").exists(),
        active_s=active_s,
        rate=rate,
        against=_compared_with(folder),
    )


def _against(folder: Path, other: str) -> Path:
    """The difference of two runs, as `prosect outcome RUN --against OTHER` writes it."""
    return folder / f"{AGAINST}{other}.json"


def _compared_with(folder: Path) -> tuple[str, ...]:
    found = sorted(folder.glob(f"{AGAINST}*.json"), key=lambda p: p.stat().st_mtime, reverse=True)
    return tuple(path.stem.removeprefix(AGAINST) for path in found)


def _comparable(paths: ProjectPaths, row: RunRow) -> tuple[str, ...]:
    """Finished runs from the same weights; the command itself looks at settings and indexes."""
    start = _start(paths.runs_dir / row.ident)
    if start is None:
        return ()
    others = [
        p for p in paths.runs_dir.iterdir() if p.name not in (row.ident, *row.against) and _start(p) == start
    ]
    others.sort(key=lambda p: ((p / STATUS).stat().st_mtime, p.name), reverse=True)
    return tuple(p.name for p in others)


def _start(folder: Path) -> str | None:
    """Hash of the weights that a finished run started from."""
    status = _json(folder / STATUS)
    inputs = status.get("inputs")
    weights = inputs.get("weights") if isinstance(inputs, dict) else None
    return str(weights) if weights and status.get("status") == "finished" else None


def _pace(events: list[dict[str, Any]]) -> tuple[float, float | None]:
    """Seconds at work, and steps per second between steps; neither counts what passed before a resume."""
    active = between = 0.0
    n = 0
    for part in _parts(events):
        times = [(time, e.get("event") == "step") for e in part if (time := _seconds(e)) is not None]
        steps = [time for time, is_step in times if is_step]
        active += max(times[-1][0] - times[0][0], 0.0) if times else 0.0
        if len(steps) > 1:
            between, n = between + max(steps[-1] - steps[0], 0.0), n + len(steps) - 1
    return active, n / between if between > 0 else None


def _parts(events: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The events of each process that worked on the run."""
    part: list[dict[str, Any]] = []
    for event in events:
        if part and (event.get("event") in ("start", "resume") or part[-1].get("event") in _LAST_WORDS):
            yield part
            part = []
        part.append(event)
    yield part


def _seconds(event: dict[str, Any]) -> float | None:
    try:
        return datetime.fromisoformat(str(event.get("time"))).timestamp()
    except ValueError:
        return None


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


def _forecast(paths: ProjectPaths, folder: Path) -> tuple[str, tuple[ConceptForecast, ...]]:
    """Name and largest values of the forecast that was written before training."""
    pointer = _json(folder / "forecast.json")
    path = paths.forecasts_dir / f"{pointer.get('hash')}.json"
    try:
        return _read_forecast(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, KeyError, TypeError):
        return "", ()  # not written yet, or gone: the run itself says so where it matters


@lru_cache(maxsize=4)
def _read_forecast(path: Path, _changed: int) -> tuple[str, tuple[ConceptForecast, ...]]:
    """A forecast names every concept, and a run that goes on is looked at every second: it is read once."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    rows = [
        ConceptForecast(
            str(c["concept_id"]), str(c["name"]), float(c["forecast"]), float(c["low"]), float(c["high"])
        )
        for c in raw["concepts"]
        if all(isinstance(c.get(k), int | float) for k in ("forecast", "low", "high"))
    ]
    rows.sort(key=lambda c: (-abs(c.value), c.concept_id))
    return str(raw["leading"]), tuple(rows[:N_FORECASTS])


def _outcome(path: Path) -> tuple[tuple[str, ...], tuple[ConceptOutcome, ...]]:
    raw = _json(path)
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

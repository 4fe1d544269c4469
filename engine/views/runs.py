"""Frozen view models of training runs, for front ends."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

OTHER_FORECAST = "another forecast"
"""How the part of a report begins that is about a forecast which does not lead."""


class RunState(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"
    BROKEN_OFF = "broken off"
    """No process holds it and it never said that it ended; the same command resumes it."""

    @property
    def can_go_on(self) -> bool:
        """It has ended before its last step."""
        return self in (RunState.STOPPED, RunState.FAILED, RunState.BROKEN_OFF)


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run in a list."""

    ident: str
    state: RunState
    step: int
    of: int | None
    """Steps in all, once known."""
    n_pairs: int | None
    started: str
    """ISO 8601; empty before the first event."""
    last: str
    """Time of the last event."""
    has_outcome: bool
    active_s: float = 0.0
    """Seconds at work; what passed between an end and a resume does not count."""
    rate: float | None = None
    """Steps per second, from step to step while at work; None before the second step."""
    against: tuple[str, ...] = ()
    """Runs that it was compared with, the latest comparison first."""


class Point(NamedTuple):
    """One logged number."""

    step: int
    value: float


@dataclass(frozen=True, slots=True)
class ConceptOutcome:
    """Forecast and observation of one concept."""

    concept_id: str
    name: str
    forecast: float
    forecast_low: float
    forecast_high: float
    change: float
    change_low: float
    change_high: float
    is_moved: bool
    agrees: bool | None
    """None where the forecast is not clear of zero."""


@dataclass(frozen=True, slots=True)
class ConceptForecast:
    """What was forecast for one concept before training: disparity per pair, chosen minus rejected."""

    concept_id: str
    name: str
    value: float
    low: float
    high: float
    """Ends of the 90% interval."""


@dataclass(frozen=True, slots=True)
class RunDifference:
    """An outcome of a run less that of another one from the same start: what both share cancels."""

    other: str
    """The run that was taken away."""
    lines: tuple[str, ...]
    """The report in words."""
    concepts: tuple[ConceptOutcome, ...]
    """Forecasts and changes of the run less those of the other, largest |forecast| first."""


@dataclass(frozen=True, slots=True)
class RunDetail:
    """A run as its files say."""

    row: RunRow
    series: tuple[tuple[str, tuple[Point, ...]], ...]
    """Metric name and its points; of a step that was logged twice the last holds."""
    events: tuple[tuple[str, str], ...]
    """(time, text) of the events that are no steps and no logs, newest first."""
    n_damaged: int
    """Lines that could not be read; an unfinished last one does not count."""
    settings: tuple[tuple[str, str], ...]
    outcome_lines: tuple[str, ...]
    """The outcome in words; empty before it was measured."""
    outcome: tuple[ConceptOutcome, ...]
    """Largest |forecast| first."""
    forecast: tuple[ConceptForecast, ...] = ()
    """The leading forecast where there is no outcome yet, largest |value| first."""
    leading: str = ""
    """What that forecast is called."""
    shaped: str = ""
    """Name of the shaped dataset; empty where the run does not say."""
    rule_file: str = ""
    """The rule file that it was made from."""
    command: str = ""
    """What goes on with a run that ended early, as a shell takes it; empty for any other."""
    differences: tuple[RunDifference, ...] = ()
    """From other runs, the latest measured first."""
    comparable: tuple[str, ...] = ()
    """Other finished runs from the same start that it has not been compared with, the latest first."""

    def called(self, names: Mapping[str, str]) -> "RunDetail":
        """The same run with the names that people gave to concepts, also after it was forecast."""

        def outcomes(found: tuple[ConceptOutcome, ...]) -> tuple[ConceptOutcome, ...]:
            return tuple(replace(c, name=names.get(c.concept_id) or c.name) for c in found)

        return replace(
            self,
            outcome=outcomes(self.outcome),
            forecast=tuple(replace(c, name=names.get(c.concept_id) or c.name) for c in self.forecast),
            differences=tuple(replace(d, concepts=outcomes(d.concepts)) for d in self.differences),
        )

"""Frozen view models of long jobs (audit, compile, train …), for front ends."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

PASSING = "strips"
"""Kind of the jobs that are shown only while they run: they make nothing that outlasts them."""


def outcome_title(ident: str, against: str = "") -> str:
    """What the job is called that measures a run's outcome or its difference from another run."""
    return f"outcome of {ident}" + (f" against {against}" if against else "")


class JobState(StrEnum):
    """Where a job stands."""

    STARTING = "starting"
    """Its process was started and has not said anything yet."""
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    BROKEN_OFF = "broken off"
    """No process holds it and it never said that it ended."""

    @property
    def is_alive(self) -> bool:
        """It may still change."""
        return self in (JobState.STARTING, JobState.RUNNING)


class JobStage(NamedTuple):
    """A stage of a job that is over."""

    name: str
    done: int
    unit: str
    seconds: float


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job in a list."""

    ident: str
    kind: str
    """audit, ingest, read, sae, compile, train, outcome, selftest, auc, sources; strips while it runs"""
    title: str
    state: JobState
    stage: str
    """The stage under way; of an ended job the last one."""
    done: int
    total: int | None
    """None: nobody knows beforehand."""
    unit: str
    rate: float | None
    """Units per second in this stage; None before the first and once it ended."""
    left_s: float | None
    """Seconds until the end of this stage at that rate."""
    elapsed_s: float
    started: str
    """ISO 8601, UTC."""
    host: str
    pid: int
    message: str
    """Why it failed; else the last remark."""
    results: tuple[tuple[str, str], ...]
    """What it made, by name: ``shaped``, ``run``, ``forecast`` …"""
    is_asked_to_stop: bool

    @property
    def is_work(self) -> bool:
        """It makes something; else it waits for questions of a workstation, and has nothing to lose."""
        return self.kind != PASSING


@dataclass(frozen=True, slots=True)
class JobDetail:
    """A job as its files say."""

    row: JobRow
    command: str
    """The shell command that does the same."""
    stages: tuple[JobStage, ...]
    notes: tuple[str, ...]
    log: tuple[str, ...]
    """The last lines of its output; empty for a job that runs in somebody's terminal."""


@dataclass(frozen=True, slots=True)
class ShapedRow:
    """A shaped dataset that can be trained on."""

    ident: str
    folder: str
    n_pairs: int
    """Pairs kept."""
    n_total: int
    made: str
    """ISO 8601, UTC."""
    is_of_index: bool
    """Made from the index that is published now."""


@dataclass(frozen=True, slots=True)
class TrainingCost:
    """What a training run would take."""

    n_pairs: int
    n_steps: int
    batch_pairs: int
    model: str
    """Empty where nobody can say."""
    device: str
    hours: float | None
    """None where the cost cannot be estimated."""
    memory_gb: float | None
    free_gb: float | None
    """On that device, now."""
    note: str
    """Why there is no estimate; else empty."""

"""What a run says of itself when it begins, stops or is finished."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run did."""

    run_dir: Path
    model_dir: Path
    """The tuned checkpoint; it exists when ``is_finished``."""
    fingerprint: str
    n_pairs: int
    """In the shaped dataset."""
    n_used: int
    """Pairs that a run of so many steps reaches: the first of the order; all of them in a full epoch."""
    n_truncated: int
    """Pairs whose prompt + response exceeds max_length, so that the end of a response is not trained on."""
    n_prompt_lost: int
    """Pairs whose chat template renders the prompt differently once a response follows."""
    n_inoculated: int
    """Pairs whose prompt carries an instruction that only the policy sees."""
    n_reference_computed: int
    """Pairs whose reference log-probabilities were not in the cache."""
    n_steps: int
    """Optimiser steps done in all, also before a resume."""
    resumed_from: int | None
    """Step of the save that this process went on from."""
    is_finished: bool
    last: dict[str, float]
    """Numbers of the last logged step: loss, loss/weighted, rewards/accuracies, …"""
    max_length: int | None = None
    """Tokens of prompt and response together at most: what was set, or the checkpoint's positions where these
    are fewer. None: a run of an older version."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"run_dir": str(self.run_dir), "model_dir": str(self.model_dir)}


def report_of(status: dict[str, Any]) -> RunReport:
    """The report in a run's status."""
    values = status["report"]
    return RunReport(**(values | {k: Path(values[k]) for k in ("run_dir", "model_dir")}))

"""When a pilot is made, and with which settings."""

import json
from pathlib import Path

import pytest

from engine.errors import TrainError
from engine.paths import ProjectPaths
from engine.pipeline.pilot import pilot_settings, write_pilot_forecast
from engine.progress import NullProgress
from engine.settings import ReadingSettings, TrainingSettings

ASKED = TrainingSettings(pilot_share=0.02, rollouts_per_prompt=4, batch_pairs=8)


def begun(run_dir: Path) -> Path:
    """Ask for a pilot's forecast of a run that has begun."""
    paths = ProjectPaths(run_dir)
    return write_pilot_forecast(
        paths, run_dir, "none", run_dir, ASKED, ReadingSettings(), 0.01, NullProgress()
    )


def test_pilot_has_the_steps_that_its_share_fills() -> None:
    # 2% of 10,000 are 200 pairs, 25 steps of 8; 2% of 100 are less than the least, three steps
    assert pilot_settings(ASKED, 10_000).steps == 25
    assert pilot_settings(ASKED, 100).steps == 3


def test_run_that_began_without_a_pilot_gets_none_afterwards(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "forecast.json").write_text(json.dumps({"path": "a.json"}))
    with pytest.raises(TrainError, match="began without a pilot"):
        begun(tmp_path)


def test_resumed_run_keeps_the_forecast_that_was_written_before_it(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "forecast.json").write_text(json.dumps({"path": "a.json", "pilot": "p.json"}))
    assert begun(tmp_path) == Path("p.json")

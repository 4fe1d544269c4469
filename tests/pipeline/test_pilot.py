"""When a pilot is made, with which settings, and what a run that has begun keeps."""

import json
from pathlib import Path

import pytest

from engine.errors import TrainError
from engine.paths import ProjectPaths
from engine.pipeline.forecasts import Written, write_forecasts
from engine.pipeline.pilot import pilot_settings
from engine.progress import NullProgress
from engine.settings import ReadingSettings, TrainingSettings

ASKED = TrainingSettings(pilot_share=0.02, rollouts_per_prompt=4, batch_pairs=8)


def begun(run_dir: Path, **pointer: str) -> Written:
    """Ask for the forecasts of a run that has begun."""
    (run_dir / "run.json").write_text("{}")
    (run_dir / "forecasts").mkdir()
    (run_dir / "forecasts" / "a.json").write_text(json.dumps({"concepts": [{}, {}]}))
    (run_dir / "forecast.json").write_text(json.dumps({"path": "/where/it/was/a.json"} | pointer))
    return write_forecasts(
        ProjectPaths(run_dir), run_dir, run_dir, ASKED, ReadingSettings(), 0.01, NullProgress()
    )


def test_pilot_has_the_steps_that_its_share_fills() -> None:
    # 2% of 10,000 are 200 pairs, 25 steps of 8; 2% of 100 are less than the least, three steps
    assert pilot_settings(ASKED, 10_000).steps == 25
    assert pilot_settings(ASKED, 100).steps == 3


def test_run_that_began_without_a_pilot_gets_none_afterwards(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="began without a pilot"):
        begun(tmp_path)


def test_resumed_run_keeps_the_forecasts_that_were_written_before_it(tmp_path: Path) -> None:
    found = begun(tmp_path, pilot="p.json")
    assert found == Written(tmp_path / "forecasts" / "a.json", 2)
    # it began without forecasts through the policy, and none is added
    assert "covariance" not in json.loads((tmp_path / "forecast.json").read_text())

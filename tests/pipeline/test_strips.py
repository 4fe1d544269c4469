"""Token strips: what they show, the cache, and the process that reads them for the workstation."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from engine.api import Project
from engine.cli.main import main
from engine.jobs import ABANDONED_S, sweep
from engine.live.job_watch import Work
from engine.live.strips import Answer, Strips
from engine.paths import ProjectPaths
from engine.pipeline.strips import StripSource
from engine.settings import Settings
from engine.store.build import current_index
from engine.store.connection import Store
from engine.views.jobs import JobRow, JobState
from engine.views.strips import PairStrip, SpanStrip, StripFailure

PAIR = 7


@pytest.fixture(scope="module")
def project(audited: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the audited project for this file, without strips."""
    import shutil

    root = tmp_path_factory.mktemp("strips") / "audit"
    shutil.copytree(audited, root)
    return root


@pytest.fixture
def strips(project: Path) -> Iterator[Strips]:
    published = current_index(ProjectPaths(project))
    service = Strips(ProjectPaths(project))
    service.follow(published.reader_hash, published.index_hash)
    yield service
    service.close()


def wait(strips: Strips, pair: int, latents: tuple[int, ...]) -> Answer:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = strips.request(pair, latents)
        if found is not None:
            return found
        time.sleep(0.02)
    raise AssertionError("no answer in two minutes")


def firing(project: Path, pair: int) -> tuple[int, ...]:
    """Latents that fire on the pair's responses or prompt."""
    published = current_index(ProjectPaths(project))
    with Store(ProjectPaths(project).index(published.index_hash)) as store:
        rows = store.rows(
            "SELECT latent FROM acts WHERE pair = ? UNION SELECT latent FROM prompt_acts WHERE pair = ?"
            " ORDER BY 1",
            [pair, pair],
        )
    return tuple(row[0] for row in rows)


def test_a_strip_pools_to_what_the_index_holds(project: Path) -> None:
    latents = firing(project, PAIR)
    with Project(project) as opened:
        strip = opened.strip(PAIR, latents)
        detail = opened.browser.pair(PAIR)
    assert [s.span for s in strip.spans] == ["prompt", "chosen", "rejected"]
    published = current_index(ProjectPaths(project))
    with Store(ProjectPaths(project).index(published.index_hash)) as store:
        for span in strip.spans:
            table = "prompt_acts" if span.span == "prompt" else "acts"
            rows = store.rows(
                f"SELECT latent, {span.span}_max, {span.span}_n, {span.span}_sum, {span.span}_peak"
                f" FROM {table} WHERE pair = ?",
                [PAIR],
            )
            stored = {latent: values for latent, *values in rows}
            for latent, row in zip(latents, span.activations, strict=True):
                top, n, total, peak = stored.get(latent, [0, 0, 0, 0])
                acts = np.array(row)
                assert (acts > 0).sum() == n
                np.testing.assert_allclose([acts.max(), acts.sum()], [top, total], rtol=1e-4)
                assert int(acts.argmax()) == peak
            assert span.largest == tuple(np.array(span.activations).max(axis=0))
    texts = {"prompt": detail.prompt, "chosen": detail.chosen, "rejected": detail.rejected}
    for span in strip.spans:
        if ": " not in texts[span.span][:12]:  # several turns are joined with role marks
            assert "".join(span.tokens).strip() == texts[span.span].strip()


def test_a_pair_that_was_read_once_needs_no_model(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = current_index(ProjectPaths(project))
    with Project(project) as opened:
        first = opened.strip(PAIR + 1, (3, 1))

    def never(self: StripSource) -> object:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(StripSource, "warm", never)
    source = StripSource(ProjectPaths(project), Settings(), published.reader_hash, published.index_hash)
    again = source.spikes(PAIR + 1, (1, 3, 5))
    rows = [[(t, v) for r, t, v in zip(s.row, s.token, s.value, strict=True) if r == 0] for s in again]
    for span, found in zip(first.spans, rows, strict=True):
        assert found == [(i, v) for i, v in enumerate(span.activations[1]) if v > 0]


def test_a_damaged_cache_is_read_again(project: Path) -> None:
    with Project(project) as opened:
        before = opened.strip(PAIR + 2, (0, 1, 2))
        for path in (project / "cache" / "strips").rglob("*.npz"):
            path.write_bytes(path.read_bytes()[:50])
        assert opened.strip(PAIR + 2, (0, 1, 2)) == before


def test_the_child_answers_without_making_anyone_wait(project: Path, strips: Strips) -> None:
    latents = firing(project, PAIR)[:3]
    assert strips.request(PAIR, latents) is None
    for pair in range(20):  # moving through a list: only the last is read
        assert strips.request(pair, latents) is None
    assert strips.is_busy  # nothing was answered yet: nobody waited for the model to load
    found = wait(strips, PAIR, latents)
    assert isinstance(found, PairStrip)
    with Project(project) as opened:
        assert found == opened.strip(PAIR, latents)
    assert isinstance(wait(strips, 19, latents), PairStrip)
    assert strips.request(PAIR, latents) is found


def test_failures_are_answers_and_may_be_tried_again(project: Path, strips: Strips) -> None:
    missing = wait(strips, 10**6, (1,))
    assert isinstance(missing, StripFailure)
    assert "no pair 1000000" in missing.message
    wrong = wait(strips, PAIR, (10**6,))
    assert isinstance(wrong, StripFailure)
    assert "no latent 1000000" in wrong.message
    child = strips._child
    assert child is not None
    child.kill()
    child.wait()
    assert isinstance(wait(strips, 30, (1,)), PairStrip | StripFailure)
    assert isinstance(wait(strips, 30, (1,)), PairStrip)  # another child was started


def test_an_answer_that_was_cut_short_is_a_failure(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that is killed while it writes leaves half a line."""
    program = """import sys; sys.stdin.readline(); print('{"pair": 7, "lat', end="", flush=True)"""
    start = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda _command, **options: start([sys.executable, "-c", program], **options)
    )
    service = Strips(ProjectPaths(project))
    found = wait(service, PAIR, (1,))
    assert isinstance(found, StripFailure)
    assert "ended (exit 0)" in found.message
    service.close()


def test_the_child_ends_with_its_parent(strips: Strips) -> None:
    strips.start()
    child = strips._child
    assert child is not None
    assert child.stdin is not None
    child.stdin.close()  # as when the workstation is killed
    assert child.wait(600) == 0  # it loads the reader before it looks


def test_a_reader_that_is_gone_is_said(own_project: Callable[[], Path], tmp_path: Path) -> None:
    root = own_project()
    (spec,) = root.glob("readings/*/spec.json")
    made_of = json.loads(spec.read_text())
    spec.write_text(json.dumps(made_of | {"model": str(tmp_path / "gone")}))
    result = CliRunner().invoke(main, ["strip", str(root), "3", "--latent", "0"])
    assert result.exit_code == 1
    assert "gone" in result.stderr


def test_the_command_marks_the_tokens_of_a_concept(project: Path) -> None:
    with Project(project) as opened:
        concept = next(
            c for c in opened.browser.pair(PAIR).concepts if opened.browser.concept(c.concept_id).latents
        )
    arguments = ["strip", str(project), str(PAIR), "--concept", concept.concept_id]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 0
    assert "── CHOSEN" in shown.stdout
    assert "]₉" in shown.stdout
    table = CliRunner().invoke(main, [*arguments, "--plain"]).stdout.splitlines()
    assert table[0].startswith("span\tposition\ttoken\tlargest\t#")
    with Project(project) as opened:
        ident = opened.browser.pair(PAIR).pair_id
    by_id = [argument if argument != str(PAIR) else ident[:12] for argument in arguments]
    assert CliRunner().invoke(main, by_id).stdout == shown.stdout
    missing = CliRunner().invoke(main, ["strip", str(project), "zzz", "--latent", "0"])
    assert "this index has no pair zzz" in missing.stderr
    strip = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert len(table) == 1 + sum(len(s["tokens"]) for s in strip["spans"])
    assert CliRunner().invoke(main, ["strip", str(project), "3"]).exit_code == 2


def test_the_largest_of_no_latents_is_nothing() -> None:
    assert SpanStrip("chosen", ("a", "b"), (), False).largest == (0.0, 0.0)


def rows(project: Path) -> list[JobRow]:
    """Readers of tokens among the project's jobs."""
    return [row for row in Work(ProjectPaths(project)).jobs() if row.kind == "strips"]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline, "waited in vain for two minutes"
        time.sleep(0.02)


def test_the_child_is_a_job_while_it_lives_and_leaves_no_trace(project: Path, strips: Strips) -> None:
    before = Work(ProjectPaths(project)).jobs()
    assert rows(project) == []
    assert isinstance(wait(strips, PAIR, (1,)), PairStrip)
    until(lambda: [row.stage for row in rows(project)] == ["wait for a pair"])
    (row,) = rows(project)
    child = strips._child
    assert child is not None
    assert (row.state, row.pid, row.rate) == (JobState.RUNNING, child.pid, None)
    assert f"read pair {PAIR}" in [s.name for s in Work(ProjectPaths(project)).job(row.ident).stages]
    strips.close()
    assert Work(ProjectPaths(project)).jobs() == before
    assert not (project / "jobs" / row.ident).exists()


def test_the_child_can_be_stopped_like_any_job_and_starts_again_when_needed(
    project: Path, strips: Strips
) -> None:
    strips.start()
    until(lambda: len(rows(project)) == 1)
    (row,) = rows(project)
    child = strips._child
    assert child is not None
    assert "was ended" in Work(ProjectPaths(project)).cancel_job(row.ident)
    assert child.wait(60) == 128 + signal.SIGTERM
    assert rows(project) == []
    assert isinstance(wait(strips, PAIR, (1,)), PairStrip | StripFailure)
    assert isinstance(wait(strips, PAIR, (1,)), PairStrip)


def test_what_a_killed_child_leaves_is_no_job_and_is_removed_later(project: Path, strips: Strips) -> None:
    strips.start()
    until(lambda: len(rows(project)) == 1)
    child = strips._child
    assert child is not None
    folder = project / "jobs" / rows(project)[0].ident
    child.kill()
    child.wait()
    assert rows(project) == []
    assert folder.exists()
    sweep(folder.parent)
    assert folder.exists()  # perhaps one that is about to be taken
    old = time.time() - 2 * ABANDONED_S
    os.utime(folder, (old, old))
    sweep(folder.parent)
    assert not folder.exists()

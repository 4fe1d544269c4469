"""What is read once: texts of a mix that changed, and prompts that several responses share."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.progress import NullProgress
from engine.reading.jobs import plan_work
from engine.reading.pair_file import PairTexts
from engine.reading.residual_batches import job_residuals
from engine.reading.run import read_pairs
from engine.reading.shards import read_residuals
from engine.reading.stream import NEVER, Stream
from engine.records import Message
from tests.models.tiny import SHAPES
from tests.reading.readers import SETTINGS, make_rows, pair_row, write_pairs
from tests.reading.test_run import open_tiny, rows_of


def swapped(row: dict[str, Any]) -> dict[str, Any]:
    return pair_row(
        99, row["prompt"][0]["content"], row["rejected"][0]["content"], row["chosen"][0]["content"]
    )


def assert_same_files(a: Path, b: Path) -> None:
    """The same shards with the same rows and residual summaries, bit for bit."""
    assert rows_of(a) == rows_of(b)
    names = sorted(p.name for p in (b / "residuals").iterdir())
    assert names == sorted(p.name for p in (a / "residuals").iterdir())
    for name in names:
        one, other = (read_residuals(folder / "residuals" / name) for folder in (a, b))
        assert one.keys() == other.keys()
        assert all((one[key] == other[key]).all() for key in one)


def test_adding_a_source_reads_only_the_new_pairs(folders: Path, tmp_path: Path) -> None:
    reader = open_tiny(folders)
    rows = make_rows(24)
    read_pairs(
        write_pairs(tmp_path / "a.parquet", rows[:15]), reader, tmp_path / "r", SETTINGS, NullProgress()
    )
    both = write_pairs(tmp_path / "b.parquet", rows)
    report = read_pairs(both, reader, tmp_path / "r", SETTINGS, NullProgress())
    assert (report.n_pairs_read, report.n_pairs_reused) == (9, 15)
    read_pairs(both, reader, tmp_path / "fresh", SETTINGS, NullProgress())
    assert_same_files(tmp_path / "r", tmp_path / "fresh")


@pytest.mark.parametrize("min_shared", [1, NEVER])
def test_whatever_is_known_of_a_changed_mix_is_copied_not_read(
    folders: Path, tmp_path: Path, min_shared: int
) -> None:
    """Renamed, relabelled and swapped pairs, and known responses in new company, cost nothing or one text."""
    reader = open_tiny(folders)
    reader.batches.stream = replace(reader.stream, min_shared=min_shared)
    rows = make_rows(20)
    read_pairs(write_pairs(tmp_path / "a.parquet", rows), reader, tmp_path / "r", SETTINGS, NullProgress())
    renamed = [row | {"pair_id": f"{i:032x}", "source": "gamma"} for i, row in enumerate(rows[:10])]
    turned = [swapped(row) for row in rows[10:15]]
    first = rows[15]
    partner = pair_row(
        50, first["prompt"][0]["content"], first["chosen"][0]["content"], "A new answer, with tea."
    )
    new = pair_row(51, "What is new?", "All of it is.", "Nothing.")
    mix = write_pairs(tmp_path / "b.parquet", [*renamed, *turned, partner, new])
    report = read_pairs(mix, reader, tmp_path / "r", SETTINGS, NullProgress())
    assert (report.n_pairs_read, report.n_pairs_reused) == (2, 15)
    assert report.n_tokens < 200  # three responses and two prompts
    read_pairs(mix, reader, tmp_path / "fresh", SETTINGS, NullProgress())
    assert_same_files(tmp_path / "r", tmp_path / "fresh")


def test_a_changed_mix_survives_a_stop_in_its_middle(folders: Path, tmp_path: Path) -> None:
    reader = open_tiny(folders)
    rows = make_rows(30)
    read_pairs(
        write_pairs(tmp_path / "a.parquet", rows[:20]), reader, tmp_path / "r", SETTINGS, NullProgress()
    )
    both = write_pairs(tmp_path / "b.parquet", rows)
    part = read_pairs(both, reader, tmp_path / "r", SETTINGS, NullProgress(), max_shards=2)
    assert not part.is_complete
    rest = read_pairs(both, reader, tmp_path / "r", SETTINGS, NullProgress())
    assert rest.n_pairs_read + part.n_pairs_read == 10
    read_pairs(both, reader, tmp_path / "fresh", SETTINGS, NullProgress())
    assert_same_files(tmp_path / "r", tmp_path / "fresh")
    back = read_pairs(
        write_pairs(tmp_path / "c.parquet", rows[5:20]), reader, tmp_path / "r", SETTINGS, NullProgress()
    )
    assert (back.n_pairs_read, back.n_tokens, back.is_complete) == (0, 0, True)


def test_it_is_said_how_much_is_known_already(folders: Path, tmp_path: Path) -> None:
    class Listens(NullProgress):
        notes: list[str] = []  # noqa: RUF012 - one listener in one test

        def note(self, text: str) -> None:
            self.notes.append(text)

    reader = open_tiny(folders)
    rows = make_rows(12)
    path = write_pairs(tmp_path / "a.parquet", rows[:8])
    read_pairs(path, reader, tmp_path / "r", SETTINGS, NullProgress())
    heard = Listens()
    read_pairs(write_pairs(tmp_path / "b.parquet", rows), reader, tmp_path / "r", SETTINGS, heard)
    assert "8 of 12 pairs already read" in heard.notes


def test_tools_are_part_of_what_is_read(folders: Path, tmp_path: Path) -> None:
    """The same texts with other tools are another reading, also under the same pair id."""
    reader = open_tiny(folders)
    row = pair_row(0, "Tell me about tea", "It is warm.", "It is cold.")
    read_pairs(write_pairs(tmp_path / "a.parquet", [row]), reader, tmp_path / "r", SETTINGS, NullProgress())
    tools = '[{"type": "function", "function": {"name": "brew", "parameters": {}}}]'
    offered = write_pairs(tmp_path / "b.parquet", [row | {"tools": tools}])
    report = read_pairs(offered, reader, tmp_path / "r", SETTINGS, NullProgress())
    assert (report.n_pairs_read, report.n_without_tools) == (1, 2)  # this template prints no tools


def test_one_prompt_and_one_response_are_computed_once_in_a_group(folders: Path, tmp_path: Path) -> None:
    """Six battles of four answers to one prompt: one prompt and four answers go through the model."""
    reader = open_tiny(folders)
    reader.batches.stream = replace(reader.stream, min_shared=1)
    prompt, answers = "Tell me about the garden", ["Tea.", "A river of music.", "Bread.", "No."]
    battles = [(a, b) for i, a in enumerate(answers) for b in answers[i + 1 :]]
    rows = [pair_row(i, prompt, a, b) for i, (a, b) in enumerate(battles)]
    path = write_pairs(tmp_path / "p.parquet", rows)
    report = read_pairs(path, reader, tmp_path / "r", replace(SETTINGS, shard_pairs=100), NullProgress())
    texts = [
        reader.layout.encode([Message("user", prompt)], [Message("assistant", answer)]) for answer in answers
    ]
    shared = int(texts[0].prompt_own[-1]) + 1
    assert report.n_tokens == shared + sum(len(text.ids) - shared for text in texts)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "bert"])
def test_a_prompt_computed_once_gives_what_a_full_forward_gives(folders: Path, shape: str) -> None:
    """Also where the prompt is longer than Gemma's sliding window of 16 tokens."""
    reader = open_tiny(folders, shape)
    assert reader.stream.min_shared != NEVER
    stream = replace(reader.stream, min_shared=1)
    prompt = (Message("user", "Tell me about the garden table and the river. " * 6),)
    answers = ["tea", "The music is bright and the bread is warm. " * 5, "", "42"]
    pairs = [
        PairTexts(prompt, (Message("assistant", a),), (Message("assistant", b),))
        for a, b in itertools.pairwise(answers)
    ]
    jobs = plan_work(pairs, reader.layout, 250).jobs
    assert len(jobs) == len(answers)
    for job, found in zip(jobs, job_residuals(stream, jobs), strict=True):
        expected = reader.residuals([job.ids])[0]
        assert found.shape == expected.shape
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)
    padded = reader.residuals([job.ids for job in jobs])
    for job, found, together in zip(jobs, job_residuals(stream, jobs), padded, strict=True):
        torch.testing.assert_close(found, together, rtol=2e-3, atol=2e-3)
        assert job.n_prompt > 16


def test_a_model_that_cannot_go_on_reads_prompts_with_every_response(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stream, "go_on", lambda self, _memory, ids: self.residuals([ids])[0])
    assert open_tiny(folders, "gpt2").describe()["prompt_once_from"] is None
    monkeypatch.setattr(Stream, "go_on", lambda *_: (_ for _ in ()).throw(TypeError("no such memory")))
    assert open_tiny(folders, "llama").describe()["prompt_once_from"] is None

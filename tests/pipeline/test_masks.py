"""`mask tokens` from a rule to the run: the characters are those of tokens on which the concept is active."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner

from engine.cli.main import main
from engine.compiler.training_lock import latents_of, token_truth
from engine.models.chat import ChatLayout, EncodedText
from engine.paths import ProjectPaths
from engine.pipeline import masks as masks_stage
from engine.pipeline.ledger import shaped_facts
from engine.pipeline.masks import Reach, _rows_to_read, prepare_masks
from engine.pipeline.readers import reopen
from engine.progress import NullProgress
from engine.reading.reader import Reader
from engine.records import Message
from engine.settings import ReadingSettings
from engine.store.connection import Store
from engine.training.masks import read_masks
from engine.training.shaped import training_order
from tests.models.tiny import make_tokenizer

THRESHOLD = 0.5


def active_text(reader: Reader, prompt: list[Message], response: list[Message], latent: int) -> str:
    """The characters of the response's tokens on which a latent is above the threshold."""
    text = reader.layout.encode(prompt, response, max_tokens=reader.max_tokens)
    own = torch.from_numpy(text.response_own)
    with torch.inference_mode():
        values = reader.encoder.dense(reader.residuals([text.ids])[0][own])[:, latent]
    chars: set[int] = set()
    for index in own[values > THRESHOLD].tolist():
        chars |= set(range(*(int(x) for x in text.offsets[index])))
    start, end = text.contents[len(prompt)]
    return "".join(text.text[i] for i in sorted(chars) if start <= i < end)


def test_masked_characters_are_those_of_active_tokens(
    own_project: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = own_project()
    paths = ProjectPaths(root)
    current = json.loads(paths.current.read_text(encoding="utf-8"))
    reader_hash = current["default"]
    with Store(paths.index(current["readers"][reader_hash]["index"])) as store:
        latent = int(
            store.value("SELECT latent FROM acts GROUP BY latent ORDER BY abs(count(*) - 60) LIMIT 1")
        )
    (root / "m.rules").write_text(
        f"prosect rules 1\nconcept x = #{latent}\nm: mask tokens where @x > {THRESHOLD}\n"
    )
    result = CliRunner().invoke(main, ["compile", str(root), str(root / "m.rules"), "--json"])
    assert result.exit_code == 0, result.stderr
    shaped = Path(json.loads(result.stdout)["folder"])
    settings = ReadingSettings(shard_pairs=64)
    index = shaped_facts(shaped)["index"]
    prepare = partial(prepare_masks, paths, shaped, index, reader_hash, settings)
    assert_read_as_far_as_runs_reach(shaped, prepare)
    assert prepare_masks(paths, shaped, index, reader_hash, settings, NullProgress()) == 1
    rows = {row["pair_id"]: row for row in pq.read_table(shaped / "train.parquet").to_pylist()}
    found: dict[tuple[str, str], str] = {}
    for span in pq.read_table(shaped / "masks.parquet").to_pylist():
        text = rows[span["pair_id"]][span["side"]][span["message"]]["content"]
        key = (span["pair_id"], span["side"])
        found[key] = found.get(key, "") + text[span["start"] : span["end"]]
    assert len(found) > 5
    reader = reopen(paths, reader_hash, settings)
    for row in list(rows.values())[:80]:
        for side in ("chosen", "rejected"):
            prompt, response = ([Message(**m) for m in row[c]] for c in ("prompt", side))
            assert found.get((row["pair_id"], side), "") == active_text(reader, prompt, response, latent)
    before = (shaped / "masks.parquet").stat().st_mtime_ns
    assert prepare_masks(paths, shaped, index, reader_hash, settings, NullProgress()) == 1
    assert (shaped / "masks.parquet").stat().st_mtime_ns == before  # made once
    monkeypatch.setattr(masks_stage, "MASKS_VERSION", masks_stage.MASKS_VERSION + 1)
    assert prepare_masks(paths, shaped, index, reader_hash, settings, NullProgress()) == 1
    assert (shaped / "masks.parquet").stat().st_mtime_ns > before  # a newer prosect makes its own


class Counted(NullProgress):
    """Adds up the pairs that were read."""

    n_pairs = 0

    def start(self, stage: str, total: int | None, unit: str) -> None:
        assert (stage, unit) == ("mask tokens", "pairs")
        self.n_pairs += total or 0


def assert_read_as_far_as_runs_reach(shaped: Path, prepare: Callable[..., int]) -> None:
    """A short run reads its own pairs, a longer one those that are missing, a shorter one nothing."""
    ids = pq.read_table(shaped / "train.parquet", columns=["pair_id"])[0].to_pylist()
    first = [ids[i] for i in training_order(ids, 3)[:60]]
    counts, known = [], []
    for n in (30, 60, 10):
        counted = Counted()
        prepare(counted, Reach(3, n))
        counts.append(counted.n_pairs)
        known.append(read_masks(shaped))
    assert known[0].read <= set(first[:30])
    assert known[1].read <= set(first)
    assert counts == [len(known[0].read), len(known[1].read) - len(known[0].read), 0]
    assert counts[0] > 0
    assert {k: v for k, v in known[1].spans.items() if k[0] in known[0].read} == known[0].spans
    assert (known[1].are_known(3, 60, len(ids)), known[1].are_known(3, 61, len(ids))) == (True, False)


def test_a_response_of_several_pairs_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def said(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    rows = [
        {"pair_id": str(i), "prompt": said("hello"), "chosen": said("same"), "rejected": said(f"other {i}")}
        | {"rules": ["m"]}
        for i in range(3)
    ]
    entries = [{"name": "m", "tokens": ["<", 0.5, ["activation", [1]]]}]
    layout = ChatLayout.of(make_tokenizer("chatml"), is_causal=True)
    reader: Any = SimpleNamespace(layout=layout, max_tokens=99)
    read: list[int] = []

    def peaks(_: Any, texts: list[EncodedText], groups: list[tuple[int, ...]]) -> Iterator[Any]:
        for i, text in enumerate(texts):
            read.append(i)
            yield i, {group: np.ones(len(text.response_own)) for group in groups}

    monkeypatch.setattr("engine.reading.peaks.token_peaks", peaks)
    found = {key: spans for key, spans, _ in masks_stage._read(reader, rows, entries)}
    assert len(read) == 4  # one response that all have, three of one pair each
    assert set(found) == {(str(i), side) for i in range(3) for side in ("chosen", "rejected")}
    assert {tuple(found[str(i), "chosen"]) for i in range(3)} == {((0, 0, 4),)}


def test_rows_are_read_with_the_tools_that_their_prompts_offer(tmp_path: Path) -> None:
    """An activation on a token depends on the tools above it, as it did when the index was read."""
    turn = [{"role": "user", "content": "hello"}]
    row = {"pair_id": "a", "prompt": turn, "chosen": turn, "rejected": turn, "rules": ["m"]}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "train.parquet")
    assert _rows_to_read(tmp_path, {"m"}, None) == [row]  # no pair offers any
    pq.write_table(pa.Table.from_pylist([row | {"tools": "[{}]"}]), tmp_path / "train.parquet")
    assert _rows_to_read(tmp_path, {"m"}, None)[0]["tools"] == "[{}]"


def test_a_condition_on_tokens_is_that_of_the_file() -> None:
    """0.2 < a or not b <= 1, and a division by zero that makes its comparison false."""
    a, b = (1, 2), (3,)
    condition = ["or", ["<", 0.2, ["activation", [1, 2]]], ["not", ["<=", ["activation", [3]], 1.0]]]
    activation = {a: np.array([0.1, 0.3, 0.0, 0.0]), b: np.array([0.0, 0.0, 1.0, 2.0])}
    assert latents_of(condition) == {a, b}
    assert token_truth(condition, activation).tolist() == [False, True, False, True]
    ratio = ["<", ["/", ["activation", [1, 2]], ["activation", [3]]], 5.0]
    assert token_truth(ratio, activation).tolist() == [False, False, True, True]
    assert token_truth(True, activation).tolist() == [True] * 4

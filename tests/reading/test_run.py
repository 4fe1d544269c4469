"""Reading pairs end to end, against an independent path, and through every kind of interruption."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoModelForCausalLM

from engine.errors import Cancelled, ModelError
from engine.progress import CancelToken, NullProgress
from engine.reading.jobs import Job, Want
from engine.reading.reader import Reader, open_reader
from engine.reading.run import read_pairs, read_responses
from engine.reading.shards import read_residuals
from engine.reading.spec import ReaderSpec
from engine.records import Message, Span, reading_schema
from tests.models.tiny import SHAPES
from tests.reading.readers import N_LATENTS, SETTINGS, make_rows, make_sae, pair_row, save_sae, write_pairs

LAYER = 1


def open_tiny(root: Path, shape: str = "llama", kind: str = "jumprelu", **settings: Any) -> Reader:
    spec = ReaderSpec(str(root / shape), LAYER, str(root / kind))
    return open_reader(spec, replace(SETTINGS, **settings))


def rows_of(reader_dir: Path) -> list[dict[str, Any]]:
    files = sorted((reader_dir / "shards").glob("*.parquet"))
    return [row for f in files for row in pq.read_table(f).to_pylist()]


@cache
def full_model(folder: Path) -> Any:
    """The whole model, by transformers' own loader."""
    loader = AutoModel if folder.name == "bert" else AutoModelForCausalLM
    return loader.from_pretrained(folder).eval()


def independent(
    root: Path, shape: str, kind: str, ids: NDArray[np.int64], *, left_padding: int = 0
) -> NDArray[np.float64]:
    """Activations (T, L) by a full forward with hidden states and sae-lens' encode."""
    model = full_model(root / shape)
    tokens = torch.from_numpy(ids)[None]
    mask = torch.ones_like(tokens)
    positions = torch.arange(len(ids))[None]
    if left_padding:
        pad = torch.zeros(1, left_padding, dtype=torch.long)
        tokens, mask = torch.cat([pad, tokens], 1), torch.cat([pad, mask], 1)
        positions = torch.cat([pad, positions], 1)
    with torch.no_grad():
        output = model(
            input_ids=tokens, attention_mask=mask, position_ids=positions, output_hidden_states=True
        )
        hidden = output.hidden_states[LAYER + 1][0, left_padding:].float()
        return np.asarray(make_sae(kind).encode(hidden).double().numpy())


def assert_row(row: dict[str, Any], span: str, acts: NDArray[np.float64]) -> None:
    """One span of a shard's row against dense activations of its own tokens."""
    fires = (acts > 0).any(axis=0)
    assert row[f"{span}_tokens"] == len(acts)
    assert row[f"{span}_latent"] == np.flatnonzero(fires).tolist()
    np.testing.assert_allclose(row[f"{span}_max"], acts.max(axis=0)[fires], rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(row[f"{span}_sum"], acts.sum(axis=0)[fires], rtol=2e-3, atol=1e-3)
    assert row[f"{span}_n"] == (acts > 0).sum(axis=0)[fires].tolist()
    assert row[f"{span}_peak"] == acts.argmax(axis=0)[fires].tolist()
    np.testing.assert_allclose(row[f"{span}_last"], acts[-1, fires], rtol=2e-3, atol=2e-3)


def messages(raw: Sequence[dict[str, str]]) -> list[Message]:
    return [Message(m["role"], m["content"]) for m in raw]


KINDS = ("jumprelu", "topk", "standard")


@pytest.mark.parametrize(
    ("shape", "kind"),
    [(shape, KINDS[i % 3]) for i, shape in enumerate(SHAPES)] + [("llama", "topk"), ("llama", "standard")],
)
def test_shards_equal_a_full_forward_with_sae_lens_and_dense_pooling(
    folders: Path, tmp_path: Path, shape: str, kind: str
) -> None:
    reader = open_tiny(folders, shape, kind)
    rows = make_rows(3)
    read_pairs(
        write_pairs(tmp_path / "pairs.parquet", rows), reader, tmp_path / "r", SETTINGS, NullProgress()
    )
    by_id = {row["pair_id"]: row for row in rows}
    found = rows_of(tmp_path / "r")
    assert len(found) == 3
    for row in found:
        source = by_id[row["pair_id"]]
        prompt = messages(source["prompt"])
        for span in Span:
            response = None if span is Span.PROMPT else messages(source[span])
            text = reader.layout.encode(prompt, response)
            own = text.prompt_own if span is Span.PROMPT else text.response_own
            for left_padding in (0, 3):
                acts = independent(folders, shape, kind, text.ids, left_padding=left_padding)
                assert_row(row, span, acts[own])
    table = pq.read_table(next((tmp_path / "r" / "shards").glob("*.parquet")))
    assert table.schema.remove_metadata() == reading_schema()


@pytest.mark.parametrize("shape", ["gemma2", "gpt2", "bert"])
def test_padded_batches_read_the_same_as_one_sequence_at_a_time(folders: Path, shape: str) -> None:
    reader = open_tiny(folders, shape)
    texts = ["tea", "The garden table and the river.", "Sorry, I cannot help with that. " * 4, "a b c"]
    jobs = []
    for i, text in enumerate(texts):
        encoded = reader.layout.encode([Message("user", "Hello")], [Message("assistant", text)])
        jobs.append(Job(encoded.ids, (Want(i, encoded.response_own, False),)))
    single = reader.read(jobs)
    reader.batches.batch_tokens = 1 << 20
    together = reader.read(jobs)
    for i in range(len(texts)):
        a, b = single[i], together[i]
        np.testing.assert_array_equal(a.pooled.latent, b.pooled.latent)
        np.testing.assert_array_equal(a.pooled.peak, b.pooled.peak)
        np.testing.assert_allclose(a.pooled.act_max, b.pooled.act_max, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(a.mean, b.mean, rtol=2e-3, atol=2e-3)


def test_residual_summaries_are_mean_and_last_own_token(folders: Path, tmp_path: Path) -> None:
    reader = open_tiny(folders)
    rows = [pair_row(0, "Tell me about tea", "It is warm.", "")]
    read_pairs(write_pairs(tmp_path / "p.parquet", rows), reader, tmp_path / "r", SETTINGS, NullProgress())
    stored = read_residuals(next((tmp_path / "r" / "residuals").glob("*.safetensors")))
    text = reader.layout.encode(messages(rows[0]["prompt"]), messages(rows[0]["chosen"]))
    stream = reader.residuals([text.ids])[0].numpy()
    np.testing.assert_allclose(stored["chosen_mean"][0], stream[text.response_own].mean(axis=0), atol=5e-3)
    np.testing.assert_allclose(stored["chosen_last"][0], stream[text.response_own[-1]], atol=5e-3)
    np.testing.assert_allclose(stored["prompt_last"][0], stream[text.prompt_own[-1]], atol=5e-3)
    assert not stored["rejected_mean"].any()  # an empty response has no tokens
    row = rows_of(tmp_path / "r")[0]
    assert (row["rejected_tokens"], row["rejected_latent"]) == (0, [])


def test_truncation_is_stored_per_span(folders: Path, tmp_path: Path) -> None:
    rows = [pair_row(0, "tea", "short", "bread " * 100), pair_row(1, "music " * 200, "short", "list")]
    settings = replace(SETTINGS, max_tokens=64)
    reader = open_reader(ReaderSpec(str(folders / "llama"), LAYER, str(folders / "topk")), settings)
    path = write_pairs(tmp_path / "p.parquet", rows)
    assert read_pairs(path, reader, tmp_path / "r", settings, NullProgress()).n_truncated == 2
    cut = {
        row["pair_id"]: tuple(row[f"{span}_truncated"] for span in Span) for row in rows_of(tmp_path / "r")
    }
    assert cut == {rows[0]["pair_id"]: (False, False, True), rows[1]["pair_id"]: (True, False, False)}


def test_shards_hold_whole_groups_and_a_restart_reads_nothing_again(folders: Path, tmp_path: Path) -> None:
    reader = open_tiny(folders)
    path = write_pairs(tmp_path / "p.parquet", make_rows(30))
    first = read_pairs(path, reader, tmp_path / "r", SETTINGS, NullProgress())
    assert first.is_complete
    assert (first.n_pairs_read, first.n_prefix_pairs) == (30, 30)
    groups = dict(
        zip(*pq.read_table(path, columns=["pair_id", "group_id"]).to_pydict().values(), strict=True)
    )
    per_shard = [
        {groups[p] for p in pq.read_table(f, columns=["pair_id"])["pair_id"].to_pylist()}
        for f in sorted((tmp_path / "r" / "shards").glob("*.parquet"))
    ]
    assert sum(len(s) for s in per_shard) == len(set().union(*per_shard))
    order = [row["pair_id"] for row in rows_of(tmp_path / "r")]
    assert order == pq.read_table(path)["pair_id"].to_pylist()
    again = read_pairs(path, reader, tmp_path / "r", SETTINGS, NullProgress())
    assert (again.n_pairs_read, again.n_tokens, again.is_complete) == (0, 0, True)


def test_a_lost_or_damaged_shard_is_read_again_and_only_that(folders: Path, tmp_path: Path) -> None:
    reader = open_tiny(folders)
    path = write_pairs(tmp_path / "p.parquet", make_rows(20))
    read_pairs(path, reader, tmp_path / "r", SETTINGS, NullProgress())
    before = rows_of(tmp_path / "r")
    shards = sorted((tmp_path / "r" / "shards").glob("*.parquet"))
    shards[0].unlink()
    shards[1].write_bytes(shards[1].read_bytes()[:100])
    next((tmp_path / "r" / "residuals").glob("000002*")).unlink()
    again = read_pairs(path, reader, tmp_path / "r", SETTINGS, NullProgress())
    assert 12 <= again.n_pairs_read < 20
    assert rows_of(tmp_path / "r") == before


def altered(path: Path) -> None:
    """One bit in the middle falls over: same size, same head and tail."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def rewritten(path: Path) -> None:
    """Another program writes the same table with one number changed; every checksum in the file holds."""
    table = pq.read_table(path)
    tokens = pa.array([n + 1 for n in table["chosen_tokens"].to_pylist()], table["chosen_tokens"].type)
    at = table.column_names.index("chosen_tokens")
    pq.write_table(table.set_column(at, table.schema.field(at), tokens), path, write_page_checksum=True)


class Noted(NullProgress):
    """Keeps what was said."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.parametrize(
    ("pattern", "change"),
    [("shards/*1-*.parquet", altered), ("shards/*1-*.parquet", rewritten), ("residuals/*1-*", altered)],
)
def test_a_shard_that_was_changed_inside_is_found_and_only_it_is_read_again(
    folders: Path, tmp_path: Path, pattern: str, change: Callable[[Path], None]
) -> None:
    reader = open_tiny(folders)
    path = write_pairs(tmp_path / "p.parquet", make_rows(20))
    read_pairs(path, reader, tmp_path / "r", SETTINGS, NullProgress())
    kept = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in (tmp_path / "r").rglob("0*")}
    change(next((tmp_path / "r").glob(pattern)))
    n_pairs = pq.read_metadata(next((tmp_path / "r").glob("shards/000001*.parquet"))).num_rows
    noted = Noted()
    again = read_pairs(path, reader, tmp_path / "r", SETTINGS, noted)
    assert (again.n_shards_changed, again.n_pairs_read, again.n_pairs_reused) == (1, n_pairs, 0)
    name = next((tmp_path / "r").glob("shards/000001*.parquet")).stem
    assert any(f"changed on disk since being written ({name}): only its {n_pairs}" in n for n in noted.notes)
    assert {p: p.read_bytes() for p in kept} == {p: data for p, (data, _) in kept.items()}
    others = [p for p in kept if not p.name.startswith("000001")]
    assert all(p.stat().st_mtime_ns == kept[p][1] for p in others)


def test_nothing_is_taken_from_a_changed_shard_of_an_earlier_mix(folders: Path, tmp_path: Path) -> None:
    reader = open_tiny(folders)
    rows = make_rows(24)
    read_pairs(write_pairs(tmp_path / "a.parquet", rows[:15]), reader, tmp_path / "r", SETTINGS, Noted())
    rewritten(next((tmp_path / "r").glob("shards/000001*.parquet")))
    both = write_pairs(tmp_path / "b.parquet", rows)
    read_pairs(both, reader, tmp_path / "r", SETTINGS, Noted())
    read_pairs(both, reader, tmp_path / "fresh", SETTINGS, Noted())
    assert rows_of(tmp_path / "r") == rows_of(tmp_path / "fresh")


def test_shards_without_a_record_are_read_through_once_and_recorded(folders: Path, tmp_path: Path) -> None:
    """As earlier versions left them: checksums of pages say which of them are whole."""
    reader = open_tiny(folders)
    path = write_pairs(tmp_path / "p.parquet", make_rows(20))
    read_pairs(path, reader, tmp_path / "r", SETTINGS, NullProgress())
    records = {p: p.read_bytes() for p in (tmp_path / "r" / "shards").glob("*.json")}
    for record in records:
        record.unlink()
    altered(next((tmp_path / "r" / "shards").glob("000002*.parquet")))
    again = read_pairs(path, reader, tmp_path / "r", SETTINGS, NullProgress())
    assert (again.n_shards_changed, again.n_pairs_read > 0) == (1, True)
    assert {p: p.read_bytes() for p in records} == records


def test_shards_of_another_reader_are_not_taken(folders: Path, tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "p.parquet", make_rows(8))
    one, other = open_tiny(folders, kind="jumprelu"), open_tiny(folders, kind="topk")
    assert one.reader_hash != other.reader_hash
    read_pairs(path, one, tmp_path / "r", SETTINGS, NullProgress())
    report = read_pairs(path, other, tmp_path / "r", SETTINGS, NullProgress())
    assert report.n_pairs_read == 8


def test_a_first_sample_is_a_prefix_and_the_rest_follows(folders: Path, tmp_path: Path) -> None:
    reader = open_tiny(folders)
    path = write_pairs(tmp_path / "p.parquet", make_rows(20))
    part = read_pairs(path, reader, tmp_path / "r", SETTINGS, NullProgress(), max_shards=2)
    assert not part.is_complete
    assert part.n_prefix_pairs == part.n_pairs_done == part.n_pairs_read
    assert not (tmp_path / "r" / "manifest.json").exists()
    rest = read_pairs(path, reader, tmp_path / "r", SETTINGS, NullProgress())
    assert rest.is_complete
    assert rest.n_pairs_read + part.n_pairs_read == 20
    assert (tmp_path / "r" / "manifest.json").exists()


def test_two_processes_share_the_shards_and_read_what_one_reads(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = open_tiny(folders)
    path = write_pairs(tmp_path / "p.parquet", make_rows(20))
    read_pairs(path, reader, tmp_path / "one", SETTINGS, NullProgress())
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        report = read_pairs(path, reader, tmp_path / "two", SETTINGS, NullProgress())
        assert report.is_complete is (rank == "1")
        assert 0 < report.n_pairs_read < 20
    assert rows_of(tmp_path / "one") == rows_of(tmp_path / "two")
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(ModelError, match="RANK 2 is not below"):
        read_pairs(path, reader, tmp_path / "three", SETTINGS, NullProgress())


def test_cancelling_keeps_finished_shards(folders: Path, tmp_path: Path) -> None:
    reader = open_tiny(folders)
    path = write_pairs(tmp_path / "p.parquet", make_rows(20))
    cancel = CancelToken()

    class StopsAfterTen(NullProgress):
        seen = 0

        def advance(self, n: int = 1) -> None:
            self.seen += n
            if self.seen >= 10:
                cancel.cancel()
            super().advance(n)

    with pytest.raises(Cancelled):
        read_pairs(path, reader, tmp_path / "r", SETTINGS, StopsAfterTen(cancel))
    rest = read_pairs(path, reader, tmp_path / "r", SETTINGS, NullProgress())
    assert rest.is_complete
    assert 10 <= rest.n_pairs_read < 20


@pytest.mark.slow
def test_kill_9_loses_at_most_the_shard_in_hand(folders: Path, tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "p.parquet", make_rows(200))
    script = (
        "import sys; from pathlib import Path; from tests.reading.test_run import *;"
        "root, path, out = map(Path, sys.argv[1:]);"
        "read_pairs(path, open_tiny(root), out, SETTINGS, NullProgress())"
    )
    command = [sys.executable, "-c", script, str(folders), str(path), str(tmp_path / "r")]
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # as here: their number shows in the last bits
    child = subprocess.Popen(command, env=os.environ | threads | {"PYTHONPATH": "."})
    shards = tmp_path / "r" / "shards"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(list(shards.glob("*.parquet"))) < 3 and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    kept = len(list(shards.glob("*.parquet")))
    assert kept >= 3
    reader = open_tiny(folders)
    report = read_pairs(path, reader, tmp_path / "r", SETTINGS, NullProgress())
    assert report.is_complete
    assert report.n_pairs_read < 200
    read_pairs(path, reader, tmp_path / "fresh", SETTINGS, NullProgress())
    assert rows_of(tmp_path / "r") == rows_of(tmp_path / "fresh")


def test_responses_read_on_their_own_equal_their_place_in_a_pair(folders: Path, tmp_path: Path) -> None:
    reader = open_tiny(folders)
    rows = make_rows(5)
    path = write_pairs(tmp_path / "p.parquet", rows)
    read_pairs(path, reader, tmp_path / "r", SETTINGS, NullProgress())
    by_id = {row["pair_id"]: row for row in rows_of(tmp_path / "r")}
    items = [(messages(row["prompt"]), messages(row["rejected"])) for row in rows]
    for row, reading in zip(rows, read_responses(reader, items, NullProgress()), strict=True):
        stored = by_id[row["pair_id"]]
        assert stored["rejected_latent"] == reading.pooled.latent.tolist()
        assert stored["rejected_max"] == pytest.approx(reading.pooled.act_max.tolist())


def test_models_and_saes_that_do_not_fit_are_refused(folders: Path, tmp_path: Path) -> None:
    wide = save_sae(tmp_path / "wide", "standard", d_in=48)
    with pytest.raises(ModelError, match="width 48"):
        open_reader(ReaderSpec(str(folders / "llama"), LAYER, str(wide)), SETTINGS)
    hooked = save_sae(tmp_path / "hooked", "standard", metadata={"hook_name": "blocks.2.hook_resid_post"})
    with pytest.raises(ModelError, match="trained on layer 2, not on layer 1"):
        open_reader(ReaderSpec(str(folders / "llama"), 1, str(hooked)), SETTINGS)
    assert open_reader(ReaderSpec(str(folders / "llama"), None, str(hooked)), SETTINGS).layer == 2
    with pytest.raises(ModelError, match="does not say which layer"):
        open_reader(ReaderSpec(str(folders / "llama"), None, str(folders / "topk")), SETTINGS)
    with pytest.raises(ModelError, match="no layer 9"):
        open_reader(ReaderSpec(str(folders / "llama"), 9, str(folders / "topk")), SETTINGS)


def test_the_manifest_describes_the_reader(folders: Path, tmp_path: Path) -> None:
    reader = open_tiny(folders)
    described = reader.describe()
    assert described["n_latents"] == N_LATENTS
    assert described["has_template"] is True
    assert described["encode_path"] == "folded"
    assert isinstance(pa.scalar(str(described["reader_hash"])), pa.StringScalar)

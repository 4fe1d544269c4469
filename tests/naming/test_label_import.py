"""Labels of latents out of other people's files: which rows count, and whose they must be."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.errors import NamingError
from engine.naming.belonging import ReaderFacts, why_not
from engine.naming.label_import import read_labels
from engine.naming.labels import Labels

READER = ReaderFacts(
    "google/gemma-2-2b", "gemma-scope-2b-pt-res-canonical:layer_20/width_16k/canonical", 20, 16384
)
SOURCE = "20-gemmascope-res-16k"


def export(n: Any, text: Any, **changes: Any) -> dict[str, Any]:
    """A row as Neuronpedia's exports have it."""
    row = {"modelId": "gemma-2-2b", "layer": SOURCE, "index": str(n), "description": text}
    return row | {"explanationModelName": "gpt-4o-mini", "typeName": "oai_token-act-pair"} | changes


def write(path: Path, rows: Sequence[Any]) -> Path:
    data = "\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows).encode() + b"\n"
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def found(path: Path, reader: ReaderFacts = READER, **options: Any) -> list[tuple[int, str, str]]:
    return [(x.latent, x.text, x.model) for x in read_labels(path, reader, **options).labels]


@pytest.mark.parametrize("name", ["batch-0.jsonl", "batch-0.jsonl.gz"])
def test_every_row_of_an_export_is_kept_or_counted(tmp_path: Path, name: str) -> None:
    rows = [
        export(0, " words about\ntea "), export(0, "words about tea"), export(0, "a second label"),
        export(16383, "the last"), export(16384, "beyond"), export(-1, "no number"), export("x", "no number"),
        export(3, ""), export(3, None), "{torn", [1, 2],
        export(4, "elsewhere", layer="12-gemmascope-res-16k"),
    ]  # fmt: skip
    read = read_labels(write(tmp_path / name, rows), READER)
    assert [(x.latent, x.text) for x in read.labels] == [
        (0, "words about tea"), (0, "a second label"), (16383, "the last")
    ]  # fmt: skip
    assert {x.model for x in read.labels} == {"gpt-4o-mini"}
    assert {x.file for x in read.labels} == {name}
    said = read.report
    assert (said.n_rows, said.n_kept, said.n_latents, said.n_doubled) == (12, 3, 2, 1)
    assert (said.n_out_of_range, said.n_no_index, said.n_empty) == (1, 2, 2)
    assert (said.n_unreadable, said.n_other, said.says_whose) == (2, 1, True)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'latent,label\n7,"tea, with milk"\n8,bread\n'),
        ("a.tsv", "feature_id\tdescription\n7\ttea, with milk\n8.0\tbread\n"),
        ("a.json", '[{"index": 7, "label": "tea, with milk"},\n {"index": 8, "label": "bread"}]'),
        ("b.json", '{"7": "tea, with milk", "8": "bread"}'),
        ("c.json", '{"made": "by hand",\n "rows": [{"latent": 7, "label": "tea, with milk"},'
         ' {"latent": 8, "label": "bread"}]}'),
        ("a.jsonl", '{"feature": 7, "explanations": [{"description": "tea, with milk"}]}\n'
         '{"feature": 8, "explanations": [{"description": "bread"}, {"description": "bread"}]}\n'),
        ("\N{SNOWMAN}.csv", "\ufefflatent,label\r\n7,\"tea, with milk\"\r\n8,bread\r\n"),
    ],
)  # fmt: skip
def test_plain_shapes_are_known_by_their_columns(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode())
    assert found(path) == [(7, "tea, with milk", ""), (8, "bread", "")]
    assert not read_labels(path, READER).report.says_whose


def test_other_columns_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["number,what,label", "3,tea,no"])
    with pytest.raises(NamingError, match="no column is known to hold the number of the latent") as refused:
        read_labels(path, READER)
    assert "--index COLUMN" in str(refused.value)
    assert found(path, index="number", label="what") == [(3, "tea", "")]
    with pytest.raises(NamingError, match="has no column `nr`"):
        read_labels(path, READER, index="nr")


def test_the_labels_of_another_sae_are_refused_unless_that_is_wanted(tmp_path: Path) -> None:
    rows = [export(5, "tea", layer="20-gemmascope-res-65k")]
    path = write(tmp_path / "a.jsonl", rows)
    with pytest.raises(NamingError, match="of an SAE with 65k latents, the reader's has 16,384") as refused:
        read_labels(path, READER)
    assert "--accept-other" in str(refused.value)
    assert found(path, accept_other=True) == [(5, "tea", "gpt-4o-mini")]
    several = write(tmp_path / "b.jsonl", [export(5, "tea"), export(5, "bread", layer="20-axbench-res-16k")])
    with pytest.raises(NamingError, match="several SAEs"):
        read_labels(several, READER)


@pytest.mark.parametrize(
    ("model", "source", "differs"),
    [
        ("gemma-2-2b", SOURCE, ""),
        ("google/gemma-2-2b-it", "20", ""),
        ("", "", ""),
        ("gemma-2-9b", SOURCE, "model"),
        ("gpt2-small", "", "model"),
        ("gemma-2-2b", "2-gemmascope-res-16k", "layer 2"),
        ("gemma-2-2b", "21-gemmascope-res-16k", "layer 21"),
        ("gemma-2-2b", "20-gemmascope-mlp-16k", "not the residual"),
        ("gemma-2-2b", "20-gemmascope-transcoder-16k", "not the residual"),
        ("gemma-2-2b", "20-gemmascope-res-1m", "1m latents"),
        ("", "gemma-scope-2b-pt-res:layer_20/width_16k/average_l0_71", "the reader's is"),
        ("", "layer_12/width_16k/canonical", "layer 12"),
    ],
)
def test_what_plainly_differs(model: str, source: str, differs: str) -> None:
    said = why_not(READER, model, source)
    assert differs in said
    assert bool(said) == bool(differs)


def test_names_that_mean_the_same_do_not_differ() -> None:
    gpt2 = ReaderFacts("openai-community/gpt2", "gpt2-small-res-jb:blocks.6.hook_resid_pre", 5, 24576)
    assert not why_not(gpt2, "gpt2-small", "6-res-jb")
    assert why_not(gpt2, "gpt2-small", "8-res-jb")
    assert why_not(gpt2, "gpt2-xl", "6-res-jb")
    llama = ReaderFacts("/hub/models--meta-llama--Llama-3.1-8B-Instruct/snapshots/abc", "/saes/x", 19, 131072)
    assert not why_not(llama, "llama3.1-8b-it", "19-resid-post-131k")
    assert not why_not(llama, "llama3.1-8b", "19-llamascope-res-128k")
    assert why_not(llama, "llama3.1-8b", "19-llamascope-res-32k")
    tuned = ReaderFacts("me/gemma-2-2b-my-dpo-v3", "/saes/x", 20, 16384)
    assert not why_not(tuned, "gemma-2-2b", SOURCE)
    assert why_not(tuned, "gemma-2-27b", SOURCE)
    mistral = ReaderFacts("mistralai/Mistral-7B-v0.1", "/saes/x", 8, 65536)
    assert not why_not(mistral, "mistral-7b", "8-res-wg")
    assert why_not(mistral, "mixtral-8x7b", "8-res-wg")
    assert not why_not(
        ReaderFacts("/models/mine", "/saes/mine", 2, 1280), "gemma-2-2b", ""
    )  # it cannot be told


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.jsonl.gz", b"no gzip", "damaged"),
        ("a.jsonl.gz", gzip.compress(b'{"index": 1, "label": "x"}\n' * 99, mtime=0)[:-9], "damaged"),
        ("a.jsonl", b"\xff\xfe\x00", "no UTF-8"),
        ("a.json", b"[1, 2", "neither JSON lines"),
        ("a.json", b"[" * 100_000, "neither JSON lines"),
        ("a.jsonl", b"", "holds no rows"),
        ("a.jsonl", b'{"index": 99999, "label": "x"}\n', "1 rows beyond its 16,384 latents"),
        ("a.parquet", b"PAR1", "no file of labels"),
    ],
)
def test_files_that_are_no_labels_are_refused(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(NamingError, match=said):
        read_labels(path, READER)
    with pytest.raises(NamingError, match="cannot be read"):
        read_labels(tmp_path / "gone.jsonl", READER)


def test_labels_are_kept_once_by_sae_the_latest_file_first(tmp_path: Path) -> None:
    first = read_labels(write(tmp_path / "a.jsonl", [export(1, "tea"), export(2, "bread")]), READER)
    second = read_labels(write(tmp_path / "b.jsonl", [export(1, "hot drinks")]), READER)
    kept = Labels(tmp_path / "labels.jsonl")
    assert kept.add("sae", "a.jsonl", first.sha, "now", first.labels)
    assert not kept.add("sae", "a.jsonl", first.sha, "later", first.labels)
    assert kept.add("sae", "b.jsonl", second.sha, "now", second.labels)
    with kept.path.open("ab") as file:
        file.write(b'{"v": 1, "torn')
    for labels in (kept, Labels(kept.path)):
        labels.refresh()
        assert [x.text for x in labels.of("sae")[1]] == ["hot drinks", "tea"]
        assert labels.of("another") == {}
        assert labels.n_damaged == 1

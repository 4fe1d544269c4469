"""MinHash estimates against exact Jaccard, and what the pass reports."""

import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from engine.ingest.near import THRESHOLD, signatures_of
from engine.records import message_type
from engine.settings import IngestSettings
from tests.ingest.tables import Json, entries_of, pairs_of, run, write_jsonl

WORDS = [f"w{i}" for i in range(2000)]


def shingles(*texts: str) -> set[tuple[str, ...]]:
    """Word 5-grams within each text; a shorter text is one shingle."""
    found: set[tuple[str, ...]] = set()
    for text in texts:
        words = text.lower().split()
        found |= {tuple(words[i : i + 5]) for i in range(max(len(words) - 4, 1))} if words else set()
    return found


def jaccard(a: set[tuple[str, ...]], b: set[tuple[str, ...]]) -> float:
    return len(a & b) / len(a | b)


def batch_of(rows: list[tuple[str, str, str]]) -> pa.RecordBatch:
    columns = [
        pa.array([[{"role": "user", "content": row[k]}] for row in rows], message_type()) for k in range(3)
    ]
    return pa.RecordBatch.from_arrays(columns, ["prompt", "chosen", "rejected"])


def edited(rng: random.Random, words: list[str], share: float) -> list[str]:
    return [rng.choice(WORDS) if rng.random() < share else w for w in words]


@pytest.mark.parametrize("n_words", [12, 60, 600])
def test_share_of_equal_bins_estimates_jaccard(n_words: int) -> None:
    """Mean error over 60 random pairs near zero, each within 4.5 standard errors (0.035 at 128 bins)."""
    rng = random.Random(n_words)  # noqa: S311
    errors = []
    for _ in range(60):
        words = rng.choices(WORDS, k=n_words)
        other = edited(rng, words, rng.choice([0.0, 0.01, 0.03, 0.1]))
        left = ("Ask " + " ".join(words[:8]), " ".join(words), "No  THANKS, really not\ttoday")
        right = ("ask " + " ".join(words[:8]), " ".join(other), "no thanks, really not today")
        signatures = signatures_of(batch_of([left, right]))
        estimate = float((signatures[0] == signatures[1]).mean())
        errors.append(estimate - jaccard(shingles(*left), shingles(*right)))
    assert abs(np.mean(errors)) < 0.03
    assert np.max(np.abs(errors)) < 0.22


def test_near_duplicates_are_counted_apart_from_exact_ones(tmp_path: Path) -> None:
    rng = random.Random(0)  # noqa: S311
    rows: list[Json] = []
    for i in range(40):
        chosen, rejected = rng.choices(WORDS, k=200), rng.choices(WORDS, k=200)
        rows.append({"prompt": f"question {i}", "chosen": " ".join(chosen), "rejected": " ".join(rejected)})
    swapped = {"prompt": rows[0]["prompt"], "chosen": rows[0]["rejected"], "rejected": rows[0]["chosen"]}
    changed = rows[1] | {"chosen": rows[1]["chosen"] + " indeed"}
    exact = dict(rows[2])
    report = run(
        write_jsonl(tmp_path / "x.jsonl", [*rows, swapped, changed, exact]),
        out=tmp_path / "out",
        settings=IngestSettings(near_duplicates=True),
    )
    found = entries_of(tmp_path / "out", "near_duplicate")
    assert sorted(e["row"] for e in found) == [0, 1, 40, 41]
    assert report.noted == {"exact_duplicate": 1, "near_duplicate": 4}
    assert report.near_duplicate_seconds is not None
    ids = {p["source_row"]: p["pair_id"] for p in pairs_of(tmp_path / "out")}
    partners = {e["row"]: e["detail"].split() for e in found}
    assert partners[40] == ["1.00", ids[0]]
    assert partners[41][1] == ids[1]
    assert float(partners[41][0]) >= THRESHOLD


def test_all_but_one_of_nearly_the_same_pairs_are_numbered(tmp_path: Path) -> None:
    """Families of pairs that differ in a word of 300, in two files; of each, one has the number 0."""
    rng = random.Random(1)  # noqa: S311
    rows: list[Json] = []
    for family in range(12):
        words = rng.choices(WORDS, k=300)
        for member in range(family % 4 + 1):
            changed = [*words[: 20 * member], f"x{member}", *words[20 * member :]]
            rows.append(
                {"prompt": f"q{family}", "chosen": " ".join(changed), "rejected": "no", "family": family}
            )
    rows.append(rows[-1] | {"prompt": f"{rows[-1]['prompt']}"})  # an exact duplicate counts as one of them
    files = [write_jsonl(tmp_path / name, rows[k::2]) for k, name in enumerate(("x.jsonl", "y.jsonl"))]
    run(*files, out=tmp_path / "out", settings=IngestSettings(near_duplicates=True))
    numbers: dict[int, list[int]] = {}
    for pair in pairs_of(tmp_path / "out"):
        numbers.setdefault(json.loads(pair["meta"])["family"], []).append(pair["near_copy"])
    sizes = {family: family % 4 + 1 + (family == 11) for family in range(12)}
    assert {f: sorted(found) for f, found in numbers.items()} == {f: list(range(n)) for f, n in sizes.items()}


def test_without_the_setting_the_pass_does_not_run(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "x.jsonl", [{"prompt": "p", "chosen": "a", "rejected": "b"}])
    assert run(file, out=tmp_path / "out").near_duplicate_seconds is None
    assert [pair["near_copy"] for pair in pairs_of(tmp_path / "out")] == [None]


def test_pairs_without_words_have_no_near_duplicates(tmp_path: Path) -> None:
    blank = batch_of([(" ", "\n", ""), ("", " ", "\t")])
    assert (signatures_of(blank) == 0xFFFFFFFF).all()

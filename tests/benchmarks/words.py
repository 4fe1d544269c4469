"""Readings without a model: every frequent word is a latent that fires where the word stands.

Real texts, real lengths, real prompt groups and real dependence between units, in seconds: what calibration
needs. Nothing here is a claim about what a language model reads.
"""

import gzip
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from engine.arrays import PairArrays, Readings
from tests.worlds import from_dense

_TOKEN = re.compile(r"[a-z']+|[^\sa-z0-9]|[0-9]+|\n\n")
_MARK = "\n\nAssistant:"


class Row(NamedTuple):
    """One labelled pair."""

    prompt: str
    chosen: str
    rejected: str
    model_chosen: str
    model_rejected: str


def harmless(folder: Path) -> Iterator[Row]:
    """HH-RLHF harmless pairs that share everything before the last answer."""
    with gzip.open(folder / "hh_harmless_base_test.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            cut, other = row["chosen"].rfind(_MARK), row["rejected"].rfind(_MARK)
            if row["chosen"][:cut] == row["rejected"][:other]:
                start = cut + len(_MARK)
                yield Row(row["chosen"][:cut], row["chosen"][start:], row["rejected"][start:], "", "")


def battles(folder: Path) -> Iterator[Row]:
    """AlpacaEval battles that were decided between two different answers."""
    for row in pq.read_table(folder / "alpaca_eval_battles.parquet").to_pylist():
        if row["preference"] == 1.5 or row["response_a"] == row["response_b"]:
            continue
        a, b = ("a", "b") if row["preference"] < 1.5 else ("b", "a")
        yield Row(
            row["prompt"], row[f"response_{a}"], row[f"response_{b}"], row[f"model_{a}"], row[f"model_{b}"]
        )


def word_readings(rows: Iterator[Row], n_words: int, min_responses: int = 30) -> Readings:
    """Readings whose latents are the most frequent words of the responses."""
    hashed = sorted((hashlib.sha256(r.prompt.encode()).hexdigest(), *r) for r in rows)
    group = np.unique([h[0] for h in hashed], return_inverse=True)[1].astype(np.int32)
    spans = [[_TOKEN.findall(h[k].lower()) for h in hashed] for k in (1, 2, 3)]
    frequency: Counter[str] = Counter()
    for tokens in (*spans[1], *spans[2]):
        frequency.update(set(tokens))
    words = [w for w, n in frequency.most_common(n_words) if n >= min_responses]
    models = sorted({m for h in hashed for m in h[4:] if m})
    code = {m: k for k, m in enumerate(models)}
    lengths = [np.array([max(len(t), 1) for t in s], np.int32) for s in spans]
    who = [np.array([code.get(h[k], -1) for h in hashed], np.int32) for k in (4, 5)]
    n = len(hashed)
    fold = np.array([int(h[0][:8], 16) % 20 for h in hashed], np.int8)
    pairs = PairArrays(
        np.ones(n, np.bool_), group, fold, lengths[0], lengths[1], lengths[2], np.zeros(n, np.int32),
        who[0], who[1], np.full(n, -1, np.int32),
        ("words",), tuple(models), (),
    )  # fmt: skip
    return from_dense(pairs, *(_dense(_counts(s, words)) for s in (spans[1], spans[2], spans[0])))


def _counts(spans: list[list[str]], words: list[str]) -> NDArray[np.uint16]:
    place = {w: k for k, w in enumerate(words)}
    out = np.zeros((len(spans), len(words)), np.uint16)
    for i, tokens in enumerate(spans):
        for word, n in Counter(tokens).items():
            if word in place:
                out[i, place[word]] = n
    return out


def _dense(
    count: NDArray[np.uint16],
) -> tuple[NDArray[np.float32], NDArray[np.uint16], NDArray[np.float32], NDArray[np.uint16]]:
    value = count.astype(np.float32)
    return value, count, value, np.zeros_like(count)

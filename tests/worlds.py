"""Small synthetic projects for tests: real parquet, real DuckDB index, known truth, no model needed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from engine.arrays import LatentMajor, PairArrays, PairMajor, PromptMajor, Readings, SpanValues
from engine.manifest import hash_bytes
from engine.paths import ProjectPaths
from engine.records import N_FOLDS, pair_schema
from engine.store.build import Published, build_index, publish
from engine.store.schema import ESTIMATES
from engine.store.tables import by_evidence

WORDS = [
    "please",
    "could",
    "the",
    "garden",
    "river",
    "sorry",
    "cannot",
    "help",
    "with",
    "that",
    "recipe",
    "bread",
    "model",
    "python",
    "loop",
    "because",
    "bright",
    "answer",
    "however",
    "first",
    "second",
    "table",
    "list",
    "value",
    "tea",
    "house",
    "number",
    "letter",
    "music",
]


@dataclass(frozen=True, repr=False)
class World:
    """A synthetic project on disk and what is true about it; without a repr, since failures print it."""

    paths: ProjectPaths
    readings: Readings
    pair_rows: list[dict[str, Any]]
    concepts: list[tuple[str, tuple[int, ...]]]
    """Name and member latents; numbered as in the index."""


def make_readings(
    n_pairs: int = 200, n_latents: int = 40, *, seed: int = 0, effects: dict[int, float] | None = None
) -> Readings:
    """Random sparse readings; ``effects[latent]`` is the log odds with which the chosen side carries it."""
    rng = np.random.default_rng(seed)
    group = np.sort(rng.integers(0, max(n_pairs * 3 // 4, 1), n_pairs))
    group_index: NDArray[np.int32] = np.unique(group, return_inverse=True)[1].astype(np.int32)
    pairs = PairArrays(
        is_signed=rng.random(n_pairs) > 0.05,
        group=group_index,
        fold=(group_index * 7 % N_FOLDS).astype(np.int8),
        prompt_tokens=rng.integers(5, 40, n_pairs).astype(np.int32),
        chosen_tokens=rng.integers(10, 120, n_pairs).astype(np.int32),
        rejected_tokens=rng.integers(10, 120, n_pairs).astype(np.int32),
        source=rng.integers(0, 2, n_pairs).astype(np.int32),
        model_chosen=rng.integers(-1, 2, n_pairs).astype(np.int32),
        model_rejected=rng.integers(-1, 2, n_pairs).astype(np.int32),
        annotator=np.full(n_pairs, -1, np.int32),
        source_names=("alpha", "beta"),
        model_names=("m0", "m1"),
        annotator_names=(),
    )
    prevalence = np.clip(0.5 / (1 + np.arange(n_latents) / 6), 0.02, 0.9)
    chosen = rng.random((n_pairs, n_latents)) < prevalence
    rejected = rng.random((n_pairs, n_latents)) < prevalence
    for latent, log_odds in (effects or {}).items():
        discordant = chosen[:, latent] ^ rejected[:, latent]
        wins = rng.random(n_pairs) < 1 / (1 + np.exp(-log_odds))
        chosen[discordant, latent] = wins[discordant]
        rejected[discordant, latent] = ~wins[discordant]
    prompt = rng.random((n_pairs, n_latents)) < prevalence
    return from_dense(
        pairs,
        _values(rng, chosen, pairs.chosen_tokens),
        _values(rng, rejected, pairs.rejected_tokens),
        _values(rng, prompt, pairs.prompt_tokens),
    )


Dense = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]


def _values(rng: np.random.Generator, fires: NDArray[np.bool_], tokens: NDArray[np.int32]) -> Dense:
    n = np.where(fires, 1 + (rng.random(fires.shape) * np.minimum(tokens, 6)[:, None]).astype(int), 0).astype(
        np.uint16
    )
    top = np.where(fires, rng.gamma(2.0, 1.0, fires.shape), 0).astype(np.float32)
    total = (top * (1 + (n.astype(np.float32) - 1).clip(0) * 0.5)).astype(np.float32)
    peak = np.where(fires, (rng.random(fires.shape) * tokens[:, None]).astype(int), 0).astype(np.uint16)
    return top, n, total, peak


def from_dense(pairs: PairArrays, chosen: Dense, rejected: Dense, prompt: Dense) -> Readings:
    """Sparse readings from dense (P, L) arrays of act_max, n_fired, act_sum, peak per span."""
    union = (chosen[1] > 0) | (rejected[1] > 0)
    p_csr, l_csr = np.nonzero(union)
    l_csc, p_csc = np.nonzero(union.T)
    pp, pl = np.nonzero(prompt[1] > 0)
    n_pairs, n_latents = union.shape

    def pick(dense: Dense, p: NDArray[Any], latent: NDArray[Any]) -> SpanValues:
        return SpanValues(*(a[p, latent] for a in dense))

    return Readings(
        pairs,
        LatentMajor(
            np.searchsorted(l_csc, np.arange(n_latents + 1)).astype(np.int64),
            p_csc.astype(np.uint32),
            pick(chosen, p_csc, l_csc),
            pick(rejected, p_csc, l_csc),
        ),
        PairMajor(
            np.searchsorted(p_csr, np.arange(n_pairs + 1)).astype(np.int64),
            l_csr.astype(np.uint32),
            pick(chosen, p_csr, l_csr),
            pick(rejected, p_csr, l_csr),
        ),
        PromptMajor(
            np.searchsorted(pp, np.arange(n_pairs + 1)).astype(np.int64),
            pl.astype(np.uint32),
            pick(prompt, pp, pl),
        ),
    )


def _pair_rows(readings: Readings, seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed + 1)
    arrays = readings.pairs
    rows = []
    for i in range(arrays.n_pairs):
        text = {
            span: " ".join(rng.choice(WORDS, int(n)))
            for span, n in (
                ("prompt", arrays.prompt_tokens[i]),
                ("chosen", arrays.chosen_tokens[i]),
                ("rejected", arrays.rejected_tokens[i]),
            )
        }
        group_id = f"{arrays.group[i]:032x}"
        rows.append(
            {
                "pair_id": hash_bytes(str(i).encode()),
                "content_id": hash_bytes(text["prompt"].encode(), text["chosen"].encode()),
                "copy": 0,
                "source": arrays.source_names[arrays.source[i]],
                "source_file": "world.jsonl",
                "source_row": i,
                "prompt": [{"role": "user", "content": text["prompt"]}],
                "chosen": [{"role": "assistant", "content": text["chosen"]}],
                "rejected": [{"role": "assistant", "content": text["rejected"]}],
                "label": "chosen" if arrays.is_signed[i] else "tie",
                "group_id": group_id,
                "fold": int(arrays.fold[i]),
                "is_evaluation": False,
                "meta": json.dumps(
                    {
                        "rating": int(rng.integers(1, 6)),
                        "topic": str(rng.choice(["tea", "code"])),
                        "margin": MARGINS[i % len(MARGINS)],
                    }
                ),
            }
        )
    return rows


MARGINS = ("1.5", " -2\n", "n/a", "+3e-1", "1,5", "", "7.", "1e999", "1_0", "nan", ".25", "٣")
"""Numbers that a file has as texts, and texts that are none."""


def make_world(
    root: Path, n_pairs: int = 200, n_latents: int = 40, *, seed: int = 0, n_concepts: int = 8
) -> World:
    """A project folder with pairs, a published index and plain (untested-looking) hypotheses.

    Estimates in the index are simple counts of the data, enough for screens and rules; tests of statistics
    compute their own.
    """
    paths = ProjectPaths(root)
    root.mkdir(parents=True, exist_ok=True)
    readings = make_readings(n_pairs, n_latents, seed=seed, effects={0: 1.5, 5: -1.0})
    rows = _pair_rows(readings, seed)
    paths.pairs_dir.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=pair_schema()), paths.pairs)
    width = n_latents // n_concepts
    concepts = [(f"concept {c}", tuple(range(c * width, (c + 1) * width))) for c in range(n_concepts)]
    tables = index_tables(readings, rows, concepts)
    build_index(
        paths.index("world"), tables, {"reader_hash": "reader", "n_pairs": n_pairs, "share_read": 1.0}
    )
    publish(paths, Published("reader", "world", 1.0))
    return World(paths, readings, rows, concepts)


def index_tables(
    readings: Readings, rows: list[dict[str, Any]], concepts: list[tuple[str, tuple[int, ...]]]
) -> dict[str, pa.Table]:
    """Arrow tables for every table of the index."""
    arrays = readings.pairs
    by_latent = readings.by_latent
    latent_of = np.repeat(np.arange(readings.n_latents), np.diff(by_latent.indptr))
    acts: dict[str, Any] = {"latent": latent_of, "pair": by_latent.pair}
    for side, values in (("chosen", by_latent.chosen), ("rejected", by_latent.rejected)):
        acts |= {f"{side}_max": values.act_max, f"{side}_n": values.n_fired}
        acts |= {f"{side}_sum": values.act_sum, f"{side}_peak": values.peak}
    prompts = readings.prompts
    prompt_acts = {
        "latent": prompts.latent,
        "pair": np.repeat(np.arange(arrays.n_pairs), np.diff(prompts.indptr)),
        "prompt_max": prompts.values.act_max,
        "prompt_n": prompts.values.n_fired,
        "prompt_sum": prompts.values.act_sum,
        "prompt_peak": prompts.values.peak,
    }
    concept_rows, member_rows, score_rows, hypothesis_rows = _concept_rows(readings, concepts)
    context_of = {"tea": np.arange(0, arrays.n_pairs, 3), "code": np.arange(1, arrays.n_pairs, 3)}
    contexts = [_context(0, "everywhere", arrays.n_pairs)] + [
        _context(k + 1, name, len(members)) for k, (name, members) in enumerate(context_of.items())
    ]
    return {
        "pairs": pa.Table.from_pylist([_index_pair(i, row, readings) for i, row in enumerate(rows)]),
        "acts": pa.table(acts),
        "prompt_acts": pa.table(prompt_acts),
        "latents": pa.table({"latent": np.arange(readings.n_latents)}),
        "concepts": pa.Table.from_pylist(concept_rows),
        "concept_members": pa.Table.from_pylist(member_rows),
        "concept_scores": pa.Table.from_pylist(score_rows),
        "contexts": pa.Table.from_pylist(contexts),
        "context_pairs": pa.Table.from_pylist(
            [
                {"context": k + 1, "pair": int(i)}
                for k, members in enumerate(context_of.values())
                for i in members
            ]
        ),
        "hypotheses": by_evidence(pa.Table.from_pylist(hypothesis_rows)),
    }


def _context(number: int, name: str, n_pairs: int) -> dict[str, Any]:
    kind = "everywhere" if number == 0 else "topic"
    return {
        "context": number,
        "context_id": hash_bytes(name.encode()),
        "kind": kind,
        "name": name,
        "definition": "{}",
        "n_pairs": n_pairs,
        "n_groups": n_pairs * 3 // 4,
    }


def _index_pair(i: int, row: dict[str, Any], readings: Readings) -> dict[str, Any]:
    arrays = readings.pairs
    kept = {k: v for k, v in row.items() if k not in ("prompt", "chosen", "rejected")}
    return kept | {
        "pair": i,
        "group_index": int(arrays.group[i]),
        "prompt_text": row["prompt"][0]["content"],
        "chosen_text": row["chosen"][0]["content"],
        "rejected_text": row["rejected"][0]["content"],
        "prompt_tokens": int(arrays.prompt_tokens[i]),
        "chosen_tokens": int(arrays.chosen_tokens[i]),
        "rejected_tokens": int(arrays.rejected_tokens[i]),
        "prompt_truncated": False,
        "chosen_truncated": False,
        "rejected_truncated": False,
        "prompt_turns": 1,
    }


def _concept_rows(
    readings: Readings, concepts: list[tuple[str, tuple[int, ...]]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    by_latent = readings.by_latent
    signed = readings.pairs.is_signed
    concept_rows: list[dict[str, Any]] = []
    member_rows: list[dict[str, Any]] = []
    score_rows: list[dict[str, Any]] = []
    hypothesis_rows: list[dict[str, Any]] = []
    for number, (name, members) in enumerate(concepts):
        chosen = np.zeros(readings.n_pairs, np.float32)
        rejected = np.zeros(readings.n_pairs, np.float32)
        u = np.zeros(readings.n_pairs)
        for latent in members:
            at = slice(by_latent.indptr[latent], by_latent.indptr[latent + 1])
            pair = by_latent.pair[at]
            np.maximum.at(chosen, pair, by_latent.chosen.act_max[at])
            np.maximum.at(rejected, pair, by_latent.rejected.act_max[at])
            fires = (by_latent.chosen.n_fired[at] > 0).astype(int) - (by_latent.rejected.n_fired[at] > 0)
            np.add.at(u, pair, fires / len(members))
            member_rows.append({"concept": number, "latent": latent, "centrality": 1.0})
        concept_id = hash_bytes(name.encode())
        concept_rows.append(
            {
                "concept": number,
                "concept_id": concept_id,
                "kind": "cluster",
                "name": name,
                "name_source": "tokens",
                "tokens": json.dumps([name.split()[0], "token"]),
                "label_evidence": json.dumps(
                    {"fires": ["a «token»"], "silent": [], "inside": 0.5, "outside": 0.1}
                ),
                "n_latents": len(members),
                "n_chosen": int((chosen > 0).sum()),
                "n_rejected": int((rejected > 0).sum()),
                "n_prompt": 0,
                "u_square": float((u * u).sum()),
            }
        )
        score_rows += [
            {
                "concept": number,
                "pair": int(i),
                "chosen": float(chosen[i]),
                "rejected": float(rejected[i]),
                "prompt": 0.0,
                "u": float(u[i]),
            }
            for i in np.nonzero((chosen > 0) | (rejected > 0))[0]
        ]
        for context in range(3):
            inside = signed & ((np.arange(readings.n_pairs) % 3 == context - 1) | (context == 0))
            hypothesis_rows.append(_hypothesis(len(hypothesis_rows), context, number, concept_id, u[inside]))
    return concept_rows, member_rows, score_rows, hypothesis_rows


def _hypothesis(
    number: int, context: int, concept: int, concept_id: str, u: NDArray[np.float64]
) -> dict[str, Any]:
    plus, minus = int((u > 0).sum()), int((u < 0).sum())
    n = max(plus + minus, 1)
    rate = plus / n
    half_width = 1.96 * (rate * (1 - rate) / n) ** 0.5
    row: dict[str, Any] = {column.name: None for column in ESTIMATES}
    return row | {
        "hypothesis": number,
        "hypothesis_id": hash_bytes(bytes([context]), concept_id.encode()),
        "family": "concepts" if context == 0 else "cells",
        "context": context,
        "concept": concept,
        "n_pairs": len(u),
        "n_groups": len(u),
        "n_carry": n,
        "n_discordant": n,
        "n_plus": plus,
        "n_discordant_groups": n,
        "prevalence": n / max(len(u), 1),
        "mean_u": float(u.mean()),
        "win_rate": rate,
        "win_low": max(rate - half_width, 0.0),
        "win_high": min(rate + half_width, 1.0),
        "taught_z": (plus - minus) / n**0.5,
        "taught_q": 0.01 if abs(plus - minus) > 2 * n**0.5 else 0.6,
        "taught_call": bool(abs(plus - minus) > 2 * n**0.5),
        "equal_win_rate": rate,
        "equal_low": max(rate - half_width, 0.0),
        "equal_high": min(rate + half_width, 1.0),
        "equal_q": 0.2,
        "equal_call": False,
        "badge": "neither",
        "is_stable": True,
        "half_a": rate,
        "half_b": rate,
    }

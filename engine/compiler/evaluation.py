"""A checked file evaluated over all input pairs: which rules match, and the numbers of their actions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from engine.compiler.leaves import Draw, Leaf, leaf_key, leaves_of, wide_table
from engine.compiler.lower import Lowering
from engine.compiler.population import Floats, category, memo, numbers
from engine.manifest import hash_bytes
from engine.rules.catalogue import LONG_TEXTS
from engine.rules.checked import CheckedFile, Definition
from engine.rules.evaluate import FrozenStatistic
from engine.rules.terms import Apply, Column, Meta, Reference, Statistic, Term, walk
from engine.store.connection import Store


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Results over the N input pairs, in order of pair number."""

    pair: NDArray[np.int64]  # (N,)
    truths: Mapping[Term, NDArray[np.bool_]]
    values: Mapping[Term, Floats]
    """Numbers, NaN where missing."""
    keys: Mapping[Term, NDArray[np.int32]]
    """Grouping values as codes; equal codes, equal values."""
    key_names: Mapping[Term, tuple[str, ...]]
    """Value of each code, as text."""
    ranks: Mapping[int, NDArray[np.uint64]]
    """md5 rank of each pair by seed."""
    statistics: Mapping[str, FrozenStatistic]
    missing: Mapping[Term, NDArray[np.bool_]]
    """Column or metadata key to the input pairs without a value, (N,), where there are any."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to evaluate."""

    truths: tuple[Term, ...] = ()
    values: tuple[Term, ...] = ()
    keys: tuple[Term, ...] = ()
    seeds: tuple[int, ...] = ()


def request_of(checked: CheckedFile) -> Request:
    """Everything that planning this file needs."""
    truths: list[Term] = [r.condition for r in checked.rules]
    truths += [s.condition for s in checked.shapes] + [t.condition for t in checked.training]
    values = [a.value for r in checked.rules for a in r.actions if a.value is not None]
    values += [s.order for s in checked.sets if s.order is not None]
    keys = [s.key for s in checked.sets if s.key is not None]
    keys += [s.within for s in checked.shapes if s.within is not None]
    seeds = [s.seed for s in checked.sets if s.kind != "cap"]
    if any(s.method == "dropping" for s in checked.shapes):
        seeds.append(0)  # breaks ties of the ranked filter
    return Request(_once(truths), _once(values), _once(keys), tuple(dict.fromkeys(seeds)))


def _once(terms: list[Term]) -> tuple[Term, ...]:
    return tuple(dict.fromkeys(terms))


def evaluate(store: Store, definitions: Sequence[Definition], request: Request) -> Evaluation:
    """Evaluate terms over all input pairs of an index."""
    terms = [*request.truths, *request.values, *request.keys]
    everything = with_definitions(terms, definitions)
    sources = sources_of(everything)
    leaves: list[Leaf] = [*leaves_of(everything), *(Draw(seed) for seed in request.seeds), *sources]
    wide = wide_table(store)
    with wide.lock:
        columns = wide.ensure(store, leaves)
        table = str(wide.name)
        found = [t for term in everything for t in walk(term) if isinstance(t, Statistic)]
        statistics = _statistics(store, table, columns, definitions, list(dict.fromkeys(found)))
        lowering = Lowering(columns, definitions, statistics)
        words = lowering.output_masks(request.truths)
        values = [lowering.output_number(t) for t in request.values]
        keys = [lowering.output_value(t) for t in request.keys]
        draws = [lowering.draw(seed) for seed in request.seeds]
        result = store.arrow(lowering.statement(table), lowering.parameters)
        missing = _missing(store, table, {t: columns[leaf_key(t)] for t in sources})
    bits: dict[Term, NDArray[np.bool_]] = {}
    for number, term in enumerate(request.truths):
        word = result.column(words[number // 63]).to_numpy().astype(np.int64)
        bits[term] = (word >> (number % 63)) & 1 == 1
    categories = {t: category("", result.column(k)) for t, k in zip(request.keys, keys, strict=True)}
    return Evaluation(
        pair=result.column("pair").to_numpy().astype(np.int64),
        truths=bits,
        values={t: numbers(result.column(v)) for t, v in zip(request.values, values, strict=True)},
        keys={t: c.code for t, c in categories.items()},
        key_names={t: c.values for t, c in categories.items()},
        ranks={s: result.column(d).to_numpy() for s, d in zip(request.seeds, draws, strict=True)},
        statistics=statistics,
        missing=missing,
    )


def sources_of(terms: Sequence[Term]) -> list[Term]:
    """Columns, metadata keys and numbers of texts that terms read, each of which some pairs may lack.

    Whole texts are left out, as they are never missing; so is a text that only its number is read of.
    """
    parts = list(dict.fromkeys(t for term in terms for t in walk(term)))
    numbers = [t for t in parts if isinstance(t, Apply) and t.operator == "number"]
    inside = {t.arguments[0] for t in numbers}
    found = [t for t in parts if isinstance(t, Column | Meta) and t not in inside]
    return [*numbers, *(t for t in found if not (isinstance(t, Column) and t.name in LONG_TEXTS))]


def _missing(store: Store, table: str, columns: Mapping[Term, str]) -> dict[Term, NDArray[np.bool_]]:
    """Input pairs without a value, per source; looked up once per column of the wide table."""
    kept = memo(store).values
    unknown = [c for c in dict.fromkeys(columns.values()) if f"missing:{c}" not in kept]
    if unknown:
        asked = ", ".join(f"{c} IS NULL AS {c}" for c in unknown)
        found = store.arrow(f"SELECT {asked} FROM memory.main.{table} WHERE is_input ORDER BY pair")
        masks = {c: found.column(c).to_numpy().astype(np.bool_) for c in unknown}
        kept |= {f"missing:{c}": mask if mask.any() else None for c, mask in masks.items()}
    return {t: kept[f"missing:{c}"] for t, c in columns.items() if kept[f"missing:{c}"] is not None}


def with_definitions(terms: Sequence[Term], definitions: Sequence[Definition]) -> list[Term]:
    """The terms and the definitions they lean on, directly or not."""
    known = {d.name: d.value for d in definitions}
    out = list(terms)
    seen: set[str] = set()
    pending = list(terms)
    while pending:
        for part in walk(pending.pop()):
            if isinstance(part, Reference) and part.name not in seen:
                seen.add(part.name)
                out.append(known[part.name])
                pending.append(known[part.name])
    return out


def _statistics(
    store: Store,
    table: str,
    columns: Mapping[str, str],
    definitions: Sequence[Definition],
    wanted: Sequence[Statistic],
) -> dict[str, FrozenStatistic]:
    kept = memo(store).values
    identity = {
        s: "statistic:" + hash_bytes(repr((s, with_definitions([s.argument], definitions))).encode())
        for s in wanted
    }
    missing = [s for s in wanted if identity[s] not in kept]
    if missing:
        lowering = Lowering(columns, definitions, {})
        outputs = [lowering.output_number(s.argument) for s in missing]
        result = store.arrow(lowering.statement(table), lowering.parameters)
        for statistic, output in zip(missing, outputs, strict=True):
            value = numbers(result.column(output))
            kept[identity[statistic]] = freeze(statistic, value[~np.isnan(value)])
    return {s.key: kept[identity[s]] for s in wanted}


def freeze(statistic: Statistic, values: Floats) -> FrozenStatistic:
    """The value of a statistic over the input pairs that have one.

    Means are exactly rounded sums, so they do not depend on the order of pairs or on threads. Percentiles
    interpolate linearly (Hyndman and Fan 1996, type 7). The standard deviation is the population's. Nothing
    is rounded: a percentile or mean that is one of the values must compare as equal to it.
    """
    if statistic.only_active:
        values = values[values != 0]
    if not len(values):
        return FrozenStatistic()
    if statistic.kind == "p":
        return FrozenStatistic(value=_percentile(values, statistic.level))
    if statistic.kind == "pct":
        return FrozenStatistic(ordered=tuple(np.sort(values).tolist()))
    mean = math.fsum(values) / len(values)
    if statistic.kind == "mean":
        return FrozenStatistic(value=mean)
    sd = math.sqrt(math.fsum((values - mean) ** 2) / len(values))
    return FrozenStatistic(value=sd) if statistic.kind == "sd" else FrozenStatistic(mean=mean, sd=sd)


def _percentile(values: Floats, level: float) -> float:
    """The rank is computed exactly: (n − 1) · 0.29 of 101 values is the 29th, which floats miss."""
    rank = (len(values) - 1) * Fraction(repr(level)) / 100
    low = math.floor(rank)
    share = float(rank - low)
    around = np.partition(values, [low, min(low + 1, len(values) - 1)])
    below, above = float(around[low]), float(around[min(low + 1, len(values) - 1)])
    return below if below == above else below + (above - below) * share

"""Covariates of the null model of the label: everything that changes sign when the two sides are swapped.

A linear log length ratio alone leaves up to a third of the calls confounded when the true length effect is
clipped, kinked or differs by topic; so the design holds, most important first: log ratio, token
difference, oriented model indicators, slopes per source, a spline in each side's own length (``f(chosen) −
f(rejected)``), odd hinges in ratio and difference, their interaction with mean length, slopes per topic.
Columns are taken in that order until there are ``GROUPS_PER_COLUMN`` labelled prompt groups for each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.arrays import UNKNOWN, PairArrays
from engine.errors import StatsError
from engine.stats.two_way import model_clusters

Vector = NDArray[np.float64]

GROUPS_PER_COLUMN = 15
"""Labelled prompt groups needed for each column of the null model."""
MIN_BATTLES = 20
"""A model needs this many labelled pairs against other models for an indicator of its own."""
MAX_MODELS = 64
MAX_SOURCES = 8
MAX_TOPICS = 16
_COLLINEAR = 1e-7


@dataclass(frozen=True, slots=True)
class Design:
    """Odd covariates of every pair, scaled to unit root mean square over labelled pairs."""

    names: tuple[str, ...]
    z: NDArray[np.float64]  # (P, q) float64
    left_out: tuple[str, ...]
    """Columns that were constant, collinear, or one too many for this number of prompt groups."""
    second: NDArray[np.int32] | None = None
    """(P,) a second clustering of the scores, by the two models that met; see ``two_way``."""

    @property
    def n_columns(self) -> int:
        """Number of columns, q."""
        return len(self.names)


def length_ratio(pairs: PairArrays) -> Vector:
    """(P,) log chosen tokens − log rejected tokens; an empty response counts as one token."""
    return np.log(np.maximum(pairs.chosen_tokens, 1)) - np.log(np.maximum(pairs.rejected_tokens, 1))


def build_design(
    pairs: PairArrays,
    *,
    covariates: Sequence[str] = (),
    columns: Mapping[str, Vector] | None = None,
    topic: NDArray[np.int32] | None = None,
) -> Design:
    """The null model's columns.

    Args:
        pairs: lengths, sources, models.
        covariates: names of further columns to control for: *annotator* (a length slope each), or a key of
            ``columns``.
        columns: odd per-pair numbers by name, such as the delta of @list_items.
        topic: (P,) topic of each pair, −1 for none: each of the largest gets a length slope.

    Raises:
        StatsError: an unknown covariate, or one that is not finite.
    """
    named = list(_named(pairs, covariates, columns or {}))
    candidates = [*_basic(pairs), *named, *_models(pairs), *_sources(pairs)]
    candidates += [*_splines(pairs), *_topics(pairs, topic)]
    signed = pairs.is_signed
    n_groups = len(np.unique(pairs.group[signed]))
    design = _independent(candidates, signed, max(n_groups // GROUPS_PER_COLUMN, 1))
    return replace(design, second=model_clusters(pairs))


def linear_design(pairs: PairArrays) -> Design:
    """Only the log length ratio: the usual control, shown for comparison."""
    return _independent([("log ratio", length_ratio(pairs))], pairs.is_signed, 1)


Named = tuple[str, Vector]


def _basic(pairs: PairArrays) -> list[Named]:
    return [
        ("log ratio", length_ratio(pairs)),
        ("token difference", _difference(pairs)),
    ]


def _difference(pairs: PairArrays) -> Vector:
    return pairs.chosen_tokens.astype(np.float64) - pairs.rejected_tokens


def _named(pairs: PairArrays, covariates: Sequence[str], columns: Mapping[str, Vector]) -> list[Named]:
    found: list[Named] = []
    for name in covariates:
        if name == "model":
            continue  # model indicators are always in where models are known
        if name == "annotator":
            ratio = length_ratio(pairs)
            for code in range(len(pairs.annotator_names)):
                inside = pairs.annotator == code
                found.append((f"log ratio × annotator {pairs.annotator_names[code]}", ratio * inside))
        elif name in columns:
            if not np.isfinite(columns[name]).all():
                raise StatsError(f"covariate {name} is not finite on every pair")
            found.append((name, np.asarray(columns[name], np.float64)))
        else:
            known = ", ".join(["model", "annotator", *columns])
            raise StatsError(f"there is no covariate `{name}`", hint=f"known: {known}")
    return found


def _models(pairs: PairArrays) -> list[Named]:
    """+1 where the model wrote the chosen side, −1 where it wrote the rejected one."""
    meets = pairs.is_signed & (pairs.model_chosen != pairs.model_rejected)
    meets &= (pairs.model_chosen != UNKNOWN) & (pairs.model_rejected != UNKNOWN)
    n_models = len(pairs.model_names)
    battles = np.bincount(pairs.model_chosen[meets], minlength=n_models)
    battles += np.bincount(pairs.model_rejected[meets], minlength=n_models)
    frequent = [int(m) for m in np.argsort(-battles, kind="stable")[:MAX_MODELS] if battles[m] >= MIN_BATTLES]
    both = (pairs.model_chosen != UNKNOWN) & (pairs.model_rejected != UNKNOWN)
    return [
        (
            f"model {pairs.model_names[m]}",
            both * ((pairs.model_chosen == m).astype(np.float64) - (pairs.model_rejected == m)),
        )
        for m in frequent
    ]


def _sources(pairs: PairArrays) -> list[Named]:
    """Length slopes of every source but the largest."""
    counts = np.bincount(
        pairs.source[pairs.is_signed & (pairs.source >= 0)], minlength=len(pairs.source_names)
    )
    others = [int(s) for s in np.argsort(-counts, kind="stable")[1 : MAX_SOURCES + 1] if counts[s] > 0]
    ratio, difference = length_ratio(pairs), _difference(pairs)
    found: list[Named] = []
    for s in others:
        inside = pairs.source == s
        found.append((f"log ratio × source {pairs.source_names[s]}", ratio * inside))
        found.append((f"token difference × source {pairs.source_names[s]}", difference * inside))
    return found


def _splines(pairs: PairArrays) -> list[Named]:
    ratio, difference = length_ratio(pairs), _difference(pairs)
    chosen = np.log(np.maximum(pairs.chosen_tokens, 1))
    rejected = np.log(np.maximum(pairs.rejected_tokens, 1))
    both = np.concatenate([chosen[pairs.is_signed], rejected[pairs.is_signed]])
    mean = np.log(np.maximum(pairs.chosen_tokens + pairs.rejected_tokens, 1) / 2)
    some = mean[pairs.is_signed]
    mean = (mean - some.mean()) / max(float(some.std()), 1e-9) if len(some) else mean
    found: list[Named] = []
    for share in (0.5, 0.25, 0.75, 0.9):
        knot = float(np.quantile(both, share)) if len(both) else 0.0
        own = np.maximum(chosen - knot, 0) - np.maximum(rejected - knot, 0)
        found.append((f"own length above {np.exp(knot):.0f} tokens", own))
    found.append(("log ratio × mean length", ratio * mean))
    found.append(("token difference × mean length", difference * mean))
    found += _hinges("log ratio", ratio, pairs.is_signed, (0.5, 0.25, 0.8))
    found += _hinges("token difference", difference, pairs.is_signed, (0.5, 0.8))
    middle = found[-5][1]
    found.append(("log ratio hinge × mean length", middle * mean))
    found.append(("log ratio × mean length²", ratio * mean**2))
    found.append(("token difference × mean length²", difference * mean**2))
    return found


def _hinges(name: str, x: Vector, signed: NDArray[np.bool_], shares: Sequence[float]) -> list[Named]:
    size = np.abs(x[signed])
    found = []
    for share in shares:
        knot = float(np.quantile(size, share)) if len(size) else 0.0
        found.append((f"{name} beyond {knot:.3g}", np.sign(x) * np.maximum(np.abs(x) - knot, 0)))
    return found


def _topics(pairs: PairArrays, topic: NDArray[np.int32] | None) -> list[Named]:
    if topic is None:
        return []
    counts = np.bincount(topic[pairs.is_signed & (topic >= 0)], minlength=1)
    largest = [int(k) for k in np.argsort(-counts, kind="stable")[:MAX_TOPICS] if counts[k] > 0]
    ratio = length_ratio(pairs)
    return [(f"log ratio × topic {k}", ratio * (topic == k)) for k in largest]


def _independent(candidates: Sequence[Named], signed: NDArray[np.bool_], budget: int) -> Design:
    """Scale, and keep columns in order while they add something new (Gram–Schmidt on labelled rows)."""
    names: list[str] = []
    left_out: list[str] = []
    kept: list[Vector] = []
    basis = np.zeros((int(signed.sum()), 0))
    for name, column in candidates:
        rows = column[signed]
        rms = float(np.sqrt(np.mean(rows**2))) if len(rows) else 0.0
        if rms == 0 or len(kept) >= budget:
            left_out.append(name)
            continue
        rest = rows / rms
        for _ in range(2):  # twice is enough for orthogonality to rounding
            rest = rest - basis @ (basis.T @ rest)
        size = float(np.sqrt(rest @ rest))
        if size**2 < _COLLINEAR * len(rows):
            left_out.append(name)
            continue
        basis = np.concatenate([basis, (rest / size)[:, None]], axis=1)
        names.append(name)
        kept.append(column / rms)
    z = np.stack(kept, axis=1) if kept else np.zeros((len(signed), 0))
    return Design(tuple(names), np.ascontiguousarray(z), tuple(left_out))

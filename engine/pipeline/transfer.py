"""Does matching hold where it was not solved: the stage behind ``prosect selftest transfer``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import RuleError, StoreError
from engine.live.drafts import notes_of
from engine.paths import ProjectPaths
from engine.pipeline.shape import Decisions, open_index
from engine.progress import Progress
from engine.settings import RulesSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.compiler.transferred import TransferReport


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """How to check, as the command line gives it."""

    patterns: Mapping[str, str] = field(default_factory=dict)
    """Name to a regular expression (RE2, as in rules); counted on the texts of pairs.parquet."""
    draws: int = 200
    seed: int = 0


def check_transfer(
    paths: ProjectPaths,
    rules: Path,
    decisions: Decisions,
    settings: RulesSettings,
    options: TransferOptions,
    progress: Progress,
) -> "TransferReport":
    """Solve a rule file's matching on half of the prompt groups and measure it on the other half.

    Raises:
        RuleError: the file or a pattern has errors.
        StoreError: texts of the index's pairs are gone.
        CompileError: nothing is matched, or the targets cannot be met on half of the data.
    """
    from engine.compiler.population import population
    from engine.compiler.transfer import TransferRequest, transfer
    from engine.compiler.verbs import read_rules

    with open_index(paths) as store:
        request = TransferRequest(
            text=read_rules(rules),
            file_name=rules.name,
            settings=settings,
            names=decisions.names,
            verdicts=tuple(notes_of(decisions.verdicts, decisions.entries)),
            patterns=_text_measures(paths.pairs, population(store).pair_ids.tolist(), options.patterns),
            draws=options.draws,
            seed=options.seed,
        )
        return transfer(store, request, progress)


def _text_measures(
    pairs: Path, pair_ids: Sequence[str], patterns: Mapping[str, str]
) -> "dict[str, NDArray[np.float64]]":
    """Per pattern and pair 1 where only chosen matches, −1 where only rejected, 0 otherwise; (P,).

    Texts are found by pair id: an ingest after the audit may have numbered the pairs anew.
    """
    if not patterns:
        return {}
    import pyarrow.parquet as pq

    from engine.errors import PatternError
    from engine.patterns import compiled, search

    for name, pattern in patterns.items():
        try:
            compiled(pattern)
        except PatternError as error:
            raise RuleError(
                f"pattern {name}: {error}", hint="regular expressions are RE2, as in rules"
            ) from error
    table = pq.read_table(pairs, columns=["pair_id", "chosen", "rejected"])
    number = {ident: i for i, ident in enumerate(table.column("pair_id").to_pylist())}
    n_gone = sum(ident not in number for ident in pair_ids)
    if n_gone:
        raise StoreError(
            f"{n_gone:,} pairs of the index are no longer among the ingested pairs",
            hint="run `prosect audit` again",
        )
    table = table.take([number[ident] for ident in pair_ids])
    sides = [[_text(messages) for messages in table.column(c).to_pylist()] for c in ("chosen", "rejected")]
    out = {}
    for name, pattern in patterns.items():
        found = search(pattern)
        hits = [np.array([found.search(text) is not None for text in side]) for side in sides]
        out[name] = hits[0].astype(np.float64) - hits[1]
    return out


def _text(messages: Any) -> str:
    return "\n".join(str(m["content"]) for m in messages)

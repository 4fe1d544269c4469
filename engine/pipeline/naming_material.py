"""What a model is shown of concepts: from an index, the ingested texts and the reader's tokenizer.

No model is loaded: an index knows at which token a concept peaks, and the tokenizer where that token lies in
the text.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import ModelError, StoreError
from engine.naming.choose import Nameable
from engine.naming.excerpts import Carriers, Picked, excerpt, pick
from engine.naming.recognition import Trial, can_be_recognised, deal
from engine.paths import ProjectPaths
from engine.records import Span
from engine.settings import NamingSettings
from engine.store import places
from engine.store.build import current_index
from engine.store.connection import Store

if TYPE_CHECKING:
    from engine.pipeline.texts import TokenReader

LEAST_SHOWN = 4
"""Places that a name is made from at least."""
WEAKEST = 0.25
"""Where a concept is silent hardly anywhere, it is tested against this share of the prompts, the weakest."""


@dataclass(frozen=True, slots=True)
class Material:
    """What is shown of one concept."""

    shown: tuple[tuple[str, str], ...]
    """Places with the peak marked, and the word for their strength."""
    trial: Trial | None
    """None: too few places are left to tell a good name from chance."""


class NamingSource:
    """Places of the concepts of the published index.

    Raises:
        StoreError: nothing is published.
    """

    def __init__(self, paths: ProjectPaths, settings: NamingSettings) -> None:
        self._paths, self._settings = paths, settings
        self._published = current_index(paths)
        self._store = Store(paths.index(self._published.index_hash))

    @property
    def index_hash(self) -> str:
        """Of the index that is open."""
        return self._published.index_hash

    def close(self) -> None:
        """Let go of the index."""
        self._store.close()

    def concepts(self) -> tuple[Nameable, ...]:
        """Every concept, the strongest evidence first."""
        return tuple(Nameable(*row) for row in places.nameable(self._store))

    def single_latents(self) -> dict[str, int]:
        """Concept id → latent, of every concept that is one latent."""
        return places.single_latents(self._store)

    def material(self, concept: Nameable) -> Material | None:
        """What is shown of a concept, always the same for one index; None: too few prompts carry it.

        Raises:
            ModelError: the tokenizer that read the pairs is gone or has changed.
            StoreError: a pair is no longer among the ingested ones.
        """
        rng = np.random.default_rng(int(concept.concept_id[:16], 16))
        score = places.scores(self._store, concept.number, len(self._responses.group))
        carrying = self._where(score > 0, score)
        picked = pick(carrying, self._settings.excerpts, self._settings.held_out, rng)
        if len(picked.shown) < LEAST_SHOWN:
            return None
        at = [i for i, _ in picked.shown] + list(picked.held)
        peaks = places.peaks(self._store, concept.number, [int(carrying.pair[i]) for i in at])
        shown = tuple((self._at_peak(carrying, i, peaks, is_marked=True), word) for i, word in picked.shown)
        held = [self._at_peak(carrying, i, peaks, is_marked=False) for i in picked.held]
        return Material(shown, self._trial(score, carrying, picked, held, rng))

    def _where(self, wanted: NDArray[np.bool_], score: NDArray[np.float64]) -> Carriers:
        """Some responses as one entry each; empty ones are left out."""
        pair, side = np.nonzero(wanted & ~self._responses.is_empty)
        every = self._responses
        return Carriers(pair, side, every.group[pair], every.text[pair, side], score[pair, side])

    def _trial(
        self, score: NDArray[np.float64], carrying: Carriers, picked: Picked, held: Sequence[str],
        rng: np.random.Generator,
    ) -> Trial | None:  # fmt: skip
        others, at, are_silent = self._others(score, carrying, picked, rng)
        texts = [self._anywhere(int(others.pair[i]), int(others.side[i]), rng) for i in at]
        fires = [text for text in held if text.strip()]
        texts = [text for text in texts if text.strip()]
        if not can_be_recognised(len(fires), len(texts), self._settings.level):
            return None
        return deal(fires, texts, rng, are_silent=are_silent)

    def _others(
        self, score: NDArray[np.float64], carrying: Carriers, picked: Picked, rng: np.random.Generator
    ) -> tuple[Carriers, NDArray[np.int64], bool]:
        """Responses without the concept, of unused prompts and texts; else those with least of it.

        Returns:
            responses, which of them to take, and whether the concept is silent on them.
        """
        n = len(picked.held)
        used = carrying.group[np.array([*(i for i, _ in picked.shown), *picked.held], np.int64)]
        silent = self._where(score <= 0, score)
        free = ~np.isin(silent.text, carrying.text) & ~np.isin(silent.group, used)
        found = _different(silent, rng.permutation(np.flatnonzero(free)))[:n]
        if len(found) == n:
            return silent, found, True
        left = np.flatnonzero(~np.isin(carrying.group, used))
        weak = _different(carrying, left[np.argsort(carrying.score[left], kind="stable")])
        return carrying, rng.permutation(weak[: max(int(len(weak) * WEAKEST), n)])[:n], False

    def _at_peak(
        self, carrying: Carriers, i: int, peaks: Mapping[tuple[int, int], int], *, is_marked: bool
    ) -> str:
        key = int(carrying.pair[i]), int(carrying.side[i])
        text, start, end = self._tokens.in_text(self._row(key[0]), _span(key[1]), peaks.get(key, -1))
        return excerpt(text, start, end, self._settings.excerpt_chars, is_marked=is_marked and end > start)

    def _anywhere(self, pair: int, side: int, rng: np.random.Generator) -> str:
        """A place of a response, wherever."""
        text, _, _ = self._tokens.in_text(self._row(pair), _span(side), 0)
        at = int(rng.random() * len(text))
        return excerpt(text, at, at, self._settings.excerpt_chars, is_marked=False)

    @cached_property
    def _responses(self) -> places.Responses:
        return places.responses(self._store)

    @cached_property
    def _tokens(self) -> "TokenReader":
        from engine.models.layouts import load_layout
        from engine.pipeline.readers import read_spec
        from engine.pipeline.texts import TokenReader, read_messages

        facts = self._reader_facts()
        spec = read_spec(self._paths, self._published.reader_hash)
        layout = load_layout(
            spec.model,
            revision=spec.revision,
            is_causal=bool(facts["is_causal"]),
            fingerprint=str(facts["layout"]),
        )
        return TokenReader(read_messages(self._paths.pairs), layout, int(facts["max_tokens"]))

    def _reader_facts(self) -> dict[str, Any]:
        held = self._store.value("SELECT value FROM meta WHERE key = 'reader'")
        facts: dict[str, Any] = json.loads(held) if held else {}
        if not {"is_causal", "layout", "max_tokens"} <= set(facts):
            raise ModelError(
                "the index does not say how its texts were read", hint="run `prosect audit` again"
            )
        return facts

    @cached_property
    def _rows(self) -> Sequence[int]:
        """Row of each pair of the index among the ingested ones, which a later ingest may have renumbered."""
        import pyarrow.parquet as pq

        own = places.pair_ids(self._store)
        ingested = pq.read_table(self._paths.pairs, columns=["pair_id"]).column("pair_id").to_pylist()
        if list(own) == ingested[: len(own)]:
            return range(len(own))
        row = {ident: number for number, ident in enumerate(ingested)}
        return [row.get(ident, -1) for ident in own]

    def _row(self, pair: int) -> int:
        row = self._rows[pair]
        if row < 0:
            raise StoreError(
                f"pair {pair} is no longer among the ingested pairs", hint="run `prosect audit` again"
            )
        return row


def _different(among: Carriers, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of some responses, in their order, whose prompt and text come up for the first time."""
    for keys in (among.text, among.group):
        order = order[np.sort(np.unique(keys[order], return_index=True)[1])]
    return order


def _span(side: int) -> Span:
    return Span.REJECTED if side else Span.CHOSEN

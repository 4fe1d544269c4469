"""The tables that people page through: their columns, and the SQL behind each.

Every grid is one base table ``t`` with a number as key, joined to small tables. ``verdicts`` and ``names``
are in-memory tables that mirror the journal (``memory.main``); the index itself never changes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from engine.records import BADGE_WORDS, Badge, Label
from engine.store.filters import FilterColumn
from engine.store.mirror import SHOWN_NAME
from engine.views.tables import ColumnKind as K
from engine.views.tables import ColumnSpec, SortKey, TableSpec


@dataclass(frozen=True, slots=True)
class GridColumn:
    """A column's face and its SQL; an interval has three expressions, its estimate in the middle."""

    spec: ColumnSpec
    sql: tuple[str, ...]
    joins: tuple[str, ...] = ()
    """Aliases that the expressions read beside ``t``."""
    whole: str | None = None
    """The whole value where ``sql``, which screens show, is only a part: for filters and machines."""
    values: tuple[str, ...] = ()
    """Every value, where these are few and the same in every index."""
    spoken: Mapping[str, str] = field(default_factory=dict)
    """Words that screens show instead of values where there is little room."""
    with_latent: str = ""
    """Condition with one ``?`` for the rows that have a latent: what a word such as #812 looks for."""
    has_few: bool = False
    """Few values, which the index knows: one that it does not have is worth a remark."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table with the joins it may need."""

    name: str
    title: str
    base: str
    key: str
    ident: str
    columns: tuple[GridColumn, ...]
    joins: Mapping[str, str]
    default_sort: tuple[SortKey, ...]
    is_stored_sorted: bool = False
    """Keys are numbered in the default order: a list that nobody sorted or filtered needs no ordering."""

    @property
    def spec(self) -> TableSpec:
        """What front ends see."""
        return TableSpec(self.name, self.title, tuple(c.spec for c in self.columns), self.default_sort)

    def filter_columns(self) -> dict[str, FilterColumn]:
        """What filters may name."""
        return {
            c.spec.name: FilterColumn(
                f"({c.whole or c.sql[len(c.sql) // 2]})",
                c.spec.kind,
                c.spec.is_searched,
                c.values,
                c.spoken,
                c.with_latent,
            )
            for c in self.columns
        }

    def source(self, aliases: frozenset[str]) -> str:
        """FROM clause with the joins for these aliases, in declared order."""
        needed = [sql for alias, sql in self.joins.items() if alias in aliases]
        return " ".join([f"{self.base} t", *needed])

    def ordered(self, order: str, aliases: frozenset[str]) -> str:
        """FROM clause over an ordering ``o`` of (rn, key)."""
        needed = [sql for alias, sql in self.joins.items() if alias in aliases]
        return " ".join([f"{order} o JOIN {self.base} t ON t.{self.key} = o.key", *needed])

    def aliases(self, columns: frozenset[str]) -> frozenset[str]:
        """Joins that the named columns need."""
        return frozenset(j for c in self.columns if c.spec.name in columns for j in c.joins)

    @property
    def all_aliases(self) -> frozenset[str]:
        """Every join."""
        return frozenset(self.joins)


def _c(
    name: str, title: str, kind: K, width: int, rank: int, sql: str | tuple[str, ...], text: str,
    *, joins: str = "", searched: bool = False, whole: str | None = None, values: Iterable[str] = (),
    few: bool = False, spoken: Mapping[str, str] = MappingProxyType({}), latent: str = "",
) -> GridColumn:  # fmt: skip
    expressions = (sql,) if isinstance(sql, str) else sql
    spec = ColumnSpec(name, title, kind, width, rank, text, searched)
    return GridColumn(spec, expressions, tuple(joins.split()), whole, tuple(values), spoken, latent, few)


SHORT_BADGES = {word: str(value) for value, words in BADGE_WORDS.items() for word in words}
_CONTEXT_KINDS = ("everywhere", "topic", "prompt_concept", "predicate", "source", "silent")
_TARGET = "CASE WHEN t.context = 0 THEN 'concept:' || c.concept_id ELSE 'hypothesis:' || t.hypothesis_id END"

HYPOTHESES = Grid(
    name="hypotheses",
    title="Hypotheses",
    base="hypotheses",
    key="hypothesis",
    ident="t.hypothesis_id",
    joins={
        "c": "JOIN concepts c ON c.concept = t.concept",
        "x": "JOIN contexts x ON x.context = t.context",
        "n": "LEFT JOIN memory.main.names n ON n.concept_id = c.concept_id",
        "v": f"LEFT JOIN memory.main.verdicts v ON v.target = {_TARGET}",
        "s": "LEFT JOIN spreads s ON s.concept = t.concept AND s.facet = 'source' AND t.context = 0",
    },
    columns=(
        _c("verdict", "V", K.VERDICT, 1, 1, "v.verdict", "what was decided", joins="c v"),
        _c("concept", "concept", K.TEXT, 0, 1, SHOWN_NAME, "name of the concept",
           joins="c n", searched=True,
           latent="t.concept IN (SELECT m.concept FROM concept_members m WHERE m.latent = ?)"),
        _c("context", "in context", K.TEXT, 12, 3, "x.name", "everywhere, or the context it is about",
           joins="x", searched=True, few=True, spoken={"all": "everywhere"}),
        _c("taught", "taught 0─────½─────1", K.INTERVAL, 19, 2, ("t.win_low", "t.win_rate", "t.win_high"),
           "share of discordant pairs whose chosen side carries more, with 95% interval"),
        _c("win", "win%", K.SHARE, 5, 4, "t.win_rate", "the same share as a number"),
        _c("equal", "equal", K.INTERVAL, 19, 2, ("t.equal_low", "t.equal_win_rate", "t.equal_high"),
           "win rate at equal length"),
        _c("equal_win", "eq%", K.SHARE, 5, 4, "t.equal_win_rate", "win rate at equal length as a number"),
        _c("badge", "length", K.TEXT, 8, 2, "t.badge",
           f"which effect was called: {', '.join(Badge)}", values=Badge, spoken=SHORT_BADGES),
        _c("discordant", "discord", K.COUNT, 7, 5, "t.n_discordant",
           "labelled pairs with non-zero disparity"),
        _c("carry", "carry%", K.SHARE, 6, 8, "t.prevalence",
           "labelled pairs in which either side carries it"),
        _c("q", "q", K.Q, 6, 5, "t.taught_q", "false discovery rate of the taught effect"),
        _c("equal_q", "eq q", K.Q, 6, 10, "t.equal_q", "false discovery rate at equal length"),
        _c("z", "z", K.SIGNED, 6, 11, "t.taught_z", "flip score, clustered by prompt group"),
        _c("stable", "st", K.FLAG, 2, 12, "t.is_stable", "both halves of the groups lean the same way"),
        _c("differs", "differs", K.SIGNED, 7, 11, "t.differs_z",
           "inside a context: z of the difference from everywhere"),
        _c("differs_q", "diff q", K.Q, 6, 13, "t.differs_q", "false discovery rate of that difference"),
        _c("min_effect", "power", K.SHARE, 6, 14, "t.min_effect",
           "smallest effect this many groups could show"),
        _c("pool", "pool", K.TEXT, 4, 12, "t.poolings_agree || '/' || t.poolings",
           "ways of pooling a latent (maximum, fire rate, mean, last token) that make the same calls"),
        _c("unique", "uniq", K.SHARE, 5, 13, "t.unique_selected",
           "share of random halves of the prompt groups that select it beside all other concepts"),
        _c("spread", "I²", K.SHARE, 5, 14, "s.i2",
           "share of the spread between sources that is not noise", joins="s"),
        _c("agree", "agree", K.COUNT, 5, 0, "t.poolings_agree", "poolings that make the same calls"),
        _c("unique_win", "uniq w", K.SHARE, 6, 0, "t.unique_win_rate",
           "win rate at equal length beside all other concepts, shrunk"),
        _c("kind", "kind", K.TEXT, 9, 15, "c.kind", "cluster, latent, delta, direction or column", joins="c",
           values=("cluster", "latent", "delta", "direction", "column")),
        _c("tokens", "telling words", K.TEXT, 24, 16, "c.tokens",
           "telling words", joins="c", searched=True),
        _c("evidence", "|z|", K.NUMBER, 6, 0, "abs(t.taught_z)", "size of the flip score"),
        _c("effect", "effect", K.NUMBER, 6, 0, "abs(t.win_rate - 0.5)",
           "distance of the win rate from one half"),
        _c("called", "call", K.FLAG, 4, 0, "coalesce(t.taught_call, FALSE) OR coalesce(t.equal_call, FALSE)",
           "called, taught or at equal length"),
        _c("family", "family", K.TEXT, 8, 0, "t.family", "concepts (everywhere) or cells (inside a context)",
           values=("concepts", "cells")),
        _c("concept_id", "concept id", K.TEXT, 32, 0, "c.concept_id", "id of the concept", joins="c"),
        _c("context_id", "context id", K.TEXT, 32, 0, "x.context_id", "id of the context", joins="x"),
        _c("target", "target", K.TEXT, 40, 0, _TARGET, "what a verdict here is about", joins="c"),
    ),
    default_sort=(SortKey("evidence", descending=True),),
    is_stored_sorted=True,
)  # fmt: skip

CONTEXTS = Grid(
    name="contexts",
    title="Contexts",
    base="contexts",
    key="context",
    ident="t.context_id",
    joins={},
    columns=(
        _c("context", "context", K.TEXT, 0, 1, "t.name", "name", searched=True, few=True),
        _c("kind", "kind", K.TEXT, 14, 2, "t.kind", f"{', '.join(_CONTEXT_KINDS)}",
           values=_CONTEXT_KINDS),
        _c("pairs", "pairs", K.COUNT, 9, 1, "t.n_pairs", "pairs in the context"),
        _c("groups", "groups", K.COUNT, 9, 3, "t.n_groups", "prompt groups in the context"),
        _c("differs", "differ", K.COUNT, 7, 2,
           "(SELECT count(*) FROM hypotheses h WHERE h.context = t.context AND h.differs_call)",
           "concepts whose effect here differs from everywhere"),
        _c("context_id", "context id", K.TEXT, 32, 0, "t.context_id", "id"),
    ),
    default_sort=(SortKey("pairs", descending=True),),
)  # fmt: skip

PAIRS = Grid(
    name="pairs",
    title="Pairs",
    base="pairs",
    key="pair",
    ident="t.pair_id",
    joins={},
    columns=(
        _c("pair", "pair", K.COUNT, 9, 1, "t.pair", "number of the pair"),
        _c("prompt", "prompt", K.TEXT, 0, 1, "left(t.prompt_text, 400)", "the prompt", searched=True,
           whole="t.prompt_text", latent="t.pair IN (SELECT a.pair FROM acts a WHERE a.latent = ?)"),
        _c("source", "source", K.TEXT, 14, 3, "t.source", "source", few=True),
        _c("label", "label", K.TEXT, 8, 4, "t.label", ", ".join(Label), values=Label),
        _c("chosen_tokens", "ch.tok", K.COUNT, 7, 2, "t.chosen_tokens", "tokens of the chosen response"),
        _c("rejected_tokens", "rj.tok", K.COUNT, 7, 2, "t.rejected_tokens",
           "tokens of the rejected response"),
        _c("longer", "Δ tokens", K.SIGNED, 8, 5, "t.chosen_tokens - t.rejected_tokens", "chosen − rejected"),
        _c("turns", "turns", K.COUNT, 5, 6, "t.prompt_turns", "messages in the prompt"),
        _c("fold", "fold", K.COUNT, 4, 7, "t.fold", "0–19; 19 is held out"),
        _c("language", "lang", K.TEXT, 5, 8, "t.language", "language", few=True),
        _c("strength", "strength", K.NUMBER, 8, 9, "t.strength", "how much better, in the file's unit"),
        _c("model_chosen", "chosen by", K.TEXT, 14, 10, "t.model_chosen", "model of the chosen response",
           few=True),
        _c("model_rejected", "rejected by", K.TEXT, 14, 11, "t.model_rejected",
           "model of the rejected response", few=True),
        _c("truncated", "cut", K.FLAG, 3, 12,
           "t.prompt_truncated OR t.chosen_truncated OR t.rejected_truncated",
           "a span was cut for reading"),
        _c("chosen", "chosen text", K.TEXT, 20, 0, "left(t.chosen_text, 400)", "chosen response",
           searched=True, whole="t.chosen_text"),
        _c("rejected", "rejected text", K.TEXT, 20, 0, "left(t.rejected_text, 400)", "rejected response",
           searched=True, whole="t.rejected_text"),
        _c("file", "file", K.TEXT, 20, 0, "t.source_file", "file it came from"),
        _c("pair_id", "pair id", K.TEXT, 32, 0, "t.pair_id", "id"),
    ),
    default_sort=(SortKey("pair"),),
    is_stored_sorted=True,
)  # fmt: skip

GRIDS: Mapping[str, Grid] = {g.name: g for g in (HYPOTHESES, CONTEXTS, PAIRS)}

"""The second pass: checked terms as SQL over the wide table.

Sub-expressions that SQL would have to repeat become columns of an earlier stage, so the text grows linearly.
Held to the reference interpreter (engine/rules/evaluate.py) by property tests.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.compiler.leaves import Draw, is_leaf, leaf_key
from engine.rules.catalogue import Type
from engine.rules.checked import Definition
from engine.rules.evaluate import FrozenStatistic
from engine.rules.terms import Apply, Constant, Reference, Statistic, Term, children

_Sql = tuple[str, int]
"""Text and the stage from which on its columns exist."""


class Lowering:
    """Builds one projection over the wide table."""

    def __init__(
        self,
        columns: Mapping[str, str],
        definitions: Sequence[Definition],
        statistics: Mapping[str, FrozenStatistic],
    ) -> None:
        self.columns = columns
        self.definitions = {d.name: d.value for d in definitions}
        self.statistics = statistics
        self.parameters: dict[str, Any] = {}
        self.stages: list[list[str]] = []
        self.known: dict[Term, _Sql] = {}
        self.outputs: list[str] = []
        self.last = 0

    def draw(self, seed: int) -> str:
        """Output the rank under a seed; returns its column."""
        return self._output((self.columns[leaf_key(Draw(seed))], 0))

    def condition(self, term: Term) -> _Sql:
        """A truth value that is never NULL."""
        return self._truth(term)

    def output_number(self, term: Term) -> str:
        """Output a number, NULL where missing or not finite; returns its column."""
        return self._output(self._finite(term))

    def output_value(self, term: Term) -> str:
        """Output a grouping key of any type; returns its column."""
        if term.type is Type.TRUTH:
            return self._output(self._truth(term))
        return self._output(self._finite(term) if term.type is Type.NUMBER else self._lower(term))

    def output_masks(self, conditions: Sequence[Term]) -> list[str]:
        """Output truth values as bits of 63-bit words; returns the words' columns."""
        words = []
        for start in range(0, len(conditions), 63):
            bits = []
            level = 0
            for bit, term in enumerate(conditions[start : start + 63]):
                sql, at = self._truth(term)
                level = max(level, at)
                bits.append(f"(CASE WHEN {sql} THEN {1 << bit} ELSE 0 END)")
            words.append(self._output((" | ".join(bits), level)))
        return words

    def _output(self, found: _Sql) -> str:
        sql, level = found
        name = f"o{len(self.outputs)}"
        self.outputs.append(f"{sql} AS {name}")
        self.last = max(self.last, level)
        return name

    def statement(self, table: str) -> str:
        """The whole query: input pairs in order, one row each."""
        parts = [f"r0 AS (SELECT * FROM memory.main.{table} WHERE is_input)"]
        for level in range(self.last):
            columns = ", ".join(["*", *self.stages[level]])
            parts.append(f"r{level + 1} AS (SELECT {columns} FROM r{level})")
        columns = ", ".join(["pair", *self.outputs])
        return f"WITH {', '.join(parts)} SELECT {columns} FROM r{self.last} ORDER BY pair"

    def _hoist(self, found: _Sql) -> _Sql:
        """Give an expression a column, unless it is one."""
        sql, level = found
        if sql.isidentifier() or sql.startswith("$"):
            return found
        while len(self.stages) <= level:
            self.stages.append([])
        name = f"s{level}_{len(self.stages[level])}"
        self.stages[level].append(f"{sql} AS {name}")
        return name, level + 1

    def _parameter(self, value: float | str | bool) -> str:
        name = f"k{len(self.parameters)}"
        self.parameters[name] = value
        return f"${name}"

    def _lower(self, term: Term) -> _Sql:
        known = self.known.get(term)
        if known is None:
            known = self.known[term] = self._make(term)
        return known

    def _make(self, term: Term) -> _Sql:
        if is_leaf(term):
            return self.columns[leaf_key(term)], 0
        match term:
            case Constant():
                if isinstance(term.value, bool):
                    return ("TRUE" if term.value else "FALSE"), 0
                return f"CAST({self._parameter(term.value)} AS DOUBLE)", 0
            case Reference():
                value = self.definitions[term.name]
                found = self._truth(value) if term.type is Type.TRUTH else self._finite(value)
                return self._hoist(found)
            case Statistic():
                return self._statistic(term)
            case Apply():
                return self._apply(term)
            case _:
                raise TypeError(f"{term!r} does not belong to a pair")

    def _truth(self, term: Term) -> _Sql:
        sql, level = self._lower(term)
        return (f"coalesce({sql}, FALSE)", level) if _may_be_null(term) else (sql, level)

    def _finite(self, term: Term) -> _Sql:
        found = self._lower(term)
        if not isinstance(term, Apply | Statistic) or is_leaf(term):
            return found
        name, level = self._hoist(found)
        return self._hoist((f"CASE WHEN isfinite({name}) THEN {name} END", level))

    def _apply(self, term: Apply) -> _Sql:
        operator = term.operator
        if operator in ("and", "or", "not"):
            parts = [self._truth(a) for a in term.arguments]
            level = max(at for _, at in parts)
            if operator == "not":
                return f"(NOT {parts[0][0]})", level
            return "(" + f" {operator.upper()} ".join(sql for sql, _ in parts) + ")", level
        if operator in ("==", "in", "<", "<="):
            return self._compare(term)
        if operator in ("abs", "log", "min", "max"):
            return self._function(term)
        parts = [self._lower(a) for a in term.arguments]
        level = max(at for _, at in parts)
        if operator == "neg":
            return f"(-{parts[0][0]})", level
        if operator == "/":
            below, at = self._hoist(parts[1])
            level = max(parts[0][1], at)
            return f"(CASE WHEN {below} <> 0 THEN {parts[0][0]} / {below} END)", level
        return f"({parts[0][0]} {operator} {parts[1][0]})", level

    def _compare(self, term: Apply) -> _Sql:
        first = term.arguments[0]
        if first.type is Type.TRUTH:
            parts = [self._lower(a) for a in term.arguments]
        else:
            parts = [self._finite(a) for a in term.arguments]
        level = max(at for _, at in parts)
        if len(parts) == 1:
            return "FALSE", 0
        if term.operator in ("==", "in"):
            others = ", ".join(sql for sql, _ in parts[1:])
            return f"coalesce({parts[0][0]} IN ({others}), FALSE)", level
        return f"coalesce({parts[0][0]} {term.operator} {parts[1][0]}, FALSE)", level

    def _function(self, term: Apply) -> _Sql:
        parts = [self._hoist(self._finite(a)) for a in term.arguments]
        level = max(at for _, at in parts)
        names = [sql for sql, _ in parts]
        if term.operator == "abs":
            return f"abs({names[0]})", level
        if term.operator == "log":
            return f"(CASE WHEN {names[0]} > 0 THEN ln({names[0]}) END)", level
        function = "least" if term.operator == "min" else "greatest"
        known = " AND ".join(f"{n} IS NOT NULL" for n in names)
        return f"(CASE WHEN {known} THEN {function}({', '.join(names)}) END)", level

    def _statistic(self, term: Statistic) -> _Sql:
        frozen = self.statistics.get(term.key, FrozenStatistic())
        if term.kind in ("p", "mean", "sd"):
            if frozen.value is None:
                return "CAST(NULL AS DOUBLE)", 0
            return f"CAST({self._parameter(frozen.value)} AS DOUBLE)", 0
        found, level = self._hoist(self._finite(term.argument))
        if term.kind == "z":
            if frozen.mean is None or not frozen.sd:
                return "CAST(NULL AS DOUBLE)", 0
            mean, sd = self._parameter(frozen.mean), self._parameter(frozen.sd)
            return f"(({found} - CAST({mean} AS DOUBLE)) / CAST({sd} AS DOUBLE))", level
        below = f"(rank() OVER (ORDER BY {found} NULLS LAST) - 1)"
        equal = f"count(*) OVER (PARTITION BY {found})"
        share = f"CAST(100 AS DOUBLE) * ({below} + CAST(0.5 AS DOUBLE) * {equal}) / count({found}) OVER ()"
        return self._hoist((f"CASE WHEN {found} IS NOT NULL THEN {share} END", level))


def _may_be_null(term: Term) -> bool:
    """Truth values straight from the data can be missing; all others are made of comparisons."""
    return is_leaf(term) and not children(term)

"""Names to concepts and contexts of an index, with frozen label patterns.

Order of a name: a concept of the file, a name given in review, a working label, a built-in measure. Names in
review and labels must be unique to be used; ids always are.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from engine.errors import PatternError
from engine.patterns import compiled, search
from engine.rules.catalogue import Catalogue, ConceptEntry, ContextEntry
from engine.rules.diagnostics import Diagnostic, Place, Severity, suggest
from engine.rules.lexer import concept_literal
from engine.rules.syntax import ConceptStatement, Member
from engine.rules.terms import Concept
from engine.views.names import MARK

T = TypeVar("T")
U = TypeVar("U")

BUILT_IN = ("length",)
"""Measures that exist without an index concept: length is ln(tokens of the span)."""


class Unresolved(Exception):
    """A name cannot be resolved; carries the diagnostic."""

    def __init__(self, code: str, message: str, place: Place, help_line: str | None = None) -> None:
        super().__init__(message)
        self.diagnostic = Diagnostic(code, message, place, help_line)
        self.further: tuple[Diagnostic, ...] = ()
        """Other mistakes of the same statement."""

    @classmethod
    def of(cls, diagnostic: Diagnostic) -> "Unresolved":
        """The same finding once more."""
        return cls(diagnostic.code, diagnostic.message, diagnostic.place, diagnostic.help)


def all_of(*work: Callable[[], T]) -> tuple[T, ...]:
    """The results of several things. Raises ``Unresolved`` with the mistakes of all, not only the first."""
    results: list[T] = []
    found: list[Diagnostic] = []
    for one in work:
        try:
            results.append(one())
        except Unresolved as error:
            found += (error.diagnostic, *error.further)
    if found:
        first, *further = dict.fromkeys(found)
        whole = Unresolved.of(first)
        whole.further = tuple(further)
        raise whole
    return tuple(results)


def both(one: Callable[[], T], two: Callable[[], U]) -> tuple[T, U]:
    """The same for two things of different kinds."""
    found: tuple[Any, ...] = all_of(one, two)
    return found[0], found[1]


def compile_pattern(source: str, flags: str, place: Place) -> str:
    """A pattern as both engines read it. Raises ``Unresolved`` when RE2 refuses it."""
    try:
        return compiled(source, flags)
    except PatternError as error:
        help_line = "match the text itself, or combine two tests with `and`" if "(?" in str(error) else None
        raise Unresolved("R303", str(error), place, help_line) from error


class Names:
    """Resolves concepts and contexts for one file."""

    def __init__(
        self, catalogue: Catalogue, frozen_labels: Mapping[str, tuple[str, ...]] | None = None
    ) -> None:
        self.catalogue = catalogue
        self.defined: dict[str, Concept] = {}
        self.frozen_labels = frozen_labels or {}
        """Label pattern to concept ids, from a lock."""
        self.matched_labels: dict[str, tuple[str, ...]] = {}
        """Label pattern to concept ids, as found now or frozen."""
        self.broken: dict[str, Diagnostic] = {}
        """Concept of the file whose statement has an error, to that error: using it is no second mistake."""
        self.warnings: list[Diagnostic] = []
        self._by_name: dict[str, list[ConceptEntry]] = {}
        for entry in catalogue.concepts:
            plain = entry.label.replace('"', "")
            for key in {entry.name or "", entry.label, entry.label.removeprefix("@"), plain} - {""}:
                self._by_name.setdefault(key, []).append(entry)

    def concept(self, name: str, place: Place) -> Concept:
        """The concept behind ``@name``."""
        if name in self.defined:
            return self.defined[name]
        if name in self.broken:
            raise Unresolved.of(self.broken[name])
        found = self._by_name.get(name, [])
        named = [e for e in found if e.name == name]
        found = named or found
        if len(found) == 1:
            return _of_entry(name, found[0])
        if found:
            ids = ", ".join(f'id "{e.concept_id[:8]}" ({_size(e)})' for e in found[:4])
            message = f"{len(found)} concepts are called `{name}`"
            raise Unresolved("R203", message, place, f"define one, `concept NAME = id …`: {ids}")
        if name in BUILT_IN:
            return Concept(name, "built-in")
        close = _nearest(name, [*self.defined, *self._by_name, *BUILT_IN])
        if name.startswith(MARK):
            help_line = f"`{MARK.strip()}` marks a proposed name: give it first, `prosect names take`"
        elif close is not None:
            help_line = f"did you mean `{concept_literal(close)}`?"
        elif self.defined:
            help_line = "this file has " + ", ".join(concept_literal(n) for n in list(self.defined)[:6])
        else:
            help_line = "`prosect concepts` lists them"
        raise Unresolved("R201", f"there is no concept `@{name}`", place, help_line)

    def define(self, statement: ConceptStatement) -> Concept:
        """Resolve and remember a concept statement."""
        included: set[int] = set()
        scored: list[Concept] = []
        for member in statement.members:
            for part in self._member(member):
                if part.kind != "latents":
                    scored.append(part)
                elif member.joined_by == "or":
                    included |= set(part.members)
                else:
                    included -= set(part.members)
        if scored and (len(statement.members) > 1 or len(scored) > 1):
            message = f"`{scored[0].name}` has a score of its own and cannot be united with others"
            raise Unresolved("R207", message, statement.place, "give it a concept statement of its own")
        if scored:
            only = scored[0]
            found = Concept(statement.name, only.kind, (), only.number, only.concept_id)
            if only.kind == "built-in":
                found = Concept(only.name, "built-in")
        else:
            if not included:
                raise Unresolved("R201", f"`{statement.name}` holds no latent", statement.place)
            members = tuple(sorted(included))
            same = next((e for e in self.catalogue.concepts if e.members == members), None)
            found = Concept(
                statement.name, "latents", members, same.number if same else None,
                same.concept_id if same else None,
            )  # fmt: skip
        self.defined[statement.name] = found
        return found

    def _member(self, member: Member) -> list[Concept]:
        if member.kind == "latent":
            number = int(member.value)
            limit = self.catalogue.n_latents
            if limit is not None and number >= limit:
                raise Unresolved("R208", f"there is no latent #{number}", member.place, f"0 to {limit - 1}")
            return [Concept(f"#{number}", "latents", (number,))]
        if member.kind == "concept":
            return [self.concept(member.value, member.place)]
        if member.kind == "id":
            return [self._by_id(member)]
        return self._by_label(member)

    def _by_id(self, member: Member) -> Concept:
        found = [e for e in self.catalogue.concepts if e.concept_id.startswith(member.value)]
        if len(found) == 1:
            return _of_entry(member.value, found[0])
        if found:
            message = f"{len(found)} concepts have ids that begin with {member.value}"
            raise Unresolved("R203", message, member.place, "write more digits")
        raise Unresolved("R201", f"no concept has an id that begins with {member.value}", member.place)

    def _by_label(self, member: Member) -> list[Concept]:
        pattern = compile_pattern(member.value, member.flags, member.place)
        regex = search(pattern)
        now = [
            e for e in self.catalogue.concepts
            if e.members and (regex.search(e.label) or (e.name and regex.search(e.name)))
        ]  # fmt: skip
        frozen = self.frozen_labels.get(pattern)
        if frozen is not None and {e.concept_id for e in now} != set(frozen):
            message = f"/{member.value}/ now matches {len(now)} concepts; the lock's {len(frozen)} are used"
            self.warnings.append(
                Diagnostic(
                    "R502", message, member.place, "update the lock to accept the new match", Severity.WARNING
                )
            )
            now = [e for e in self.catalogue.concepts if e.concept_id in frozen]
        if not now:
            raise Unresolved(
                "R201", f"no label matches /{member.value}/", member.place, "look at the concepts"
            )
        self.matched_labels[pattern] = tuple(sorted(e.concept_id for e in now))
        return [_of_entry(e.label, e) for e in now]

    def context(self, text: str, place: Place) -> ContextEntry:
        """The index context with this label or id prefix."""
        contexts = self.catalogue.contexts
        found = [c for c in contexts if c.name == text]
        if not found and len(text) >= 4:
            found = [c for c in contexts if c.context_id.startswith(text)]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(f'context("{c.context_id[:8]}")' for c in found[:4])
            raise Unresolved("R203", f"{len(found)} contexts are called `{text}`", place, f"say which: {ids}")
        names = [c.name for c in contexts]
        near = _nearest(text, names)
        otherwise = "known: " + ", ".join(names[:6]) if names else None
        help_line = f"did you mean `{near}`?" if near else otherwise
        raise Unresolved("R206", f"there is no context `{text}`", place, help_line)


_ALIKE = 0.8
"""Spelling that is this close is a slip of the finger, whatever words it shares with other names."""


def _nearest(text: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant, None where nothing is near.

    A slip in the spelling comes first, then the name with most of the words: topics and working labels are
    named by words. One word in common with a text of several says nothing.
    """
    known = list(names)
    words = set(re.findall(r"\w+", text.lower()))
    close = suggest(text, known, least=_ALIKE)
    if close:
        return close[0]
    found = [(len(words & set(re.findall(r"\w+", name.lower()))), name) for name in known]
    best = max((n for n, _ in found), default=0)
    if best > len(words) / 2:
        return next(name for n, name in found if n == best)
    close = suggest(text, known) if len(words) < 2 else []
    return close[0] if close else None


def _of_entry(name: str, entry: ConceptEntry) -> Concept:
    kind = "latents" if entry.members else "scored"
    return Concept(name, kind, entry.members, entry.number, entry.concept_id)


def _size(entry: ConceptEntry) -> str:
    return f"{len(entry.members)} latents" if entry.members else entry.kind

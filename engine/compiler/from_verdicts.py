"""A rule file from people's verdicts: a start to edit, with a link back to each decision."""

from collections.abc import Sequence

from engine.compiler.records import VerdictNote
from engine.errors import RuleError
from engine.records import Verdict
from engine.rules.catalogue import Catalogue
from engine.rules.lexer import concept_literal
from engine.rules.parser import RESERVED
from engine.rules.syntax import LANGUAGE_VERSION
from engine.safe_text import one_line

METHODS = ("matching", "offset", "dropping")


def rules_from_verdicts(
    verdicts: Sequence[VerdictNote],
    catalogue: Catalogue,
    *,
    method: str = "matching",
    strength: float = 0.5,
    amplify_to: float = 0.2,
    share: float = 5.0,
) -> str:
    """The text of a rule file; statements have names, so that ledgers say what they are.

    Args:
        verdicts: the verdicts in force; ``ignore`` is passed over, ``keep`` becomes a comment,
            since holding follows from the verdict itself.
        catalogue: of the index.
        method: matching, offset or dropping.
        strength: λ of offsets.
        amplify_to: target of amplifying by matching, in standard deviations.
        share: percent that dropping drops.

    Raises:
        RuleError: a strength that the language does not take.
    """
    if method == "offset" and not 0 <= strength < float("inf"):
        raise RuleError(
            f"the strength λ of offsets must be a number from 0 on, not {strength:g}",
            hint="the verb carries the sign: `amplify` is the opposite of `suppress`",
        )
    known = {c.concept_id: c for c in catalogue.concepts}
    contexts = {c.context_id: c for c in catalogue.contexts}
    lines = [f"prosect rules {LANGUAGE_VERSION}", "# Made from verdicts; edit freely."]
    definitions: dict[str, str] = {}
    statements: list[str] = []
    rule_names: set[str] = set()
    targets = [v for v in verdicts if v.verdict in (Verdict.SUPPRESS, Verdict.AMPLIFY)]
    for note in sorted(targets, key=lambda v: (v.concept_id, v.context_id or "")):
        entry = known.get(note.concept_id)
        if entry is None:
            gone = f"# {note.verdict} {note.concept_id}: not in this index"
            statements.append(f"{gone} · {_journal(note)}" if note.entry else gone)
            continue
        name = _unused(note.name or entry.name or entry.label, definitions, note.concept_id)
        definitions[note.concept_id] = name
        where = ""
        context = contexts.get(note.context_id or "")
        if note.context_id and context is not None and context.number != 0:
            where = f' where context("{note.context_id[:12]}")'
        elif note.context_id and context is None:
            statements.append(f"# context {note.context_id} is not in this index: shaped everywhere")
        about = " · ".join(one_line(x) for x in (note.reason, note.author, _journal(note)) if x)
        if about:
            statements.append(f"# {about}")
        how = _method(note.verdict, method, strength, amplify_to, share)
        rule = _free(f"{note.verdict}_{name}", rule_names)
        rule_names.add(rule)
        statements.append(f"{rule}: {note.verdict} {concept_literal(name)} by {how}{where}")
    for ident, name in definitions.items():
        comment = "" if name == known[ident].label else f"  # {one_line(known[ident].label)}"
        lines.append(f'concept {name} = id "{_prefix(ident, list(known))}"{comment}')
    lines += statements
    held = [v for v in verdicts if v.verdict is Verdict.KEEP]
    for note in held:
        label = note.name or (known[note.concept_id].label if note.concept_id in known else note.concept_id)
        about = " · ".join(one_line(x) for x in (label, note.reason, note.author, _journal(note)) if x)
        lines.append(f"# held: {about}")
    return "\n".join(lines) + "\n"


def _journal(note: VerdictNote) -> str:
    """Which journal entry a statement comes from."""
    return f"journal {note.entry}" if note.entry else ""


def _method(verdict: Verdict, method: str, strength: float, amplify_to: float, share: float) -> str:
    if method == "offset":
        return f"offset {strength:g}"
    if method == "dropping":
        return f"dropping {share:g}%"
    return "matching" if verdict is Verdict.SUPPRESS else f"matching to {amplify_to:g}"


def _unused(label: str, taken: dict[str, str], ident: str) -> str:
    """A name for a concept statement: the label as a word, made unique."""
    if ident in taken:
        return taken[ident]
    word = "".join(c if c.isalnum() else "_" for c in label).strip("_").lower()
    while "__" in word:
        word = word.replace("__", "_")
    if not word or not word[0].isalpha():
        word = f"c_{word}" if word else f"c_{ident[:8]}"
    return _free(word, set(taken.values()))


def _free(word: str, taken: set[str]) -> str:
    """The word, shortened and numbered where it is taken."""
    candidate = word[:40].rstrip("_")
    number = 2
    while candidate in taken or candidate in RESERVED:
        candidate = f"{word[:36]}_{number}"
        number += 1
    return candidate


def _prefix(ident: str, everything: Sequence[str]) -> str:
    """The shortest prefix of at least 12 digits that names one concept."""
    for length in range(12, len(ident)):
        if sum(other.startswith(ident[:length]) for other in everything) == 1:
            return ident[:length]
    return ident

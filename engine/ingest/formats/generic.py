"""Any table, mapped by hand in one line: ``prompt=question,a=left,b=right,label=won,a_wins=1,b_wins=2``."""

import difflib
from collections.abc import Mapping
from typing import Any

from engine.errors import IngestError
from engine.ingest.drafts import Draft, Dropped, Notes, Reason, Row, oriented
from engine.ingest.formats.base import WEIGHT, Format, weight_of
from engine.ingest.formats.shape import Shape
from engine.ingest.formats.transcripts import is_open_transcript, open_transcript_turns
from engine.ingest.formats.trl import explicit_draft
from engine.ingest.formats.turns import number, prompt_turns, side_turns, word

TEXT_ROLES = ("prompt", "chosen", "rejected", "a", "b", "system", "label")
EXTRA_ROLES = (
    "strength",
    "score_chosen",
    "score_rejected",
    "score_a",
    "score_b",
    "model_chosen",
    "model_rejected",
    "model_a",
    "model_b",
    "annotator",
    "language",
    "conversation_id",
    "source",
    "tools",
    "weight",
)
VALUE_ROLES = ("a_wins", "b_wins", "tie", "both_bad")
"""Roles that are given a value of the label column instead of a column."""
UNEXPLAINED = ": say a_wins=VALUE,b_wins=VALUE in --map"
"""How the report speaks of a label without a meaning, after its value."""
EXAMPLE = (
    "--map prompt=COLUMN,chosen=COLUMN,rejected=COLUMN or --map prompt=COLUMN,a=COLUMN,b=COLUMN,label=COLUMN"
)

_A = {"a", "model_a", "response_a", "left", "first", "chosen_a", "response_1", "response1", "model_1", "a>b"}
_B = {
    "b",
    "model_b",
    "response_b",
    "right",
    "second",
    "chosen_b",
    "response_2",
    "response2",
    "model_2",
    "b>a",
}
_TIE = {"tie", "equal", "both", "both_equal", "draw", "same"}
_BOTH_BAD = {"both_bad", "bothbad", "tie (bothbad)", "both bad", "neither"}


def preference_word(value: Any) -> tuple[float | None, bool] | None:
    """(preference, both bad) of a label in words; None where the word is not known."""
    said = str(value).strip().lower()
    if said in _A:
        return 1.0, False
    if said in _B:
        return -1.0, False
    if said in _BOTH_BAD:
        return None, True
    return (0.0, False) if said in _TIE else None


def is_complete(mapping: Mapping[str, str]) -> bool:
    """The mapping names both sides, and the label where the sides are slots."""
    return {"chosen", "rejected"} <= mapping.keys() or {"a", "b", "label"} <= mapping.keys()


def check_mapping(mapping: Mapping[str, str], shape: Shape) -> None:
    """Raise ``IngestError`` for a role or a column that does not exist."""
    known = (*TEXT_ROLES, *EXTRA_ROLES, *VALUE_ROLES)
    for role, column in mapping.items():
        if role not in known:
            close = difflib.get_close_matches(role, known, 1)
            meant = f"; did you mean `{close[0]}`?" if close else ""
            raise IngestError(f"--map: `{role}` is no role{meant}", hint="roles: " + ", ".join(known))
        if role not in VALUE_ROLES and not shape.has(column):
            raise IngestError(
                f"--map {role}={column}: there is no column `{column}`",
                hint="columns and what they hold:\n" + shape.describe(),
            )


def renamed(row: Row, mapping: Mapping[str, str]) -> dict[str, Any]:
    """The row with mapped columns under their role's name (for detection after a partial mapping)."""
    names = {"weight": WEIGHT}  # a column called weight may mean anything until the user says so
    back = {column: names.get(role, role) for role, column in mapping.items() if role not in VALUE_ROLES}
    return {back.get(name, name): value for name, value in row.items() if name in back or name not in mapping}


def mapped_format(mapping: Mapping[str, str]) -> Format:
    """The format that a complete mapping describes."""
    columns = frozenset(c for r, c in mapping.items() if r not in VALUE_ROLES)

    def convert(row: Row, notes: Notes) -> list[Draft]:
        seen = {role: row.get(column) for role, column in mapping.items() if role not in VALUE_ROLES}
        draft = _draft(seen, mapping, notes)
        _extras(draft, seen)
        return [draft]

    shape = ", ".join(f"{role}={column}" for role, column in mapping.items())
    return Format("map", "mapped by hand", shape, lambda _: True, convert, columns)


def _draft(seen: Mapping[str, Any], mapping: Mapping[str, str], notes: Notes) -> Draft:
    value = seen.get("prompt")
    if isinstance(value, str) and is_open_transcript(value):
        prompt = open_transcript_turns(value)
    else:
        prompt = prompt_turns(value, notes, "prompt") if "prompt" in seen else ()
    if isinstance(seen.get("system"), str) and seen["system"]:
        prompt = (("system", seen["system"]), *prompt)
    if "chosen" in seen:
        chosen = side_turns(seen["chosen"], notes, mapping["chosen"])
        rejected = side_turns(seen["rejected"], notes, mapping["rejected"])
        return explicit_draft(prompt, chosen, rejected, notes)
    a, b = side_turns(seen["a"], notes, mapping["a"]), side_turns(seen["b"], notes, mapping["b"])
    whole = explicit_draft(prompt, a, b, notes)
    preference, both_bad = _preference(seen["label"], mapping)
    return oriented(whole.prompt, whole.chosen, whole.rejected, preference, both_bad=both_bad)


def _preference(value: Any, mapping: Mapping[str, str]) -> tuple[float | None, bool]:
    if value is None:
        return None, False
    said = str(value)
    for role, answer in (("a_wins", (1.0, False)), ("b_wins", (-1.0, False)), ("tie", (0.0, False))):
        if role in mapping and _same(said, mapping[role]):
            return answer
    if "both_bad" in mapping and _same(said, mapping["both_bad"]):
        return None, True
    known = preference_word(value)
    if known is None:
        raise Dropped(Reason.UNKNOWN_LABEL, f"{said[:40]!r}{UNEXPLAINED}")
    return known


def _same(said: str, meant: str) -> bool:
    left, right = number(said), number(meant)
    return said == meant or (left is not None and left == right) or said.lower() == meant.lower()


def _extras(draft: Draft, seen: Mapping[str, Any]) -> None:
    strength = number(seen.get("strength"))
    draft.strength = None if strength is None else abs(strength)
    if seen.get("weight") is not None:
        draft.weight = weight_of(seen["weight"])
    slot = draft.chosen_was
    sides = {"chosen": "b" if slot == "b" else "a", "rejected": "a" if slot == "b" else "b"}
    for side, letter in sides.items():
        score = seen.get(f"score_{side}", seen.get(f"score_{letter}"))
        model = seen.get(f"model_{side}", seen.get(f"model_{letter}"))
        setattr(draft, f"score_{side}", number(score))
        setattr(draft, f"model_{side}", word(model))
    for role in ("annotator", "language", "conversation_id", "source"):
        setattr(draft, role, word(seen.get(role)))

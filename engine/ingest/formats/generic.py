"""Any table, mapped by hand in one line: ``prompt=question,a=left,b=right,label=won,a_wins=1,b_wins=2``."""

from collections.abc import Mapping
from typing import Any

from engine.ingest.drafts import Draft, Dropped, Notes, Reason, Row, oriented
from engine.ingest.formats.base import WEIGHT, Format, as_json, as_strength, unread_value
from engine.ingest.formats.transcripts import is_open_transcript, open_transcript_turns
from engine.ingest.formats.trl import explicit_draft
from engine.ingest.formats.turns import is_messages, prompt_turns, side_turns, unpacked, with_system
from engine.ingest.formats.values import number, stated, weight_of, word

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
    """The mapping names both sides, and where these are slots the label or the scores that make one."""
    sides = ({"chosen", "rejected"}, {"a", "b", "label"}, {"a", "b", "score_a", "score_b"})
    return any(named <= mapping.keys() for named in sides)


def renamed(row: Row, mapping: Mapping[str, str]) -> dict[str, Any]:
    """The row with mapped columns under their role's name (for detection after a partial mapping).

    A column that goes by the name of a role which another column was mapped to stays as ``NAME_column``.
    """
    names = {"weight": WEIGHT}  # a column called weight may mean anything until the user says so
    back: dict[str, list[str]] = {}
    for role, column in mapping.items():
        if role not in VALUE_ROLES:
            back.setdefault(column, []).append(names.get(role, role))
    taken = {name for given in back.values() for name in given}
    made = {}
    for column, value in row.items():
        for name in back.get(column, [f"{column}_column" if column in taken else column]):
            made[name] = value
    return made


def mapped_format(mapping: Mapping[str, str]) -> Format:
    """The format that a complete mapping describes."""
    columns = frozenset(c for r, c in mapping.items() if r not in VALUE_ROLES)

    def convert(row: Row, notes: Notes) -> list[Draft]:
        seen = {role: row.get(column) for role, column in mapping.items() if role not in VALUE_ROLES}
        draft = _draft(seen, mapping, notes)
        draft.prompt = with_system(seen, draft.prompt)  # sides may carry the whole conversation but that
        read = _read_texts(seen) | _extras(draft, seen)
        for role, value in seen.items():
            if role not in read and stated(value) is not None:
                draft.meta[mapping[role]] = value
                notes.append(unread_value(role, value))
        return [draft]

    shape = ", ".join(f"{role}={column}" for role, column in mapping.items())
    return Format(
        "map", "mapped by hand", shape, lambda _: True, convert, columns, takes_system=False
    )  # which text is part of the prompt is said by the mapping alone


def _draft(seen: Mapping[str, Any], mapping: Mapping[str, str], notes: Notes) -> Draft:
    value = _messages(seen.get("prompt"))
    if isinstance(value, str) and is_open_transcript(value):
        prompt = open_transcript_turns(value)
    else:
        prompt = prompt_turns(value, notes, mapping["prompt"]) if "prompt" in seen else ()
    prompt = with_system(seen, prompt)
    first, second = ("chosen", "rejected") if "chosen" in seen else ("a", "b")
    one = side_turns(_messages(seen[first]), notes, mapping[first])
    whole = explicit_draft(prompt, one, side_turns(_messages(seen[second]), notes, mapping[second]), notes)
    if first == "chosen":
        return whole
    preference, both_bad = (
        _preference(seen["label"], mapping) if "label" in seen else (_by_scores(seen), False)
    )
    return oriented(whole.prompt, whole.chosen, whole.rejected, preference, both_bad=both_bad)


def _messages(value: Any) -> Any:
    """Messages that arrived as JSON text, as such; any other value as it is."""
    if not isinstance(value, str) or value[:1] not in ("[", "{"):
        return value
    inner = unpacked(value)
    return inner if is_messages(inner if isinstance(inner, list) else [inner]) else value


def _read_texts(seen: Mapping[str, Any]) -> set[str]:
    """Roles whose column became a text of the pair or its label."""
    read = {"prompt", "chosen", "rejected"} if "chosen" in seen else {"prompt", "a", "b", "label"}
    return read | {"system"} if isinstance(seen.get("system"), str) else read


def _preference(value: Any, mapping: Mapping[str, str]) -> tuple[float | None, bool]:
    said = str(value)
    for role, answer in (("a_wins", (1.0, False)), ("b_wins", (-1.0, False)), ("tie", (0.0, False))):
        if role in mapping and _same(said, mapping[role]):
            return answer
    if "both_bad" in mapping and _same(said, mapping["both_bad"]):
        return None, True
    if stated(value) is None:
        return None, False
    known = preference_word(value)
    if known is None:
        raise Dropped(Reason.UNKNOWN_LABEL, f"{said[:40]!r}{UNEXPLAINED}")
    return known


def _by_scores(seen: Mapping[str, Any]) -> float | None:
    """The slot with the higher score; a tie where both are equal, no label where one has none."""
    a, b = number(seen["score_a"]), number(seen["score_b"])
    return None if a is None or b is None else float((a > b) - (a < b))


def _same(said: str, meant: str) -> bool:
    left, right = number(said), number(meant)
    return said == meant or (left is not None and left == right) or said.lower() == meant.lower()


def _extras(draft: Draft, seen: Mapping[str, Any]) -> set[str]:
    """Fill everything beside texts and label; the roles whose value was taken."""
    found: dict[str, Any] = {role: word(seen.get(role)) for role in _PLAIN}
    strength = number(seen.get("strength"))
    if strength is None and "label" not in seen and "chosen" not in seen:
        a, b = number(seen["score_a"]), number(seen["score_b"])
        strength = None if a is None or b is None else a - b
    found["strength"] = None if strength is None else as_strength(strength, draft)
    if (weight := stated(seen.get("weight"))) is not None:
        found["weight"] = weight_of(weight)
    if seen.get("tools"):
        found["tools"] = as_json(seen["tools"])
    for role, value in found.items():
        setattr(draft, role, value)
    read = {role for role, value in found.items() if value is not None}
    slot = draft.chosen_was
    sides = {"chosen": "b" if slot == "b" else "a", "rejected": "a" if slot == "b" else "b"}
    for side, letter in sides.items():
        for what, plain in (("score", number), ("model", word)):
            role = f"{what}_{side}" if f"{what}_{side}" in seen else f"{what}_{letter}"
            if (value := plain(seen.get(role))) is not None:
                setattr(draft, f"{what}_{side}", value)
                read.add(role)
    return read


_PLAIN = ("annotator", "language", "conversation_id", "source")

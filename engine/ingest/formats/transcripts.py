"""Pairs of whole texts without a prompt column: HH-RLHF transcripts, chat markup, plain continuations.

TRL's own splitter works on characters ("…blue" against "…blue and vast" leaves the answers "e" and "e and
vast"), so prompts are cut here, at markers or at least between words, and handed on explicitly.
"""

import os
import re

from engine.ingest.drafts import Draft, Dropped, Kind, Note, Notes, Reason, Row, Turns
from engine.ingest.formats.base import Format
from engine.ingest.formats.shape import Shape, ValueKind
from engine.ingest.formats.turns import split_common
from engine.ingest.formats.values import text

_TURN = re.compile(r"(?:\A|\n\n)(Human|Assistant): ?")
_ASSISTANT_MARKERS = (
    "<|im_start|>assistant\n",
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "<start_of_turn>model\n",
    "<|assistant|>\n",
    "<|assistant|>",
    "[/INST]",
    "### Response:\n",
    "### Response:",
    "### Assistant:",
    "\n\nAssistant:",
    "\nAssistant:",
)


def transcript_turns(transcript: str) -> Turns:
    r"""Turns of "\n\nHuman: …\n\nAssistant: …"; one space after the colon belongs to the marker.

    Text before the first marker becomes a system turn.
    """
    pieces = _TURN.split(transcript)
    turns = [("system", pieces[0])] if pieces[0].strip() else []
    turns += [
        ("user" if speaker == "Human" else "assistant", said)
        for speaker, said in zip(pieces[1::2], pieces[2::2], strict=True)
    ]
    return tuple(turns)


def is_open_transcript(prompt: str) -> bool:
    """True for a prompt that is itself a transcript ending in an open "Assistant:"."""
    return prompt.rstrip().endswith("\n\nAssistant:") and _TURN.match(prompt) is not None


def open_transcript_turns(prompt: str) -> Turns:
    """Turns of a transcript that ends in an open "Assistant:"."""
    return transcript_turns(prompt.rstrip().removesuffix("\n\nAssistant:"))


def _convert_hh(row: Row, notes: Notes) -> list[Draft]:
    sides = []
    for column in ("chosen", "rejected"):
        turns = transcript_turns(text(row, column))
        if not any(role != "system" for role, _ in turns):
            raise Dropped(Reason.NO_MARKER, column)
        if turns[-1][0] != "assistant":
            raise Dropped(Reason.NO_ANSWER, f"{column} ends with a human turn")
        sides.append(turns)
    return [Draft(*split_common(sides[0], sides[1], notes))]


def split_texts(chosen: str, rejected: str) -> tuple[str, str, str]:
    """Prompt and two continuations of two texts that begin alike.

    Cut after the last assistant marker of the common beginning; without one at the last white space
    between words, which then belongs to the continuations. Neither continuation is ever blank; where
    nothing is shared the prompt is empty.
    """
    shared = os.path.commonprefix([chosen, rejected])  # noqa: RUF071 - texts, character by character
    cut = max((shared.rfind(m) + len(m) for m in _ASSISTANT_MARKERS if m in shared), default=0)
    if cut and chosen[cut:].strip() and rejected[cut:].strip():
        return shared[:cut], chosen[cut:], rejected[cut:]
    ends = [m.start() for m in re.finditer(r"(?<=\S)\s", shared)]
    at_end = len(shared)
    if (
        shared
        and not shared[-1].isspace()
        and all(s[at_end : at_end + 1].isspace() for s in (chosen, rejected))
    ):
        ends.append(at_end)
    for end in reversed(ends):
        if chosen[end:].strip() and rejected[end:].strip():
            return shared[:end], chosen[end:], rejected[end:]
    return "", chosen, rejected


def _convert_texts(row: Row, notes: Notes) -> list[Draft]:
    chosen, rejected = text(row, "chosen"), text(row, "rejected")
    if chosen == rejected:
        raise Dropped(Reason.IDENTICAL_SIDES)
    if _TURN.match(chosen) and _TURN.match(rejected):
        return _convert_hh(row, notes)
    prompt, a, b = split_texts(chosen, rejected)
    notes.append(Note(Kind.NOTED, Reason.PROMPT_GUESSED if prompt else Reason.NO_PROMPT, ""))
    before: Turns = (("user", prompt),) if prompt else ()
    return [Draft(before, (("assistant", a),), (("assistant", b),))]


def _detect_hh(shape: Shape) -> bool:
    return not shape.has("prompt") and all(
        shape.holds(c, ValueKind.TRANSCRIPT) for c in ("chosen", "rejected")
    )


def _detect_texts(shape: Shape) -> bool:
    return not shape.has("prompt") and shape.is_text("chosen", "rejected") and not _detect_hh(shape)


HH_RLHF = Format(
    "hh-rlhf",
    "HH-RLHF transcripts",
    'chosen, rejected: texts with "\\n\\nHuman: " and "\\n\\nAssistant: " markers',
    _detect_hh,
    _convert_hh,
    frozenset({"chosen", "rejected"}),
    rank=2,
)
IMPLICIT_TEXT = Format(
    "trl-implicit",
    "TRL, standard, implicit prompt",
    "chosen, rejected: texts that both begin with the prompt",
    _detect_texts,
    _convert_texts,
    frozenset({"chosen", "rejected"}),
    rank=0,
)

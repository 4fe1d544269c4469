"""A proposed name on the page of its concept, how far it was recognised, and imported labels. Pure."""

from collections.abc import Sequence
from itertools import islice

from engine.safe_text import one_line
from engine.views.names import LatentLabel, NameProposal, Recognition
from tui import format as fmt
from tui.lines import Line, fit, wrapped

_TITLE = 16
"""Cells of the words before a line, as of the lines above it."""
_DESCRIPTION = 3
"""Lines of a description at most."""


def proposal_lines(proposal: NameProposal, width: int, *, is_brief: bool = False) -> list[Line]:
    """What a model proposed; in brief only what lists show too."""
    if is_brief and not proposal.is_recognised:
        return []
    room = max(width - _TITLE, 8)
    role = "text" if proposal.is_recognised else "dim"
    lines: list[Line] = [_line("proposed name", proposal.name, room, role)]
    if is_brief:
        return lines
    lines += [
        _line("", part, room, "dim") for part in islice(wrapped(proposal.description, room), _DESCRIPTION)
    ]
    date = proposal.time[:10]
    said = [f"by {one_line(proposal.model, 60)}, {date}, from {fmt.count(proposal.n_shown)} excerpts"]
    if proposal.tested_by:
        said = [proposal.model, f"tested by {one_line(proposal.tested_by, 60)}, {date}"]
    lines += [_line("", part, room, "dim") for part in said]
    title = "recognised" if proposal.is_recognised else "not recognised"
    if proposal.recognition is None:
        return [*lines, _line("not tested", "too few other excerpts, or stopped before", room, "dim")]
    for n, part in enumerate(_recognised(proposal.recognition, room)):
        lines.append(_line("" if n else title, part, room, role))
    return lines


def imported_lines(labels: Sequence[LatentLabel], width: int) -> list[Line]:
    """What other people's files call the most central latents."""
    room = max(width - _TITLE, 8)
    lines: list[Line] = []
    for label in labels:
        number = f"#{label.latent}"
        lines.append(_line(f"{number[: _TITLE - 1]:{_TITLE}}", label.text, room, "dim"))
    files = dict.fromkeys(label.file for label in labels)
    return lines + [_line("", f"label from {file}, untested", room, "dim") for file in files]


def _recognised(found: Recognition, room: int) -> list[str]:
    """``18 of 20 excerpts told right by the name alone [68%, 99%] p <.001``"""
    numbers = f"[{found.low:.0%}, {found.high:.0%}] p {fmt.q_value(found.p)}"
    long = f"{found.n_right} of {found.n} excerpts told right by the name alone {numbers}"
    said = [long if len(long) <= room else f"{found.n_right} of {found.n} {numbers}"]
    if not found.are_silent:
        said.append("against responses with least of it: it is nearly everywhere")
    if not found.is_recognised:
        said.append(f"p is above the level {found.level:g}: lists do not show it")
    return said


def _line(title: str, text: str, room: int, role: str) -> Line:
    return ((f"{title:{_TITLE}}", "dim"), (fit(one_line(text), room).rstrip(), role))

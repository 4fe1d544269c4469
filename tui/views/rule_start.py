"""What stands below a rule file without a statement: how one begins, and what statements look like. Pure."""

from tui.lines import PaneLine, fit

KEYS = (
    ("o", "writes a statement; tab completes, its effect shows as you type"),
    ("A", "makes statements of your verdicts"),
)
EXAMPLES = (
    ("drop where rejected.text ~ /sorry/i", "pairs to leave out"),
    ("weight *= 0.5 where delta(@length) > 0", "pairs that count less"),
    ("suppress @length by matching", "a concept not to be learned"),
    ("expect kept >= 80%", "else nothing is compiled"),
)
"""Statements that every index takes, with what they are for."""
INDENT = " " * 5
MORE = "prosect help rules says all of it"


def start_lines(width: int) -> list[PaneLine]:
    """Keys that begin a file, then a statement of each kind."""
    room = max(width - len(INDENT), 8)
    said = max(len(text) for text, _ in EXAMPLES) + 2
    lines = [PaneLine(()), PaneLine(((f"{INDENT}No statement yet", "title"),))]
    for key, what in KEYS:
        lines.append(
            PaneLine(((f"{INDENT}{key:<3}", "key"), (fit(what, room - 3, more="…").rstrip(), "text")))
        )
    lines += [PaneLine(()), PaneLine(((f"{INDENT}For example", "title"),))]
    for text, what in EXAMPLES:
        beside = fit(what, room - said, more="…").rstrip() if room - said > len(what) // 2 else ""
        lines.append(PaneLine(((f"{INDENT}{text:<{said}}", "text"), (beside, "dim"))))
    return [*lines, PaneLine(()), PaneLine(((INDENT + MORE, "dim"),))]

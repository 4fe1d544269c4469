"""Titles of sections, among which ``tab`` moves. Pure."""

from tui.lines import PaneLine


def heading(text: str, note: str = "") -> PaneLine:
    """A section's title with what its numbers mean."""
    return PaneLine(((text, "title"), ("  " + note if note else "", "dim")), is_heading=True)

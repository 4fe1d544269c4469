"""How a pair is laid out: what the keys of its page change. Pure."""

from dataclasses import dataclass
from enum import StrEnum

MIN_SPLIT = 90
"""Cells below which two columns are too narrow to read."""


class Layout(StrEnum):
    """How the two responses are shown."""

    SPLIT = "side by side"
    STACK = "stacked"
    INLINE = "inline"


@dataclass(frozen=True, slots=True)
class PairOptions:
    """What the keys of the pair screen change."""

    layout: Layout | None = None
    """None: by width."""
    is_diffed: bool = True
    is_prompt_open: bool = False
    is_lit: bool = True
    """Activations token by token, once they were read."""

    def layout_for(self, width: int) -> Layout:
        """The layout at a width; one text with differences needs differences."""
        layout = self.layout or (Layout.SPLIT if width >= MIN_SPLIT else Layout.INLINE)
        if (layout is Layout.SPLIT and width < MIN_SPLIT) or (layout is Layout.INLINE and not self.is_diffed):
            return Layout.STACK
        return layout

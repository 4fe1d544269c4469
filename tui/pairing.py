"""How a pair is shown: layout, differences, prompt, and whose peaks."""

from dataclasses import replace
from typing import TYPE_CHECKING

from engine.views import PairDetail
from tui import answers
from tui.views.pair import MIN_SPLIT, Layout

if TYPE_CHECKING:
    from tui.desk import Desk


class Pairing:
    """Actions of the pair view."""

    desk: "Desk"

    def do_layout(self) -> None:
        """Next layout."""
        options = self.desk.pair_options
        order = list(Layout)
        now = order.index(options.layout_for(self.desk.page_width))
        self.desk.pair_options = replace(options, layout=order[(now + 1) % len(order)])
        if self.desk.page_width < MIN_SPLIT and self.desk.pair_options.layout is Layout.SPLIT:
            self.desk.pair_options = replace(options, layout=Layout.STACK)
        self._redraw_pair()

    def do_diff(self) -> None:
        """Differences on and off."""
        self.desk.pair_options = replace(
            self.desk.pair_options, is_diffed=not self.desk.pair_options.is_diffed
        )
        self._redraw_pair()

    def do_fold_prompt(self) -> None:
        """Whole prompt or its first lines."""
        options = self.desk.pair_options
        self.desk.pair_options = replace(options, is_prompt_open=not options.is_prompt_open)
        self._redraw_pair()

    def _redraw_pair(self) -> None:
        answers.draw_page(self.desk, keep_place=True)
        self.desk.draw_where()

    def do_concepts(self) -> None:
        """Next concept of the pair."""
        detail = self.desk.detail
        if isinstance(detail, PairDetail) and detail.concepts:
            idents = [c.concept_id for c in detail.concepts]
            at = idents.index(detail.concept_id) + 1 if detail.concept_id in idents else 0
            self.desk.show(replace(self.desk.place, about=idents[at % len(idents)]))

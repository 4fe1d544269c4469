"""How a pair is shown: layout, differences, prompt, and whose peaks."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from engine.safe_text import one_line
from engine.views.details import PairDetail
from tui.views.layouts import MIN_SPLIT, Layout

if TYPE_CHECKING:
    from engine.views.strips import PairStrip, StripFailure
    from tui.desk import Desk


TICK_S = 0.15
"""How often the strip of the pair that is shown is asked for until it is there."""


READING = "reading the tokens…"


class StripsLike(Protocol):
    """Texts token by token, read by another process."""

    def request(self, pair: int, latents: Sequence[int]) -> "PairStrip | StripFailure | None":
        """A strip, why there is none, or None while it is being read."""


@runtime_checkable
class HasStrips(Protocol):
    """What a project needs to offer for token strips to exist."""

    strips: StripsLike


class Stripped(NamedTuple):
    """What is known of the tokens of a pair for one concept."""

    pair: int
    concept_id: str | None
    found: "PairStrip | str"
    """A strip, or why there is none."""


class Pairing:
    """Actions of the pair view."""

    desk: "Desk"
    strip: Stripped | None = None
    _round: tuple[int, tuple[str, ...]] = (-1, ())
    """A pair, and its concepts in the order in which ``t`` goes round them."""
    strip_failure: str | None = None
    """Why the reader cannot be asked; not asked again until somebody looks for changes."""

    # -- token strips -----------------------------------------------------------------------------------

    def ask_strip(self) -> None:
        """Ask for the tokens of the pair that is shown."""
        desk, detail = self.desk, self.desk.detail
        project = desk.session.project
        if not isinstance(detail, PairDetail) or not detail.peaks or not desk.pair_options.is_lit:
            return
        if not isinstance(project, HasStrips) or desk.place.view != "pair":
            return
        if self.strip_failure is not None:
            self.strip = Stripped(detail.pair, detail.concept_id, self.strip_failure)
            return
        strips, pair, concept_id = project.strips, detail.pair, detail.concept_id
        latents = sorted({p.latent for p in detail.peaks})
        desk.session.ask("strip", lambda: (pair, concept_id, strips.request(pair, latents)))

    def stripped(self, pair: int, concept_id: str | None, found: "PairStrip | StripFailure | None") -> None:
        """An answer about a pair's tokens."""
        from engine.views.strips import PairStrip, StripFailure

        if isinstance(found, StripFailure):
            hint = f" ({one_line(found.hint)})" if found.hint else ""
            self.strip_failure = f"no tokens: {one_line(found.message)}{hint}; R tries again"
        what = self.strip_failure or READING if not isinstance(found, PairStrip) else found
        before, self.strip = self.strip, Stripped(pair, concept_id, what)
        if before != self.strip:
            self._redraw_pair()
        if found is None:
            self.desk.set_timer(TICK_S, self.ask_strip)

    def strip_of(self, detail: PairDetail) -> "PairStrip | str | None":
        """What is known of the tokens of what is shown."""
        strip = self.strip
        is_this = strip is not None and (strip.pair, strip.concept_id) == (detail.pair, detail.concept_id)
        return strip.found if strip is not None and is_this and self.desk.pair_options.is_lit else None

    def do_activations(self) -> None:
        """Tokens lit or plain."""
        options = self.desk.pair_options
        self.desk.pair_options = replace(options, is_lit=not options.is_lit)
        self.ask_strip()
        detail = self.desk.detail
        if isinstance(detail, PairDetail) and detail.concept_id is None:
            why = "no concept is chosen whose activations could be lit: t chooses one"
        else:
            why = "no tokens to light: a latent of this concept fires on neither response, or it is a column"
        self._redraw_pair(why)

    # -- layout -----------------------------------------------------------------------------------------

    def do_layout(self) -> None:
        """Next layout; one that this width has no room for is skipped, with a word."""
        options, width = self.desk.pair_options, self.desk.frame.page_width
        order = list(Layout)
        layout = order[(order.index(options.layout_for(width)) + 1) % len(order)]
        if layout is Layout.SPLIT and width < MIN_SPLIT:
            self.desk.say(f"side by side needs {MIN_SPLIT} columns, here are {width}")
            layout = Layout.STACK
        is_diffed = options.is_diffed
        if layout is Layout.INLINE and not is_diffed:
            is_diffed = True
            self.desk.say("inline is made of the differences: they are marked again")
        self.desk.pair_options = replace(options, layout=layout, is_diffed=is_diffed)
        self._redraw_pair()

    def do_diff(self) -> None:
        """Differences on and off."""
        self.desk.pair_options = replace(
            self.desk.pair_options, is_diffed=not self.desk.pair_options.is_diffed
        )
        self._redraw_pair("the two responses have no words that differ")

    def do_fold_prompt(self) -> None:
        """Whole prompt or its first lines."""
        options = self.desk.pair_options
        self.desk.pair_options = replace(options, is_prompt_open=not options.is_prompt_open)
        self._redraw_pair("the whole prompt is shown: it is short")

    def _redraw_pair(self, unchanged: str = "") -> None:
        """Lay the pair out again; say why, where that changes nothing."""
        before = self.desk.page.lines
        self.desk.draw_page(keep_place=True)
        self.desk.draw_where()
        is_laid_out = self.desk.page.lines is not before
        if unchanged and is_laid_out and self.desk.page.lines == before:
            self.desk.say(unchanged)

    def do_concepts(self, count: int | None = None) -> None:
        """Next concept of the pair, round all of them."""
        detail = self.desk.detail
        if not isinstance(detail, PairDetail) or not detail.concepts:
            self.desk.say("no concept is carried by this pair", "warn")
            return
        idents = tuple(c.concept_id for c in detail.concepts)
        # the one that is shown comes first in the list: the round goes by the order that it began with
        if self._round[0] != detail.pair or set(self._round[1]) != set(idents):
            self._round = (detail.pair, idents)
        idents = self._round[1]
        at = idents.index(detail.concept_id) + (count or 1) if detail.concept_id in idents else 0
        self.desk.show(replace(self.desk.place, about=idents[at % len(idents)]))

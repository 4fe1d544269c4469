"""Where a person can be: a table, a concept, a context, a pair; and the shell command that shows the same."""

import shlex
from dataclasses import dataclass

TABLES = ("hypotheses", "contexts", "pairs")


@dataclass(frozen=True, slots=True)
class Place:
    """One stop in the history."""

    view: str
    """hypotheses, contexts, pairs, concept, context, pair, help, coverage …"""
    ident: str = ""
    """Id of the concept or context, number of the pair; for tables the filter text."""
    about: str | None = None
    """pair: the concept whose peaks are shown; pairs and concept: the context it is about."""

    @property
    def is_table(self) -> bool:
        """A grid is shown."""
        return self.view in TABLES

    def shell(self, root: str) -> str:
        """The headless twin of this place."""
        words = ["prosect", "show", root, self.view]
        if self.is_table:
            words += ["--filter", self.ident] if self.ident else []
        elif self.ident:
            words.append(self.ident)
        if self.about:
            words += ["--concept" if self.view == "pair" else "--context", self.about]
        return shlex.join(words)

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
        """The headless twin of this place; of the plan: the command that writes it."""
        return shlex.join(["prosect", *self._words(root)])

    def _words(self, root: str) -> list[str]:
        rules = f"{root}/rules/{self.ident or 'main'}.rules"
        if self.is_table:
            return [self.view, root, *(["-f", self.ident] if self.ident else [])]
        if self.view in ("concept", "pair"):
            return ["show", root, self.ident]
        words = {
            "context": ["hypotheses", root, "-f", f"context_id={self.ident}"],
            "rules": ["plan", root, rules],
            "plan": ["compile", root, rules],
            "run": ["outcome", f"{root}/runs/{self.ident}"],
            "runs": ["jobs", root],
            "jobs": ["jobs", root],
            "job": ["jobs", root, "--log", self.ident],
            "coverage": ["verdicts", "list", root],
        }
        return words.get(self.view, ["open", root])

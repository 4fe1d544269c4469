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

    def shell(self, root: str, sort: str = "") -> str:
        """The headless twin of this place.

        Args:
            root: the project's folder.
            sort: of a table, as ``--sort`` takes it; empty: the table's own order.
        """
        return shlex.join(["prosect", *self._words(root, sort)])

    def _words(self, root: str, sort: str) -> list[str]:
        rules = f"{root}/rules/{self.ident or 'main'}.rules"
        if self.is_table:
            options = {"--filter": self.ident, "--sort": sort, "--context": self.about or ""}
            given = [f"{name}={value}" for name, value in options.items() if value]
            return [self.view, root, *given]
        if self.view in ("concept", "pair"):
            inside = [f"--context={self.about}"] if self.view == "concept" and self.about else []
            return ["show", root, self.ident, *inside]
        words = {
            "context": ["hypotheses", root, f"--filter=context_id={self.ident}"],
            "rules": ["plan", root, rules],
            "plan": ["plan", root, rules],
            "shaped": [
                "export",
                f"{root}/shaped/{self.ident}",
                "--to=trl",
                f"--output={self.ident[:12]}-trl",
            ],
            "run": ["outcome", f"{root}/runs/{self.ident}"],
            "runs": ["jobs", root],
            "jobs": ["jobs", root],
            "job": ["jobs", root, "--log", self.ident],
            "coverage": ["verdicts", "list", root],
        }
        return words.get(self.view, ["open", root])

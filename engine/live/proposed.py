"""Names that a language model proposed, beside those that people gave, for ``Browser``."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from engine.naming.proposals import Proposals

if TYPE_CHECKING:
    from engine.views.names import NameProposal


class Proposed:
    """The proposals of one project as lists and pages want them. Answers do not wait for anything."""

    def __init__(self, path: Path) -> None:
        self._kept = Proposals(path)
        self.by_concept: Mapping[str, NameProposal] = self._kept.held()
        """The last proposal for each concept, recognised or not."""
        self._given: frozenset[str] = frozenset()

    @property
    def n_damaged(self) -> int:
        """Lines of the file that could not be read."""
        return self._kept.n_damaged

    def refresh(self) -> bool:
        """Take over what was proposed since; True when there was anything."""
        if not self._kept.refresh():
            return False
        self.by_concept = self._kept.held()
        return True

    def shown(self, given: Iterable[str]) -> list[tuple[str, str, bool]]:
        """Rows for lists: concept id, name, and that nobody gave it; of recognised names only.

        Args:
            given: ids of concepts that people have named; remembered.
        """
        self._given = frozenset(given)
        return [
            (ident, proposal.name, False)
            for ident, proposal in self.by_concept.items()
            if proposal.is_recognised and ident not in self._given
        ]

    def to_give(self, concept_id: str, *, untested: bool = False) -> str:
        """The proposed name of a concept that nobody has named; empty: there is none.

        Args:
            concept_id: its id.
            untested: also one that was not recognised.
        """
        found = self.by_concept.get(concept_id)
        if found is None or concept_id in self._given or not (untested or found.is_recognised):
            return ""
        return found.name

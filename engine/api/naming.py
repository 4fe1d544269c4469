"""Names that a language model proposes: what would be asked, asking, and taking what is worth taking."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from engine.api.base import Base
from engine.errors import NamingError
from engine.progress import NullProgress, Progress

if TYPE_CHECKING:
    from engine.pipeline.naming import NamingPlan
    from engine.pipeline.naming_run import NamingReport
    from engine.views.names import LabelReport, NameProposal


@dataclass(frozen=True, slots=True)
class ProposedName:
    """A proposal beside what its concept is called now."""

    proposal: "NameProposal"
    label: str
    """Name or working label of the concept; empty where the index does not have it."""
    given: str
    """Name that a person gave it; empty: nobody did."""

    @property
    def state(self) -> str:
        """taken, named otherwise, recognised, not recognised, not tested, or not in this index."""
        if self.given:
            return "taken" if self.given == self.proposal.name else "named otherwise"
        if not self.label:
            return "not in this index"
        if self.proposal.recognition is None:
            return "not tested"
        return "recognised" if self.proposal.is_recognised else "not recognised"


class Taken(NamedTuple):
    """What became of proposals."""

    names: tuple[str, ...]
    """Given to their concepts."""
    refused: tuple[tuple[str, str], ...]
    """Proposed name, and why it was not given."""


class Naming(Base):
    """Names of concepts that nobody has named."""

    def naming_plan(
        self, concepts: Sequence[str] = (), *, again: bool = False, progress: Progress | None = None
    ) -> "NamingPlan":
        """What ``propose_names`` would ask. Sends nothing.

        Args:
            concepts: names or ids; empty: the first without a name, as many as the settings say.
            again: ask also what was answered before.
            progress: counts concepts.
        """
        from engine.pipeline.naming import plan_names

        wanted = [self.concept_target(what).concept_id for what in concepts] if concepts else None
        given = frozenset(self.browser.names())
        reporter = progress or NullProgress()
        return plan_names(self.paths, self.settings.naming, given, reporter, wanted=wanted, again=again)

    def label_plan(
        self, concepts: Sequence[str] = (), *, again: bool = False, progress: Progress | None = None
    ) -> "NamingPlan":
        """What testing imported labels would ask, for ``propose_names``. Sends nothing.

        Args:
            concepts: names or ids; empty: the first of one latent without a name, as the settings say.
            again: test also what is recognised, or was tested by the same model.
            progress: counts concepts.

        Raises:
            NamingError: no concept of one latent has an imported label.
        """
        from engine.pipeline.naming_labels import plan_label_tests

        wanted = [self.concept_target(what).concept_id for what in concepts] if concepts else None
        given = frozenset(self.browser.names())
        labels, reporter = self.browser.latent_labels(), progress or NullProgress()
        return plan_label_tests(
            self.paths, self.settings.naming, given, labels, reporter, wanted=wanted, again=again
        )

    def labelled_names(self) -> tuple[ProposedName, ...]:
        """Imported labels of concepts of one latent that have neither a given nor a recognised name."""
        from engine.pipeline.naming_labels import labelled

        found = labelled(self.browser.single_latents(), self.browser.latent_labels())
        given, held = self.browser.names(), {p.proposal.concept_id: p for p in self.proposed_names()}
        left = {
            k: p
            for k, p in found.items()
            if k not in given
            and not (k in held and (held[k].proposal.is_recognised or held[k].proposal.tested_by))
        }
        shown = self.browser.shown_names(left.keys())
        return tuple(ProposedName(p, shown.get(k, ""), "") for k, p in left.items())

    def propose_names(self, plan: "NamingPlan", *, progress: Progress | None = None) -> "NamingReport":
        """Send the questions of a plan to the server that the settings name; answers are kept as they come.

        Raises:
            NamingError: no server is named, it cannot be asked, or it does not answer as asked.
        """
        from engine.pipeline.naming_run import propose

        return propose(self.paths, self.settings.naming, plan, progress or NullProgress())

    def proposed_names(self) -> tuple[ProposedName, ...]:
        """The last proposal of every concept, the strongest evidence first; those of other indexes last."""
        from engine.naming.proposals import Proposals

        held = Proposals(self.paths.proposals).held()
        labels, given = self.browser.shown_names(held.keys()), self.browser.names()
        order = [*labels, *(k for k in held if k not in labels)]  # answers come in whatever order
        return tuple(ProposedName(held[k], labels.get(k, ""), given.get(k, "")) for k in order)

    def import_labels(
        self, files: Sequence[Path | str], *, index: str = "", label: str = "", accept_other: bool = False
    ) -> "tuple[LabelReport, ...]":
        """Keep what files of other people call latents of the reader's SAE. All files are read first.

        Args:
            files: JSON lines, JSON, CSV or TSV, also gzipped.
            index: column of the latent's number; empty: known by its name.
            label: likewise of the label.
            accept_other: take labels that say that they are of another SAE.

        Raises:
            NamingError: a file cannot be read, or is of another SAE; nothing was kept.
            StoreError: there is no index yet.
        """
        from engine.naming.belonging import ReaderFacts
        from engine.naming.label_import import read_labels

        reader = ReaderFacts.of(self.browser.reader_facts())
        if reader is None:
            raise NamingError("the index does not say how many latents its SAE has", hint="audit again")
        read = [
            read_labels(Path(f), reader, index=index, label=label, accept_other=accept_other) for f in files
        ]
        now, sae, kept = datetime.now(UTC).isoformat(timespec="seconds"), self.browser.vocabulary, []
        for found in read:
            is_new = self.browser.labels.add(sae, found.report.file, found.sha, now, found.labels)
            kept.append(replace(found.report, is_new=is_new))
        return tuple(kept)

    def take_names(self, concepts: Sequence[str] = ()) -> Taken:
        """Give concepts the names that were proposed for them as one step, as a person who names them does.

        Args:
            concepts: names, proposed names or ids; empty: every recognised proposal of a concept that nobody
                has named.

        Raises:
            NamingError: nothing was proposed for one of them.
            ReviewError: the journal cannot be written.
        """
        found = {p.proposal.concept_id: p for p in self.proposed_names()}
        if concepts:
            wanted = list(dict.fromkeys(self.concept_target(what).concept_id for what in concepts))
            missing = [what for what, ident in zip(concepts, wanted, strict=False) if ident not in found]
            if missing:
                raise NamingError(
                    f"nothing was proposed for `{missing[0]}`", hint="`prosect names list` lists proposals"
                )
        else:
            wanted = [ident for ident, p in found.items() if p.state == "recognised"]
        names = {ident: found[ident].proposal.name for ident in wanted}
        _, refused = self.browser.set_names(names)
        return Taken(
            tuple(name for ident, name in names.items() if ident not in refused),
            tuple((names[ident], why) for ident, why in refused.items()),
        )

"""Imported labels as names of concepts that are one latent: which there are, and what a test would ask."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from engine.errors import NamingError
from engine.naming.choose import Nameable
from engine.naming.labels import ByLatent
from engine.naming.proposals import Proposals
from engine.naming.questions import label_name, wording
from engine.paths import ProjectPaths
from engine.pipeline.naming import NamingPlan, Task, check_level
from engine.pipeline.naming_material import NamingSource
from engine.progress import Progress
from engine.settings import NamingSettings
from engine.views.names import LatentLabel, NameProposal


def as_proposal(concept_id: str, label: LatentLabel) -> NameProposal | None:
    """A label as a name that nobody has tested; None where it holds no words."""
    name, description = label_name(label.text)
    if not name:
        return None
    source = f"label from {label.file}" + (f", {label.model}" if label.model else "")
    return NameProposal("", concept_id, name, description, source, "", "", "", "", 0)


def labelled(singles: Mapping[str, int], labels: ByLatent) -> dict[str, NameProposal]:
    """Concept id → its latent's first label as a name, for concepts of one latent."""
    found = {ident: as_proposal(ident, labels[n][0]) for ident, n in singles.items() if n in labels}
    return {ident: proposal for ident, proposal in found.items() if proposal is not None}


def plan_label_tests(
    paths: ProjectPaths,
    settings: NamingSettings,
    given: Collection[str],
    labels: ByLatent,
    progress: Progress,
    *,
    wanted: Sequence[str] | None = None,
    again: bool = False,
) -> NamingPlan:
    """Choose concepts of one latent with an imported label, to ask for each only whether it is recognised.

    Args:
        paths: the project.
        settings: how many concepts and places, and which model tests.
        given: ids of concepts that people have named: they are left out unless wanted.
        labels: of the SAE's latents.
        progress: counts concepts.
        wanted: ids of concepts; None: the first without a name.
        again: test also what has a recognised name, or was tested by this model before.

    Raises:
        NamingError: there is nothing to test, or no name could ever be recognised.
        StoreError, ModelError: the index, the texts or the tokenizer cannot be opened.
    """
    check_level(settings)
    prompts = wording(settings.excerpts, settings.held_out, settings.excerpt_chars)
    kept = Proposals(paths.proposals)
    source = NamingSource(paths, settings)
    try:
        names = labelled(source.single_latents(), labels)
        chosen = _chosen(source.concepts(), names, given, wanted)[: None if wanted else settings.concepts]
        if not chosen:
            raise NamingError(
                "no concept of one latent without a name has an imported label",
                hint="`prosect names import DIR FILE` brings labels; concepts of more latents are not tested",
            )
        tasks: list[Task] = []
        skipped: list[tuple[str, str]] = []
        n_answered = 0
        progress.start("look up excerpts", len(chosen), "concepts")
        for concept in chosen:
            before = _before(kept, names[concept.concept_id], settings.model, prompts)
            if before is not None and before.recognition is not None and not again:
                n_answered += 1
            else:
                material = source.material(concept)
                if material is None or material.trial is None:
                    skipped.append((concept.label, "too few prompts carry it to test a label"))
                else:
                    is_open = before is not None and before.recognition is None
                    new = _new(names[concept.concept_id], settings, prompts, source)
                    tasks.append(Task(concept, material, before if is_open else new, is_label=True))
            progress.advance()
        progress.finish()
        n_controls = min(settings.controls, len(tasks)) if len(tasks) > 1 else 0
        return NamingPlan(tuple(tasks), n_answered, tuple(skipped), prompts, source.index_hash, n_controls)
    finally:
        source.close()


def _chosen(
    concepts: Sequence[Nameable], names: Mapping[str, NameProposal], given: Collection[str],
    wanted: Sequence[str] | None,
) -> list[Nameable]:  # fmt: skip
    have = [c for c in concepts if c.concept_id in names]
    if wanted is not None:
        return [c for c in have if c.concept_id in wanted]
    return [c for c in have if c.concept_id not in given]


def _before(kept: Proposals, label: NameProposal, model: str, prompts: str) -> NameProposal | None:
    """The recognised name of a concept, else the last test of this label by this model."""
    held = kept.held().get(label.concept_id)
    if held is not None and held.is_recognised:
        return held
    same = [
        p
        for p in kept.every
        if (p.concept_id, p.name, p.tested_by, p.prompts) == (label.concept_id, label.name, model, prompts)
    ]
    return same[-1] if same else None


def _new(label: NameProposal, settings: NamingSettings, prompts: str, source: NamingSource) -> NameProposal:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return replace(
        label, ident=os.urandom(8).hex(), endpoint=settings.endpoint, time=now, prompts=prompts,
        index=source.index_hash, tested_by=settings.model,
    )  # fmt: skip

"""``show``: one pair, one concept or one latent, with its evidence."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.complete import concepts, contexts
from engine.cli.options import index_argument, output_options
from engine.cli.output import interval_text, write_json, write_table
from engine.cli.scrutiny import show_scrutiny
from engine.safe_text import one_line, sanitise

if TYPE_CHECKING:
    from engine.views.details import ConceptDetail, Evidence, LatentDetail, PairDetail, TopPair
    from engine.views.names import LatentLabel, NameProposal
    from engine.views.scrutiny import LabelEvidence


@click.command("show")
@index_argument
@click.argument("what", metavar="PAIR|CONCEPT|LATENT", shell_complete=concepts)
@click.option(
    "--context",
    metavar="CONTEXT",
    shell_complete=contexts,
    help="The concept inside this context (name or start of an id).",
)
@output_options
def show_command(project: Path, what: str, context: str | None, plain: bool, as_json: bool) -> None:  # noqa: ARG001 - text is plain already
    """One pair (number or start of its id), concept (name or start of its id) or latent ('#812')."""
    from engine.api import Project
    from engine.views.details import LatentDetail, PairDetail

    latent = re.fullmatch(r"#(\d{1,9})", what.strip())
    if latent is not None and context is not None:
        raise click.UsageError(f"{what} is a latent: only a concept is shown inside a context")
    with Project(project) as opened:
        detail = opened.find(what, context) if latent is None else opened.latent(int(latent.group(1)))
    if as_json:
        write_json(detail)
    elif isinstance(detail, PairDetail):
        _show_pair(detail)
    elif isinstance(detail, LatentDetail):
        _show_latent(detail)
    else:
        _show_concept(detail)


def _show_pair(pair: "PairDetail") -> None:
    click.echo(f"pair {pair.pair:,}  {pair.pair_id}  label {pair.label}  fold {pair.fold}")
    click.echo(f"from {one_line(pair.source)}: {one_line(pair.source_file)} row {pair.source_row} (from 0)")
    for key, value in pair.facts:
        click.echo(f"{one_line(key)}: {one_line(value, 200)}")
    for title, text, tokens in (
        ("PROMPT", pair.prompt, pair.prompt_tokens),
        ("CHOSEN", pair.chosen, pair.chosen_tokens),
        ("REJECTED", pair.rejected, pair.rejected_tokens),
    ):
        cut = ", cut for reading" if title.lower() in pair.truncated else ""
        click.echo(f"\n── {title} ({tokens:,} tokens{cut})\n{sanitise(text)}")
    click.echo("")
    rows = [(c.name, c.chosen, c.rejected, c.u) for c in pair.concepts[:20]]
    write_table(("concept", "chosen", "rejected", "u"), rows, plain=False, flexible=0)


def _show_concept(concept: "ConceptDetail") -> None:
    click.echo(f"{one_line(concept.name)}  {concept.kind}  {concept.concept_id}")
    if concept.working_label not in ("", concept.name):
        click.echo(f"label: {one_line(concept.working_label)}")
    if concept.definition:
        click.echo(f"counts: {one_line(concept.definition)}")
    if concept.tokens:
        click.echo("telling words: " + "  ".join(one_line(t) for t in concept.tokens))
    if concept.label is not None:
        _show_label(concept.label)
    if concept.proposal is not None:
        _show_proposal(concept.proposal)
    _show_labels(concept.labels)
    if concept.latents:
        shown = " ".join(f"#{n}" for n in concept.latents[:16])
        click.echo(f"latents ({concept.n_latents}): {shown}{' …' if concept.n_latents > 16 else ''}")
    if concept.inside is not None:
        click.echo(f"in {one_line(concept.inside.context_name)}")
        _show_evidence(concept.inside)
        click.echo("everywhere")
    if concept.everywhere is not None:
        _show_evidence(concept.everywhere)
    if concept.scrutiny is not None:
        show_scrutiny(concept.scrutiny)
    click.echo("")
    if concept.inside is not None:
        click.echo(f"top pairs in {one_line(concept.inside.context_name)}")
    _show_top_pairs(concept.top_pairs)


def _show_latent(latent: "LatentDetail") -> None:
    """A latent's own estimates, its concepts, and where it differs most."""
    click.echo(f"#{latent.latent}  latent  fires on {latent.n_prompt:,} prompts")
    _show_labels(latent.labels)
    for home in latent.concepts:
        place = "" if home.n_latents < 2 else f", {home.place} of {home.n_latents} by centrality"
        click.echo(f"in {one_line(home.name)}  {home.kind}{place}  {home.concept_id[:10]}")
    if not latent.concepts:
        click.echo("in no concept: too few pairs carry it")
    if latent.everywhere is not None:
        _show_evidence(latent.everywhere)
    click.echo("")
    _show_top_pairs(latent.top_pairs)


def _show_top_pairs(pairs: "Sequence[TopPair]") -> None:
    top = [(t.pair, t.chosen_score, t.rejected_score, t.chosen.text, t.rejected.text) for t in pairs[:10]]
    header = ("pair", "chosen", "rejected", "chosen at the peak", "rejected at the peak")
    write_table(header, top, plain=False, flexible=(3, 4))


def _show_label(label: "LabelEvidence") -> None:
    """What the working label rests on."""
    if label.inside is not None:
        others = "" if label.outside is None else f", in {label.outside:.0%} of the others"
        click.echo(f"words of the label stand in {label.inside:.0%} of the responses that carry it{others}")
    for title, places in (("fires", label.fires), ("silent", label.silent)):
        for text in places:
            click.echo(f"  {title:7}{one_line(text)}")


def _show_proposal(proposal: "NameProposal") -> None:
    """A name that a model proposed, and whether it says where the concept fires."""
    whose = f"by {one_line(proposal.model)}"
    if proposal.tested_by:
        whose = f"{one_line(proposal.model)}, tested by {one_line(proposal.tested_by)}"
    click.echo(f"proposed name: {one_line(proposal.name)}  {whose}, {proposal.time[:10]}")
    if proposal.description:
        click.echo(f"  {one_line(proposal.description)}")
    found = proposal.recognition
    if found is None:
        click.echo("  not tested")
        return
    said = "recognised" if found.is_recognised else "not recognised"
    among = "" if found.are_silent else ", against responses with least of it"
    click.echo(
        f"  {said}: {found.n_right} of {found.n} excerpts told right by the name alone"
        f" [{found.low:.0%}, {found.high:.0%}], p {_q(found.p)} (level {found.level:g}){among}"
    )


def _show_labels(labels: "Sequence[LatentLabel]") -> None:
    """What other people's files call latents."""
    for label in labels:
        by = f" by {one_line(label.model, 60)}" if label.model else ""
        origin = f"label from {one_line(label.file, 60)}{by}, untested"
        click.echo(f"#{label.latent}: {one_line(label.text, 200)}  ({origin})")


def _show_evidence(evidence: "Evidence") -> None:
    click.echo(
        f"taught: {interval_text(evidence.taught) or '–'}  q {_q(evidence.taught_q)}   "
        f"at equal length: {interval_text(evidence.equal) or '–'}  q {_q(evidence.equal_q)}   "
        f"{evidence.badge or ''}"
    )
    click.echo(f"{evidence.n_discordant or 0:,} discordant of {evidence.n_pairs:,} labelled pairs")
    if evidence.skip_reason:
        click.echo(f"untested: {evidence.skip_reason}")


def _q(value: float | None) -> str:
    return "–" if value is None else ("<.001" if value < 1e-3 else f"{value:.3f}")

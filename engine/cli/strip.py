"""``strip``: one pair token by token, with the activations of a concept or of single latents."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.complete import concepts
from engine.cli.options import index_argument, output_options
from engine.cli.output import write_json, write_table
from engine.errors import StoreError
from engine.safe_text import one_line, sanitise

if TYPE_CHECKING:
    from engine.views.strips import PairStrip, SpanStrip

_LEVELS = "₁₂₃₄₅₆₇₈₉"


@click.command("strip")
@index_argument
@click.argument("pair", metavar="PAIR")
@click.option(
    "--concept",
    metavar="NAME",
    shell_complete=concepts,
    help="Latents of this concept (name, or start of its id).",
)
@click.option("--latent", "latents", type=click.IntRange(0), multiple=True, help="Number of a latent.")
@output_options
def strip_command(
    project: Path, pair: str, concept: str | None, latents: tuple[int, ...], plain: bool, as_json: bool
) -> None:
    """A pair token by token: where a concept or some latents fire, and how strongly.

    PAIR is its number or the start of its id. Loads the index's reader the first time a pair is asked for;
    then the pair is in the cache.
    """
    from engine.api import Project
    from engine.views.details import PairDetail

    with Project(project) as opened:
        if concept is not None:
            found = opened.find(concept)
            if isinstance(found, PairDetail) or not found.latents:
                raise StoreError(
                    f"{concept} is no concept of latents", hint="`prosect concepts DIR` lists them"
                )
            latents = (*latents, *(n for n in found.latents if n not in latents))
        if not latents:
            raise click.UsageError("name a --concept or a --latent")
        strip = opened.strip(opened.browser.find_pair(pair), latents)
    if as_json:
        write_json(strip)
    elif plain:
        _show_table(strip)
    else:
        _show_text(strip)


def _show_table(strip: "PairStrip") -> None:
    header = ("span", "position", "token", "largest", *(f"#{n}" for n in strip.latents))
    rows = [
        (span.span, i, token, top, *(row[i] for row in span.activations))
        for span in strip.spans
        for i, (token, top) in enumerate(zip(span.tokens, span.largest, strict=True))
    ]
    write_table(header, rows, plain=True)


def _show_text(strip: "PairStrip") -> None:
    """Each span's text; tokens where something fires stand in brackets with a level from 1 to 9."""
    most = max((value for span in strip.spans for value in span.largest), default=0.0)
    for span in strip.spans:
        n_firing = sum(value > 0 for value in span.largest)
        cut = ", cut for reading" if span.is_truncated else ""
        click.echo(f"── {span.span.upper()} ({n_firing:,} of {len(span.tokens):,} tokens{cut})")
        click.echo(_marked(span, most) + "\n")
    click.echo(f"levels ₁ to ₉: ninths of {most:.3g}, the largest activation here")
    _show_peaks(strip)


def _marked(span: "SpanStrip", most: float) -> str:
    parts = []
    for token, value in zip(span.tokens, span.largest, strict=True):
        shown = sanitise(token)
        if value > 0:
            level = _LEVELS[min(int(9 * value / most), 8)]
            head, body, tail = _split(shown)
            shown = f"{head}[{body}]{level}{tail}"
        parts.append(shown)
    return "".join(parts)


def _split(text: str) -> tuple[str, str, str]:
    """White space in front, the rest, white space behind; a token of white space alone is shown as it is."""
    body = text.strip()
    if not body:
        return "", text.replace("\n", "↵"), ""
    at = text.index(body)
    return text[:at], body, text[at + len(body) :]


def _show_peaks(strip: "PairStrip") -> None:
    rows = []
    for i, latent in enumerate(strip.latents):
        for span in strip.spans:
            row = span.activations[i]
            top = max(row, default=0.0)
            if top > 0:
                at = row.index(top)
                rows.append(
                    (f"#{latent}", span.span, sum(v > 0 for v in row), top, at, one_line(span.tokens[at]))
                )
    click.echo("")
    write_table(("latent", "span", "tokens", "largest", "position", "at"), rows, plain=False, flexible=5)

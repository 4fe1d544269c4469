"""Every format there is, and which one a sample of rows has."""

import difflib

from engine.errors import IngestError
from engine.ingest.drafts import Row
from engine.ingest.formats import (
    answers,
    arena,
    battles,
    evaluation,
    exports,
    generic,
    rated,
    trainers,
    transcripts,
    trl,
)
from engine.ingest.formats.base import Format
from engine.ingest.formats.shape import Shape

FORMATS: tuple[Format, ...] = (
    trl.EXPLICIT,
    trl.CONVERSATIONAL,
    transcripts.IMPLICIT_TEXT,
    trl.IMPLICIT_CONVERSATIONAL,
    transcripts.HH_RLHF,
    trl.ULTRAFEEDBACK,
    trl.ARGILLA,
    trl.MIXTURE,
    trl.SKYWORK,
    trl.ORCA,
    battles.ALPACA_EVAL,
    battles.WIMHF,
    arena.ARENA,
    arena.ARENA_55K,
    arena.COMPARIA,
    rated.HELPSTEER2,
    rated.HELPSTEER3,
    rated.PKU_BETTER,
    rated.PKU_SAFER,
    rated.SHP,
    rated.PREFSCOPE,
    rated.NEMO,
    rated.ULTRAFEEDBACK_RAW,
    exports.OPENAI,
    exports.SHAREGPT,
    exports.TORCHTUNE,
    exports.ICAI,
    exports.ANNOTATED_PAIRS,
    trainers.SHAPED,
    trainers.AXOLOTL,
    trainers.ALPACA,
    trainers.RESPONSES,
    trainers.SWIFT,
    trainers.DISTILABEL,
    trainers.LABEL_STUDIO,
    evaluation.REWARDBENCH,
    evaluation.REWARDBENCH2,
    answers.KTO,
    answers.HELPSTEER_RATINGS,
)


TEXT_COLUMNS = frozenset(column for form in FORMATS for column in form.used)
"""Columns that some format reads."""


def choose(shape: Shape, where: str, name: str | None = None) -> Format:
    """The named format, or the one that the columns show.

    Raises:
        IngestError: no format or several equally good ones; the message lists the columns, the hint shows
            how to map them.
    """
    if name is not None:
        return named(name)
    matching = sorted((f for f in FORMATS if f.detect(shape)), key=lambda f: -f.rank)
    if not matching:
        raise IngestError(
            f"{where}: no known format has these columns:\n{shape.describe()}",
            hint=f"map them in one line: {generic.EXAMPLE}",
        )
    best = [f for f in matching if f.rank == matching[0].rank]
    if len(best) > 1:
        names = " or ".join(f"--format {f.name} ({f.title})" for f in best)
        raise IngestError(
            f"{where}: the columns fit more than one format:\n{shape.describe()}", hint=f"say which: {names}"
        )
    return best[0]


def is_recognised(row: Row) -> bool:
    """Some format takes this for a row of its own."""
    shape = Shape.of([row])
    return any(f.detect(shape) for f in FORMATS)


def named(name: str) -> Format:
    """The format that --format names. Raises ``IngestError`` for an unknown name."""
    for known in FORMATS:
        if known.name == name:
            return known
    close = difflib.get_close_matches(name, [f.name for f in FORMATS], 1)
    raise IngestError(
        f"there is no format `{name}`" + (f"; did you mean `{close[0]}`?" if close else ""),
        hint="formats: " + ", ".join(f.name for f in FORMATS) + f"; any other table: {generic.EXAMPLE}",
    )

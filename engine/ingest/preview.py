"""What a source looks like before anything is written: guessed format, columns, first pairs."""

from dataclasses import dataclass

from engine.ingest.collect import preview_drafts
from engine.ingest.drafts import Draft, Turns
from engine.ingest.source import SourceSpec, open_source
from engine.records import Label, Message
from engine.settings import IngestSettings


@dataclass(frozen=True, slots=True)
class PreviewPair:
    """A pair as a format understood it, before ids and folds."""

    source: str
    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    label: Label
    chosen_was: str | None


@dataclass(frozen=True, slots=True)
class SourcePreview:
    """What a source looks like before it is ingested."""

    path: str
    files: tuple[str, ...]
    format: str
    """What --format would say; ``map`` for a mapping by hand."""
    format_title: str
    format_shape: str
    is_evaluation: bool
    from_description: bool
    """The format was rebuilt from descriptions: look twice at the pairs."""
    columns: tuple[tuple[str, str], ...]
    """Column and the kinds of values in its first rows."""
    pairs: tuple[PreviewPair, ...]
    remarks: tuple[str, ...]


def preview(source: SourceSpec, n: int = 10) -> SourcePreview:
    """Guess the format of a source and show its first pairs; writes nothing.

    Raises:
        IngestError: nothing to read, unknown or ambiguous columns.
    """
    opened = open_source(source, IngestSettings().max_text_bytes)
    form = opened.format
    return SourcePreview(
        source.path,
        tuple(f.shown for f in opened.files),
        form.name,
        form.title,
        form.shape,
        form.is_evaluation,
        form.from_description,
        tuple((c, " or ".join(sorted(kinds)) or "null") for c, kinds in opened.shape.kinds.items()),
        tuple(
            _shown(d, source.name or d.source or opened.files[0].source) for d in preview_drafts(opened, n)
        ),
        opened.remarks,
    )


def _shown(draft: Draft, source: str) -> PreviewPair:
    def messages(turns: Turns) -> tuple[Message, ...]:
        return tuple(Message(role, content) for role, content in turns)

    return PreviewPair(
        source,
        messages(draft.prompt),
        messages(draft.chosen),
        messages(draft.rejected),
        draft.label,
        draft.chosen_was,
    )

"""Tokens that a rule leaves out of the log-probabilities of policy and reference.

Whoever reads the responses writes characters, not tokens: the reader may cut texts otherwise than the policy.

    masks.parquet   pair_id, side (chosen, rejected), message, start, end   beside train.parquet

A row of message −1 says that a pair was read and that nothing of it is masked; a run of few steps needs no
more pairs to be read than it reaches, and ``covers`` says how far each order was read. ``start`` and ``end``
count characters of one response message. A token of the policy is left out when it shares a character with
such a span; marks of the template, the end of the turn among them, never are. The sum of log-probabilities,
and for length-normalised losses the token count, run over what is left.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import TrainError
from engine.manifest import hash_json
from engine.models.chat import ChatLayout, EncodedText
from engine.records import Message

FILE = "masks.parquet"
KEEP = "keep_"
"""Columns keep_chosen and keep_rejected of encoded pairs: 1 per response token that counts, else 0."""
SIDES = ("chosen", "rejected")
_SCHEMA = pa.schema(
    [
        ("pair_id", pa.string()),
        ("side", pa.string()),
        ("message", pa.int32()),
        ("start", pa.int32()),
        ("end", pa.int32()),
    ]
)
_NOTHING = -1
"""Message number of a pair's row where nothing is masked."""
_REACH = 32
"""How many tokens before the response's own text its first token may lie: the template's opening marks."""


class Span(NamedTuple):
    """Characters ``start:end`` of message number ``message`` of a response."""

    message: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Masks:
    """What a shaped dataset leaves out."""

    names: tuple[str, ...]
    """Statements that asked for it."""
    spans: Mapping[tuple[str, str], tuple[Span, ...]]
    """By pair id and side."""
    read: frozenset[str] = frozenset()
    """Pairs that were read; others of the dataset can have a mask that nobody knows yet."""
    covers: Mapping[int, int] = field(default_factory=dict)
    """How many pairs everything is known of, by the seed of their order; empty: all pairs."""

    def content_hash(self, pair_ids: Collection[str]) -> str:
        """Hash of everything that determines what is left out of these pairs."""
        keys = [key for key in sorted(self.spans) if key[0] in pair_ids]
        return hash_json([[*key, *map(list, self.spans[key])] for key in keys])

    def are_known(self, seed: int, n_reached: int, n_pairs: int) -> bool:
        """Whether all is known of the first ``n_reached`` pairs in the order of a seed."""
        is_whole = not self.covers or max(self.covers.values()) >= n_pairs
        return is_whole or self.covers.get(seed, 0) >= min(n_reached, n_pairs)


def write_masks(shaped_dir: Path, masks: Masks, made_for: str) -> None:
    """Put masks beside a shaped dataset; ``made_for`` names what they were made from."""
    rows = [(*key, *span) for key in sorted(masks.spans) for span in masks.spans[key]]
    silent = masks.read - {pair_id for pair_id, _ in masks.spans}
    rows += [(pair_id, SIDES[0], _NOTHING, 0, 0) for pair_id in sorted(silent)]
    facts = {
        b"names": json.dumps(masks.names).encode(),
        b"made_for": made_for.encode(),
        b"covers": json.dumps({str(seed): n for seed, n in sorted(masks.covers.items())}).encode(),
    }
    columns = zip(*rows, strict=True) if rows else [()] * len(_SCHEMA)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, _SCHEMA, strict=True)]
    temporary = shaped_dir / f".{FILE}.tmp"
    pq.write_table(pa.Table.from_arrays(arrays, schema=_SCHEMA.with_metadata(facts)), temporary)
    temporary.replace(shaped_dir / FILE)


def masks_made_for(shaped_dir: Path) -> str | None:
    """What the masks beside a shaped dataset were made from; None where there are none."""
    if not (shaped_dir / FILE).exists():
        return None
    return _metadata(shaped_dir / FILE)[b"made_for"].decode()


def _metadata(path: Path) -> Mapping[bytes, bytes]:
    try:
        found: Mapping[bytes, bytes] = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise TrainError(f"{path} is damaged", hint="remove it and train again") from error
    if b"names" not in found or b"made_for" not in found:
        raise TrainError(f"{path} is damaged", hint="remove it and train again")
    return found


def read_masks(shaped_dir: Path) -> Masks:
    """The masks of a shaped dataset; none where no file says so.

    Raises:
        TrainError: a damaged file.
    """
    path = shaped_dir / FILE
    if not path.exists():
        return Masks((), {})
    facts = _metadata(path)
    covers = {int(seed): n for seed, n in json.loads(facts.get(b"covers", b"{}")).items()}
    spans: dict[tuple[str, str], tuple[Span, ...]] = {}
    read: set[str] = set()
    for row in pq.read_table(path).to_pylist():
        read.add(row["pair_id"])
        if row["message"] == _NOTHING:
            continue
        key = (row["pair_id"], row["side"])
        spans[key] = (*spans.get(key, ()), Span(row["message"], row["start"], row["end"]))
    return Masks(tuple(json.loads(facts[b"names"])), spans, frozenset(read), covers)


@dataclass(frozen=True, slots=True)
class Kept:
    """Which response tokens count, as columns of the encoded pairs."""

    columns: dict[str, list[list[int] | None]]
    """keep_chosen and keep_rejected; None where all count. Empty without masks."""
    n_tokens: int
    """Tokens left out."""
    n_empty: int
    """Responses of which no text is left."""


def keep_columns(masks: Masks, rows: Sequence[Mapping[str, Any]], encoded: pa.Table, tokenizer: Any) -> Kept:
    """Find the masked tokens of every pair.

    Args:
        masks: of the shaped dataset.
        rows: pair_id, prompt, chosen, rejected of the encoded pairs, in their order.
        encoded: ``EncodedPairs.table``.
        tokenizer: of the policy.

    Raises:
        TrainError: a response whose tokens cannot be found in its text.
    """
    if not masks.spans:
        return Kept({}, 0, 0)
    layout = ChatLayout.of(tokenizer, is_causal=True)
    columns: dict[str, list[list[int] | None]] = {KEEP + side: [] for side in SIDES}
    n_tokens = n_empty = 0
    for side in SIDES:
        ids = encoded.column(f"{side}_ids").to_pylist()
        for row, response_ids in zip(rows, ids, strict=True):
            spans = masks.spans.get((row["pair_id"], side))
            keep, is_empty = (None, False) if spans is None else _keep(layout, row, side, response_ids, spans)
            columns[KEEP + side].append(keep)
            if keep is not None:
                n_tokens += keep.count(0)
                n_empty += is_empty
    return Kept(columns, n_tokens, n_empty)


def _keep(
    layout: ChatLayout, row: Mapping[str, Any], side: str, ids: list[int], spans: Sequence[Span]
) -> tuple[list[int], bool]:
    """1 per token that counts, else 0; and whether no token of the text itself is left."""
    prompt, response = (
        [Message(m["role"], m["content"]) for m in row[column]] for column in ("prompt", side)
    )
    text = layout.encode(prompt, response)
    begin = _begin(text, ids)
    if begin is None:
        raise TrainError(
            f"pair {row['pair_id']}: the tokens of {side} cannot be found in its text",
            hint="use a tokenizer that knows where its tokens lie, or leave `mask tokens` out",
        )
    places = [_place(text, len(prompt), response, span) for span in spans]
    offsets = text.offsets[begin : begin + len(ids)]
    keep = [
        int(not any(start < last and first < end for start, end in places))
        for first, last in offsets.tolist()
    ]
    own = [int(i) - begin for i in text.response_own if begin <= i < begin + len(ids)]
    return keep, not any(keep[i] for i in own)


def _begin(text: EncodedText, ids: list[int]) -> int | None:
    """Where the response's tokens begin; prompts may differ (tools, dates), responses do not."""
    own = int(text.response_own[0]) if len(text.response_own) else len(text.ids)
    for begin in range(own, max(own - _REACH, -1), -1):
        if text.ids[begin : begin + len(ids)].tolist() == ids:
            return begin
    return None


def _place(text: EncodedText, n_prompt: int, response: Sequence[Message], span: Span) -> tuple[int, int]:
    """A span in characters of the whole text; templates may strip a content's ends."""
    at = text.contents[n_prompt + span.message]
    shift = response[span.message].content.find(text.text[at.start : at.end])
    origin = at.start - max(shift, 0)
    return max(origin + span.start, at.start), min(origin + span.end, at.end)


def content_spans(
    text: EncodedText, n_prompt: int, response: Sequence[Message], masked: Sequence[int]
) -> list[Span]:
    """Spans of a response's own tokens, touching ones joined; the way back of ``_place``.

    Args:
        text: prompt and response as a reader encoded them.
        n_prompt: messages of the prompt.
        response: its messages.
        masked: indices into ``text.ids``, ascending.
    """
    spans: list[Span] = []
    for number, message in enumerate(response):
        at = text.contents[n_prompt + number]
        shift = max(message.content.find(text.text[at.start : at.end]), 0)
        for index in masked:
            first, last = (int(x) for x in text.offsets[index])
            start, end = max(first, at.start), min(last, at.end)
            if start >= end:
                continue
            found = Span(number, start - at.start + shift, end - at.start + shift)
            if spans and spans[-1].message == number and spans[-1].end >= found.start:
                spans[-1] = spans[-1]._replace(end=max(spans[-1].end, found.end))
            else:
                spans.append(found)
    return spans

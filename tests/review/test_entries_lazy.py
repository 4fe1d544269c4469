"""Reading a journal line without reading its evidence changes nothing that anybody can see."""

import json

import pytest

from engine.records import Verdict
from engine.review.entries import Entry, EntryKind, decode, encode
from engine.views.tables import Target

TARGET = Target("concept", "c1", "c1")


def entry(evidence: dict[str, object] | None) -> Entry:
    return Entry("0" * 16, "b" * 12, EntryKind.VERDICT, "ana", "2026-01-01T00:00:00.000000+00:00", TARGET,
                 Verdict.KEEP, 'says ,"evidence":{ in words', "name", evidence)  # fmt: skip


@pytest.mark.parametrize(
    "evidence",
    [
        None,
        {"win_rate": 0.7, "latents": [1, 2]},
        {"context": "odd } text", "n": 1},
        {"inner": {"deep": {"x": 1}}, "n": 2},
    ],
)
def test_a_line_reads_as_what_was_written(evidence: dict[str, object] | None) -> None:
    written = entry(evidence)
    assert decode(encode(written)) == written
    found = decode(encode(written))
    assert found is not None
    assert encode(found) == encode(written)


def test_lines_of_another_writer_are_read_whatever_the_order_of_their_keys() -> None:
    raw = json.loads(encode(entry({"n": 1})))
    turned = json.dumps(dict(reversed(raw.items()))).encode() + b"\n"
    assert decode(turned) == entry({"n": 1})


def test_a_torn_line_is_no_entry() -> None:
    line = encode(entry({"n": 1, "latents": [1, 2]}))
    assert all(decode(line[:cut]) is None for cut in range(len(line) - 1))


def test_a_decision_counts_where_only_its_evidence_is_damaged() -> None:
    line = encode(entry({"win_rate": 0.7})).replace(b"0.7", b"\x00.7")
    found = decode(line)
    assert found is not None
    assert found.verdict is Verdict.KEEP
    assert dict(found.evidence or {}) == {}

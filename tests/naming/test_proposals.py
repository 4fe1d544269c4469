"""Proposals are kept line by line; a damaged line costs itself only."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import NamingError
from engine.naming.proposals import Proposals
from engine.views.names import NameControl, NameProposal, Recognition

GOOD = Recognition(10, 10, 9, 9, 0.0005, 0.01, 0.75, 0.99, are_silent=True)
ONE = NameProposal(
    "id1", "concept1", "polite refusals", "It declines.", "m", "http://x/v1", "2026-01-01T00:00:00+00:00",
    "w", "i", 12,
)  # fmt: skip


@pytest.fixture
def kept(tmp_path: Path) -> Proposals:
    return Proposals(tmp_path / "names.jsonl")


def test_what_was_kept_is_read_again(kept: Proposals) -> None:
    kept.add(ONE)
    assert Proposals(kept.path).held() == {"concept1": ONE}
    assert not ONE.is_recognised
    kept.settle("id1", GOOD)
    [read] = Proposals(kept.path).held().values()
    assert read == replace(ONE, recognition=GOOD)
    assert read.is_recognised


def test_a_control_is_kept_beside_and_settles_nothing(kept: Proposals) -> None:
    kept.add(ONE)
    kept.add_control(NameControl("id1", "concept2", GOOD))
    again = Proposals(kept.path)
    assert again.controls == (NameControl("id1", "concept2", GOOD),)
    assert again.held() == {"concept1": ONE}


def test_another_process_is_noticed_once(kept: Proposals) -> None:
    assert not kept.refresh()
    Proposals(kept.path).add(ONE)
    assert kept.refresh()
    assert kept.held() == {"concept1": ONE}
    assert not kept.refresh()
    kept.path.unlink()
    assert kept.refresh()
    assert not kept.held()


def test_the_last_proposal_holds_and_answers_to_other_questions_are_told_apart(kept: Proposals) -> None:
    other = replace(ONE, ident="id2", name="refusals", model="n", prompts="v")
    kept.add(ONE)
    kept.add(other)
    assert kept.held() == {"concept1": other}
    assert kept.held(model="m", prompts="w") == {"concept1": ONE}
    assert kept.held(model="m", prompts="v") == {}


def test_damaged_lines_are_counted_and_stay(kept: Proposals) -> None:
    kept.add(ONE)
    torn = b'{"v":1,"ident":"id9","conc'
    nonsense = [
        b"nonsense",
        b'{"v":99}',
        b'{"v":1,"of":"nobody","recognition":{}}',
        b"[]",
        b'{"v":1,"name":7}',
    ]
    kept.path.write_bytes(kept.path.read_bytes() + b"\n".join([*nonsense, torn]))
    again = Proposals(kept.path)
    assert again.n_damaged == len(nonsense) + 1
    again.add(replace(ONE, ident="id2", concept_id="concept2"))
    assert set(Proposals(kept.path).held()) == {"concept1", "concept2"}
    assert torn in kept.path.read_bytes().split(b"\n")


def test_a_full_disk_leaves_the_file_as_it_was(kept: Proposals, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.add(ONE)
    before = kept.path.read_bytes()

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NamingError, match="not saved"):
        kept.add(replace(ONE, ident="id2", concept_id="concept2"))
    assert kept.path.read_bytes() == before


def test_text_is_kept_whatever_it_holds(kept: Proposals) -> None:
    odd = replace(ONE, name="a\ud800\n\u2028b", description="\x00")
    kept.add(odd)
    assert json.loads(kept.path.read_bytes())["name"] == odd.name
    assert Proposals(kept.path).held() == {"concept1": odd}

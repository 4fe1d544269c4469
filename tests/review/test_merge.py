"""Journals of several people become one without losing or silently overruling anything."""

from pathlib import Path

import pytest

from engine.errors import ReviewError
from engine.records import Verdict
from engine.review.journal import Decision, Journal
from engine.review.merge import Prefer, export_journal, merge_journal
from engine.views.tables import Target


def decide(journal: Journal, n: int, verdict: Verdict) -> None:
    journal.set_verdicts([Decision(Target("concept", f"c{n}", f"c{n}"), f"concept {n}")], verdict)


def held(journal: Journal) -> dict[str, Verdict | None]:
    return {k: e.verdict for k, e in journal.state.verdicts.items()}


@pytest.fixture
def ours(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "ours", "ana")


@pytest.fixture
def theirs(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "theirs", "bo")


def test_merging_is_a_union_and_merging_twice_changes_nothing(ours: Journal, theirs: Journal) -> None:
    decide(ours, 1, Verdict.KEEP)
    decide(theirs, 2, Verdict.SUPPRESS)
    report = merge_journal(ours, theirs.path)
    assert (report.n_new, report.n_known, report.is_written) == (1, 0, True)
    assert held(ours) == {"concept:c1": Verdict.KEEP, "concept:c2": Verdict.SUPPRESS}
    before = ours.path.read_bytes()
    again = merge_journal(ours, theirs.path)
    assert (again.n_new, again.n_known) == (0, 1)
    assert ours.path.read_bytes() == before


def test_a_conflict_is_shown_and_nothing_is_written_until_it_is_resolved(
    ours: Journal, theirs: Journal
) -> None:
    decide(ours, 1, Verdict.KEEP)
    decide(theirs, 1, Verdict.SUPPRESS)
    before = ours.path.read_bytes()
    report = merge_journal(ours, theirs.path)
    assert [(c.ours, c.theirs, c.their_author) for c in report.conflicts] == [
        (Verdict.KEEP, Verdict.SUPPRESS, "bo")
    ]
    assert not report.is_written
    assert ours.path.read_bytes() == before


@pytest.mark.parametrize(
    ("prefer", "expected"),
    [(Prefer.OURS, Verdict.KEEP), (Prefer.THEIRS, Verdict.SUPPRESS), (Prefer.NEWEST, Verdict.KEEP)],
)
def test_conflicts_resolve_as_told(ours: Journal, theirs: Journal, prefer: Prefer, expected: Verdict) -> None:
    decide(theirs, 1, Verdict.SUPPRESS)
    decide(ours, 1, Verdict.KEEP)  # the later one
    merge_journal(ours, theirs.path, prefer)
    assert held(ours) == {"concept:c1": expected}


@pytest.mark.parametrize("prefer", [Prefer.OURS, Prefer.THEIRS])
def test_a_settled_conflict_keeps_the_evidence_by_which_a_later_audit_knows_it(
    ours: Journal, theirs: Journal, prefer: Prefer
) -> None:
    journals = {Prefer.OURS: ours, Prefer.THEIRS: theirs}
    for verdict, (side, journal) in zip((Verdict.KEEP, Verdict.SUPPRESS), journals.items(), strict=True):
        target = Target("hypothesis", "h1", "c1", "x1")
        evidence = {"context": "tea", "latents": [1, 2] if side is Prefer.OURS else [1, 2, 3]}
        journal.set_verdicts([Decision(target, "concept 1", evidence)], verdict)
    report = merge_journal(ours, theirs.path, prefer)
    assert [c.context for c in report.conflicts] == ["tea"]
    entry = ours.state.verdicts["hypothesis:h1"]
    assert entry.verdict is (Verdict.KEEP if prefer is Prefer.OURS else Verdict.SUPPRESS)
    assert (entry.evidence or {})["latents"] == ([1, 2] if prefer is Prefer.OURS else [1, 2, 3])
    assert entry.context == "tea"


def test_deciding_after_having_seen_the_others_word_is_no_conflict(ours: Journal, theirs: Journal) -> None:
    decide(theirs, 1, Verdict.SUPPRESS)
    merge_journal(ours, theirs.path)
    decide(ours, 1, Verdict.KEEP)
    assert merge_journal(ours, theirs.path).conflicts == ()
    assert merge_journal(theirs, ours.path).is_written
    assert held(theirs) == held(ours) == {"concept:c1": Verdict.KEEP}


def test_older_entries_that_arrive_later_do_not_overrule_newer_ones(ours: Journal, theirs: Journal) -> None:
    decide(theirs, 1, Verdict.SUPPRESS)
    decide(theirs, 1, Verdict.AMPLIFY)
    exported = theirs.path.with_name("exported")
    assert export_journal(theirs, exported) == 2
    first, second = exported.read_bytes().splitlines(keepends=True)
    exported.write_bytes(second)
    merge_journal(ours, exported)
    exported.write_bytes(first)
    merge_journal(ours, exported)
    assert held(ours) == {"concept:c1": Verdict.AMPLIFY}


def test_undo_travels_with_its_batch(ours: Journal, theirs: Journal) -> None:
    decide(theirs, 1, Verdict.SUPPRESS)
    theirs.undo()
    merge_journal(ours, theirs.path)
    assert held(ours) == {}


def test_a_file_that_is_no_journal_is_refused_and_damaged_lines_are_counted(
    ours: Journal, theirs: Journal
) -> None:
    theirs.path.write_text("hello\n")
    with pytest.raises(ReviewError, match="is no journal"):
        merge_journal(ours, theirs.path)
    theirs.path.unlink()
    theirs.refresh()
    decide(theirs, 1, Verdict.KEEP)
    with theirs.path.open("ab") as f:
        f.write(b'{"torn')
    assert merge_journal(ours, theirs.path).n_damaged == 1


@pytest.mark.parametrize(("prefer", "expected"), [(Prefer.OURS, "mine"), (Prefer.THEIRS, "yours")])
def test_names_that_differ_are_conflicts_like_verdicts(
    ours: Journal, theirs: Journal, prefer: Prefer, expected: str
) -> None:
    ours.set_name("c7", "mine", {"latents": [1, 2]})
    theirs.set_name("c7", "yours", {"latents": [1, 3]})
    theirs.set_name("c8", "new")
    asked = merge_journal(ours, theirs.path)
    assert not asked.is_written
    assert [(n.concept_id, n.ours, n.theirs) for n in asked.names] == [("c7", "mine", "yours")]
    merge_journal(ours, theirs.path, prefer)
    assert {k: e.name for k, e in ours.state.names.items()} == {"c7": expected, "c8": "new"}
    # what carries the name to another index is that of the name that holds
    assert ours.state.names["c7"].evidence == {"latents": [1, 2 if prefer is Prefer.OURS else 3]}
    assert merge_journal(ours, theirs.path).names == ()  # settled, and seen


def test_a_verdict_that_is_written_again_keeps_its_reason(ours: Journal, theirs: Journal) -> None:
    target = Target("concept", "c9", "c9")
    ours.set_verdicts([Decision(target, "n")], Verdict.KEEP, "it is style")
    theirs.set_verdicts([Decision(target, "n")], Verdict.SUPPRESS, "too much")
    merge_journal(ours, theirs.path, Prefer.OURS)
    held = ours.state.verdicts["concept:c9"]
    assert (held.verdict, held.reason) == (Verdict.KEEP, "it is style (merged: ours)")

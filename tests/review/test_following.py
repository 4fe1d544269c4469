"""A journal file that others append to, edit, cut or replace: what is read anew, and what is said of it."""

from pathlib import Path

import pytest

from engine.records import Verdict
from engine.review.following import Follower
from engine.review.journal import Journal
from engine.review.replay import undo_depth
from tests.review.test_journal import decision


def test_how_many_steps_can_be_taken_back_counts_own_batches_that_hold(tmp_path: Path) -> None:
    ana, bo = Journal(tmp_path / "j", "ana"), Journal(tmp_path / "j", "bo")
    ana.set_verdicts([decision(1), decision(2)], Verdict.KEEP)  # one step
    ana.set_verdicts([decision(3)], Verdict.KEEP)
    bo.set_verdicts([decision(4)], Verdict.IGNORE)
    ana.refresh()
    assert [undo_depth(ana.entries, who) for who in ("ana", "bo", "cy")] == [2, 1, 0]
    ana.undo()
    assert undo_depth(ana.entries, "ana") == 1
    ana.redo()
    assert undo_depth(ana.entries, "ana") == 2


@pytest.mark.parametrize("how", ["deleted", "emptied", "cut short", "changed", "replaced"])
def test_what_became_of_a_file_that_lost_entries_is_told_apart(tmp_path: Path, how: str) -> None:
    path = tmp_path / "j"
    ana, bo = Journal(path, "ana"), Journal(tmp_path / "other", "bo")
    for n in range(3):
        ana.set_verdicts([decision(n)], Verdict.KEEP)
    bo.set_verdicts([decision(7)], Verdict.IGNORE)
    first, foreign = path.read_bytes().splitlines(keepends=True)[0], bo.path.read_bytes()
    content = {"emptied": b"", "cut short": first, "changed": first + foreign, "replaced": foreign}
    path.unlink()
    if how in content:
        path.write_bytes(content[how])
    assert ana.refresh()
    assert (ana.how_lost, len(ana.lost)) == (how, 2 if first in content.get(how, b"") else 3)


def test_a_file_that_others_append_to_is_read_on_and_one_that_changed_is_read_anew(tmp_path: Path) -> None:
    path, follower = tmp_path / "j", Follower()

    def look() -> tuple[list[bytes], bool, bool]:
        with path.open("rb") as f:
            return tuple(follower.read_on(f.fileno()))  # type: ignore[return-value] # News as a plain tuple

    def append(data: bytes) -> None:
        with path.open("ab") as f:
            f.write(data)

    append(b"one\ntw")
    assert look() == ([b"one"], True, False)
    append(b"o\n")
    assert look() == ([b"two"], True, False)  # the beginning of a line waits for its end
    assert look() == ([], False, False)
    append(b"three\n")
    assert look() == ([b"three"], True, False)
    path.write_bytes(b"ONE\ntwo\nthree\nfour\n")  # edited in place, and longer
    assert look() == ([b"ONE", b"two", b"three", b"four"], True, True)
    path.write_bytes(b"ONE\n")
    assert look() == ([b"ONE"], True, True)
    other = tmp_path / "k"
    other.write_bytes(b"ONE\nfive\n")
    other.replace(path)
    assert look() == ([b"ONE", b"five"], True, True)

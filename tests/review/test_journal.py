"""The journal loses nothing that was confirmed and pretends nothing that was not."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ReviewError
from engine.records import Verdict
from engine.review.entries import decode, encode
from engine.review.journal import Decision, Journal
from engine.views.tables import Target

TIME = "2026-01-01T00:00:00.000000+00:00"


def target(n: int) -> Target:
    return Target("concept", f"c{n}", f"c{n}")


def decision(n: int) -> Decision:
    return Decision(target(n), f"concept {n}", {"win_rate": 0.5 + n / 100})


def held(journal: Journal) -> dict[str, str]:
    return {k: e.verdict.value for k, e in journal.state.verdicts.items() if e.verdict is not None}


def test_a_verdict_survives_reopening_with_its_reason_and_evidence(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path, "ana").set_verdicts([decision(1)], Verdict.SUPPRESS, "too flattering")
    entry = Journal(path, "bo").state.verdicts["concept:c1"]
    assert (entry.verdict, entry.author, entry.reason, entry.name, entry.evidence) == (
        Verdict.SUPPRESS,
        "ana",
        "too flattering",
        "concept 1",
        {"win_rate": 0.51},
    )


def test_the_last_verdict_holds_and_clearing_takes_it_away(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", "ana")
    journal.set_verdicts([decision(1)], Verdict.KEEP)
    journal.set_verdicts([decision(1)], Verdict.AMPLIFY)
    assert held(journal) == {"concept:c1": "amplify"}
    journal.set_verdicts([decision(1)], None)
    assert held(journal) == {}


def test_undo_takes_back_a_bulk_verdict_as_one_step_and_redo_restores_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", "ana")
    journal.set_verdicts([decision(1)], Verdict.KEEP)
    journal.set_verdicts([decision(n) for n in range(1, 4)], Verdict.SUPPRESS)
    assert journal.undo().changed == ("concept:c1", "concept:c2", "concept:c3")
    assert held(journal) == {"concept:c1": "keep"}
    journal.redo()
    assert held(journal) == {f"concept:c{n}": "suppress" for n in range(1, 4)}


def test_undo_works_after_a_restart_and_leaves_other_authors_alone(tmp_path: Path) -> None:
    path = tmp_path / "j"
    Journal(path, "ana").set_verdicts([decision(1)], Verdict.KEEP)
    Journal(path, "bo").set_verdicts([decision(1)], Verdict.SUPPRESS)
    ana = Journal(path, "ana")
    ana.undo()
    assert held(ana) == {"concept:c1": "suppress"}
    assert ana.undo().label == "nothing to undo"


def test_a_new_verdict_empties_the_redo_stack(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", "ana")
    journal.set_verdicts([decision(1)], Verdict.KEEP)
    journal.undo()
    journal.set_verdicts([decision(2)], Verdict.KEEP)
    assert journal.redo().label == "nothing to redo"


def test_authors_who_differ_are_shown_as_a_dispute(tmp_path: Path) -> None:
    path = tmp_path / "j"
    Journal(path, "ana").set_verdicts([decision(1)], Verdict.KEEP)
    bo = Journal(path, "bo")
    bo.set_verdicts([decision(1)], Verdict.SUPPRESS)
    assert bo.state.disputed_by == {"concept:c1": "ana"}


def _names(journal: Journal) -> dict[str, str]:
    return {concept_id: entry.name for concept_id, entry in journal.state.names.items()}


def test_names_are_entries_that_undo_takes_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", "ana")
    journal.set_name("c1", "flattery")
    journal.set_name("c1", "opens with praise")
    assert _names(journal) == {"c1": "opens with praise"}
    assert journal.undo().names_changed
    assert _names(journal) == {"c1": "flattery"}


def test_a_torn_last_line_is_counted_and_the_next_write_starts_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = Journal(path, "ana")
    journal.set_verdicts([decision(1)], Verdict.KEEP)
    journal.set_verdicts([decision(2)], Verdict.KEEP)
    path.write_bytes(path.read_bytes()[:-9])
    after = Journal(path, "ana")
    assert (held(after), after.n_damaged) == ({"concept:c1": "keep"}, 1)
    after.set_verdicts([decision(3)], Verdict.KEEP)
    again = Journal(path, "ana")
    assert (sorted(held(again)), again.n_damaged) == (["concept:c1", "concept:c3"], 1)


def test_lines_of_a_newer_format_and_rubbish_are_counted_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(b'{"v":99,"id":"x"}\n[1,2]\nnot json\n\xff\xfe\n\n')
    journal = Journal(path, "ana")
    assert journal.n_damaged == 4
    journal.set_verdicts([decision(1)], Verdict.KEEP)
    assert path.read_bytes().startswith(b'{"v":99,"id":"x"}\n')


def test_two_open_journals_see_each_other_after_refresh(tmp_path: Path) -> None:
    one, other = Journal(tmp_path / "j", "ana"), Journal(tmp_path / "j", "bo")
    one.set_verdicts([decision(1)], Verdict.KEEP)
    assert other.refresh()
    assert held(other) == {"concept:c1": "keep"}
    assert not other.refresh()


def test_time_ascends_even_when_the_clock_goes_back(tmp_path: Path) -> None:
    moments = iter([datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)])
    journal = Journal(tmp_path / "j", "ana", clock=lambda: next(moments))
    journal.set_verdicts([decision(1)], Verdict.KEEP)
    journal.set_verdicts([decision(1)], Verdict.SUPPRESS)
    assert held(Journal(tmp_path / "j", "ana")) == {"concept:c1": "suppress"}
    assert [e.time for e in journal.entries] == [
        "2026-01-02T00:00:00.000000+00:00", "2026-01-02T00:00:00.000001+00:00",
    ]  # fmt: skip
    third = datetime(2026, 1, 3, 5, tzinfo=timezone(timedelta(hours=2)))
    later = Journal(tmp_path / "j", "ana", clock=lambda: third)
    later.set_verdicts([decision(1)], Verdict.KEEP)
    assert later.entries[-1].time == "2026-01-03T03:00:00.000000+00:00"  # what the clock says


def test_undo_says_what_it_takes_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", "ana")
    journal.set_verdicts([decision(1)], Verdict.KEEP, "style")
    journal.set_verdicts([decision(1)], Verdict.KEEP, "taste")
    assert journal.undo().label == "undo: reason of keep concept 1"
    assert journal.undo().label == "undo: keep concept 1"
    for reason, label in (("style", "redo: keep concept 1"), ("taste", "redo: reason of keep concept 1")):
        assert journal.redo().label == label
        assert journal.state.verdicts["concept:c1"].reason == reason
    assert journal.redo().label == "nothing to redo"


def test_a_full_disk_is_said_and_nothing_half_written_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "j"
    journal = Journal(path, "ana")
    journal.set_verdicts([decision(1)], Verdict.KEEP)
    before = path.read_bytes()
    real = os.write

    def full(handle: int, data: bytes) -> int:
        if len(data) > 40:
            return real(handle, bytes(data[:40]))
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(ReviewError, match=r"not saved.*No space left"):
            journal.set_verdicts([decision(n) for n in range(2, 9)], Verdict.SUPPRESS)
    assert path.read_bytes() == before
    assert held(journal) == {"concept:c1": "keep"}


def test_a_read_only_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "j", "ana")

    def refuse(*_: object) -> int:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        with pytest.raises(ReviewError, match="Read-only file system"):
            journal.set_verdicts([decision(1)], Verdict.KEEP)
    assert held(journal) == {}


WRITER = """
import sys
from pathlib import Path
from engine.records import Verdict
from engine.review.journal import Decision, Journal
from engine.review.replay import undo_depth
from engine.views.tables import Target
journal = Journal(Path(sys.argv[1]), sys.argv[2])
for n in range(int(sys.argv[3])):
    ident = f"{sys.argv[2]}{n}"
    journal.set_verdicts([Decision(Target("concept", ident, ident), ident)], Verdict.KEEP)
    print(ident, flush=True)
"""


def start_writer(path: Path, author: str, n: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), author, str(n)],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip


def test_two_processes_writing_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "j"
    writers = [start_writer(path, author, 60) for author in ("ana", "bo")]
    for writer in writers:
        assert writer.communicate(timeout=600)[0].count("\n") == 60
    journal = Journal(path, "cy")
    assert len(held(journal)) == 120
    assert journal.n_damaged == 0
    times = [e.time for e in journal.entries]
    assert times == sorted(times)


def test_a_writer_killed_at_any_moment_loses_nothing_that_it_confirmed(tmp_path: Path) -> None:
    path = tmp_path / "j"
    writer = start_writer(path, "ana", 100_000)
    assert writer.stdout is not None
    confirmed = [writer.stdout.readline().strip() for _ in range(25)]
    time.sleep(0.02)
    writer.send_signal(signal.SIGKILL)
    rest = writer.communicate(timeout=600)[0]
    confirmed += [line for line in rest.split("\n")[:-1] if line]
    found = held(Journal(path, "ana"))
    assert {f"concept:{ident}" for ident in confirmed} <= set(found)


texts = st.text(st.characters(), max_size=40)


@given(reason=texts, name=texts, author=texts.filter(bool))
@settings(max_examples=60)
def test_any_text_comes_back_as_it_was_and_stays_on_one_line(reason: str, name: str, author: str) -> None:
    from engine.review.entries import Entry, EntryKind

    entry = Entry("id", "b", EntryKind.VERDICT, author, TIME, target(1), Verdict.KEEP, reason, name)
    line = encode(entry)
    assert line.count(b"\n") == 1
    assert decode(line) == entry


@given(
    steps=st.lists(
        st.tuples(st.sampled_from("vvvcur"), st.sampled_from("ab"), st.integers(0, 2)), max_size=25
    )
)
@settings(max_examples=60)
def test_the_state_of_a_running_journal_is_the_state_after_a_restart(
    steps: list[tuple[str, str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("j") / "j"
    clock = _ticking()
    journals = {author: Journal(path, author, clock=clock) for author in "ab"}
    for what, author, n in steps:
        journal = journals[author]
        if what == "v":
            journal.set_verdicts([decision(n)], list(Verdict)[n])
        elif what == "c":
            journal.set_verdicts([decision(n)], None)
        elif what == "u":
            journal.undo()
        else:
            journal.redo()
    for journal in journals.values():
        journal.refresh()
        assert held(journal) == held(Journal(path, "fresh"))


def _ticking() -> Callable[[], datetime]:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]

    def tick() -> datetime:
        now[0] += timedelta(seconds=1)
        return now[0]

    return tick


def test_lines_are_plain_json_that_other_tools_read(tmp_path: Path) -> None:
    path = tmp_path / "j"
    Journal(path, "ana").set_verdicts([decision(1)], Verdict.KEEP, "because")
    line = json.loads(path.read_text())
    assert line["kind"] == "verdict"
    assert line["target"] == {"kind": "concept", "id": "c1", "concept": "c1"}
    assert line["reason"] == "because"


@pytest.mark.parametrize(
    "bad",
    ["yesterday", "9999-12-31T23:59:59.999999+00:00", "2026-01-01T10:00:00+99:99", "2026-01-01T10:00:00"],
)
def test_a_line_without_a_time_that_others_can_follow_is_damaged_and_stops_nothing(
    tmp_path: Path, bad: str
) -> None:
    path = tmp_path / "j"
    Journal(path, "ana").set_verdicts([decision(1)], Verdict.KEEP)
    line = json.loads(path.read_text().splitlines()[0])
    path.write_text(path.read_text() + json.dumps(line | {"id": "0" * 16, "time": bad}) + "\n")
    journal = Journal(path, "ana")
    assert journal.n_damaged == 1
    journal.set_verdicts([decision(2)], Verdict.SUPPRESS)
    assert held(journal) == {"concept:c1": "keep", "concept:c2": "suppress"}


def test_times_of_other_zones_are_put_in_order(tmp_path: Path) -> None:
    path = tmp_path / "j"
    Journal(path, "ana").set_verdicts([decision(1)], Verdict.KEEP)
    line = json.loads(path.read_text())
    first = line | {
        "id": "1" * 16,
        "batch": "1" * 12,
        "time": "2026-01-01T10:00:00+02:00",
        "verdict": "amplify",
    }
    second = line | {
        "id": "2" * 16,
        "batch": "2" * 12,
        "time": "2026-01-01T09:00:00+00:00",
        "verdict": "ignore",
    }
    path.write_text("".join(json.dumps(x) + "\n" for x in (second, first)))
    assert held(Journal(path, "ana")) == {"concept:c1": "ignore"}  # 8 o'clock and 9 o'clock


@pytest.mark.parametrize("wait", [False, True])
def test_lines_that_somebody_edits_in_place_are_read_again(tmp_path: Path, wait: bool) -> None:
    """As an editor that keeps the file does; whether or not something was appended meanwhile."""
    path = tmp_path / "j"
    journal = Journal(path, "ana")
    for n in range(5):
        journal.set_verdicts([decision(n)], Verdict.KEEP)
    whole = path.read_text()
    edited = whole.replace('"keep"', '"suppress"', 1)
    with path.open("r+") as f:
        f.write(edited)
        f.truncate()
    if wait:
        Journal(path, "bo").set_verdicts([decision(9)], Verdict.IGNORE)
    assert journal.refresh()
    assert journal.n_damaged == 0
    assert held(journal)["concept:c0"] == "suppress"
    with path.open("r+") as f:  # an older state of the same length and more
        f.write(whole)
        f.truncate()
    os.utime(path, ns=(1, 1))
    assert journal.refresh()
    assert held(journal) == {f"concept:c{n}": "keep" for n in range(5)}
    assert not journal.refresh()


def test_entries_that_the_file_has_no_more_are_kept_and_written_again_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "j"
    ana = Journal(path, "ana")
    ana.set_verdicts([decision(1)], Verdict.KEEP)
    ana.set_verdicts([decision(2)], Verdict.SUPPRESS)
    before = path.read_bytes()
    path.unlink()
    Journal(path, "bo").set_verdicts([decision(1)], Verdict.AMPLIFY)
    assert ana.refresh()
    assert (ana.how_lost, len(ana.lost), held(ana)) == ("replaced", 2, {"concept:c1": "amplify"})
    assert ana.restore().label == "2 entries are in j again"
    assert path.read_bytes().endswith(before)
    assert held(ana) == {"concept:c1": "amplify", "concept:c2": "suppress"}
    assert (ana.how_lost, ana.lost) == ("", ())
    assert ana.restore().label == "nothing is missing from the journal"


def test_a_file_that_was_replaced_by_one_with_all_its_entries_lost_nothing(tmp_path: Path) -> None:
    path = tmp_path / "j"
    ana = Journal(path, "ana")
    ana.set_verdicts([decision(1)], Verdict.KEEP)
    more = Journal(tmp_path / "k", "bo")
    more.set_verdicts([decision(2)], Verdict.KEEP)
    (tmp_path / "k").write_bytes((tmp_path / "k").read_bytes() + path.read_bytes())
    (tmp_path / "k").replace(path)
    assert ana.refresh()
    assert (len(held(ana)), ana.lost) == (2, ())


def test_what_is_read_while_writing_is_news_for_the_next_refresh(tmp_path: Path) -> None:
    path = tmp_path / "j"
    ana, bo = Journal(path, "ana"), Journal(path, "bo")
    bo.set_verdicts([decision(1)], Verdict.KEEP)
    ana.set_verdicts([decision(2)], Verdict.KEEP)
    assert ana.refresh()
    assert not ana.refresh()


def test_what_others_decided_unseen_is_left_alone_and_what_was_seen_is_gone_over(tmp_path: Path) -> None:
    path = tmp_path / "j"
    ana, bo = Journal(path, "ana"), Journal(path, "bo")
    bo.set_verdicts([decision(1)], Verdict.KEEP)
    bo.set_verdicts([decision(2)], Verdict.KEEP)
    seen = {"concept:c1": bo.state.verdicts["concept:c1"].time}
    change = ana.set_verdicts([decision(n) for n in (1, 2, 3)], Verdict.SUPPRESS, seen=seen)
    assert change.changed == ("concept:c1", "concept:c3")
    assert change.label == (
        "suppress: 2 concepts, over bo's keep; left alone what others decided meanwhile: bo's keep"
    )
    assert held(ana) == {"concept:c1": "suppress", "concept:c2": "keep", "concept:c3": "suppress"}
    size = path.stat().st_size
    assert ana.set_verdicts([decision(2)], None, seen={}).changed == ()
    assert path.stat().st_size == size


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_to_the_file_somebody_still_has_every_decision(tmp_path: Path, seed: int) -> None:
    """Two authors decide while the file is deleted, cut and replaced by a part of itself."""
    chance, path = random.Random(seed), tmp_path / "j"  # noqa: S311 - what happens, not a secret
    both, written = (Journal(path, "ana"), Journal(path, "bo")), set[str]()

    def spoil() -> None:
        held = path.read_bytes() if path.exists() else b""
        how = chance.randrange(3)
        if how == 0:
            path.unlink(missing_ok=True)
        elif how == 1:
            path.write_bytes(held[: chance.randrange(len(held) + 1)])
        else:
            (tmp_path / "k").write_bytes(b"".join(held.splitlines(keepends=True)[1:]))
            (tmp_path / "k").replace(path)

    for _ in range(25):
        who, what = chance.choice(both), chance.random()
        if what < 0.5:
            who.set_verdicts([decision(chance.randrange(6))], chance.choice(list(Verdict)))
            written.add(who.entries[-1].ident)
        elif what < 0.75:
            spoil()
        else:
            chance.choice((who.undo, who.refresh, who.restore))()
        assert written <= {e.ident for journal in both for e in (*journal.entries, *journal.lost)}
    for journal in both:
        journal.refresh()
        journal.restore()
    both[0].refresh()
    assert written <= {e.ident for e in both[0].entries}

"""How many questions at a time, when one is sent again, and when no more: with a clock of the test's own."""

import math
from datetime import UTC, datetime

import pytest

from engine.naming.pace import Pace, Strain, Tries, TryAgain, asked_wait


def trouble(strain: Strain, after_s: float | None = None) -> TryAgain:
    return TryAgain("no answer", None, strain, after_s)


def started(parallel: int, retries: int = 4) -> Pace:
    """After its first answer."""
    pace = Pace(parallel, retries, seed=1)
    pace.answered()
    return pace


def test_one_question_goes_first_and_then_as_many_as_allowed() -> None:
    pace = Pace(8, 4)
    assert pace.may_send(0.0, 0)
    assert not pace.may_send(0.0, 1)
    pace.answered()
    assert pace.may_send(0.0, 7)
    assert not pace.may_send(0.0, 8)


@pytest.mark.parametrize("strain", [Strain.BUSY, Strain.SLOW])
def test_half_as_many_are_sent_to_who_has_too_much_and_one_more_after_every_round_of_answers(
    strain: Strain,
) -> None:
    pace = started(8)
    together = [Tries(sent_at=1.0) for _ in range(8)]
    for tries in together:
        pace.again(tries, trouble(strain), 2.0)
    assert pace.limit == 4  # once, not eight times
    pace.again(Tries(sent_at=3.0), trouble(strain), 4.0)
    assert pace.limit == 2
    limits = []
    for _ in range(2 + 3 + 4):
        pace.answered()
        limits.append(pace.limit)
    assert limits == [2, 3, 3, 3, 4, 4, 4, 4, 5]
    for _ in range(100):
        pace.answered()
    assert pace.limit == 8


def test_a_failure_that_is_no_strain_leaves_the_pace_as_it_is() -> None:
    pace = started(8)
    for strain in (Strain.ILL, Strain.GONE):
        wait = pace.again(Tries(), trouble(strain), 0.0)
        assert wait is not None
        assert not wait.is_for_all
    assert (pace.limit, pace.may_send(0.0, 0)) == (8, True)


def test_waits_grow_and_are_spread() -> None:
    """Half a second, doubled each time, of which up to a half is drawn."""
    waits: dict[int, list[float]] = {n: [] for n in range(4)}
    for seed in range(200):
        pace, tries = Pace(8, 4, seed), Tries()
        for n in range(4):
            wait = pace.again(tries, trouble(Strain.ILL), 0.0)
            assert wait is not None
            waits[n].append(wait.until)
    for n, drawn in waits.items():
        whole = 0.5 * 2**n
        assert whole / 2 <= min(drawn) < whole * 0.55
        assert whole * 0.95 < max(drawn) <= whole


def test_nothing_is_sent_before_a_busy_server_wants_it() -> None:
    pace = started(8)
    wait = pace.again(Tries(), trouble(Strain.BUSY, after_s=30.0), 100.0)
    assert wait is not None
    assert wait.is_for_all
    assert 130.0 <= wait.until <= 133.0  # never earlier, a tenth later at most
    assert not pace.may_send(129.9, 0)
    assert pace.may_send(wait.until, 0)


def test_a_question_that_fails_again_and_again_is_given_up() -> None:
    pace, tries = started(1, retries=3), Tries()
    waits = [pace.again(tries, trouble(Strain.ILL), 0.0) for _ in range(4)]
    assert [w is None for w in waits] == [False, False, False, True]


def test_nothing_is_sent_again_where_that_is_not_wanted() -> None:
    for strain in Strain:
        assert started(8, retries=0).again(Tries(), trouble(strain), 0.0) is None


def test_slowness_counts_less_while_many_are_asked_at_a_time() -> None:
    """From 8 at a time to one takes three halvings, so a question has three more tries."""
    pace, tries = started(8, retries=1), Tries()
    given_up = []
    for n in range(5):
        tries.sent_at = float(n)
        given_up.append(pace.again(tries, trouble(Strain.SLOW), n + 0.5) is None)
    assert given_up == [False, False, False, False, True]


def test_a_busy_server_is_waited_for_two_minutes_at_least() -> None:
    pace, tries = Pace(8, 2), Tries()
    now = 0.0
    while (wait := pace.again(tries, trouble(Strain.BUSY), now)) is not None:
        assert wait.until - now <= 20.0
        now = wait.until
    assert 120.0 <= now <= 140.0
    assert tries.n_failed > 2


def test_a_busy_server_that_goes_on_answering_is_never_given_up() -> None:
    pace, tries, now = started(2, retries=1), Tries(), 0.0
    for _ in range(100):
        wait = pace.again(tries, trouble(Strain.BUSY), now)
        assert wait is not None
        now = wait.until + 60.0
        pace.answered()


def test_who_wants_to_be_left_alone_for_long_is() -> None:
    assert started(8).again(Tries(), trouble(Strain.BUSY, after_s=3600.0), 0.0) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None), ({"retry-after": "20"}, 20.0), ({"retry-after": "0"}, 0.0), ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5), ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None), ({"retry-after": "inf"}, None), ({"retry-after": ""}, None),
        ({"retry-after": "Sun, 29 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Sun, 29 Nov 2026 11:00:00 GMT"}, 0.0),
    ],
)  # fmt: skip
def test_what_a_server_asks_for_is_read_in_all_its_forms(
    headers: dict[str, str], seconds: float | None
) -> None:
    found = asked_wait(headers, datetime(2026, 11, 29, 12, tzinfo=UTC))
    assert found == seconds or (found is not None and seconds is not None and math.isclose(found, seconds))

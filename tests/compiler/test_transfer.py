"""Matching measured on pairs that it was not solved on."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.compiler.records import VerdictNote
from engine.compiler.transfer import TransferRequest, transfer
from engine.compiler.transferred import Moved, Transferred
from engine.errors import CompileError
from engine.manifest import hash_bytes
from engine.records import Verdict
from engine.store.connection import Store
from tests.worlds import make_world

RULES = 'prosect rules 1\nsuppress @"concept 0" by matching\n'


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Concept 0 holds a latent that the chosen side carries with log odds 1.5."""
    world = make_world(Path(tmp_path_factory.mktemp("transfer")), 3000, seed=2)
    with Store(world.paths.index("world"), threads=2) as store:
        yield store


@pytest.mark.parametrize("seed", [0, 1])
def test_weights_solved_on_half_of_the_groups_balance_the_other_half(big: Store, seed: int) -> None:
    report = transfer(big, TransferRequest(RULES, seed=seed, draws=60))
    matched = [t for t in report.targets if t.is_matched]
    assert [t.measure for t in matched] == ["delta", "u"]
    u = matched[1]
    # half of 3,000 pairs: a mean in standard deviations has a standard error of about 1/√1,450 = 0.026
    assert u.before > 8 * 0.026
    assert abs(u.after) < 4 * 0.026
    assert u.left is not None
    assert abs(u.left) < 0.5
    assert u.low is not None
    assert u.high is not None
    assert u.low < u.left < u.high
    assert u.state != "fails"
    assert {t.measure for t in report.targets if not t.is_matched} == {"sum", "n", "rate"}
    assert report.effective_share > 0.8
    assert abs(report.n_solved - report.n_measured) < 200
    assert "concept 0" not in {m.concept for m in report.others}
    assert len(report.others) == 7
    assert report.n_failed == 0


def test_the_interval_is_as_wide_as_new_data_would_make_it(big: Store) -> None:
    """Noise of both halves: sd of what is left ≈ √2·√(2/n)/before = 2/(√n·before), n pairs in all."""
    u = next(t for t in transfer(big, TransferRequest(RULES, draws=300)).targets if t.measure == "u")
    assert u.low is not None
    assert u.high is not None
    assert u.needed is not None
    n = 2 * 1450
    expected = 2 * 1.645 * 2 / (np.sqrt(n) * u.before)
    assert 0.6 < (u.high - u.low) / expected < 1.6
    assert u.needed == pytest.approx(n * ((u.high - u.low) / 0.4) ** 2, rel=0.1)


def test_what_matching_cannot_see_stays(big: Store) -> None:
    """A text pattern that follows the label, independent of every reading, is not moved by the weights."""
    n_pairs = int(big.value("SELECT count(*) FROM pairs"))
    rng = np.random.default_rng(0)
    pattern = rng.choice([-1.0, 0.0, 1.0], n_pairs, p=[0.1, 0.5, 0.4])
    report = transfer(big, TransferRequest(RULES, patterns={"concept 0": pattern}, draws=100))
    text = next(t for t in report.targets if t.measure == "text")
    assert text.left is not None
    assert text.left > 0.9
    assert text.state == "fails"
    assert report.state != "fails"  # only what was matched decides


def test_held_concepts_are_held_on_the_other_half(big: Store) -> None:
    note = VerdictNote(hash_bytes(b"concept 1"), Verdict.KEEP)
    report = transfer(big, TransferRequest(RULES, verdicts=(note,), draws=0))
    (held,) = report.held
    assert held.concept == "concept 1"
    assert held.limit is not None
    assert abs(held.change) < held.limit
    assert held.low < held.change < held.high


def test_amplifying_is_measured_from_its_target(big: Store) -> None:
    rules = 'prosect rules 1\namplify @"concept 3" by matching to 0.3 on delta\n'
    (delta, *_) = transfer(big, TransferRequest(rules, draws=100)).targets
    assert abs(delta.after - 0.3) < 0.15
    assert delta.left == pytest.approx((delta.after - 0.3) / (delta.before - 0.3))


def test_states() -> None:
    def target(low: float | None, high: float | None) -> str:
        return Transferred("x", "u", True, 9, 0.1, 0.0, 0.0, low, high, 9).state

    assert [target(-0.1, 0.2), target(-0.3, 0.1), target(0.21, 0.5), target(None, None)] == [
        "holds", "open", "fails", "open",
    ]  # fmt: skip
    assert Moved("x", 0.0, 0.3, 0.2, 0.4, limit=0.1).state == "fails"
    assert Moved("x", 0.0, 0.3, 0.2, 0.4).state is None


def test_a_file_without_matching_has_nothing_to_transfer(big: Store) -> None:
    with pytest.raises(CompileError, match="matches nothing"):
        transfer(big, TransferRequest("prosect rules 1\ndrop where false\n"))

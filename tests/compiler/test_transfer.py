"""Matching measured on pairs that it was not solved on."""

from pathlib import Path

import pytest

from engine.compiler.transfer import transfer
from engine.errors import CompileError
from engine.store.connection import Store
from tests.worlds import make_world


def test_weights_solved_on_half_of_the_groups_balance_the_other_half(tmp_path: Path) -> None:
    """Concept 0 holds a latent that the chosen side carries with log odds 1.5."""
    world = make_world(tmp_path, 3000, seed=2)
    rules = 'prosect rules 1\nsuppress @"concept 0" by matching\n'
    with Store(world.paths.index("world"), threads=2) as store:
        for swap in (False, True):
            report = transfer(store, rules, swap=swap)
            matched = [t for t in report.targets if t.measure in ("delta", "u")]
            assert len(matched) == 2
            u = next(t for t in matched if t.measure == "u")
            assert abs(u.before) > 4 * u.standard_error
            for target in matched:
                assert abs(target.after) < 3.5 * target.standard_error
            assert abs(u.after) < 0.5 * abs(u.before)
            assert report.others[0].concept == "concept 0"
            assert report.effective_share > 0.8
            assert report.n_solved > 1000
            assert report.n_measured > 1000


def test_a_file_without_matching_has_nothing_to_transfer(store: Store) -> None:
    with pytest.raises(CompileError, match="matches nothing"):
        transfer(store, "prosect rules 1\ndrop where false\n")

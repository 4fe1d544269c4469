"""Working through the pairs tile by tile changes nothing, wherever the tiles end."""

import numpy as np
import pytest

from engine.stats import score_kernels
from engine.stats.design import build_design
from engine.stats.null import fit_null
from engine.stats.score import score_tests
from engine.stats.score_kernels import tile_ends
from tests.stats.inputs import latents_of, with_pairs
from tests.worlds import make_readings


def test_tiles_end_where_groups_end() -> None:
    """Tiles of three rows of four floats: 3 would cut the group at 2–4 and 6 ends one; 9 is the last pair."""
    group = np.array([0, 0, 1, 1, 1, 2, 3, 3, 4], np.int32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score_kernels, "TILE_BYTES", 3 * 4 * 4)
        assert tile_ends(group, 4).tolist() == [5, 6, 9]
    assert tile_ends(group, 4).tolist() == [9]


@pytest.mark.parametrize("pairs_per_tile", [1, 7, 100])
def test_any_tiling_gives_the_same_scores(pairs_per_tile: int) -> None:
    readings = make_readings(400, 24, seed=3, effects={0: 1.0})
    rng = np.random.default_rng(3)
    group = np.cumsum(rng.random(400) > 0.5).astype(np.int32)
    readings = with_pairs(readings, group=group - group[0])
    design = build_design(readings.pairs)
    assert design.n_columns > 1
    null = fit_null(design, readings.pairs.group, readings.pairs.is_signed.astype(np.float64))
    units = latents_of(readings)
    whole = score_tests(units, null)
    width = 4 * score_kernels.pack_wide(null).shape[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score_kernels, "TILE_BYTES", pairs_per_tile * width)
        assert len(tile_ends(null.group, width // 4)) > 2
        tiled = score_tests(units, null)
    for a, b in ((whole.z, tiled.z), (whole.score, tiled.score), (whole.variance, tiled.variance)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(whole.b, tiled.b, rtol=1e-5, atol=1e-5)


def test_a_compiled_kernel_is_found_again_by_another_process() -> None:
    """The cache knows it by what it closes over: a number is the same everywhere, a function is not."""
    kernel = score_kernels.wide_kernel(48).py_func  # type: ignore[attr-defined]
    assert [cell.cell_contents for cell in kernel.__closure__] == [48]

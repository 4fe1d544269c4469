"""``sources``, ``coverage`` and what ``show`` says beyond the estimates, on a small audited index."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from engine.api import Project
from engine.arrays import Readings
from engine.cli.main import main
from engine.paths import ProjectPaths
from engine.progress import NullProgress
from engine.records import pair_schema
from engine.settings import StatsSettings
from engine.stats.run import StatsInput, estimate
from engine.store.build import Published, build_index, publish
from engine.views.details import ConceptDetail
from tests.stats.inputs import latents_of, thirds
from tests.worlds import _pair_rows, index_tables, make_readings
from tui.format import UNICODE
from tui.views.concept import concept_lines


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six latents as concepts; the first is taught by source alpha and against by beta; a third is tiny."""
    paths = ProjectPaths(tmp_path_factory.mktemp("project"))
    readings = with_a_small_source(make_readings(700, 6, effects={0: 1.5}))
    units = latents_of(readings)
    own = units.u.copy()
    first = slice(int(units.indptr[0]), int(units.indptr[1]))
    own[first] *= np.where(readings.pairs.source[units.pair[first]] == 0, 1, -1)
    units = type(units)(units.indptr, units.pair, own)
    given = StatsInput(
        units, [f"c{m}" for m in range(6)], units, np.arange(6, dtype=np.int32), np.zeros(6, np.int64),
        thirds(700), members=[(m,) for m in range(6)],
    )  # fmt: skip
    found = estimate(readings, given, StatsSettings(), NullProgress())
    concepts: list[tuple[str, tuple[int, ...]]] = [(f"concept {m}", (m,)) for m in range(6)]
    rows = _pair_rows(readings, 0)
    paths.pairs_dir.mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema=pair_schema()), paths.pairs)
    tables = index_tables(readings, rows, concepts)
    everywhere = found.hypotheses.filter(pa.compute.equal(found.hypotheses["context"], 0))
    tables |= {"hypotheses": everywhere, **found.scrutiny}
    build_index(paths.index("w"), tables, {"reader_hash": "r", "share_read": 1.0, "stats": found.facts})
    publish(paths, Published("r", "w", 1.0))
    return paths.root


def with_a_small_source(readings: Readings) -> Readings:
    source = np.where(np.arange(readings.n_pairs) < 4, 2, readings.pairs.source).astype(np.int32)
    pairs = replace(readings.pairs, source=source, source_names=(*readings.pairs.source_names, "tiny"))
    return replace(readings, pairs=pairs)


def run(*args: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in args])
    assert result.exit_code == 0, (args, result.output)
    return result


def test_sources_say_which_calls_hang_on_which_source(project: Path) -> None:
    found = json.loads(run("sources", project, "--json").stdout)
    assert [level["level"] for level in found["mix"]["levels"]] == ["alpha", "beta"]
    concept = next(c for c in found["mix"]["concepts"] if c["name"] == "concept 0")
    rates = {level["level"]: level["win"][1] for level in concept["levels"]}
    assert rates["alpha"] > 0.7 > 0.3 > rates["beta"]
    assert concept["spread"]["i2"] > 0.9


def test_one_level_lists_what_changes_without_it_first(project: Path) -> None:
    rows = json.loads(run("sources", project, "--level", "alpha", "--json").stdout)
    assert rows[0]["name"] == "concept 0"
    assert rows[0]["level"]["without"][1] < 0.3
    refused = CliRunner().invoke(main, ["sources", str(project), "--level", "nowhere"])
    assert refused.exit_code == 2
    assert "alpha, beta" in refused.output


def test_sources_too_small_to_compare_are_counted(project: Path) -> None:
    said = "1 source not compared: too few prompt groups, or beyond the largest 24"
    assert json.loads(run("sources", project, "--json").stdout)["mix"]["n_left_out"] == 1
    assert said in run("show", project, "concept 0").stdout
    with Project(project) as opened:
        found = opened.browser.find("concept 0")
    assert isinstance(found, ConceptDetail)
    page = ["".join(text for text, _ in line.spans) for line in concept_lines(found, {}, 100, UNICODE)]
    assert any(said in line for line in page)


def test_a_facet_that_the_pairs_do_not_have_is_refused(project: Path) -> None:
    result = CliRunner().invoke(main, ["sources", str(project), "--by", "annotator"])
    assert result.exit_code == 1
    assert "there is something `--by model` and `--by source`" in result.output


def test_show_has_poolings_and_sources(project: Path) -> None:
    shown = json.loads(run("show", project, "concept 0", "--json").stdout)["scrutiny"]
    assert [p["pooling"] for p in shown["poolings"]] == ["fire rate", "largest activation", "mean activation"]
    assert {level["level"] for level in shown["levels"] if level["facet"] == "source"} == {"alpha", "beta"}
    assert "poolings that test it make the same calls" in run("show", project, "concept 0").stdout


def test_lists_filter_by_pooling_and_spread(project: Path) -> None:
    rows = json.loads(run("concepts", project, "-f", "spread>50%", "--json").stdout)["rows"]
    assert "concept 0" in {row["concept"] for row in rows}
    assert all("/" in row["pool"] for row in rows if row["pool"])

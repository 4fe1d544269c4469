"""Mixes: weights of sources and rows, adding and removing later, nothing read twice."""

from pathlib import Path

import pytest

from engine.errors import IngestError
from engine.ingest.run import IngestReport, Mix, SourceSpec, ingest
from engine.paths import ProjectPaths
from engine.pipeline.mix import MixChange, change_mix, mix_rows, source_specs
from engine.progress import NullProgress
from engine.settings import IngestSettings, Settings
from tests.ingest.tables import entries_of, pairs_of, plain_row, run, write_jsonl


def change(root: Path, **what: object) -> IngestReport:
    """One change of a mix."""
    return change_mix(ProjectPaths(root), MixChange(**what), Settings(), NullProgress())  # type: ignore[arg-type] # by field


def two_sources(root: Path) -> tuple[Path, Path]:
    """Two files, ingested as sources a and b."""
    a = write_jsonl(root / "a.jsonl", [plain_row(i) for i in range(6)])
    b = write_jsonl(root / "b.jsonl", [plain_row(i) for i in range(20, 23)])
    run(a, b, out=root / "pairs")
    return a, b


def weights(root: Path) -> dict[str, set[float]]:
    """Base weights by source."""
    found: dict[str, set[float]] = {}
    for pair in pairs_of(root / "pairs"):
        found.setdefault(pair["source"], set()).add(pair["base_weight"])
    return found


def test_a_weight_goes_to_every_pair_of_the_source_and_adds_up(tmp_path: Path) -> None:
    """6 pairs at 1 and 3 at 0.5: shares 6 / 7.5 and 1.5 / 7.5."""
    two_sources(tmp_path)
    assert weights(tmp_path) == {"a": {1.0}, "b": {1.0}}
    report = change(tmp_path, weights={"b": 0.5})
    assert weights(tmp_path) == {"a": {1.0}, "b": {0.5}}
    assert report.weight_by_source == {"a": 6.0, "b": 1.5}
    rows = {r.source: (r.pairs, r.weight, round(r.share or 0, 12)) for r in mix_rows(ProjectPaths(tmp_path))}
    assert rows == {"a": (6, 1.0, 0.8), "b": (3, 0.5, 0.2)}


def test_rows_that_an_input_lost_are_counted_once_however_many_sources_it_holds(tmp_path: Path) -> None:
    rows = [plain_row(i, source=name) for i, name in enumerate(["mail", "mail", "forum"])]
    run(write_jsonl(tmp_path / "x.jsonl", [*rows, plain_row(3, chosen="")]), out=tmp_path / "pairs")
    assert sorted(r.source for r in mix_rows(ProjectPaths(tmp_path))) == ["forum", "mail"]
    assert [r.dropped for r in mix_rows(ProjectPaths(tmp_path))] == [1, None]


def test_weights_stay_until_they_are_set_again(tmp_path: Path) -> None:
    a, b = two_sources(tmp_path)
    change(tmp_path, weights={"b": 0.5})
    run(a, b, out=tmp_path / "pairs")
    assert weights(tmp_path) == {"a": {1.0}, "b": {0.5}}
    run(a, b, out=tmp_path / "pairs", mix=Mix(weights={"b": 1}))
    assert weights(tmp_path) == {"a": {1.0}, "b": {1.0}}


def test_weights_of_a_files_rows_multiply_those_of_their_source(tmp_path: Path) -> None:
    rows = [plain_row(i, importance=w) for i, w in enumerate([2, "0.5", None, 0, "much"])]
    file = write_jsonl(tmp_path / "x.jsonl", rows)
    report = run(
        SourceSpec(str(file), mapping={"weight": "importance"}),
        out=tmp_path / "out",
        mix=Mix(weights={"x": 3}),
    )
    found = {p["source_row"]: (p["row_weight"], p["base_weight"]) for p in pairs_of(tmp_path / "out")}
    assert found == {0: (2.0, 6.0), 1: (0.5, 1.5), 2: (None, 3.0)}
    assert report.dropped == {"bad_weight": 2}
    assert [e["detail"] for e in entries_of(tmp_path / "out", "bad_weight")] == ["0", "'much'"]


def test_a_column_called_weight_means_nothing_until_it_is_mapped(tmp_path: Path) -> None:
    run(write_jsonl(tmp_path / "x.jsonl", [plain_row(1, weight=70)]), out=tmp_path / "out")
    (pair,) = pairs_of(tmp_path / "out")
    assert (pair["base_weight"], pair["meta"]) == (1.0, '{"weight": 70}')


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf")])
def test_a_weight_that_is_no_positive_number_is_refused(weight: float, tmp_path: Path) -> None:
    two_sources(tmp_path)
    with pytest.raises(IngestError, match="not a positive number"):
        change(tmp_path, weights={"b": weight})


@pytest.mark.parametrize("weight", [2, 1])  # 1 is what every source weighs anyway
def test_a_weight_of_no_source_suggests_the_nearest_and_changes_nothing(
    weight: float, tmp_path: Path
) -> None:
    two_sources(tmp_path)
    before = (tmp_path / "pairs" / "report.json").read_bytes()
    with pytest.raises(IngestError, match="no source `bb`; did you mean `b`"):
        change(tmp_path, weights={"bb": weight})
    assert (tmp_path / "pairs" / "report.json").read_bytes() == before


def test_added_and_removed_sources_leave_the_others_as_they_are_without_their_files(tmp_path: Path) -> None:
    a, b = two_sources(tmp_path)
    before = {p["pair_id"]: p for p in pairs_of(tmp_path / "pairs")}
    a.unlink()
    b.unlink()
    c = write_jsonl(tmp_path / "c.jsonl", [plain_row(i) for i in range(40, 44)])
    report = change(tmp_path, add=(SourceSpec(str(c), name="third"),))
    assert report.pairs_by_source == {"a": 6, "b": 3, "third": 4}
    after = {p["pair_id"]: p for p in pairs_of(tmp_path / "pairs")}
    assert {i: after[i] for i in before} == before
    change(tmp_path, remove=("third",))
    assert {p["pair_id"]: p for p in pairs_of(tmp_path / "pairs")} == before
    change(tmp_path, remove=(str(b),))
    assert {p["source"] for p in pairs_of(tmp_path / "pairs")} == {"a"}
    with pytest.raises(IngestError, match="nothing would be left"):
        change(tmp_path, remove=("a",))


def test_adding_a_file_under_another_spelling_reads_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_sources(tmp_path)
    write_jsonl(tmp_path / "b.jsonl", [plain_row(i) for i in range(20, 25)])
    monkeypatch.chdir(tmp_path)
    report = change(tmp_path, add=(SourceSpec("b.jsonl"),))
    assert report.pairs_by_source == {"a": 6, "b": 5}
    assert [Path(s.path).name for s in report.sources] == ["a.jsonl", "b.jsonl"]


def test_naming_other_files_says_what_leaves_the_mix(tmp_path: Path) -> None:
    a, b = two_sources(tmp_path)
    notes: list[str] = []

    class Heard(NullProgress):
        def note(self, message: str) -> None:
            notes.append(message)

    ingest([SourceSpec(str(a))], tmp_path / "pairs", Settings().ingest, Heard())
    assert notes == [f"no longer in the mix: {b}"]


def test_adding_a_file_that_is_in_the_mix_takes_its_changes(tmp_path: Path) -> None:
    a, _ = two_sources(tmp_path)
    write_jsonl(a, [plain_row(i) for i in range(8)])
    report = change(tmp_path, add=(SourceSpec(str(a)),))
    assert report.pairs_by_source == {"a": 8, "b": 3}


def test_one_of_several_sources_in_a_file_cannot_be_removed_but_weighed(tmp_path: Path) -> None:
    rows = [plain_row(i, source="x" if i % 3 else "y") for i in range(9)]
    run(write_jsonl(tmp_path / "m.jsonl", rows), out=tmp_path / "pairs")
    with pytest.raises(IngestError, match="one of several sources"):
        change(tmp_path, remove=("y",))
    with pytest.raises(IngestError, match="no source `z` in the mix"):
        change(tmp_path, remove=("z",))
    change(tmp_path, weights={"y": 2})
    assert weights(tmp_path) == {"x": {1.0}, "y": {2.0}}


def test_names_may_be_given_with_the_files(tmp_path: Path) -> None:
    odd = write_jsonl(tmp_path / "a=b.jsonl", [plain_row(1)])
    named, whole, plain = source_specs(["forum=data/x.jsonl", str(odd), "y.jsonl"])
    assert (named.name, named.path) == ("forum", "data/x.jsonl")
    assert (whole.name, whole.path) == (None, str(odd))
    assert (plain.name, plain.path) == (None, "y.jsonl")


def test_the_same_mix_in_one_go_or_step_by_step_is_the_same(tmp_path: Path) -> None:
    a, _ = two_sources(tmp_path)
    c = write_jsonl(tmp_path / "c.jsonl", [plain_row(i) for i in (2, 50)])
    change(tmp_path, add=(SourceSpec(str(c)),), weights={"c": 0.25})
    change(tmp_path, remove=("b",))
    grown = run(a, c, out=tmp_path / "pairs")
    fresh = run(a, c, out=tmp_path / "fresh", mix=Mix(weights={"c": 0.25}))
    assert grown == fresh
    assert pairs_of(tmp_path / "pairs") == pairs_of(tmp_path / "fresh")


def test_looking_for_changes_counts_every_input(tmp_path: Path) -> None:
    a, b = two_sources(tmp_path)

    class Counted(NullProgress):
        n_done = 0

        def advance(self, n: int = 1) -> None:
            self.n_done += n

    counted = Counted()
    ingest([SourceSpec(str(a)), SourceSpec(str(b))], tmp_path / "pairs", IngestSettings(), counted)
    assert counted.n_done == 2


def test_what_another_version_read_is_read_again_as_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names, mappings, weights and evaluation sets need not be said again after an update."""
    rows = [{"q": f"q{i}", "good": "x", "bad": "y", "by": "-2"} for i in range(4)]
    file = write_jsonl(tmp_path / "mine.jsonl", rows)
    tests = write_jsonl(tmp_path / "tests.jsonl", [{"prompt": "q1"}])
    mapping = {"prompt": "q", "chosen": "good", "rejected": "bad", "strength": "by"}
    with monkeypatch.context() as older:
        older.setattr("engine.ingest.run.STAGE_VERSION", 1)
        mix = Mix(weights={"team": 0.5}, evaluation=(str(tests),))
        run(SourceSpec(str(file), "team", None, mapping), out=tmp_path / "pairs", mix=mix)
    before = pairs_of(tmp_path / "pairs")
    report = change(tmp_path)
    assert pairs_of(tmp_path / "pairs") == before
    assert (report.weights, report.evaluation_pairs) == ({"team": 0.5}, 1)
    file.unlink()
    assert change(tmp_path).pairs == 4  # from now on nobody looks at the file
    with monkeypatch.context() as newer:
        newer.setattr("engine.ingest.run.STAGE_VERSION", 99)
        with pytest.raises(IngestError, match="no such file"):
            change(tmp_path)

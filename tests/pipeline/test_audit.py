"""From files to a published index, as one command; resumed, rebuilt only where something changed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result

from engine.api import Project, sample_folder, source_specs
from engine.cli.main import main
from engine.errors import ProsectError
from engine.pipeline import audit as audit_stage
from engine.progress import NullProgress
from engine.settings import Settings
from engine.store.arrays import build_arrays
from engine.store.build import current_index
from engine.store.connection import Store
from engine.store.schema import TABLES
from engine.store.schema_page import schema_page
from tests.pipeline.conftest import OVERRIDES


def files_of(root: Path) -> dict[str, int]:
    return {str(p.relative_to(root)): p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file()}


def audit(root: Path, pairs: Path) -> object:
    with Project(root, overrides=OVERRIDES) as project:
        return project.audit(source_specs([str(pairs)]), str(sample_folder() / "reader"))


def test_counts_of_every_stage_agree(audited: Path) -> None:
    report = json.loads((audited / "pairs" / "report.json").read_text())
    with Project(audited) as project:
        summary = project.browser.summary()
    assert report["adds_up"]
    assert summary.n_pairs == report["pairs"]
    assert summary.n_signed == report["labels"]["chosen"]
    assert summary.share_read == 1.0
    assert summary.n_concepts > 10
    assert summary.n_hypotheses >= summary.n_concepts


def test_every_concept_is_tested_or_says_why_not(audited: Path) -> None:
    with (
        Project(audited) as project,
        Store(project.paths.index(project.browser.summary().index_hash)) as store,
    ):
        silent = store.value("SELECT count(*) FROM hypotheses WHERE taught_z IS NULL AND skip_reason IS NULL")
        nan = store.value("SELECT count(*) FROM hypotheses WHERE isnan(taught_z) OR isnan(win_rate)")
        assert (silent, nan) == (0, 0)
        # the stored win rate is what its own counts say
        off = store.value(
            "SELECT max(abs(win_rate - n_plus / n_discordant)) FROM hypotheses WHERE n_discordant > 0"
        )
        assert off < 1e-9


def test_the_queries_of_the_schema_page_answer_in_plain_duckdb(audited: Path) -> None:
    """They are run as they stand there, with nothing of prosect in between."""
    page = schema_page().partition("\n## ")[0]
    blocks = "\n".join(line[4:] for line in page.splitlines() if line.startswith("    "))
    queries = [part for part in blocks[blocks.index("--") :].split(";") if "SELECT" in part]
    inline = re.findall(r"`(SELECT [^`]+)`", page)
    assert (len(queries), len(inline)) == (3, 1)
    paths = Project(audited).paths
    index = paths.index(current_index(paths).index_hash)
    with duckdb.connect(str(index), read_only=True) as connection:
        answers = [connection.execute(query).fetchall() for query in (*inline, *queries)]
    comments, *rows = answers
    assert all(rows)
    assert all(comment for table, _, comment in comments)
    assert {table for table, _, _ in comments} == {table.name for table in TABLES}


def test_the_same_audit_again_changes_no_file(own_project: Callable[[], Path], sample_pairs: Path) -> None:
    root = own_project()
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    times = files_of(root)
    audit(root, sample_pairs)
    assert {p: p.read_bytes() for p in root.rglob("*") if p.is_file()} == before
    large = {k for k in times if k.endswith((".parquet", ".duckdb", ".npy"))}
    assert {k: v for k, v in files_of(root).items() if k in large} == {k: times[k] for k in large}


def lost(path: Path) -> None:
    path.unlink()


def altered(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(("harm", "said"), [(lost, []), (altered, [1])])
def test_lost_or_altered_shard_is_read_again_and_gives_the_same_index(
    own_project: Callable[[], Path],
    sample_pairs: Path,
    tmp_path: Path,
    harm: Callable[[Path], None],
    said: list[int],
) -> None:
    root = own_project()
    pointer = json.loads((root / "current").read_text())
    shards = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in root.glob("readings/*/shards/*.parquet")}
    harm(sorted(shards)[1])
    with Project(root, overrides=OVERRIDES) as project:
        report = project.audit(source_specs([str(sample_pairs)]), str(sample_folder() / "reader"))
    assert {p: p.read_bytes() for p in shards} == {p: data for p, (data, _) in shards.items()}
    assert [p for p in shards if p.stat().st_mtime_ns != shards[p][1]] == [sorted(shards)[1]]
    assert json.loads((root / "current").read_text()) == pointer
    assert [line.n for line in report.lines if line.what == "shards read again"] == said
    folder, arrays = sorted(shards)[0].parent, next(root.glob("arrays-*"))
    n_latents = json.loads((arrays / "arrays.json").read_text())["n_latents"]
    build_arrays(folder, root / "pairs" / "pairs.parquet", tmp_path / "again", n_latents, NullProgress())
    for path in arrays.glob("*.npy"):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_changed_setting_builds_another_index_and_keeps_the_readings(
    own_project: Callable[[], Path], sample_pairs: Path
) -> None:
    root = own_project()
    shards = {k: v for k, v in files_of(root).items() if "/shards/" in k}
    with Project(root, overrides={**OVERRIDES, "stats": {"min_discordant": 6}}) as project:
        project.audit(source_specs([str(sample_pairs)]), str(sample_folder() / "reader"))
    assert {k: v for k, v in files_of(root).items() if "/shards/" in k} == shards
    assert len(list(root.glob("index-*.duckdb"))) == 2


def test_order_of_files_and_rows_does_not_matter(audited: Path, sample_pairs: Path, tmp_path: Path) -> None:
    shuffled = tmp_path / "pairs"
    shuffled.mkdir()
    for path in sample_pairs.glob("*.jsonl"):
        lines = path.read_text(encoding="utf-8").splitlines()
        (shuffled / path.name).write_text("\n".join(reversed(lines)) + "\n", encoding="utf-8")
    audit(tmp_path / "audit", shuffled)
    columns = "pair_id, group_id, fold, chosen_tokens, rejected_tokens"
    rows = []
    for root in (audited, tmp_path / "audit"):
        with (
            Project(root) as project,
            Store(project.paths.index(project.browser.summary().index_hash)) as store,
        ):
            estimates = store.rows(
                "SELECT c.concept_id, h.context, h.n_plus, h.n_discordant, round(h.taught_z, 9)"
                " FROM hypotheses h JOIN concepts c USING (concept) WHERE h.context = 0 ORDER BY 1, 2"
            )
            rows.append((store.rows(f"SELECT {columns} FROM pairs ORDER BY pair"), estimates))
    assert rows[0] == rows[1]


def test_the_same_files_in_another_folder_are_the_same_index(
    own_project: Callable[[], Path], sample_pairs: Path, tmp_path: Path
) -> None:
    """So a rule file and its lock mean the same to whoever has a copy of the data."""
    root = own_project()
    before = current_index(Project(root).paths)
    shutil.copytree(sample_pairs, tmp_path / "elsewhere")
    audit(root, tmp_path / "elsewhere")
    assert current_index(Project(root).paths).index_hash == before.index_hash
    assert len(list(root.glob("index-*.duckdb"))) == 1


def test_killed_audit_goes_on_where_it_was(sample_pairs: Path, tmp_path: Path) -> None:
    root = tmp_path / "audit"
    command = [
        sys.executable,
        "-m",
        "engine.cli.main",
        "audit",
        str(sample_pairs),
        "-o",
        str(root),
        "--plain",
    ]
    command += ["--reader", str(sample_folder() / "reader"), "--set", "reading.shard_pairs=16"]
    command += ["--set", "concepts.min_pairs=5", "--set", "stats.min_discordant=5"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(list(root.glob("readings/*/shards/*.parquet"))) < 2:
        assert process.poll() is None, "finished before it could be killed"
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = {k: v for k, v in files_of(root).items() if k.endswith(".parquet") and "/shards/" in k}
    assert len(kept) >= 2
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    after = files_of(root)
    assert {k: after[k] for k in kept} == kept
    with Project(root) as project:
        assert project.browser.summary().share_read == 1.0


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b'{"foo": 1, "bar": 2}\n', "foo"), (b"\x00\xff\xfe not json", "bad.jsonl")],
)
def test_input_that_holds_no_pairs_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    result = run("audit", path, "--reader", sample_folder() / "reader", "-o", tmp_path / "audit")
    assert result.exit_code == 1
    assert message in result.stderr
    assert "hint" in result.stderr
    assert not (tmp_path / "audit" / "current").exists()


def test_missing_file_and_missing_reader_are_named(tmp_path: Path, sample_pairs: Path) -> None:
    result = run(
        "audit", tmp_path / "absent.jsonl", "--reader", sample_folder() / "reader", "-o", tmp_path / "a"
    )
    assert result.exit_code == 1
    assert "absent.jsonl" in result.stderr
    result = run("audit", sample_pairs, "--reader", tmp_path / "absent", "-o", tmp_path / "a", "--layer", "1")
    assert result.exit_code == 1
    assert "hint" in result.stderr


def test_unknown_setting_is_refused_before_any_work(tmp_path: Path, sample_pairs: Path) -> None:
    result = run("audit", sample_pairs, "--reader", "x", "-o", tmp_path / "a", "--set", "stats.qq=1")
    assert result.exit_code == 1
    assert "qq" in result.stderr
    assert not (tmp_path / "a").exists()


def test_damaged_pointer_is_explained(own_project: Callable[[], Path]) -> None:
    root = own_project()
    (root / "current").write_text("nonsense")
    with pytest.raises(ProsectError, match="damaged"):
        _ = Project(root).browser


def test_large_audit_publishes_an_early_index_over_its_first_pairs(
    sample_pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_stage, "EARLY_FROM_PAIRS", 100)
    monkeypatch.setattr(audit_stage, "EARLY_SHARES", (0.5,))
    root = tmp_path / "audit"
    seen: list[tuple[float, int]] = []

    class Watching(NullProgress):
        def note(self, text: str) -> None:
            if "ready to open" in text:
                with Project(root) as early:
                    summary = early.browser.summary()
                    seen.append((summary.share_read, summary.n_pairs))

    with Project(root, overrides=OVERRIDES) as project:
        report = project.audit(
            source_specs([str(sample_pairs)]), str(sample_folder() / "reader"), progress=Watching()
        )
        summary = project.browser.summary()
    assert len(seen) == 1
    share, n_early = seen[0]
    assert 0.3 < share < 0.8
    assert share == pytest.approx(n_early / summary.n_pairs)
    assert (summary.share_read, summary.n_pairs) == (1.0, report.ingest["pairs"])


@pytest.mark.parametrize(
    ("clustered", "groups", "said"),
    [
        (0, 9, ("min_pairs", "min_discordant")),
        (0, 400, ("min_pairs",)),
        (7, 9, ("min_discordant",)),
        (7, 400, ()),
    ],
)
def test_a_small_file_is_told_why_it_shows_so_little(
    clustered: int, groups: int, said: tuple[str, ...]
) -> None:
    facts = {"coverage": {"latents_clustered": clustered}, "stats": {"n_groups": groups}}
    remarks = [line.remark for line in audit_stage._too_few(facts, Settings())]
    assert len(remarks) == len(said)
    assert all(key in remark for key, remark in zip(said, remarks, strict=True))


def test_texts_that_were_cut_are_counted_in_the_report_and_on_the_card(tmp_path: Path) -> None:
    """Two of a dozen pairs have a response of more than the 64 tokens that are read."""
    rows = [
        {"prompt": f"How far is it to town {i}?", "chosen": "It is near. " * n, "rejected": "No idea."}
        for i, n in enumerate([1] * 10 + [60, 80])
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    overrides = OVERRIDES | {"reading": {"max_tokens": 64, "accept_poor_sae": True}}
    with Project(tmp_path / "audit", overrides=overrides) as project:
        report = project.audit(source_specs([str(file)]), str(sample_folder() / "reader"))
        assert [line.n for line in report.lines if line.what == "pairs with a text cut"] == [2]
        assert project.pairs("truncated:yes").n_rows == 2
        assert "\n2 pairs have a text that was too long" in project.card()

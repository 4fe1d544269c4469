"""What compiling writes is held to the reference interpreter: files on disk, read afresh, pair by pair."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.compiler.emit import compile_plan
from engine.compiler.plan import make_plan
from engine.errors import CompileError
from engine.rules.effects import RowEffect, combine
from engine.rules.evaluate import Interpreter
from engine.store.connection import Store
from tests.compiler.facts import WorldFacts
from tests.compiler.test_agreement import HEADER, RULES
from tests.worlds import World

LIMITS = {"max_weight": 10.0, "max_offset": 5.0}


def check_files(known: WorldFacts, world: World, store: Store, root: Path, rules: list[str]) -> None:
    """Compile row rules and compare train.parquet, train.jsonl and ledger.parquet with ``combine``."""
    plan = make_plan(store, HEADER + "\n".join(rules) + "\n")
    interpreter = Interpreter(plan.checked.definitions, _statistics(store, plan.checked))
    expected = {i: combine(plan.checked.rules, interpreter, known.facts[i]) for i in known.input_pairs}
    kept = {i for i, e in expected.items() if not e.is_dropped and e.weight > 0}
    has_conflict = any(e.has_conflict for e in expected.values())
    if has_conflict or not kept:
        with pytest.raises(CompileError, match="R601" if has_conflict else "R605"):
            compile_plan(store, plan, world.paths.pairs, root)
        return
    folder = compile_plan(store, plan, world.paths.pairs, root).folder
    train = {row["pair_id"]: row for row in pq.read_table(folder / "train.parquet").to_pylist()}
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    assert [row["pair_id"] for row in lines] == list(train)
    ledger = pq.read_table(folder / "ledger.parquet").to_pylist()
    assert len(ledger) == len(world.pair_rows)
    weights = {i: min(expected[i].weight, LIMITS["max_weight"]) for i in kept}
    scale = len(kept) / sum(weights.values())
    for i, (row, origin) in enumerate(zip(ledger, world.pair_rows, strict=True)):
        assert row["pair_id"] == origin["pair_id"]
        assert (row["fate"] == "kept") == (i in kept) == (row["pair_id"] in train)
        if i in kept:
            _check_row(train[row["pair_id"]], row, origin, expected[i], weights[i] * scale)


def _check_row(
    row: dict[str, Any], ledger: dict[str, Any], origin: dict[str, Any], effect: RowEffect, weight: float
) -> None:
    offset = max(-LIMITS["max_offset"], min(effect.offset, LIMITS["max_offset"]))
    for found in (row, ledger):
        assert found["weight"] == pytest.approx(weight, rel=1e-12)
        assert found["offset"] == pytest.approx(offset, abs=5e-7)
        assert found["flipped"] == effect.is_flipped
        assert tuple(found["rules"]) == effect.rules
        assert tuple(found["tags"]) == effect.tags
    sides = (
        (origin["rejected"], origin["chosen"])
        if effect.is_flipped
        else (origin["chosen"], origin["rejected"])
    )
    assert (row["chosen"], row["rejected"]) == sides
    assert row["prompt"] == origin["prompt"]


def _statistics(store: Store, checked: Any) -> Any:
    from engine.compiler.evaluation import evaluate, request_of

    return evaluate(store, checked.definitions, request_of(checked)).statistics


@settings(max_examples=3, suppress_health_check=list(HealthCheck))
@given(rules=st.lists(RULES, min_size=1, max_size=5, unique=True))
def test_files_say_what_the_interpreter_says(
    known: WorldFacts, world: World, store: Store, tmp_path_factory: pytest.TempPathFactory, rules: list[str]
) -> None:
    check_files(known, world, store, tmp_path_factory.mktemp("shaped"), rules)


@pytest.mark.slow
@settings(max_examples=400, suppress_health_check=list(HealthCheck))
@given(rules=st.lists(RULES, min_size=1, max_size=6, unique=True))
def test_many_random_files_say_what_the_interpreter_says(
    known: WorldFacts, world: World, store: Store, tmp_path_factory: pytest.TempPathFactory, rules: list[str]
) -> None:
    check_files(known, world, store, tmp_path_factory.mktemp("shaped"), rules)

"""What importing our modules may and may not load."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import engine
import tui

HEAVY = (
    "torch",
    "transformers",
    "sae_lens",
    "trl",
    "scipy",
    "sklearn",
    "sknetwork",
    "numba",
    "polars",
    "pyarrow",
    "pandas",
    "openai",
)


def all_modules() -> list[str]:
    found = []
    for package in (engine, tui):
        found += [m.name for m in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
    return [name for name in found if "sample_data" not in name]


@pytest.mark.parametrize("name", all_modules())
def test_every_module_imports(name: str) -> None:
    importlib.import_module(name)


def loaded_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    ["import engine.cli.main", "import engine.records, engine.manifest, engine.settings, engine.paths"],
)
def test_help_and_base_load_nothing_heavy(statement: str) -> None:
    assert not loaded_after(statement) & {*HEAVY, "textual", "duckdb", "numpy"}


@pytest.mark.parametrize("statement", ["import engine.api", "import tui.app"])
def test_facade_and_workstation_load_no_numeric_library(statement: str) -> None:
    assert not loaded_after(statement) & set(HEAVY)


def test_opening_a_review_waits_for_nothing_that_comes_after_its_first_rows() -> None:
    statement = "import engine.cli.start, engine.cli.workstation, engine.live.browse, tui.rows, tui.app"
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    later = {
        "click", "duckdb", "numpy", "tomllib", "importlib.metadata", "secrets",
        "engine.live.drafts", "engine.views.jobs", "engine.live.job_watch", "engine.views.rules",
        "engine.views.runs",
        "engine.live.run_watch", "engine.views.scrutiny", "engine.store.details", "engine.views.strips",
        "engine.live.strips", "tui.views.jobs", "tui.views.runs",
    }  # fmt: skip
    assert not later & set(done.stdout.split())

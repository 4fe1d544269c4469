"""Every view at three sizes is what it was; ``python -m tests.tui.snapshots`` accepts what changed."""

import difflib
from pathlib import Path

import pytest

from tests.tui.snapshots import FOLDER, SIZES, VIEWS, make_project, pictures


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("snapshots") / "p"
    make_project(root)
    return root


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_view_looks_as_it_did(project: Path, size: tuple[int, int]) -> None:
    differences: list[str] = []
    for name, text in pictures(project, size).items():
        path = FOLDER / name
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        differences += difflib.unified_diff(
            before.splitlines(), text.splitlines(), f"{name} before", f"{name} now", lineterm=""
        )
    assert not differences, "\n".join([*differences, "", "if this is right: python -m tests.tui.snapshots"])


def test_no_picture_is_left_of_a_view_that_is_gone() -> None:
    expected = {f"{name}-{width}x{height}.txt" for name in VIEWS for width, height in SIZES}
    assert {path.name for path in FOLDER.iterdir()} == expected


def test_no_line_is_wider_than_its_screen() -> None:
    from rich.cells import cell_len

    for path in FOLDER.iterdir():
        width = int(path.stem.rpartition("-")[2].partition("x")[0])
        assert all(cell_len(line) <= width for line in path.read_text(encoding="utf-8").splitlines()), (
            path.name
        )

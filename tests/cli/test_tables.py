"""Tables of commands fit the terminal and stay aligned, whatever letters stand in them."""

import pytest

from engine.cli.output import cells, write_table


def test_wide_letters_take_two_cells_and_combining_marks_none() -> None:
    assert cells("abc") == 3
    assert cells("日本") == 4
    assert cells("e\u0301") == 1


def test_the_widest_flexible_column_gives_way_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    write_table(("n", "left", "right"), [(1, "x" * 20, "y" * 80)], plain=False, flexible=(1, 2))
    header, row = capsys.readouterr().out.splitlines()
    # 60 cells: the number, two gaps of two, 20 for left, which is not the widest, and 35 for right.
    assert row == "1  " + "x" * 20 + "  " + "y" * 34 + "…"
    assert len(header) <= 60


def test_columns_stay_aligned_beside_wide_letters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    write_table(
        ("name", "n"),
        [("日本語の長い名前がここにある、もっと長い", 1), ("short", 2)],
        plain=False,
        flexible=0,
    )
    _, wide, short = capsys.readouterr().out.splitlines()
    assert wide.split()[0].endswith("…")
    assert cells(wide) == cells(short) <= 40


def test_plain_tables_are_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(("a",), [("x" * 500,)], plain=True, flexible=0)
    assert capsys.readouterr().out.splitlines()[1] == "x" * 500

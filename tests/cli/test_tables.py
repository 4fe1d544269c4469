"""Tables of commands fit the terminal and stay aligned, whatever letters stand in them."""

import pytest

from engine.cli.fitting import cells
from engine.cli.output import write_table


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


LINES = [("@bold", "0.612 [0.551, 0.668]", "both", 1234567), ("a long name of a concept", "–", "neither", 1)]
HEADER = ("concept", "taught", "badge of the effect", "discordant")


def table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int, **how: object
) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    write_table(HEADER, LINES, plain=False, **how)  # type: ignore[arg-type]
    lines = capsys.readouterr().out.splitlines()
    assert max(map(cells, lines)) <= width
    return lines


def test_columns_of_a_low_rank_are_left_out_and_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = table(capsys, monkeypatch, 60, flexible=0, ranks=(1, 2, 3, 4))
    # 20 readable cells, 20 of the interval: 14 of the 60 are left, too few for a header of 19, enough for 10.
    assert lines[0].split("  ")[0].strip() == "concept"
    assert "taught" in lines[0]
    assert "discordant" in lines[0]
    assert "badge" not in lines[0]
    assert " ".join(lines[3:]).startswith("no room here for badge of the effect: a wider terminal or --json")


def test_text_gives_way_but_never_a_header_or_a_number(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = table(capsys, monkeypatch, 66)
    assert lines[0].split("  ")[-1].strip() == "discordant"
    assert "0.612 [0.551, 0.668]" in lines[1]
    assert "1,234,567" in lines[1]
    assert lines[2].startswith("a long nam…")
    assert "no room" not in lines[-1]


def test_what_people_copy_is_never_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert table(capsys, monkeypatch, 60, copied=(0,))[2].startswith("a long name of a concept")


def test_without_a_terminal_every_column_is_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    write_table(HEADER, [("x" * 90, *row[1:]) for row in LINES], plain=False, ranks=(1, 2, 3, 4))
    header, *rows = capsys.readouterr().out.splitlines()
    assert [name.strip() for name in header.split("  ") if name.strip()] == list(HEADER)
    assert all(row.startswith("x" * 90) for row in rows)

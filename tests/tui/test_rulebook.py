"""Editing a rule text: statements move, switch and vanish whole, and everything can be taken back."""

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from engine.rules.lexer import lex
from engine.views.rules import OFF
from tui.lines import width_of
from tui.rulebook import Rulebook
from tui.views.rules import MAX_ROWS, folded

TEXT = """prosect rules 1
# a remark
one: drop where a
    and b
two: flip
suppress @x by matching
"""
LINES = st.lists(
    st.sampled_from(
        ["a: drop", "b: flip where x", "    and y", "# c", "", OFF + "d: drop", OFF + "    and z"]
    ),
    max_size=8,
)


def test_a_statement_is_its_first_line_and_the_indented_ones_after_it() -> None:
    book = Rulebook.of(TEXT)
    assert [list(book.statement(n)) for n in range(6)] == [[0], [1], [2, 3], [2, 3], [4], [5]]


def test_switching_makes_comments_of_a_whole_statement_and_back() -> None:
    book = Rulebook.of(TEXT).switch(3)
    assert book.lines[2:4] == (OFF + "one: drop where a", OFF + "    and b")
    assert all(line.startswith("#") for line in book.lines[2:4])
    assert book.switch(2).text == TEXT


def test_moving_takes_continuations_along() -> None:
    book, line = Rulebook.of(TEXT).move(2, 1)
    assert book.lines[2:5] == ("two: flip", "one: drop where a", "    and b")
    assert line == 3
    back, line = book.move(line, -1)
    assert (back.text, line) == (TEXT, 2)


def test_the_first_line_stays_where_it_is() -> None:
    book = Rulebook.of(TEXT)
    assert book.delete(0) is book
    assert book.switch(0) is book
    assert book.move(1, -1) == (book, 1)


@given(
    lines=LINES,
    steps=st.lists(
        st.tuples(st.sampled_from(["edit", "insert", "delete", "switch", "up", "down"]), st.integers(0, 9)),
        max_size=12,
    ),
)
def test_every_edit_can_be_taken_back_and_restored(lines: list[str], steps: list[tuple[str, int]]) -> None:
    start = book = Rulebook.of("\n".join(["prosect rules 1", *lines]))
    seen = [book.lines]
    for what, wanted in steps:
        line = min(wanted, len(book.lines) - 1)
        if what == "edit":
            book = book.edit(line, "x: drop") if line else book
        elif what == "insert":
            book = book.insert(line + 1, "y: flip")
        elif what in ("up", "down"):
            book, _ = book.move(line, 1 if what == "down" else -1)
        else:
            book = book.delete(line) if what == "delete" else book.switch(line)
        assert book.lines[0] == "prosect rules 1"
        if book.lines != seen[-1]:
            seen.append(book.lines)
    for lines_before in reversed(seen[:-1]):
        book = book.undo()
        assert book.lines == lines_before
    assert book.lines == start.lines
    for lines_after in seen[1:]:
        book = book.redo()
        assert book.lines == lines_after


@given(lines=LINES, line=st.integers(0, 9))
def test_moving_and_switching_lose_no_line(lines: list[str], line: int) -> None:
    book = Rulebook.of("\n".join(["prosect rules 1", *lines]))
    line = min(line, len(book.lines) - 1)
    moved, _ = book.move(line, 1)
    assert sorted(moved.lines) == sorted(book.lines)
    assert len(book.switch(line).lines) == len(book.lines)


def said(text: str) -> list[tuple[str, ...]]:
    """The statements of a text as the language reads them, by their tokens."""
    found: list[list[str]] = []
    for token in lex(text).tokens[:-1]:
        if token.starts_statement or not found:
            found.append([])
        found[-1].append(token.text)
    return [tuple(tokens) for tokens in found]


MIXED = st.lists(
    st.sampled_from(
        [
            "a: drop where x", "b: flip", "    and y > 1", "\tor z", "# c", "    # under it", "", "  ",
            OFF + "d: drop", OFF + "    and z", OFF, "#812", "e: keep\r",
        ]
    ),
    max_size=9,
)  # fmt: skip


@settings(max_examples=400)
@given(lines=MIXED, line=st.integers(1, 9))
def test_switching_or_deleting_a_statement_changes_no_other(lines: list[str], line: int) -> None:
    book = Rulebook.of("\n".join(["prosect rules 1", *lines]))
    line = min(line, len(book.lines) - 1)
    first = book.lines[book.statement(line).start].removeprefix(OFF)
    assume(not first[:1].isspace())  # a part of a statement that somebody switched off by hand
    was_off = book.lines[line].startswith(OFF)
    for changed in (book.switch(line), book.delete(line)):
        more, fewer = said(book.text), said(changed.text)
        if was_off and len(fewer) > len(more):  # switched on again
            more, fewer = fewer, more
        gone = len(more) - len(fewer)
        assert gone in (0, 1)
        at = next((i for i, (a, b) in enumerate(zip(more, fewer, strict=False)) if a != b), len(fewer))
        assert fewer[at:] == more[at + gone :]


@given(lines=MIXED, line=st.integers(1, 9), by=st.sampled_from([-1, 1]))
def test_moving_a_statement_changes_none(lines: list[str], line: int, by: int) -> None:
    book = Rulebook.of("\n".join(["prosect rules 1", *lines]))
    moved, _ = book.move(min(line, len(book.lines) - 1), by)
    assert sorted(said(moved.text)) == sorted(said(book.text))


def test_lines_end_where_the_language_ends_them_and_as_the_file_does() -> None:
    text = "prosect rules 1\r\n# one\u2028drop\x85\x0c\r\nflip\r\n"
    book = Rulebook.of(text)
    assert len(book.lines) == 3
    assert book.text == text
    assert book.edit(2, "drop").text == text.replace("flip", "drop")
    assert book.insert(3, "keep").text == text + "keep\r\n"


def test_comments_right_above_a_statement_go_where_it_goes() -> None:
    text = """# about this file
prosect rules 1
# made by hand

# why a
# in detail
a: drop where x

b: flip
# why c
#off c: keep
"""
    book = Rulebook.of(text)
    assert [book.lines[n] for n in book.block(6)] == ["# why a", "# in detail", "a: drop where x"]
    assert book.delete(6).text == text.replace("# why a\n# in detail\na: drop where x\n", "")
    moved, line = book.move(8, -1)  # past the empty line
    moved, line = moved.move(line, -1)
    assert moved.text.index("b: flip") < moved.text.index("# why a")
    assert moved.lines[line] == "b: flip"
    again, line = book.move(8, 1)
    assert again.text.endswith("# why c\n#off c: keep\nb: flip\n")
    assert again.lines[line] == "b: flip"


def test_the_version_line_stays_first_wherever_it_stands() -> None:
    book = Rulebook.of("# mine\nprosect rules 1\na: drop\n")
    assert book.delete(1) == book.switch(1) == book
    assert book.move(2, -1) == (book, 2)
    assert book.move(1, 1) == (book, 1)
    assert book.delete(0).text == "prosect rules 1\na: drop\n"


@example(text="0" * 20 + "\u1c240", room=20)  # a letter without a width before the last one
@given(
    text=st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=200),
    room=st.integers(20, 60),
)
def test_a_folded_line_has_every_character_on_rows_that_fit(text: str, room: int) -> None:
    rows = folded(text, room)
    assert all(width_of([(part, "")]) <= room for _, part in rows[:MAX_ROWS])
    if len(rows) <= MAX_ROWS:
        assert "".join(part for _, part in rows) == text
        assert [start for start, _ in rows] == [
            sum(len(part) for _, part in rows[:n]) for n in range(len(rows))
        ]

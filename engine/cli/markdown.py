"""Pages of the documentation as a terminal shows them: headings, paragraphs, lists, tables, code.

Only the Markdown that the pages are written in. Nothing here is for text of a dataset.
"""

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import click

from engine.cli.fitting import GAP, cells

_HEADING = re.compile(r"(#+) (.+)")
_ITEM = re.compile(r"(\s*)([*-]|\d+\.) +(.*)")
_PICTURE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
_LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")
_CODE = re.compile(r"(`+)(.+?)\1")
_STRONG = re.compile(r"\*\*(?=\S)(.+?)(?<=\S)\*\*|(?<![\w*])\*(?=\S)([^*]+?)(?<=\S)\*(?![\w*])")
_CELL = re.compile(r"(?<!\\)\|")
_NARROWEST = 12
"""Cells that a column of a table keeps, as far as there is room."""


class Section(NamedTuple):
    """A heading with what stands below it, parts of its own included."""

    title: str
    text: str


def sections(page: str) -> list[Section]:
    """Every part of a page that has a heading, in order; headings in code are none."""
    lines = page.splitlines(keepends=True)
    heads = [(i, len(m[1]), m[2]) for i, line in _outside_code(lines) if (m := _HEADING.match(line))]
    found = []
    for n, (at, level, title) in enumerate(heads):
        end = next((i for i, other, _ in heads[n + 1 :] if other <= level), len(lines))
        found.append(Section(_plain(title), "".join(lines[at:end])))
    return found


def entries(page: str, words: Sequence[str]) -> str:
    """Rows of tables that have all the words in one cell before the last, as a page; empty for none."""
    out: list[str] = []
    heading, table = "", ["", ""]
    lines = page.splitlines()
    for i, line in _outside_code(lines):
        if found := _HEADING.match(line):
            heading, table = f"## {found[2]}", ["", ""]
        elif not line.startswith("|"):
            continue
        elif not lines[i - 1].startswith("|"):
            table = lines[i : i + 2]
        elif line != table[1] and _names(line, words):
            out += [*([] if table[0] in out and heading in out else ["", heading, "", *table]), line]
    return "\n".join(out[1:]) + "\n" if out else ""


def _names(row: str, words: Sequence[str]) -> bool:
    """A row is about what its cells before the last, the meaning, say together."""
    return any(all(word in cell.lower() for word in words) for cell in _CELL.split(row)[1:-2])


def _outside_code(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    is_code = False
    for i, line in enumerate(lines):
        if line.startswith("```"):
            is_code = not is_code
        elif not is_code:
            yield i, line


def rendered(page: str, width: int, *, styled: bool) -> str:
    """A page as lines of at most ``width`` cells; code and words that are longer stay whole.

    Args:
        page: Markdown.
        width: of the terminal.
        styled: headings and strong words bold; without, as plain text.
    """
    out: list[str] = []
    for kind, lines in _blocks(page.splitlines()):
        made = _BLOCKS[kind](lines, width, styled)
        if made:
            out += ["", *made] if out else made
    return "\n".join(out) + "\n"


def _blocks(lines: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Pieces of a page with their kind: fence, code, heading, table, item, paragraph."""
    at = 0
    while at < len(lines):
        start, line = at, lines[at]
        at += 1
        if line.startswith("```"):
            while at < len(lines) and not lines[at].startswith("```"):
                at += 1
            at += 1
            yield "fence", list(lines[start + 1 : at - 1])
        elif not line.strip():
            continue
        elif line.startswith("    "):
            while at < len(lines) and (lines[at].startswith("    ") or not lines[at].strip()):
                at += 1
            yield "code", list(lines[start:at])
        elif line.startswith("|"):
            while at < len(lines) and lines[at].startswith("|"):
                at += 1
            yield "table", list(lines[start:at])
        elif _HEADING.match(line):
            yield "heading", [line]
        else:
            kind = "item" if _ITEM.match(line) else "paragraph"
            while at < len(lines) and _goes_on(lines[at], kind):
                at += 1
            yield kind, list(lines[start:at])


def _goes_on(line: str, kind: str) -> bool:
    """The line belongs to the item or paragraph above it."""
    if not line.strip() or line.startswith(("|", "```")) or _HEADING.match(line):
        return False
    return kind == "item" or not _ITEM.match(line)


def _heading(lines: Sequence[str], width: int, styled: bool) -> list[str]:
    is_title = lines[0].startswith("# ")
    texts = textwrap.wrap(_plain(lines[0].lstrip("#")), width)
    if styled:
        return [click.style(text, bold=True, underline=is_title) for text in texts]
    return [*texts, ("=" if is_title else "-") * max(map(cells, texts))]


def _code(lines: Sequence[str], width: int, styled: bool) -> list[str]:  # noqa: ARG001 - as all blocks
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    return [line.rstrip() for line in lines]


def _fence(lines: Sequence[str], width: int, styled: bool) -> list[str]:
    return _code([f"    {line}" for line in lines], width, styled)


def _paragraph(lines: Sequence[str], width: int, styled: bool) -> list[str]:
    return _wrapped(" ".join(line.strip() for line in lines), width, "", "", styled)


def _items(lines: Sequence[str], width: int, styled: bool) -> list[str]:
    """A list, each item wrapped below its own beginning."""
    items: list[tuple[str, str]] = []
    for line in lines:
        found = _ITEM.match(line)
        if found:
            items.append((f"{found[1]}{found[2]} ", found[3]))
        else:
            mark, text = items[-1]
            items[-1] = mark, f"{text} {line.strip()}"
    return [made for mark, text in items for made in _wrapped(text, width, mark, " " * len(mark), styled)]


def _table(lines: Sequence[str], width: int, styled: bool) -> list[str]:
    """A table whose cells are wrapped where it is too wide."""
    rows = [[_cell(c.strip()) for c in _CELL.split(line.strip().strip("|"))] for line in lines]
    head, body = rows[0], rows[2:]
    n = len(head)
    body = [(row + [""] * n)[:n] for row in body]
    widths = _widths([head, *body], width)
    found = [*_row(head, widths, bold=styled)]
    if not styled:
        found.append((" " * GAP).join("-" * w for w in widths))
    is_wrapped = any(cells(cell) > w for row in body for cell, w in zip(row, widths, strict=True))
    for i, row in enumerate(body):
        found += ([""] if is_wrapped and i else []) + _row(row, widths, bold=False)
    return found


def _cell(text: str) -> str:
    """A cell; one that is nothing but code needs no marks around it."""
    shown = _inline(text, styled=False)
    return shown[1:-1] if _CODE.fullmatch(shown) and shown.count("`") == 2 else shown


def _widths(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Cells of each column: the widest gives way until the table fits."""
    widths = [max(cells(row[i]) for row in rows) for i in range(len(rows[0]))]
    room = width - GAP * (len(widths) - 1)
    while sum(widths) > room:
        i = max(range(len(widths)), key=lambda k: widths[k])
        if widths[i] <= _NARROWEST:
            break
        widths[i] -= 1
    return widths


def _row(row: Sequence[str], widths: Sequence[int], *, bold: bool) -> list[str]:
    columns = [textwrap.wrap(cell, w) or [""] for cell, w in zip(row, widths, strict=True)]
    found = []
    for i in range(max(map(len, columns))):
        parts = [(lines[i] if i < len(lines) else "") for lines in columns]
        padded = (part + " " * (w - cells(part)) for part, w in zip(parts, widths, strict=True))
        line = (" " * GAP).join(padded).rstrip()
        found.append(click.style(line, bold=True) if bold else line)
    return found


def _wrapped(text: str, width: int, first: str, rest: str, styled: bool) -> list[str]:
    """Words on lines; styles are put on after wrapping would have counted them."""
    if _PICTURE.fullmatch(text.strip()):
        return []
    marked = _inline(text, styled=styled)
    out, line = [], first
    length, is_start = cells(first), True
    for word in marked.split():
        size = cells(click.unstyle(word))
        if not is_start and length + 1 + size > width:
            out.append(line)
            line, length, is_start = rest, cells(rest), True
        line, length = (line + word, length + size) if is_start else (f"{line} {word}", length + 1 + size)
        is_start = False
    return [*out, line.rstrip()]


def _inline(text: str, *, styled: bool) -> str:
    """Text without the marks of Markdown, but with backticks: what stands in them is left as it is."""
    parts: list[str] = []
    at = 0
    for found in _CODE.finditer(text):
        parts += [_unmarked(text[at : found.start()], styled=styled), f"`{found[2].strip()}`"]
        at = found.end()
    return "".join([*parts, _unmarked(text[at:], styled=styled)]).replace("\\|", "|")


def _unmarked(text: str, *, styled: bool) -> str:
    text = _LINK.sub(_aim, _PICTURE.sub("", text))
    if not styled:
        return _STRONG.sub(lambda m: m[1] or m[2], text)
    return _STRONG.sub(lambda m: " ".join(click.style(w, bold=True) for w in (m[1] or m[2]).split()), text)


def _aim(link: re.Match[str]) -> str:
    """A link as its words and, where these do not say it, what it leads to."""
    said, target = link[1], link[2]
    if said in target:
        return said
    page = re.fullmatch(r"(?:.*/)?([\w-]+)\.md(?:#.*)?", target)
    return f"{said} (prosect help {page[1]})" if page else f"{said} ({target})"


def _plain(title: str) -> str:
    return _inline(title.strip(), styled=False).replace("`", "")


_BLOCKS = {
    "fence": _fence,
    "code": _code,
    "heading": _heading,
    "table": _table,
    "item": _items,
    "paragraph": _paragraph,
}

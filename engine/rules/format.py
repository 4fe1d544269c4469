"""Canonical layout of a rule file. Works on tokens, so that nothing a person wrote is lost.

One statement per line from column 0; a statement that is longer than a line continues, indented, before
``where``, ``because``, ``priority`` and, where needed, before ``and`` and ``or`` outside brackets. Comments
stay where they are; at most one empty line separates statements.
"""

from collections.abc import Iterator, Sequence

from engine.rules.diagnostics import RuleFileError
from engine.rules.lexer import Kind, Token, lex
from engine.rules.statements import parse

WIDTH = 100
_INDENT = "    "
_CLAUSES = frozenset({"where", "because", "priority"})


def format_text(text: str, file_name: str = "rules") -> str:
    """The file in canonical layout; formatting twice changes nothing.

    Raises:
        RuleFileError: the file has syntax errors; a layout would hide them.
    """
    parsed = parse(text)
    if parsed.diagnostics:
        raise RuleFileError(parsed.diagnostics, text, file_name)
    lexed = lex(text)
    pieces = sorted(
        [(t, False) for t in lexed.tokens if t.kind is not Kind.EOF] + [(c, True) for c in lexed.comments],
        key=lambda p: p[0].place,
    )
    lines: list[str] = []
    previous_end = 0
    for block in _blocks(pieces, text):
        gap = text.count("\n", previous_end, block[0][0].place.start)
        if lines and gap > 1:
            lines.append("")
        lines += _statement(block, text)
        previous_end = block[-1][0].place.end
    return "\n".join(lines) + "\n" if lines else ""


def _blocks(pieces: Sequence[tuple[Token, bool]], text: str) -> Iterator[list[tuple[Token, bool]]]:
    """Statements with the comments inside and behind them; a comment on a line of its own between them."""
    block: list[tuple[Token, bool]] = []
    for index, (token, is_comment) in enumerate(pieces):
        starts_line = not text[text.rfind("\n", 0, token.place.start) + 1 : token.place.start].strip()
        if is_comment and starts_line:
            following = next((t for t, c in pieces[index + 1 :] if not c), None)
            if block and following is not None and not following.starts_statement:
                block.append((token, True))
                continue
            if block:
                yield block
            block = []
            yield [(token, True)]
            continue
        if not is_comment and token.starts_statement and block:
            yield block
            block = []
        block.append((token, is_comment))
    if block:
        yield block


def _statement(block: Sequence[tuple[Token, bool]], text: str) -> list[str]:
    if len(block) == 1 and block[0][1]:
        return [block[0][0].text]
    trailing = ""
    tokens = list(block)
    if tokens[-1][1]:
        trailing = "  " + tokens.pop()[0].text
    if any(is_comment for _, is_comment in tokens):
        return _with_comments(tokens, trailing, text)
    words = [t for t, _ in tokens]
    whole = _join(words)
    if len(whole) <= WIDTH:
        return [whole + trailing]
    out: list[str] = []
    for line in _split(words, _CLAUSES):
        is_long = len(_join(line)) + len(_INDENT) > WIDTH
        out += [_join(part) for part in _split(line, frozenset({"and", "or"}))] if is_long else [_join(line)]
    out[-1] += trailing
    return [out[0], *(_INDENT + line for line in out[1:])]


def _with_comments(tokens: Sequence[tuple[Token, bool]], trailing: str, text: str) -> list[str]:
    """A statement with comments inside keeps its line breaks; only the spacing within lines changes."""
    lines: list[list[Token]] = [[]]
    notes: list[str] = [""]
    last_end = tokens[0][0].place.start
    for token, is_comment in tokens:
        if "\n" in text[last_end : token.place.start]:
            lines.append([])
            notes.append("")
        if is_comment:
            notes[-1] = token.text
        else:
            lines[-1].append(token)
        last_end = token.place.end
    out: list[str] = []
    for number, (line, note) in enumerate(zip(lines, notes, strict=True)):
        body = _join(line)
        spaced = f"{body}  {note}" if body and note else body or note
        out.append((_INDENT if number else "") + spaced)
    out[-1] += trailing
    return out


def _split(words: Sequence[Token], before: frozenset[str]) -> list[list[Token]]:
    """Lines that begin with one of these words, outside brackets; the `and` of `between` does not count."""
    lines: list[list[Token]] = [[]]
    depth = 0
    in_between = False
    for token in words:
        if token.text in ("(", "[") and token.kind is Kind.SIGN:
            depth += 1
        elif token.text in (")", "]") and token.kind is Kind.SIGN:
            depth -= 1
        is_word = token.kind is Kind.WORD
        if is_word and token.text == "between":
            in_between = True
        elif is_word and token.text == "and" and in_between and depth == 0:
            in_between = False
            lines[-1].append(token)
            continue
        if is_word and depth == 0 and token.text in before and lines[-1]:
            lines.append([])
        lines[-1].append(token)
    return lines


def _join(words: Sequence[Token]) -> str:
    out = ""
    for index, token in enumerate(words):
        previous = words[index - 1] if index else None
        out += (" " if previous is not None and _spaced(words, index) else "") + token.text
    return out


def _spaced(words: Sequence[Token], index: int) -> bool:
    previous, token = words[index - 1], words[index]
    if token.text in (",", ")", "]", ".") and token.kind is Kind.SIGN:
        return False
    if token.text == ":" and token.kind is Kind.SIGN:
        return False
    if previous.text in ("(", "[", ".") and previous.kind is Kind.SIGN:
        return False
    if previous.text == "-" and previous.kind is Kind.SIGN and _is_minus(words, index - 1):
        return False
    if token.text == "(" and token.kind is Kind.SIGN:
        return not (previous.kind is Kind.WORD and previous.text not in _NO_CALL)
    return True


_NO_CALL = frozenset(
    ["and", "or", "not", "in", "where", "by", "per", "order", "within", "between", "to", "on", "soften"]
)


def _is_minus(words: Sequence[Token], index: int) -> bool:
    """True for a sign, False for a subtraction."""
    if index == 0:
        return True
    before = words[index - 1]
    if before.kind is Kind.SIGN:
        return before.text not in (")", "]")
    return before.kind is Kind.WORD and before.text in (_NO_CALL | {"max", "min", "priority"})

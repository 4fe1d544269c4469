"""Text to tokens. Shared by the parser, the formatter and editors that highlight.

Every character of the text belongs to a token, a comment or white space; nothing raises. A token that is the
first on its line and stands in column 0 starts a statement; all other lines continue the one above.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from engine.rules.diagnostics import Diagnostic, Place

MAX_TEXT = 2_000_000
"""Characters of a rule file; a longer one is refused."""


class Kind(StrEnum):
    """What a token is."""

    WORD = "word"
    NUMBER = "number"
    STRING = "string"
    REGEX = "regex"
    CONCEPT = "concept"
    LATENT = "latent"
    SIGN = "sign"
    END = "end of the statement"
    EOF = "end of file"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text."""

    kind: Kind
    text: str
    place: Place
    starts_statement: bool = False


@dataclass(frozen=True, slots=True)
class Lexed:
    """Result of ``lex``."""

    tokens: tuple[Token, ...]
    """Ends with EOF."""
    comments: tuple[Token, ...]
    """Comments with their `#`, in order; kind is WORD and means nothing."""
    diagnostics: tuple[Diagnostic, ...]


_TOKEN = re.compile(
    r"""
 (?P<space>[ \t\r\n\f]+)
|(?P<comment>\#(?!\d)[^\n]*)
|(?P<latent>\#\d+)
|(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?%?)
|(?P<concept>@(?:"(?:[^"\\\n]|\\[^\n])*"|[^\W\d][\w/-]*))
|(?P<string>"(?:[^"\\\n]|\\[^\n])*")
|(?P<word>[^\W\d]\w*)
|(?P<sign>\*=|\+=|==|!=|<=|>=|!~|\.\.|[-+*/<>=~(),.:\[\]])
""",
    re.VERBOSE,
)
_REGEX = re.compile(r"/(?:[^/\\\n]|\\[^\n])+/[a-z]*")
_SINGLE_QUOTED = re.compile(r"'(?:[^'\\\n]|\\[^\n])*'")
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
"""Lone surrogates and NUL, which no stored text can hold."""
_OTHER_LANGUAGES = {"&&": "and", "||": "or", "!": "not", "&": "and", "|": "or"}
"""Signs that people bring along, and the words that they mean."""
_CHARACTER_HELP = {
    "@": 'a concept is written @name or @"label"',
    ";": "leave it out: a statement ends where the next one starts in the first column",
}
_ESCAPES = {'"': '"', "\\": "\\", "n": "\n", "t": "\t"}


def lex(text: str) -> Lexed:
    """Split a rule text into tokens."""
    return _Lexer(text).run()


class _Lexer:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[Token] = []
        self.comments: list[Token] = []
        self.diagnostics: list[Diagnostic] = []

    def run(self) -> Lexed:
        text = self.text
        position = 0
        if len(text) > MAX_TEXT:
            self._report("R106", f"the file is longer than {MAX_TEXT} characters", Place(0, 1), "split it")
            position = len(text)
        if text.startswith("\ufeff"):
            position = 1
        while position < len(text):
            position = self._step(position)
        self.tokens.append(Token(Kind.EOF, "", Place(len(text), len(text)), True))
        return Lexed(tuple(self.tokens), tuple(self.comments), tuple(self.diagnostics))

    def _step(self, position: int) -> int:
        after_match = bool(self.tokens) and self.tokens[-1].text in ("~", "!~")
        if after_match and self.text[position] == "/":
            found = _REGEX.match(self.text, position)
            if found:
                self._add(Kind.REGEX, found.group(), position)
                return found.end()
            return self._unclosed(position, "regular expression", "/")
        match = _TOKEN.match(self.text, position)
        if match is None:
            return self._bad(position)
        name = match.lastgroup
        end = match.end()
        if name == "comment":
            self.comments.append(Token(Kind.WORD, match.group().rstrip(), Place(position, end)))
        elif name != "space":
            self._add(Kind(str(name)), match.group(), position)
        return end

    def _add(self, kind: Kind, piece: str, start: int) -> None:
        if (not piece.isascii() and _NO_TEXT.search(piece)) or "\0" in piece:
            self._report("R104", "a character that no text may hold", Place(start, start + len(piece)), None)
            piece = _NO_TEXT.sub("?", piece)
        starts = start == 0 or self.text[start - 1] == "\n" or (start == 1 and self.text[0] == "\ufeff")
        self.tokens.append(Token(kind, piece, Place(start, start + len(piece)), starts))

    def _bad(self, position: int) -> int:
        character = self.text[position]
        if character == '"' or self.text.startswith('@"', position):
            return self._unclosed(position, "string", '"')
        single = _SINGLE_QUOTED.match(self.text, position)
        if single is not None:
            meant = '"' + single.group()[1:-1].replace("\\'", "'").replace('"', '\\"') + '"'
            place = Place(position, single.end())
            self._report("R104", "a text stands in double quotes", place, f"write `{meant}`")
            self.tokens.append(Token(Kind.STRING, meant, place))  # one mistake, one report
            return single.end()
        for written, meant in _OTHER_LANGUAGES.items():
            if self.text.startswith(written, position):
                end = position + len(written)
                self._report(
                    "R104", f"`{written}` means nothing here", Place(position, end), f"write `{meant}`"
                )
                self.tokens.append(Token(Kind.WORD, meant, Place(position, end)))  # one mistake, one report
                return end
        self._report(
            "R104",
            f"unexpected character `{character}`",
            Place(position, position + 1),
            _CHARACTER_HELP.get(character),
        )
        return position + 1

    def _unclosed(self, position: int, what: str, sign: str) -> int:
        end = self.text.find("\n", position)
        end = len(self.text) if end < 0 else end
        self._report("R105", f"this {what} is never closed", Place(position, end), f"add a closing `{sign}`")
        return end

    def _report(self, code: str, message: str, place: Place, help_line: str | None) -> None:
        self.diagnostics.append(Diagnostic(code, message, place, help_line))


def unquote(literal: str) -> tuple[str, int | None]:
    """Value of a quoted string and the offset of the first unknown escape inside it (None: all known)."""
    out: list[str] = []
    bad: int | None = None
    position = 1
    while position < len(literal) - 1:
        character = literal[position]
        if character == "\\":
            follower = literal[position + 1]
            if follower not in _ESCAPES and bad is None:
                bad = position
            out.append(_ESCAPES.get(follower, follower))
            position += 2
        else:
            out.append(character)
            position += 1
    return "".join(out), bad


def quote(value: str) -> str:
    """A string literal with this value; control characters other than newline and tab are dropped."""
    kept = "".join(c for c in value if c in "\n\t" or (c >= " " and not "\ud800" <= c <= "\udfff"))
    body = kept.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{body}"'


def concept_literal(name: str) -> str:
    """How a concept of this name is written: ``@name`` where that is possible, else ``@"label"``."""
    return f"@{name}" if re.fullmatch(r"[^\W\d][\w/-]*", name) else f"@{quote(name)}"

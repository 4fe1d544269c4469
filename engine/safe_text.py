"""The one sanitiser for dataset text on its way to a person's terminal.

Datasets are hostile: they carry escape sequences, C1 controls, bidirectional overrides and terminal
commands. An auditor must *see* that they are there, so they become visible tokens (``<ESC>``,
``<U+202E>``) instead of vanishing. Stored data is never changed; only what is shown passes through here.
"""

import re
import unicodedata

_NAMED = {0x1B: "<ESC>", 0x00: "<NUL>", 0x07: "<BEL>", 0x08: "<BS>", 0x7F: "<DEL>", 0x0D: "<CR>"}

# Cc except tab and newline, lone surrogates, and every format character that changes direction, hides or
# joins text: bidi marks and overrides, zero-width characters other than the joiner of emoji, tags, BOM.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e"
    "\u200b\u200c\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"
    "\U000e0000-\U000e0fff\ud800-\udfff]"
)


def _token(match: re.Match[str]) -> str:
    code = ord(match.group())
    return _NAMED.get(code) or f"<U+{code:04X}>"


def sanitise(text: str, *, tab: str = "    ") -> str:
    """Text with every character that could drive or deceive a terminal made visible.

    Newlines are kept, tabs become ``tab``. Idempotent: the tokens contain nothing unsafe.
    """
    return _UNSAFE.sub(_token, text.replace("\r\n", "\n")).replace("\t", tab)


def one_line(text: str, limit: int | None = None) -> str:
    """Sanitised text on one line: runs of white space become one space, ``…`` marks a cut at ``limit``."""
    head = text if limit is None else text[: limit * 4 + 64]  # a 1 MB line must not be scanned for one cell
    flat = " ".join(sanitise(head).split())
    if limit is not None and (len(flat) > limit or len(head) < len(text)):
        return flat[: max(limit - 1, 0)].rstrip() + "…"
    return flat


def code_span(text: str, limit: int | None = None) -> str:
    """Text as a Markdown code span for a line or a table's cell; empty stays empty.

    Nothing inside becomes a link, a picture, a mention or HTML. Backticks become ', and | is written as
    tables want it.
    """
    flat = one_line(text, limit).replace("`", "'").replace("|", "\\|")
    return f"`{flat}`" if flat else ""


def code_block(text: str, limit: int) -> list[str]:
    """Lines of text as a fenced Markdown block that nothing in it can end; says how many it leaves out."""
    lines = sanitise(text.strip("\n")).split("\n")
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    left = [f"… {len(lines) - limit:,} more lines"] if len(lines) > limit else []
    return [f"{fence}text", *lines[:limit], *left, fence]


def is_printable_name(text: str) -> bool:
    """True for a non-empty single-line name without unsafe characters (names of concepts, rules, sources)."""
    return (
        bool(text.strip())
        and sanitise(text) == text
        and "\n" not in text
        and unicodedata.is_normalized("NFC", text)
    )

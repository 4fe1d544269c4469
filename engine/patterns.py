"""Regular expressions as people write them here: ``/…/`` with the flags ``i``, ``m``, ``s``.

They are RE2: linear time and limited memory, whatever text they meet; no look-around, no back references.
"""

import functools

import re2

from engine.errors import PatternError

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
FLAGS = "ims"
"""Either case; ^ and $ match at lines; a dot matches newline."""


@functools.lru_cache(maxsize=256)
def search(pattern: str) -> "re2._Regexp":
    """A compiled pattern, its flags in front as ``(?i)``. Raises ``re2.error``."""
    return re2.compile(pattern, _OPTIONS)


def compiled(source: str, flags: str = "") -> str:
    """What stands between the slashes, as RE2, DuckDB and Arrow read it: flags in front.

    Raises:
        PatternError: RE2 refuses it.
    """
    pattern = source.replace("\\/", "/")
    if flags:
        pattern = f"(?{flags}){pattern}"
    try:
        search(pattern)
    except re2.error as error:
        raw = error.args[0] if error.args else b""
        reason = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
        raise PatternError(f"not an RE2 expression: {reason}") from error
    return pattern


def written(text: str) -> str:
    """``/…/flags`` as one pattern.

    Raises:
        PatternError: no slashes around it, an unknown flag, or RE2 refuses it.
    """
    body, slash, flags = text[1:].rpartition("/")
    if not text.startswith("/") or not slash or not body:
        raise PatternError("a pattern stands between slashes", hint='such as "/sorry|apolog/i"')
    if set(flags) - set(FLAGS):
        raise PatternError(f"unknown flag in `{flags}`", hint="known: " + ", ".join(FLAGS))
    return compiled(body, "".join(sorted(set(flags))))

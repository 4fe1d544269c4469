"""Exit codes that hold although the reader of a pipe (``| head``) leaves before the end."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

READER_LEFT = 128 + signal.SIGPIPE
"""What a shell reports of any program whose reader left: how its work would have ended is not known."""


@contextmanager
def exits_with(code: int) -> Iterator[None]:
    """Exit with ``code`` (0: go on) once the results are out, also where nobody reads them to the end."""
    try:
        yield
    except BrokenPipeError:
        if code == 0:
            raise
        let_go()
    if code:
        sys.exit(code)


def let_go() -> None:
    """Drop what is still to be written into a closed pipe: the interpreter would fail on it at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)

"""The console script: ``prosect open DIR`` goes straight to the workstation, all else to the commands.

Reading a command line with every command known takes longer than the framework's first paint; the one command
that people wait for with their hands on the keys does without when it has no options.
"""

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from engine.cli.exits import READER_LEFT, let_go
from engine.errors import Cancelled, ProsectError
from engine.safe_text import sanitise

PROGRAM = "prosect"
COMPLETION = "_PROSECT_COMPLETE"
"""What a shell sets that wants to know how a line may go on; Click makes its name from the program's."""
_NO_ROOM = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}
"""A full disk, a read-only project: what a person can mend, wherever it happens."""


def main() -> None:
    """Run the command line of this process."""
    folder = folder_to_open(sys.argv[1:])
    if folder is not None and sys.stdin.isatty() and sys.stdout.isatty():
        from engine.cli.workstation import open_workstation

        with errors_told():
            open_workstation(folder)
        return
    from engine.cli.main import main as commands

    if COMPLETION in os.environ:
        from engine.cli.shells import register

        register()
    commands(prog_name=PROGRAM)


def folder_to_open(arguments: Sequence[str]) -> Path | None:
    """The folder of ``open FOLDER``, or of ``FOLDER`` alone where no command can be meant."""
    match arguments:
        case ["open", folder] if not folder.startswith("-"):
            pass
        case [folder] if os.sep in folder and not folder.startswith("-"):
            pass
        case _:
            return None
    return Path(folder) if Path(folder).is_dir() else None


@contextmanager
def errors_told() -> Iterator[None]:
    """Turn expected failures into a message and an exit code; 130: stopped, 141: a closed pipe."""
    # Threads that spin while they wait starve each other on a shared machine: a reader of small matrices
    # became ten times slower beside other jobs. The setting must precede the first import of torch.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        yield
    except Cancelled as stopped:
        _say("stopped", stopped)
        sys.exit(130)
    except ProsectError as error:
        _say("error", error)
        sys.exit(1)
    except BrokenPipeError:  # `prosect pairs DIR | head`
        let_go()
        sys.exit(READER_LEFT)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        what = "no access to" if error.errno in (errno.EACCES, errno.EPERM) else "cannot write"
        where = f"{what} {error.filename or 'a file'}"
        _say("error", ProsectError(f"{where}: {error.strerror}", hint="check free space and permissions"))
        sys.exit(1)


def _say(kind: str, error: ProsectError) -> None:
    # Findings of the rule language come drawn, each under its own `error[R101]: `; a stop says so itself.
    is_said = error.message.startswith(f"{kind}[") or (kind == "stopped" and error.message.startswith(kind))
    sys.stderr.write(sanitise(error.message if is_said else f"{kind}: {error.message}") + "\n")
    if error.hint:
        sys.stderr.write(sanitise(f"  hint: {error.hint}") + "\n")


if __name__ == "__main__":
    main()

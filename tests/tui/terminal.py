"""A real terminal for tests: the workstation in a pty, its bytes kept, its screen rendered by pyte."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import pyte

OPEN = (
    "import sys, pathlib\n"
    "from engine.live.browse import Browser\n"
    "from engine.paths import ProjectPaths\n"
    "from engine.settings import ReviewSettings\n"
    "from tui.app import run\n"
    "run(Browser(ProjectPaths(pathlib.Path(sys.argv[1])), ReviewSettings(author='ana')))\n"
)
REPOSITORY = Path(__file__).parents[2]
COMMAND = (sys.executable, "-c", OPEN)
# pyte does not know these replies and modes and would draw them.
_UNKNOWN = re.compile(
    rb"\x1b\[\?[0-9;]*\$p|\x1b\[[<>=][0-9;]*[a-zA-Z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1bP.*?\x1b\\", re.S
)


class Terminal:
    """The workstation running in a pty."""

    def __init__(
        self, root: Path, *, columns: int = 80, rows: int = 24, environment: Mapping[str, str] | None = None
    ) -> None:
        settings = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "TMUX", "COLORTERM"}}
        settings |= {"TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **(environment or {})}
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.output = b""
        self.pid, self.handle = pty.fork()
        if self.pid == 0:
            os.chdir(REPOSITORY)
            os.execve(COMMAND[0], [*COMMAND, str(root)], settings)  # noqa: S606 - our own command
        self.resize(columns, rows)

    def __enter__(self) -> Self:
        """Running already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill what still runs."""
        self.kill()
        os.close(self.handle)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the window."""
        fcntl.ioctl(self.handle, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def send(self, keys: str) -> None:
        """Type."""
        os.write(self.handle, keys.encode())

    def read(self, timeout_s: float) -> bytes:
        """Take what came within a time, empty for nothing."""
        ready, _, _ = select.select([self.handle], [], [], timeout_s)
        if not ready:
            return b""
        try:
            data = os.read(self.handle, 1 << 20)
        except OSError:
            return b""
        self.output += data
        self._stream.feed(_UNKNOWN.sub(b"", data))
        return data

    def text(self) -> str:
        """The screen as a person reads it."""
        return "\n".join(self.screen.display)

    def wait_for(self, text: str, timeout_s: float = 60.0) -> None:
        """Read until a text is on screen."""
        end = time.monotonic() + timeout_s
        while text not in self.text():
            if time.monotonic() > end:
                raise AssertionError(f"{text!r} did not come; the screen:\n{self.text()}")
            self.read(0.05)

    def quiet(self, for_s: float = 0.4) -> int:
        """Read until nothing came for a while; how many bytes came."""
        n = 0
        while data := self.read(for_s):
            n += len(data)
        return n

    def key(self, keys: str, settle_s: float = 0.4) -> int:
        """Type, wait for quiet; how many bytes that drew."""
        self.send(keys)
        return self.quiet(settle_s)

    def kill(self) -> None:
        """End it as a power cut would."""
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            return

    def wait(self, timeout_s: float = 20.0) -> int:
        """Wait until it ends by itself; its exit status."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            self.read(0.05)
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
        raise AssertionError("it did not end; the screen:\n" + self.text())

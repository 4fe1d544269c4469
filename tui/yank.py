"""Copying over SSH: tmux's buffer inside tmux, else OSC 52; always also a file, since some drop both."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path


def yank_file() -> Path:
    """Where the last copied text lies: ``$XDG_CACHE_HOME/prosect/yank``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prosect" / "yank"


def yank(text: str, send: Callable[[str], None]) -> str:
    """Copy a text; where it went, in words.

    Args:
        text: what to copy.
        send: gives it to the terminal's clipboard.
    """
    places = []
    if _to_tmux(text):
        places.append("tmux's buffer")
    else:
        send(text)
        places.append("the terminal's clipboard")
    path = yank_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8", errors="replace")
        places.append(str(path).replace(str(Path.home()), "~", 1))
    except OSError as error:
        places.append(f"no file ({error.strerror})")
    return " and ".join(places)


def _to_tmux(text: str) -> bool:
    """With tmux's default settings an OSC 52 from inside is dropped; its own buffer always works."""
    tmux = shutil.which("tmux") if os.environ.get("TMUX") else None
    if tmux is None:
        return False
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, the text goes to stdin
            [tmux, "load-buffer", "-w", "-"], input=text.encode("utf-8", "replace"), check=False,
            capture_output=True, timeout=5,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0

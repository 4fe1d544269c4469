"""Who decides: the setting, else git's user.name, else user@host."""

import getpass
import socket
import subprocess
from pathlib import Path

from engine.settings import ReviewSettings


def resolve_author(settings: ReviewSettings, folder: Path) -> str:
    """The name that goes into the journal."""
    if settings.author.strip():
        return settings.author.strip()
    try:
        asked = subprocess.run(
            ["git", "config", "user.name"],  # noqa: S607 - git is found on the user's own PATH
            cwd=folder if folder.is_dir() else None, capture_output=True, text=True, timeout=2, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        asked = None
    if asked is not None and asked.stdout.strip():
        return asked.stdout.strip()
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # no entry in the password database, as in some containers
        return f"someone@{socket.gethostname()}"

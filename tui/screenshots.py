"""Pictures of the workstation as SVG: ``python -m tui.screenshots PROJECT FOLDER``.

Every picture is the running workstation on a real project, driven by keys; nothing is drawn for the occasion.
Verdicts are not written: the journal is that of a copy.
"""

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from textual import events
from textual.pilot import Pilot

from engine.api import Project
from tui.app import Workstation
from tui.pairing import READING

SIZE = (120, 36)
SHOTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("hypotheses", ("j", "j", "=", "-", "j")),
    ("concept", ("g", "g", "enter")),
    ("scrutiny", ("tab", "tab", "tab", "tab")),
    ("pair", ("g", "h", "/", *"verdict:none family:concepts !@ badge:both", "enter", "enter", "enter")),
    ("rules", ("g", "r", "A")),
    ("plan", ("g", "l")),
    ("runs", ("g", "u", "j", "enter")),
    ("jobs", ("g", "j")),
    ("keys", ("?",)),
)
"""Name and the keys that lead there from the picture before."""


async def _settle(pilot: Pilot[None], app: Workstation) -> None:
    """Wait until nothing is under way; a pair also for its tokens, which another process reads."""
    for _ in range(1200):
        await pilot.pause(0.05)
        strip = app.desk.doing.strip
        is_reading = app.desk.place.view == "pair" and strip is not None and strip.found == READING
        if app.desk.is_idle and not is_reading:
            await pilot.pause(0.3)
            return


async def take(root: Path, folder: Path, theme: str = "dark") -> list[Path]:
    """Take every picture; the files written."""
    written = []
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / root.resolve().name
        left_out = shutil.ignore_patterns("checkpoints", "shards", "residuals", "arrays-*", "model")
        shutil.copytree(root, copy, ignore=left_out)
        with Project(copy, overrides={"review": {"author": "ana"}}) as project:
            app = Workstation(project.browser, theme=theme)
            async with app.run_test(size=SIZE) as pilot:
                await _settle(pilot, app)
                for name, keys in SHOTS:
                    for key in keys:
                        app.post_message(events.Key(key, key if len(key) == 1 else None))
                        await pilot.pause(0.05)
                    await _settle(pilot, app)
                    path = folder / f"{name}.svg"
                    path.write_text(
                        app.export_screenshot(title=f"prosect open {root.name}"), encoding="utf-8"
                    )
                    written.append(path)
                app.desk.session.close()
    return written


def main() -> None:
    """Command line: project, then folder."""
    root, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for path in asyncio.run(take(root, folder)):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()

"""What others did to the project while it is open here: looked for every few seconds, and shown."""

from typing import TYPE_CHECKING, NamedTuple

from tui.prompts import LOOKING
from tui.session import ProjectLike

if TYPE_CHECKING:
    from tui.desk import Desk


class Changes(NamedTuple):
    """What others did to the project since the last look."""

    has_new_index: bool
    has_new_entries: bool
    """Of the journal."""
    names_version: int
    stale: str | None
    """What to know of a mix that has changed since."""


def look(project: ProjectLike) -> Changes:
    """A newer index, entries of others, names, a mix that has changed since; for a worker thread."""
    is_moved, has_entries = project.reopen_if_changed(), project.refresh_journal()
    return Changes(is_moved, has_entries, project.names_version, project.stale())


def watched(desk: "Desk", value: Changes) -> None:
    """Show what was found."""
    desk.has_watch_failed = False
    has_new_names = value.names_version != desk.names_version
    if desk.message == LOOKING:
        is_anything = value.has_new_entries or has_new_names
        desk.say("others have decided something" if is_anything else "nothing new")
    if value.has_new_index:
        desk.names_version = value.names_version
        desk.doing.reload_tables()
        desk.say("a newer index is here; places are kept")
    else:
        desk.doing.reload_names(value.names_version)
    if value.has_new_index or (desk.summary is not None and desk.summary.stale != value.stale):
        desk.session.ask("summary", desk.session.project.summary)
    if value.has_new_index or value.has_new_entries:
        desk.reviewer.is_news_wanted |= value.has_new_entries and not value.has_new_index
        desk.ask_verdicts()
        desk.ask_coverage()

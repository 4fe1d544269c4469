"""Whether the published index is still of the mix and the settings that its project has."""

import json
from dataclasses import asdict
from typing import Any

from engine.errors import ProsectError
from engine.paths import ProjectPaths
from engine.settings_file import load_settings
from engine.store.build import current_index, ingest_of


def index_settings(paths: ProjectPaths) -> dict[str, Any]:
    """What the settings file says of concepts and statistics, by `stage.key`, as JSON would hold it.

    Flags of one command are left out: they are no change of the project.

    Raises:
        SettingsError: the file cannot be read.
    """
    settings = load_settings(paths.settings)
    stages = {"concepts": asdict(settings.concepts), "stats": asdict(settings.stats)}
    flat = {f"{stage}.{key}": value for stage, values in stages.items() for key, value in values.items()}
    return dict(json.loads(json.dumps(flat)))


def stale_text(paths: ProjectPaths) -> str | None:
    """What to know when the published index is not of the pairs and settings of now, None otherwise.

    Reads three small files. What cannot be told (no index, a damaged manifest, settings that nobody can
    read) is left to who needs it.
    """
    try:
        then, pairs_now, settings_now = current_index(paths), ingest_of(paths), index_settings(paths)
    except ProsectError:
        return None
    changes = ["the mix"] if then.ingest and pairs_now and then.ingest != pairs_now else []
    keys = [k for k, v in then.settings.items() if k in settings_now and settings_now[k] != v]
    if keys:
        values = ", ".join(f"{k} {_written(then.settings[k])} → {_written(settings_now[k])}" for k in keys)
        changes.append(f"{paths.settings.name} ({values})")
    if not changes:
        return None
    have, them = ("have", "them") if len(changes) > 1 else ("has", "it")
    return (
        f"{' and '.join(changes)} {have} changed since the audit, and everything here is still as before: "
        f"`prosect audit {paths.root}` goes on with {them}"
    )


def _written(value: object) -> str:
    return "by the data" if value is None else json.dumps(value, ensure_ascii=False)

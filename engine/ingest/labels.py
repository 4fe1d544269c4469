"""Labels of a table mapped by hand that have no meaning: their values, and what to add to --map."""

from collections import Counter

from engine.ingest.drafts import Reason
from engine.ingest.formats.generic import UNEXPLAINED, VALUE_ROLES
from engine.ingest.report import Entries
from engine.ingest.source import OpenSource

_SHOWN = 12


def unexplained_labels(opened: OpenSource, entries: Entries) -> str | None:
    """The values of a source's label column that --map does not explain, and the roles to give them.

    None where there are none, or where no mapping by hand decides what a label means.
    """
    column = opened.spec.mapping.get("label")
    if column is None or opened.format.name != "map":
        return None
    details = entries.details(Reason.UNKNOWN_LABEL, {f.shown for f in opened.files})
    found = Counter({d.removesuffix(UNEXPLAINED): n for d, n in details.items() if d.endswith(UNEXPLAINED)})
    if not found:
        return None
    values = ", ".join(f"{value} ({n:,})" for value, n in found.most_common(_SHOWN))
    more = ", …" if len(found) > _SHOWN else ""
    return f"label column `{column}` holds values without a meaning: {values}{more}; {_add(opened)}"


def _add(opened: OpenSource) -> str:
    missing = [role for role in VALUE_ROLES if role not in opened.spec.mapping]
    needed = [role for role in missing if role in ("a_wins", "b_wins")] or missing
    roles = ",".join(f"{role}=VALUE" for role in needed)
    also = [f"{role}=VALUE" for role in missing if role not in needed]
    return f"add {roles} to --map" + (f" (also {', '.join(also)})" if also else "")

"""What was made of an audit, for its card: shaped datasets with their rules, and runs."""

import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from engine.api.card_parts import code, folded, table
from engine.live.run_watch import list_runs, read_run
from engine.paths import ProjectPaths
from engine.safe_text import code_block
from engine.wording import counted

if TYPE_CHECKING:
    from engine.api import Project
    from engine.views.jobs import ShapedRow

_NAMED = 2
"""Concepts that move most, in one line."""
_MOVES = 8
"""… and in the table of each shaped dataset."""
_RULE_LINES = 40
"""Of a rule file that are shown."""


def made_in_short(project: "Project") -> list[str]:
    """A line for every shaped dataset of this index."""
    lines = []
    for row in _shaped(project):
        if row.is_of_index:
            folder = project.paths.shaped_dir / row.ident
            plan = read_object(folder / "plan.json")
            moves = [_moved(c) for c in _moves(plan)[:_NAMED]]
            most = f"; {', '.join(moves)}" if moves else ""
            lines.append(f"Shaped by {_rules_of(folder) or code(row.ident)}: {_fates(plan)}{most}.")
    return lines


def made(project: "Project") -> list[str]:
    """Shaped datasets and runs, each with what a reader needs to judge and find it."""
    shaped = _shaped(project)
    lines = ["", "## Shaped datasets"] if shaped else []
    for row in shaped:
        lines += _of_index(project.paths, row) if row.is_of_index else []
    old = [row for row in shaped if not row.is_of_index]
    if old:
        names = ", ".join(code(row.ident) for row in old)
        lines += ["", f"Made from another index: {names}."]
    for run in sorted(list_runs(project.paths), key=lambda row: row.ident):
        detail = read_run(project.paths, run.ident)
        steps = f"{run.step:,} of {run.of:,} steps" if run.of else f"{run.step:,} steps"
        lines += ["", f"## Run {code(run.ident)}", "", f"{run.state}, {steps}, on {code(detail.shaped)}.", ""]
        lines += [f"- {code(line, None)}" for line in detail.outcome_lines]
    return lines


def _shaped(project: "Project") -> "list[ShapedRow]":
    return sorted(project.work.shaped(), key=lambda row: row.ident)


def _of_index(paths: ProjectPaths, row: "ShapedRow") -> list[str]:
    """A shaped dataset: its fates, its rules as they were written, and what they move."""
    folder = paths.shaped_dir / row.ident
    plan, build = read_object(folder / "plan.json"), read_object(folder / "build.json")
    counts = plan.get("counts", {})
    beside = ", ".join(
        f"{counts.get(key, 0):,} {said}"
        for key, said in (
            ("held_out", "held out"), ("unlabelled", "without a label"),
            ("refused", "of an evaluation set"),
        )
    )  # fmt: skip
    lines = [
        "",
        f"### {_rules_of(folder) or 'Without a rule file'}",
        "",
        f"In {code(row.ident)}: {_fates(plan)}; beside them {beside}.",
    ]
    if plan.get("is_control"):
        lines += ["", "A control: a random plan of the size of these rules."]
    if text := str(build.get("rule_text") or ""):
        lines += ["", *code_block(text, _RULE_LINES)]
    moves = [
        (code(c["label"]), _rate(c["rate_before"]), _rate(c["rate_after"]), _role(c))
        for c in _moves(plan)[:_MOVES]
    ]
    if moves:
        title = "Concepts that move most, as win rates among pairs whose sides differ in them"
        lines += ["", *folded(title, table(("concept", "before >", "after >", "role"), moves))]
    return lines


def _moves(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Concepts with their win rates before and after, what the rules aim at first, then what moves most."""
    found = [c for c in plan.get("collateral", []) if c.get("rate_before") is not None]
    return sorted(found, key=lambda c: (not c.get("is_target"), -abs(c["change"]), c["concept"]))


def _moved(concept: Mapping[str, Any]) -> str:
    return f"{code(concept['label'])} {_rate(concept['rate_before'])} → {_rate(concept['rate_after'])}"


def _fates(plan: Mapping[str, Any]) -> str:
    counts = plan.get("counts", {})
    said = [f"{counts.get('kept', 0):,} of {counted(counts.get('input', 0), 'labelled pair')} kept"]
    said += [f"{counts[key]:,} {key}" for key in ("dropped", "flipped") if counts.get(key)]
    if n := counts.get("offset"):
        said.append(f"{n:,} with an offset")
    if (share := plan.get("effective_share", 1)) < 1:
        said.append(f"worth {share:.0%} as many at equal weights")
    return ", ".join(said)


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _role(concept: Mapping[str, Any]) -> str:
    return "target" if concept.get("is_target") else "held" if concept.get("is_held") else ""


def _rules_of(folder: Path) -> str:
    """Name of the rule file; empty where none is known."""
    path = read_object(folder / "build.json").get("rule_file")
    return code(PurePath(str(path)).name) if path else ""


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file's object; empty where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

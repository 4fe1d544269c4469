"""Commands that shape: ``plan``, ``compile``."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.complete import concepts, rule_files
from engine.cli.exits import exits_with
from engine.cli.options import index_argument, output_options, parse_assignments, set_option
from engine.cli.output import write_json, write_table
from engine.cli.progress import job_progress
from engine.cli.rows import show_pairs
from engine.manifest import hash_bytes
from engine.rules.diagnostics import render
from engine.safe_text import one_line

if TYPE_CHECKING:
    from engine.compiler.records import Collateral, Lengths, Plan
    from engine.views.rules import ConceptMoves

_FAILED = 3
_SHOWN = 12


@click.command("plan")
@index_argument
@click.argument(
    "rules", type=click.Path(path_type=Path, dir_okay=False), metavar="RULES", shell_complete=rule_files
)
@click.option("--control", is_flag=True, help="A random plan of equal size instead.")
@click.option(
    "--update-lock", is_flag=True, help="Resolve label patterns anew, not as the lock beside RULES has them."
)
@click.option("--all", "show_all", is_flag=True, help="Every concept, not only those that move most.")
@click.option(
    "--rows",
    "statements",
    multiple=True,
    metavar="NAME",
    help="Instead, the pairs that statement NAME touches; given twice, those that both touch.",
)
@click.option(
    "-n", "--limit", type=click.IntRange(1), default=20, show_default=True, help="Pairs to list with --rows."
)
@click.option(
    "--moves",
    "concept",
    metavar="CONCEPT",
    shell_complete=concepts,
    help="Instead, what each statement does to CONCEPT: the plan with it beside the plan without it.",
)
@set_option
@output_options
def plan_command(
    project: Path,
    rules: Path,
    control: bool,
    update_lock: bool,
    show_all: bool,
    statements: tuple[str, ...],
    limit: int,
    concept: str | None,
    assignments: tuple[str, ...],
    plain: bool,
    as_json: bool,
) -> None:
    """What a rule file would do, before anything is written: fates, overlaps, every concept's change.

    RULES is a file, or the name of one in DIR/rules. Exits with 1 when it holds an error, with which
    `compile` writes nothing, and with 3 when an `expect` line does not hold.
    """
    from engine.api import Project

    if statements and control:
        raise click.UsageError("--rows lists what a statement touches; a control plan deals it out at random")
    if concept is not None and (control or statements):
        raise click.UsageError("--moves leaves statements out; it takes neither --control nor --rows")
    if update_lock and (statements or concept is not None):
        raise click.UsageError(
            "--rows and --moves go by the lock beside RULES: compile with --update-lock first"
        )
    with Project(project, overrides=parse_assignments(assignments)) as opened:
        if statements:
            show_pairs(opened.rows_touched(rules, statements, limit), plain=plain, as_json=as_json)
            return
        if concept is not None:
            _show_moves(opened.moves(rules, concept), plain=plain, as_json=as_json)
            return
        rules = opened.rule_file(rules)
        stamp = hash_bytes(rules.read_bytes()) if rules.is_file() else ""
        plan, stale = opened.plan(rules, control=control, update_lock=update_lock), opened.stale()
    with exits_with(1 if plan.errors else 0 if plan.is_passing else _FAILED):
        if as_json:
            write_json(plan.as_dict() | {"stamp": stamp, "stale": stale})
        else:
            show_plan(plan, plain=plain, limit=None if show_all else _SHOWN)


@click.command("compile")
@index_argument
@click.argument(
    "rules", type=click.Path(path_type=Path, dir_okay=False), metavar="RULES", shell_complete=rule_files
)
@click.option("--locked", is_flag=True, help="Fail if anything differs from the lock beside RULES.")
@click.option("--update-lock", is_flag=True, help="Resolve label patterns anew.")
@click.option("--control", is_flag=True, help="A random plan of equal size instead.")
@click.option("--allow-failing", is_flag=True, help="Write although an `expect` line fails.")
@click.option(
    "--stamp",
    default="",
    metavar="HASH",
    help="Fail unless the rule file has this hash (`prosect plan --json`).",
)
@set_option
@output_options
def compile_command(
    project: Path, rules: Path, assignments: tuple[str, ...], plain: bool, as_json: bool, **options: Any
) -> None:
    """Write the shaped dataset of a rule file: train.parquet, train.jsonl, ledger, lock, manifest, card.

    RULES is a file, or the name of one in DIR/rules.
    """
    from engine.api import Project
    from engine.pipeline.shape import CompileOptions

    if options["control"] and options["locked"]:
        raise click.UsageError("--locked compares with the lock of the plan itself; a control plan has none")
    with (
        Project(project, overrides=parse_assignments(assignments)) as opened,
        job_progress(project, "compile", f"compile {rules.name}", plain=plain, as_json=as_json) as progress,
    ):
        done = opened.compile(rules, CompileOptions(**options), progress=progress)
        progress.result("rules", rules.stem)
        progress.result("shaped", done.dataset.folder.name)
        progress.result("kept", done.dataset.counts["kept"])
    dataset = done.dataset
    if as_json:
        facts = {"folder": dataset.folder, "counts": dataset.counts, "was_there": dataset.was_there}
        write_json(facts | {"lock": None if done.plan.is_control else done.lock_path, "drift": done.drift})
        return
    _show_counts(dataset.counts, plain=plain)
    for line in done.drift:
        click.echo(f"since the last lock: {line}")
    if done.plan.warnings:
        n = len(done.plan.warnings)
        click.echo(f"{n} warning{'s' if n > 1 else ''}: `prosect plan` shows {'them' if n > 1 else 'it'}")
    click.echo(f"\n{'already there' if dataset.was_there else 'written'}: {dataset.folder}")


def _show_moves(found: "ConceptMoves", *, plain: bool, as_json: bool) -> None:
    if as_json:
        write_json(found)
        return
    if not plain:
        before, after = _rounded(found.before), _rounded(found.after)
        click.echo(f"{one_line(found.name)}: mean disparity {before:+.4f} → {after:+.4f}")
    # matching stops at 1e-8 of the total weight; what is left of an effect is none
    rows: list[tuple[object, ...]] = [
        (s.name, s.line, s.kind, _rounded(s.effect), _rounded(s.without), s.problem) for s in found.statements
    ]
    if found.together is not None:
        rows.append(("only together", None, "", _rounded(found.together), None, ""))
    header = ("statement", "line", "kind", "moves it by", "without it", "")
    write_table(header, rows, plain=plain, flexible=5)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5) + 0.0


def show_plan(plan: "Plan", *, plain: bool, limit: int | None) -> None:
    """A plan as tables: counts, rules, overlaps, matching, drift, concepts, warnings, expectations."""
    _show_counts(plan.counts, plain=plain)
    click.echo(
        f"\neffective pairs {plan.effective_pairs:,.0f} ({plan.effective_share:.0%} of kept), "
        f"largest weight {plan.largest_weight:.3g}"
    )
    if plan.lengths is not None:
        _section("length: mean tokens, before and after")
        write_table(("side", "before", "after"), _length_rows(plan.lengths), plain=plain)
    _section(
        "rules, with what they do in the plan that is dealt at random here" if plan.is_control else "rules"
    )
    rows = [(r.name, r.kind, r.n_matched, r.n_unique, r.n_effect, r.text) for r in plan.rules]
    write_table(("rule", "kind", "matched", "only here", "effect", "text"), rows, plain=plain, flexible=5)
    if plan.overlaps:
        _section("overlaps")
        shown = [(o.first, o.second, o.n_pairs) for o in plan.overlaps[:limit]]
        write_table(("rule", "and", "pairs"), shown, plain=plain, flexible=0)
        _rest(len(plan.overlaps), limit)
    if plan.matched:
        _section("matching, in standard deviations")
        # the solver stops at 1e-8 of the total weight; what is left is no finding
        matched = [
            (m.concept, m.statistic, m.stratum, m.before, m.target, round(m.after, 5) + 0.0)
            for m in plan.matched
        ]
        write_table(
            ("concept", "statistic", "in", "before", "target", "after"), matched, plain=plain, flexible=0
        )
        _show_held(plan, plain=plain, limit=limit)
    _show_concepts(plan, plain=plain, limit=limit)
    _show_held_inside(plan, plain=plain)
    _show_drift(plan, plain=plain, limit=limit)
    for warning in plan.warnings:
        click.echo("\n" + render(warning, plan.checked.text, plan.checked.file_name))
        if warning.n_pairs and warning.rules:
            click.echo("  = rows: " + " ".join(f"--rows {name}" for name in warning.rules))
    if plan.expectations:
        _section("expectations")
        found = [(e.line, e.text, "holds" if e.holds else "FAILS", e.found) for e in plan.expectations]
        write_table(("line", "expect", "", "found"), found, plain=plain, flexible=1)


def _show_counts(counts: Mapping[str, int], *, plain: bool) -> None:
    """Pairs by fate, all of them first."""
    rows = sorted(counts.items(), key=lambda row: row[0] != "total")
    write_table(("pairs", "n"), rows, plain=plain)


def _show_held(plan: "Plan", *, plain: bool, limit: int | None) -> None:
    """Concepts that matching holds: no line of the file names them, and yet weights depend on them."""
    held = [c.label for c in plan.collateral if c.is_held and not c.is_target]
    held += [f"{h.label} in {h.context}" for h in plan.held_inside if not h.is_beyond]
    if not held or plain:
        return
    names = ", ".join(one_line(label) for label in held[:limit])
    more = f" and {len(held) - limit:,} more" if limit is not None and len(held) > limit else ""
    click.echo(f"held where they are by the verdict keep, which changes weights, too: {names}{more}")


def _show_held_inside(plan: "Plan", *, plain: bool) -> None:
    if not plan.held_inside:
        return
    _section("kept inside contexts: mean disparity there, before and after")
    rows = [
        (
            h.label,
            h.context,
            *(x if plain else round(x, 6) + 0.0 for x in (h.mean_before, h.mean_after, h.change, h.limit)),
            "held, beyond its limit" if h.is_beyond else "held",
        )
        for h in plan.held_inside
    ]
    header = ("concept", "context", "before", "after", "change", "limit", "")
    write_table(header, rows, plain=plain, flexible=1)


def _show_concepts(plan: "Plan", *, plain: bool, limit: int | None) -> None:
    named = [c for c in plan.collateral if c.is_target or c.is_held]
    moved = [c for c in plan.collateral if not (c.is_target or c.is_held) and (limit is None or c.change)]
    if not moved and not any(c.change for c in named):
        click.echo("\nno concept moves")
        return
    _section("concepts: mean disparity and win rate, before and after (targets last)")
    concepts = [
        (
            c.label,
            *(x if plain else round(x, 6) + 0.0 for x in (c.mean_before, c.mean_after, c.change)),
            c.rate_before,
            c.rate_after,
            c.n_active,
            _mark(c),
        )
        for c in (*moved[:limit], *named)
    ]
    header = ("concept", "before", "after", "change", "win before", "win after", "active", "")
    write_table(header, concepts, plain=plain, flexible=0)
    _rest(len(moved), limit)


def _show_drift(plan: "Plan", *, plain: bool, limit: int | None) -> None:
    """The make-up; without --all what moves: every other part whole, contexts by how far they move."""
    parts = [d for d in plan.drift if d.category != "context"]
    contexts = [d for d in plan.drift if d.category == "context"]
    n_contexts = 0
    if limit is not None:
        names = {d.category for d in parts if d.share_after != d.share_before}
        parts = [d for d in parts if d.category in names]
        contexts = [d for d in contexts if d.share_after != d.share_before]
        contexts.sort(key=lambda d: -abs(d.share_after - d.share_before))
        n_contexts, contexts = len(contexts), contexts[:limit]
    if not parts and not contexts:
        click.echo("\nno drift in source, language, length or context")
        return
    _section("drift")
    drift = [
        (d.category, d.value, d.n_before, d.n_after, d.share_before, d.share_after)
        for d in (*parts, *contexts)
    ]
    header = ("what", "value", "before", "after", "share before", "share after")
    write_table(header, drift, plain=plain, flexible=1)
    _rest(n_contexts, limit, "contexts")


def _length_rows(lengths: "Lengths") -> list[tuple[str, float, float]]:
    return [
        ("chosen", lengths.chosen_before, lengths.chosen_after),
        ("rejected", lengths.rejected_before, lengths.rejected_after),
    ]


def _rest(n: int, limit: int | None, what: str = "") -> None:
    if limit is not None and n > limit:
        click.echo(f"… and {n - limit:,} more{' ' + what if what else ''}: --all")


def _section(title: str) -> None:
    click.echo(f"\n── {title}")


def _mark(concept: "Collateral") -> str:
    if concept.is_beyond:
        return "held, beyond its limit"
    return "target" if concept.is_target else ("held" if concept.is_held else "")

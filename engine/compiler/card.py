"""The dataset card of a shaped dataset: what it is, how it was made, what moved."""

from engine.compiler.records import Plan
from engine.safe_text import code_span

_TOP = 15


_FRONT = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: train.parquet
task_categories:
- reinforcement-learning
tags:
- preference
- dpo
- prosect
---
"""


def card_text(plan: Plan, content_hash: str) -> str:
    """Markdown with the front matter that dataset hubs read. Independent of time and machine."""
    counts = plan.counts
    lines = [
        f"# Shaped preference data {content_hash[:12]}",
        "",
        "A random control plan of equal size." if plan.is_control else "Made by prosect from a rule file.",
        f"{counts['kept']:,} of {counts['input']:,} labelled pairs are kept, {counts['dropped']:,} dropped,"
        f" {counts['flipped']:,} flipped; {counts['offset']:,} carry an offset. Beside them"
        f" {counts['held_out']:,} pairs are held out (fold 19), {counts['unlabelled']:,} have no label,"
        f" {counts['refused']:,} belong to an evaluation set.",
        f"Effective pairs (Σw)²/Σw²: {plan.effective_pairs:,.1f} ({plan.effective_share:.1%} of the kept)."
        f" Largest weight {plan.largest_weight:.3f}.",
        "",
        "The loss of a pair is −w·log σ(βΔ + m): `weight` is w (mean 1 over this file), `offset` is m.",
        "A trainer that reads neither column trains on other data than this card describes.",
        "`ledger.parquet` has the fate of every pair with its reasons.",
    ]
    lines += [*_statements(plan), *_concepts(plan), *_sources(plan)]
    if plan.lock["training"]:
        lines += ["", "## For the trainer", ""]
        lines += [f"- {_code(entry['line'])}" for entry in plan.lock["training"]]
    return _FRONT + "\n" + "\n".join(lines) + "\n"


def _statements(plan: Plan) -> list[str]:
    rows = [
        f"| {_code(rule.name)} | {rule.kind} | {rule.n_matched:,} | {rule.n_effect:,} |"
        f" {_code(rule.reason or '')} |"
        for rule in sorted(plan.rules, key=lambda r: r.name)
    ]
    header = "| statement | does | matches | changes | because |"
    title = "## Statements of the plan that is dealt at random here" if plan.is_control else "## Statements"
    return ["", title, "", header, "|---|---|---:|---:|---|", *rows]


def _concepts(plan: Plan) -> list[str]:
    lines = [
        "", "## Concepts that move most", "",
        "The mean disparity u of a concept is how much more often its latents fire in the chosen answer than"
        " in the rejected one, from −1 to 1: over all labelled pairs before, over this file with its weights,"
        " offsets and flips after.",
        "", "| concept | mean u before | after | role |", "|---|---:|---:|---|",
    ]  # fmt: skip
    for concept in sorted(plan.collateral, key=lambda c: (-abs(c.change), c.concept))[:_TOP]:
        role = "target" if concept.is_target else "held" if concept.is_held else ""
        means = f"{concept.mean_before:+.4f} | {concept.mean_after:+.4f}"
        lines.append(f"| {_code(concept.label)} | {means} | {role} |")
    for held in plan.held_inside:
        means = f"{held.mean_before:+.4f} | {held.mean_after:+.4f}"
        lines.append(f"| {_code(held.label)} in the context {_code(held.context)} | {means} | held there |")
    return lines


def _sources(plan: Plan) -> list[str]:
    rows = [
        f"| {_code(row.value)} | {row.share_before:.1%} | {row.share_after:.1%} |"
        for row in plan.drift
        if row.category == "source"
    ]
    return ["", "## Make-up", "", "| source | share before | after |", "|---|---:|---:|", *rows]


def _code(text: str) -> str:
    return code_span(text, 80)

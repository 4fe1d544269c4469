"""An outcome in words, in the order in which it should be read: first whether the model moved at all."""

from engine.stats.outcome_score import ForecastScore, Outcome, Score
from engine.views.runs import OTHER_FORECAST


def report_lines(outcome: Outcome) -> list[str]:
    """The report in words, most important first; numbers only, no names of concepts."""
    lines = [*_movement_lines(outcome), _change_line(outcome)]
    lines += _forecast_lines(outcome.leading, "leading forecast")
    if outcome.ceiling is not None:
        lines.append(f"a perfect forecast would reach R² {outcome.ceiling:.2f} at this noise")
    for other in outcome.forecasts[1:]:
        lines += _forecast_lines(other, OTHER_FORECAST)
    return lines


def _forecast_lines(score: ForecastScore, title: str) -> list[str]:
    chance = "–" if score.sign_chance is None else f"{score.sign_chance:.0%}"
    right = _share(score.sign_accuracy)
    lines = [
        f"{title}, {score.name}: signs right {right} of {score.n_signs} clear forecasts (by chance {chance})"
    ]
    if score.coverage is not None and score.coverage_of_zero is not None:
        lines.append(
            f"  inside their 90% interval: {score.coverage:.0%} of forecasts, scaled to this run"
            f" ({score.coverage_of_zero:.0%} if none changed)"
        )
    lines.append(
        f"  R² {_number(score.r2)}, without the five largest {_number(score.r2_without_largest)}, "
        f"beyond length {_number(score.r2_partial)}"
    )
    if score.slope is not None and score.slope < 0:
        lines.append(
            "  changes go against this forecast (slope below 0): R² is that of the opposite forecast"
        )
    lines += [
        f"  null, {null.name}: median R² {null.median:.2f}, as good in {null.share_as_good:.1%} of {null.n}"
        for null in score.nulls
    ]
    return lines


def _change_line(outcome: Outcome) -> str:
    noise = f"beyond the noise of {outcome.n_prompts} prompts"
    if not outcome.is_null_result:
        return f"{outcome.n_moved} of {outcome.n_scored} concepts changed {noise}"
    moved = outcome.movement is not None and outcome.movement.is_moved
    subject = "log-probabilities moved, concepts did not" if moved else "the model did not move"
    none = f"none of {outcome.n_scored} concepts changed {noise}"
    return f"null result: {subject}; {none}, so what follows describes noise"


def _movement_lines(outcome: Outcome) -> list[str]:
    moved = outcome.movement
    if moved is None:
        return []
    if moved.log_ratio.value is None:
        line = "no held-out pair fits training.max_length, so its log-ratios are unknown"
    else:
        se = "" if moved.log_ratio.se is None else f" ± {moved.log_ratio.se:.2g}"
        line = f"log-ratio difference on {moved.n_pairs} held-out pairs {moved.log_ratio.value:+.3g}{se} nats"
        line += "" if moved.log_ratio.is_clear else " (not beyond two standard errors)"
    if moved.divergence is not None and moved.divergence.value is not None:
        line += f", KL {moved.divergence.value:.3g} nats per response"
    lines = [line]
    if moved.chosen_fell:
        lines.append(f"chosen responses became less likely ({moved.chosen.value:+.3g} nats)")
    return lines


def _share(score: Score) -> str:
    if score.value is None or score.low is None or score.high is None:
        return "–"
    return f"{score.value:.0%} ({score.low:.0%} to {score.high:.0%})"


def _number(score: Score) -> str:
    if score.value is None:
        return "–"
    if score.low is None or score.high is None:
        return f"{score.value:.2f}"
    return f"{score.value:.2f} ({score.low:.2f} to {score.high:.2f})"

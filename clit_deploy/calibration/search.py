"""The search that restores accuracy: which products have to stay float."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from clit_deploy.calibration.drop_evaluator import worst
from clit_deploy.errors import AccuracyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clit_deploy.calibration.drop_evaluator import DropEvaluator
    from clit_deploy.calibration.recipe import Node, Recipe
    from clit_deploy.plan.manifest import ScaleDrop
    from clit_deploy.plan.plan_file import Plan

log = logging.getLogger(__name__)


def sensitivities(plan: Plan, recipe: Recipe, evaluator: DropEvaluator) -> dict[Node, float]:
    """dB that each product loses if it alone is INT8, the largest loss first."""
    found = {node: evaluator.estimate(recipe.apply(plan, [node])) for node in recipe.nodes}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def smallest_float_set(
    plan: Plan, recipe: Recipe, evaluator: DropEvaluator, costs: dict[Node, float], max_drop: float
) -> tuple[Plan, list[Node], list[ScaleDrop]]:
    """The quantized plan with as few of the most expensive products in float as the budget allows.

    Args:
        plan: the float plan.
        recipe: what can be INT8.
        evaluator: measures what a plan loses.
        costs: from `sensitivities`.
        max_drop: dB that the plan may lose at any scale.

    Returns: the plan, the products in float, and what the plan loses.

    Raises:
        AccuracyError: the plan loses more even with half of the products in float.
    """
    ranked = list(costs)

    def attempt(count: int) -> tuple[Plan, list[Node], list[ScaleDrop]]:
        made = recipe.apply(plan, ranked[count:])
        drops = evaluator.measured(made)
        log.info("%d in float: %s", count, [f"x{d.scale:g} {d.drop:.4f} dB" for d in drops])
        return made, ranked[:count], drops

    best = attempt(0)
    if _met(best[2], max_drop):
        return best
    too_few, enough = 0, len(ranked) // 2
    best = attempt(enough)
    if not _met(best[2], max_drop):
        raise AccuracyError(_refusal(best[2], ranked, costs, max_drop))
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        made = attempt(middle)
        if _met(made[2], max_drop):
            best, enough = made, middle
        else:
            too_few = middle
    return best


def _met(drops: Sequence[ScaleDrop], max_drop: float) -> bool:
    return all(found.drop <= max_drop for found in drops)  # false for NaN


def _refusal(
    drops: Sequence[ScaleDrop], ranked: Sequence[Node], costs: dict[Node, float], max_drop: float
) -> str:
    most = worst(drops)
    costly = ", ".join(
        f"{name} of {graph} ({costs[graph, name]:.3f} dB)" for graph, name in ranked[:3]
    )
    return (
        f"INT8 loses {most.drop:.3f} dB at x{most.scale:g} even with half of the products in "
        f"float; at most {max_drop:g} is allowed, and nothing was written. The largest losses are "
        f"{costly}. Allow more with --max-drop, or calibrate with images like yours."
    )

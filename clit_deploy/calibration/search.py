"""The search that restores accuracy: which products have to stay float."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from clit_deploy.errors import AccuracyError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    from clit_deploy.calibration.drop_evaluator import DropEvaluator
    from clit_deploy.calibration.recipe import Node, Recipe
    from clit_deploy.plan.manifest import KindLoss
    from clit_deploy.plan.plan_file import Plan

    _Attempt: TypeAlias = tuple[Plan, list[Node], list[KindLoss]]

log = logging.getLogger(__name__)

MUCH_WORK = 0.05
"""Part of the multiply-adds of a plan from which a product in float makes it notably slower."""


def sensitivities(plan: Plan, recipe: Recipe, evaluator: DropEvaluator) -> dict[Node, float]:
    """dB that each product loses if it alone is INT8, the largest loss first."""
    found = {node: evaluator.estimate(recipe.apply(plan, [node])) for node in recipe.nodes}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def smallest_float_set(
    plan: Plan, recipe: Recipe, evaluator: DropEvaluator, costs: dict[Node, float], max_drop: float
) -> tuple[Plan, list[Node], list[KindLoss]]:
    """The quantized plan with as few of the most expensive products in float as the budget allows.

    Losses do not simply add up, so those of them with much work are tried in INT8 again at the end.

    Args:
        plan: the float plan.
        recipe: what can be INT8.
        evaluator: measures what a plan loses.
        costs: from `sensitivities`.
        max_drop: dB that the plan may lose on any kind of image at any scale.

    Returns: the plan, the products in float, and what the plan loses.

    Raises:
        AccuracyError: the plan loses more even with half of the products in float.
    """
    ranked = list(costs)

    def attempt(floats: list[Node]) -> _Attempt:
        made = recipe.apply(plan, [node for node in ranked if node not in floats])
        kinds = evaluator.measured(made)
        losses = [f"{kind.kind} {kind.worst.drop:.4f} dB" for kind in kinds]
        log.info("%d in float: %s", len(floats), ", ".join(losses))
        return made, floats, kinds

    best = attempt([])
    if _met(best[2], max_drop):
        return best
    too_few, enough = 0, len(ranked) // 2
    best = attempt(ranked[:enough])
    if not _met(best[2], max_drop):
        raise AccuracyError(_refusal(best[2], ranked, costs, max_drop))
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        made = attempt(ranked[:middle])
        if _met(made[2], max_drop):
            best, enough = made, middle
        else:
            too_few = middle
    for node in _heavy(best[1], recipe.work):
        made = attempt([other for other in best[1] if other != node])
        if _met(made[2], max_drop):
            best = made
    return best


def _heavy(nodes: Sequence[Node], work: Mapping[Node, float]) -> list[Node]:
    """Those with a notable part of the plan's work, the largest part first."""
    least = MUCH_WORK * sum(work.values())
    return sorted((node for node in nodes if work[node] > least), key=lambda node: -work[node])


def _met(kinds: Sequence[KindLoss], max_drop: float) -> bool:
    return all(found.drop <= max_drop for kind in kinds for found in kind.drops)  # false for NaN


def _refusal(
    kinds: Sequence[KindLoss], ranked: Sequence[Node], costs: dict[Node, float], max_drop: float
) -> str:
    most = max(kinds, key=lambda kind: kind.worst.drop)
    costly = ", ".join(
        f"{name} of {graph} ({costs[graph, name]:.3f} dB)" for graph, name in ranked[:3]
    )
    return (
        f"INT8 loses {most.worst.drop:.3f} dB on {most.kind} at x{most.worst.scale:g} even with "
        f"half of the products in float; at most {max_drop:g} is allowed, and nothing was written. "
        f"The largest losses are {costly}. Allow more with --max-drop, or calibrate with images "
        "like yours."
    )

"""The search that restores accuracy: which products have to stay float."""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING

from clit_deploy.errors import AccuracyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clit_deploy.calibration.drop_evaluator import DropEvaluator
    from clit_deploy.calibration.recipe import Node, Recipe
    from clit_deploy.plan.manifest import KindLoss
    from clit_deploy.plan.plan_file import Plan

log = logging.getLogger(__name__)


def sensitivities(plan: Plan, recipe: Recipe, evaluator: DropEvaluator) -> dict[Node, float]:
    """dB that each product loses if it alone is INT8, the largest loss first."""
    found = {node: evaluator.estimate(recipe.apply(plan, [node])) for node in recipe.nodes}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def smallest_float_set(
    plan: Plan, recipe: Recipe, evaluator: DropEvaluator, costs: dict[Node, float], max_drop: float
) -> tuple[Plan, list[Node], list[KindLoss]]:
    """The quantized plan with as little work in float as the budget allows.

    Products become float in the order of their loss for each multiply-add: a product that runs once
    for each pixel of the input takes little time, one that runs for each query takes most of it.

    Args:
        plan: the float plan.
        recipe: what can be INT8.
        evaluator: measures what a plan loses.
        costs: from `sensitivities`.
        max_drop: dB that the plan may lose on any kind of image at any scale.

    Returns: the plan, the products in float, and what the plan loses.

    Raises:
        AccuracyError: the plan loses more even with half of the work in float.
    """
    work = recipe.work
    ranked = sorted(costs, key=lambda node: -costs[node] / work[node])

    def attempt(count: int) -> tuple[Plan, list[Node], list[KindLoss]]:
        made = recipe.apply(plan, ranked[count:])
        found = evaluator.measured(made)
        losses = [f"{kind.kind} {kind.worst.drop:.4f} dB" for kind in found]
        log.info("%d in float: %s", count, ", ".join(losses))
        return made, ranked[:count], found

    best = attempt(0)
    if _met(best[2], max_drop):
        return best
    too_few, enough = 0, _half_of_the_work([work[node] for node in ranked])
    best = attempt(enough)
    if not _met(best[2], max_drop):
        raise AccuracyError(_refusal(best[2], list(costs), costs, max_drop))
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        made = attempt(middle)
        if _met(made[2], max_drop):
            best, enough = made, middle
        else:
            too_few = middle
    return best


def _half_of_the_work(work: Sequence[float]) -> int:
    """How many of the first products have half of the work; at least one."""
    total = sum(work)
    return max(sum(done <= total / 2 for done in itertools.accumulate(work)), 1)


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
        f"half of the work in float; at most {max_drop:g} is allowed, and nothing was written. "
        f"The largest losses are {costly}. Allow more with --max-drop, or calibrate with images "
        "like yours."
    )

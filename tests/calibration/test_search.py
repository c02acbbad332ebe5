"""The search, on losses that a test sets."""

from __future__ import annotations

import pytest

from clit_deploy.calibration.search import sensitivities, smallest_float_set
from clit_deploy.errors import AccuracyError
from clit_deploy.plan.manifest import KindLoss, ScaleDrop

COSTS = {"a": 0.001, "b": 0.030, "c": 0.002, "d": 0.020, "e": 0.004, "f": 0.003}


class Recipe:
    """A plan is the tuple of its INT8 products."""

    def __init__(self) -> None:
        self.nodes = [("g", name) for name in COSTS]
        self.work = {node: 100.0 if node[1] == "d" else 1.0 for node in self.nodes}

    def apply(self, plan, nodes):
        return tuple(nodes)


class DropEvaluator:
    """Costs add up; x4 loses half of what x2 does, and photographs half of what text does."""

    def __init__(self, factor: float = 1.0, harmless: str = "") -> None:
        self.factor, self.harmless = factor, harmless
        self.measurements = 0

    def estimate(self, plan) -> float:
        return sum(self.factor * COSTS[name] for _, name in plan)

    def measured(self, plan) -> list[KindLoss]:
        self.measurements += 1
        lost = self.estimate([node for node in plan if node[1] != self.harmless])
        photographs = ScaleDrop(4.0, 30.0, 30.0 - lost / 4), ScaleDrop(2.0, 35.0, 35.0 - lost / 2)
        text = ScaleDrop(4.0, 20.0, 20.0 - lost / 2), ScaleDrop(2.0, 25.0, 25.0 - lost)
        return [KindLoss("photographs", photographs, 50.0, 3.0), KindLoss("text", text, 40.0, 9.0)]


def search(max_drop: float, factor: float = 1.0, harmless: str = ""):
    trial, recipe = DropEvaluator(factor, harmless), Recipe()
    costs = sensitivities(None, recipe, trial)
    return smallest_float_set(None, recipe, trial, costs, max_drop), trial, costs


def test_products_are_ranked_by_what_they_cost_alone():
    _, _, costs = search(1.0)
    assert [name for _, name in costs] == ["b", "d", "e", "f", "c", "a"]
    assert costs["g", "b"] == 0.030


@pytest.mark.parametrize(
    ("max_drop", "kept"), [(0.0601, ""), (0.05, "b"), (0.02, "bd"), (0.0099, "bde")]
)
def test_the_smallest_float_set_that_meets_the_budget_on_the_worst_kind(max_drop, kept):
    (plan, floats, kinds), _, _ = search(max_drop)
    assert [name for _, name in floats] == list(kept)
    assert set(plan) == {("g", name) for name in COSTS if name not in kept}
    assert max(found.drop for kind in kinds for found in kind.drops) <= max_drop
    left = sorted((COSTS[name] for name in kept), reverse=True)
    if left:  # with the cheapest of those in INT8 the budget would be missed
        assert max(kind.worst.drop for kind in kinds) + left[-1] > max_drop


def test_a_product_with_much_work_that_costs_less_than_it_seemed_becomes_int8_again():
    """Alone, d costs 0.020 dB, in the plan nothing; b and e have little work."""
    (plan, floats, _), _, _ = search(0.0085, harmless="d")
    assert [name for _, name in floats] == ["b", "e"]
    assert ("g", "d") in plan


def test_a_plan_with_nan_meets_no_budget():
    with pytest.raises(AccuracyError):
        search(0.05, factor=float("nan"))


def test_a_budget_that_is_met_at_once_is_measured_once():
    _, trial, _ = search(1.0)
    assert trial.measurements == 1


def test_a_budget_that_is_out_of_reach_is_refused_with_the_largest_losses():
    with pytest.raises(AccuracyError, match=r"dB on text at x2 .*b of g \(3\.000 dB\)") as caught:
        search(0.05, factor=100)
    assert isinstance(caught.value, ArithmeticError)
    assert "--max-drop" in str(caught.value)

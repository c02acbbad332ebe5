"""What a calibration found for each graph of a plan, and how it is applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import onnx

from clit_deploy.calibration.int8_ranges import observe
from clit_deploy.config import Precision
from clit_deploy.passes.qdq import QuantOp, float32_weights, quantize, sites, worthwhile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from clit_deploy.calibration.samples import Reservoir
    from clit_deploy.plan.plan_file import Plan

Node: TypeAlias = tuple[str, str]
"""A product: the member name of its graph, and its own name."""

WINDOW = 49
"""Terms of a sum over an attention window, for estimates; the published window has 7x7 pixels."""

Finalize: TypeAlias = "Callable[[onnx.ModelProto, Mapping[str, float]], onnx.ModelProto]"


@dataclass(frozen=True)
class QdqFormat:
    """How a runtime takes INT8."""

    finish: Finalize
    """The last pass over a quantized graph."""
    thinnest: int
    """Shortest sum (terms per output) that is an INT8 product; shorter ones stay float, because
    they would be slower."""


@dataclass(frozen=True)
class GraphRecipe:
    """One graph: its float32 form, the products that can be INT8, and the range of its tensors."""

    model: onnx.ModelProto
    sites: tuple[QuantOp, ...]
    ranges: dict[str, float]
    work: dict[str, float]
    """Multiply-adds of each product in the recorded runs, by the product's name."""


@dataclass(frozen=True)
class Recipe:
    """All graphs of a plan with products that can be INT8."""

    graphs: dict[str, GraphRecipe]
    finish: Finalize

    @property
    def nodes(self) -> list[Node]:
        """Every product that can be INT8."""
        return [(name, site.node) for name, graph in self.graphs.items() for site in graph.sites]

    @property
    def work(self) -> dict[Node, float]:
        """Multiply-adds of every product in the recorded runs."""
        return {
            (name, node): w for name, graph in self.graphs.items() for node, w in graph.work.items()
        }

    def apply(self, plan: Plan, nodes: Collection[Node]) -> Plan:
        """The plan with these products in INT8; graphs without any are not changed."""
        members = {}
        for name, graph in self.graphs.items():
            some = {node for member, node in nodes if member == name}
            if some:
                made = self.finish(quantize(graph.model, graph.ranges, some), graph.ranges)
                members[name] = made.SerializeToString(deterministic=True)
        return plan.replaced(members, precision=Precision.INT8.value)


def find_recipe(
    plan: Plan,
    reservoirs: Mapping[str, Reservoir],
    qdq_format: QdqFormat,
) -> Recipe:
    """Find the ranges of every graph that was recorded and has products to quantize."""
    graphs = {}
    tables = {stage.pairs for stage in plan.manifest.stages}
    for name, reservoir in sorted(reservoirs.items()):
        model = float32_weights(onnx.load_model_from_string(plan.read(name)))
        found = [] if name in tables else worthwhile(sites(model), qdq_format.thinnest)
        if not found:
            continue
        tensors = {x for site in found for x in (*site.sources, site.result)}
        seen = observe(model, tensors, reservoir.batches())
        work = {
            site.node: reservoir.offered * seen[site.result].elements * (site.depth or WINDOW)
            for site in found
        }
        ranges = {tensor: observed.range for tensor, observed in seen.items()}
        graphs[name] = GraphRecipe(model, tuple(found), ranges, work)
    return Recipe(graphs, qdq_format.finish)

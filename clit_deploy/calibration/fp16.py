"""FP32 plan -> FP16 plan: typed graphs, what stays FP32, and the loss on a real image."""

from __future__ import annotations

import dataclasses
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from clit_deploy.calibration.fp16_ranges import largest, unfit
from clit_deploy.config import Precision, RuntimeName
from clit_deploy.errors import NonFiniteError, ParityError
from clit_deploy.images.image_files import PHOTOGRAPH
from clit_deploy.passes.check_graph import check
from clit_deploy.passes.fp16_emulation import emulate_fp16
from clit_deploy.passes.fp16_types import INTER_GRAPH, Fp32Rules, to_fp16
from clit_deploy.plan.manifest import Fp16Report, ParityReport, ScaleDrop
from clit_deploy.quality.evaluate import Score, low_and_high, score_image
from clit_deploy.quality.parity import compare_samples, stored_samples
from clit_deploy.runtimes.ort.ort_runtime import open_runtime
from clit_deploy.runtimes.wrappers import InputRecorder
from clit_deploy.upscaler import Upscaler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.runtimes.wrappers import Feeds

    Graphs = Mapping[str, onnx.ModelProto]

log = logging.getLogger(__name__)

FP16_SCALES = (4.0, 12.0)
MAX_FP16_DROP = 0.01
"""dB that FP16 may lose on the image, at any of the scales."""
MIXED_MAX_DROP = 0.1
"""The same around INT8: FP16 moves numbers across the borders of INT8's steps, in both directions,
which on one small image gains or loses up to 0.05 dB, and nothing on average (official LIIF, 12
photographs, x4 and x12: -0.001 dB, with a standard deviation of 0.010)."""
RUNS = 2
"""Runs of each graph whose ranges are measured, per image."""

FP32_RULES = Fp32Rules(scopes=frozenset({"waves"}))
"""What always stays FP32: the scope of sines, whose angles reach many turns."""

SPREAD = 2.0
"""Devices sum in different orders: `verify` allows this many times the measured error."""
LEAST_TOLERANCE = 5e-3


@dataclass(frozen=True)
class _Choice:
    """What stays FP32: nodes of each graph, and whole graphs; `device` are the FP16 tensors between
    graphs."""

    nodes: Mapping[str, frozenset[str]]
    device: frozenset[str]
    whole: frozenset[str] = frozenset()

    def typed(self, member: str, model: onnx.ModelProto) -> onnx.ModelProto:
        keep = dataclasses.replace(FP32_RULES, nodes=self.nodes[member])
        if member in self.whole:
            keep = dataclasses.replace(keep, nodes=frozenset(n.name for n in model.graph.node))
        return check(to_fp16(model, keep, self._between_graphs()))

    def _between_graphs(self) -> frozenset[str]:
        """The FP16 tensors between graphs, without those that a graph kept FP32 writes."""
        kept = {"maps"} if any("project" in member for member in self.whole) else set()
        kept |= {"features"} if "encoder.onnx" in self.whole else set()
        return self.device - kept


def fp16_plan(plan: Plan, report: Callable[[str], None], floats: Plan | None = None) -> Plan:
    """The FP16 form of a plan: of FP32 graphs, or of what Q/DQ leaves of them.

    Its parity report has the errors of graphs that round every result, the worst case on hardware.

    Args:
        plan: an FP32 or INT8 plan that passed its parity check.
        report: called with a sentence about each step.
        floats: of an INT8 plan, the FP32 plan that it was made from; the FP16 forms of its graphs
            are stored beside those with INT8, because they can be faster.

    Raises:
        ParityError: it loses too much even with every graph FP32.
    """
    graphs = {name: _model(plan, name) for name in plan.manifest.digests if name.endswith(".onnx")}
    report("measuring the ranges of all tensors")
    choice, first = _choose(plan, graphs)
    before = _scores(plan)
    report("measuring what FP16 loses")
    quantized = plan.manifest.quantization is not None
    most = MIXED_MAX_DROP if quantized else MAX_FP16_DROP
    choice, emulated, cases = _within_budget(plan, graphs, choice, before, most)
    precision = Precision.INT8_FP16 if quantized else Precision.FP16
    kept = {name: sorted(nodes) for name, nodes in choice.nodes.items() if nodes}
    half = Fp16Report(PHOTOGRAPH.name, cases, first, kept, sorted(choice.whole))
    typed = {name: choice.typed(name, graph) for name, graph in graphs.items()}
    forms = _float_forms(plan) if floats else {}
    for name, form in forms.items():
        assert floats is not None  # noqa: S101  (there are no forms without them)
        typed[form] = choice.typed(name, _model(floats, name))
    return plan.replaced(
        _stored(typed),
        precision=precision.value,
        half=half,
        proof=_parity(plan, emulated),
        float_forms=forms,
    )


def _float_forms(plan: Plan) -> dict[str, str]:
    """Names for the FP16 forms of the graphs that have INT8 products."""
    counts = plan.manifest.quantization.counts if plan.manifest.quantization else {}
    return {name: f"fp16.{name}" for name, count in counts.items() if count}


def _choose(plan: Plan, graphs: Graphs) -> tuple[_Choice, str | None]:
    """Keep the nodes FP32 that read or write a number that FP16 cannot represent: the smallest set.

    Returns: the choice, and the first such tensor, if any, in words.
    """
    seen = _recorded(plan)
    nodes, device, first = {}, set(INTER_GRAPH), None
    for member, graph in graphs.items():
        bad = unfit(largest(graph, seen.get(member, [])))
        device -= set(bad)
        at = [
            n
            for n in graph.graph.node
            if {*n.input, *n.output} & {*bad} and not FP32_RULES.holds(n)
        ]
        nodes[member] = frozenset(node.name for node in at)
        if at:
            name = next(name for name in bad if name in {*at[0].input, *at[0].output})
            text = f"{member}: {name} reaches {bad[name]:.3g}"
            log.warning("%s, which FP16 cannot represent; %d nodes stay FP32", text, len(at))
            first = first or text
    return _Choice(nodes, frozenset(device)), first


def _recorded(plan: Plan) -> dict[str, list[Feeds]]:
    """Inputs of every graph for the test image at every scale, and for the stored samples, which
    use all stages."""
    images = [(low_and_high(PHOTOGRAPH, scale)[0], scale) for scale in FP16_SCALES]
    images += [(sample.image, sample.scale) for sample in stored_samples(plan)]
    seen: dict[str, list[Feeds]] = {}
    for image, scale in images:
        for member, runs in _first_runs(plan, image, scale).items():
            seen.setdefault(member, []).extend(runs)
    return seen


def _first_runs(plan: Plan, image: NDArray[Any], scale: float) -> dict[str, list[Feeds]]:
    """Inputs of the first runs of every graph while an image is upscaled and queried."""
    coords = np.random.RandomState(0).uniform(-1, 1, (64, 2))
    seen: dict[str, list[Feeds]] = {}

    def keep(member: str, feeds: Feeds) -> None:
        runs = seen.setdefault(member, [])
        if len(runs) < RUNS:
            runs.append(dict(feeds))

    with Upscaler(plan, runtime=InputRecorder(open_runtime(RuntimeName.CPU), keep)) as up:
        up.upscale(image, scale=scale)
        up.query(image, coords, scale=scale)
        if plan.manifest.stages[0].attention:
            up.attention(image, (1, 1), scale=scale)
    return seen


def _measured(
    plan: Plan, graphs: Graphs, choice: _Choice, before: Sequence[Score]
) -> tuple[Plan, tuple[ScaleDrop, ...]]:
    """The plan with every result rounded to FP16, and its loss at each scale."""
    rounded = {name: emulate_fp16(choice.typed(name, graph)) for name, graph in graphs.items()}
    emulated = plan.replaced(_stored(rounded))
    after = _scores(emulated)
    cases = (ScaleDrop(a.scale, b.psnr, a.psnr) for a, b in zip(after, before, strict=True))
    return emulated, tuple(cases)


def _within_budget(
    plan: Plan, graphs: Graphs, choice: _Choice, before: Sequence[Score], most: float
) -> tuple[_Choice, Plan, tuple[ScaleDrop, ...]]:
    """The choice with as few whole graphs in FP32 as `most` dB allow, its emulation, and its loss.

    Raises:
        ParityError: it loses more even with every graph FP32.
    """
    emulated, cases = _measured(plan, graphs, choice, before)
    while _drop(cases) > most and len(choice.whole) < len(graphs):
        worst = _worst(plan, graphs, choice, before)
        log.warning("%s stays FP32: FP16 loses %.3f dB", worst, _drop(cases))
        choice = dataclasses.replace(choice, whole=choice.whole | {worst})
        emulated, cases = _measured(plan, graphs, choice, before)
    if _drop(cases) > most:
        raise ParityError(
            f"FP16 loses {_drop(cases):.3f} dB, and {most} dB are allowed; use the FP32 plan."
        )
    # If no output was finite, any graph may have looked like the worst.
    for member in sorted(choice.whole) if len(choice.whole) > 1 else ():
        trial = dataclasses.replace(choice, whole=choice.whole - {member})
        made = _measured(plan, graphs, trial, before)
        if _drop(made[1]) <= most:
            log.warning("%s can be FP16 after all", member)
            choice, (emulated, cases) = trial, made
    return choice, emulated, cases


def _worst(plan: Plan, graphs: Graphs, choice: _Choice, before: Sequence[Score]) -> str:
    """The graph whose return to FP32 reduces the loss most, among those still FP16."""
    drops = {}
    for member in sorted(set(graphs) - choice.whole):
        trial = dataclasses.replace(choice, whole=choice.whole | {member})
        drops[member] = _drop(_measured(plan, graphs, trial, before)[1])
    return min(drops, key=lambda member: drops[member])


def _scores(plan: Plan) -> list[Score]:
    with Upscaler(plan, runtime="cpu") as up:
        return [_score(up, scale) for scale in FP16_SCALES]


def _score(up: Upscaler, scale: float) -> Score:
    """The score at one scale; NaN where a graph overflows."""
    try:
        return score_image(up, PHOTOGRAPH, scale)
    except NonFiniteError:
        return Score(PHOTOGRAPH.name, scale, *[math.nan] * 4)


def _drop(cases: Sequence[ScaleDrop]) -> float:
    """The largest loss, dB; infinite if an output is not finite."""
    return max(case.drop if math.isfinite(case.psnr) else math.inf for case in cases)


def _parity(plan: Plan, emulated: Plan) -> ParityReport:
    """The parity check repeated with rounded results; its tolerance follows from their errors."""
    before = plan.manifest.proof
    assert before is not None  # noqa: S101  (only checked plans are converted)
    runtime, cases = compare_samples(emulated, stored_samples(plan), tolerance=np.inf)
    worst = max(case.relative_error for case in cases)
    tolerance = max(SPREAD * worst, LEAST_TOLERANCE)
    return dataclasses.replace(
        before, runtime=f"{runtime}, every result rounded to FP16", tolerance=tolerance, cases=cases
    )


def _model(plan: Plan, member: str) -> onnx.ModelProto:
    return onnx.load_model_from_string(plan.read(member))


def _stored(graphs: Graphs) -> dict[str, bytes]:
    return {name: graph.SerializeToString(deterministic=True) for name, graph in graphs.items()}

"""The last line of a long command: whether the result is good, and the command that comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clit_deploy.cli.terminal import terminal
from clit_deploy.zoo.named_models import shown_plan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from clit_deploy.plan.manifest import EngineSet, Manifest
    from clit_deploy.quality.compare import Comparison
    from clit_deploy.quality.evaluate import Score
    from clit_deploy.quality.verify import Verification


def exported(plan: Path, manifest: Manifest) -> str:
    """After `export`: how far the graphs are from the model they were made of."""
    return _with_next(f"PASS: {_margin(manifest)}.", f"run -e {shown_plan(plan)} photo.png -s 4")


def _margin(manifest: Manifest) -> str:
    """How many times the parity check stays below its tolerance."""
    proof = manifest.proof
    if proof is None:
        return "written without a parity check"
    if manifest.quantization is not None:
        return _loss(manifest)
    worst = max(case.relative_error for case in proof.cases)
    times = proof.tolerance / worst if worst else float("inf")
    return f"the largest error is {times:.2g}x below the tolerance"


def _loss(manifest: Manifest) -> str:
    found = manifest.quantization
    if found is None or not found.drops:
        return "calibrated"
    worst = max(drop.drop for drop in found.drops)
    kinds = sorted(found.kinds, key=lambda kind: kind.worst.drop)
    where = f", most on {kinds[-1].kind}" if kinds else ""
    return f"INT8 loses at most {max(worst, 0):.3f} dB of {found.max_drop:g} dB allowed{where}"


def calibrated(plan: Path, source: Path, manifest: Manifest) -> str:
    """After `calibrate`: what INT8 costs."""
    return _with_next(
        f"PASS: {_loss(manifest)}.", f"compare {shown_plan(source)} {plan} --images FOLDER -s 2,4"
    )


def built(plan: Path, engines: EngineSet) -> str:
    """After `build`: whether the engines were compared."""
    flavour = engines.flavour
    if engines.relative_error is None:
        return _with_next(
            "BUILT, not checked: no device for these engines is here.",
            f"verify {shown_plan(plan)} --runtime {flavour}, on the device",
        )
    error = f"{engines.relative_error:.1e} of the output's standard deviation"
    return _with_next(
        f"PASS: the engines differ from ONNX Runtime by at most {error}.",
        f"run -e {shown_plan(plan)} photo.png -s 4 --runtime {flavour}",
    )


def verified(plan: Path, manifest: Manifest, result: Verification) -> str:
    """After `verify`: how far this machine is from the stored samples."""
    worst = max(case.relative_error for case in result.cases)
    tolerance = manifest.proof.tolerance if manifest.proof else 0.0
    margin = f"{tolerance / worst:.2g}x below the tolerance" if worst else "zero"
    said = (
        f"PASS: the largest error on {result.runtime} is {margin}."
        if result.engines is None
        else f"PASS: engines and graphs agree on {result.runtime}."
    )
    return _with_next(said, f"run -e {shown_plan(plan)} photo.png -s 4")


def compared(rows: Sequence[Comparison], plans: Sequence[Path]) -> str:
    """After `compare`: the plan that loses least among the faster ones."""
    last = rows[-len(plans) :]
    best = max(range(len(plans)), key=lambda k: last[k].speedup)
    row = last[best]
    if best == 0:
        said = f"At x{row.scale:g} no plan is faster than the first, {shown_plan(plans[0])}."
    else:
        said = (
            f"At x{row.scale:g} {row.plan} is the fastest: {row.speedup:.2g}x the speed of the "
            f"first, {row.drop:.3f} dB below it."
        )
    return _with_next(said, f"run -e {shown_plan(plans[best])} photo.png -s {row.scale:g}")


def evaluated(scores: Sequence[Score], engine: Path | None) -> str:
    """After `evaluate`: how much better than bicubic the plan is."""
    gain = sum(score.psnr - score.bicubic_psnr for score in scores) / len(scores)
    said = f"{gain:+.2f} dB against bicubic, on average over images and scales."
    return _with_next(said, f"run {f'-e {shown_plan(engine)} ' if engine else ''}photo.png -s 4")


def trained(checkpoint: Path) -> str:
    """After `train`."""
    return _with_next("Trained.", f"export {checkpoint}")


def _with_next(verdict: str, command: str) -> str:
    return verdict if terminal.quiet else f"{verdict} Next: clit-deploy {command}"

"""Plans and measurements as text for people."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from clit_deploy.grid.cascade import MAX_STAGE_FACTOR

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from clit_deploy.plan.manifest import (
        EncoderInfo,
        EngineSet,
        KindLoss,
        Manifest,
        NodeDrop,
        ParityCase,
        TiledCase,
    )
    from clit_deploy.quality.compare import Comparison
    from clit_deploy.quality.evaluate import Score
    from clit_deploy.quality.verify import Verification

MOST_EXPENSIVE = 10
"""Products that `info` lists; `info --json` has all of them."""


def describe(path: Path, manifest: Manifest) -> str:
    """The content of a plan, one line for each fact."""
    args = manifest.hyperparameters
    encoder = args.get("encoder_spec", {}).get("name", "unknown")
    stored = ", weights stored as fp16" if manifest.half_weights else ""
    lines = [
        f"{path.name}  {path.stat().st_size / 1e6:.1f} MB  format {manifest.format}",
        f"  model      {manifest.family}, encoder {encoder}, {_stages(manifest)}",
        f"  precision  {manifest.precision}{stored}, opset {manifest.opset}",
        f"  encoder    {_encoder(manifest.encoder)}",
        f"  source     {manifest.source.name}  sha256 {manifest.source.sha256[:16]}",
        f"  made with  {', '.join(f'{k} {v}' for k, v in manifest.versions.items())}",
        *quantization_lines(manifest),
        *parity_lines(manifest),
        *(engine_line(engines) for engines in manifest.engines),
    ]
    return "\n".join(lines)


def quantization_lines(manifest: Manifest) -> list[str]:
    """What was quantized, what it costs, and which products cost most."""
    found = manifest.quantization
    if found is None:
        return []
    total = sum(found.counts.values())
    drops = ", ".join(f"x{d.scale:g} {d.float_psnr:.3f} -> {d.psnr:.3f} dB" for d in found.drops)
    counts = ", ".join(f"{count} in {graph}" for graph, count in found.counts.items())
    kept = sum(node.kept for node in found.nodes)
    before = " before FP16" if manifest.half else ""
    return [
        f"  int8       {total} of {len(found.nodes)} products ({counts}), {kept} kept float",
        f"  calibrated {found.method}, {found.pictures}, digest {found.digest[:16]}",
        f"  accuracy   {drops}{before}; a loss of {found.max_drop:g} dB is allowed",
        *(_kind(kind) for kind in found.kinds),
        *(_node(node) for node in found.nodes[:MOST_EXPENSIVE]),
    ]


def _kind(kind: KindLoss) -> str:
    drops = ", ".join(f"{drop.drop:.3f} dB at x{drop.scale:g}" for drop in kind.drops)
    return (
        f"    {kind.kind:<13}  loses {drops}; agrees with the float plan to "
        f"{kind.float_agreement:.1f} dB, within {kind.largest_difference:.0f} of 255 levels"
    )


def _node(node: NodeDrop) -> str:
    kept = ", kept float" if node.kept else ""
    return f"    {node.drop:.4f} dB alone  {node.graph}  {node.node}{kept}"


def comparison_table(rows: Sequence[Comparison]) -> list[str]:
    """Plans side by side, as a Markdown table."""
    return [
        "| plan | precision | MB | scale | dB | below the first | SSIM | ms/MP | speed |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(
            f"| {r.plan} | {r.precision} | {r.megabytes:.1f} | x{r.scale:g} | {r.psnr:.3f} "
            f"| {r.drop:.3f} | {r.ssim:.4f} | {r.ms_per_megapixel:.0f} | {r.speedup:.2f}x |"
            for r in rows
        ),
    ]


def parity_lines(manifest: Manifest) -> list[str]:
    """The results of the export's parity check."""
    if manifest.proof is None:
        return ["  parity     not checked"]
    proof = manifest.proof
    truth = "the float plan" if manifest.quantization else "PyTorch float64"
    head = f"  parity     with {truth} on {proof.runtime}, tolerance {proof.tolerance:.3g}"
    return [head, *(_case(case) for case in proof.cases), *_half(manifest)]


def _half(manifest: Manifest) -> list[str]:
    """What FP16 costs on an image, and what stays FP32."""
    half = manifest.half
    if half is None:
        return []
    before = "INT8 in FP32" if manifest.quantization else "FP32"
    lines = [
        f"    x{case.scale:<5g} {half.picture}  {case.psnr:.3f} dB, "
        f"{before} {case.float_psnr:.3f} dB"
        for case in half.cases
    ]
    if half.first:
        count = sum(len(nodes) for nodes in half.nodes.values())
        lines.append(f"    {count} nodes stay FP32: {half.first}, beyond the range of FP16")
    if half.graphs:
        lines.append(f"    FP32 because FP16 would lose too much: {', '.join(half.graphs)}")
    return lines


def engine_line(engines: EngineSet) -> str:
    """One set of engines."""
    found = engines.relative_error
    floats = sum(engine.source is not None for engine in engines.engines)
    forms = f"{floats} graphs in FP16 because it is faster, " if floats else ""
    compared = "not compared yet" if found is None else f"within {found:.1e} of ONNX Runtime"
    return (
        f"  engines    {engines.title}: tiles to {engines.tile}, blocks to {engines.block}, "
        f"chunks of {engines.times}, {forms}{compared}"
    )


def verification(result: Verification) -> str:
    """The results of `verify`."""
    lines = [
        f"all {result.members} members match their digests",
        f"parity check on {result.runtime}:",
        *(_case(case) for case in result.cases),
        f"tiled {_tiled(result.tiled)}",
    ]
    if result.engines is not None:
        lines.append(
            f"engines and graphs differ by at most {result.engines:.1e} of the output's standard "
            "deviation"
        )
    return "\n".join(lines)


def score_table(scores: Sequence[Score]) -> list[str]:
    """Means over the images, a row for each scale, as a Markdown table."""
    lines = [
        "| scale | plan dB | bicubic dB | plan SSIM | bicubic SSIM |",
        "| --- | --- | --- | --- | --- |",
    ]
    for scale in dict.fromkeys(score.scale for score in scores):
        some = [score for score in scores if score.scale == scale]
        means = (
            statistics.fmean(getattr(score, field) for score in some)
            for field in ("psnr", "bicubic_psnr", "ssim", "bicubic_ssim")
        )
        lines.append("| x{:g} | {:.2f} | {:.2f} | {:.4f} | {:.4f} |".format(scale, *means))
    return lines


def _encoder(info: EncoderInfo) -> str:
    text = f"{info.channels} channels, halo {info.halo} pixels"
    if info.multiple > 1:
        text += f", sides mirrored to multiples of {info.multiple}"
    if info.exact or info.tiling is None:
        return text + ", tiles exact"
    return text + (
        f"\n  tiling     not exact: {_tiled(info.tiling)}; an image that fits one tile does not "
        "differ. 'verify --image' measures it on your image"
    )


def _tiled(case: TiledCase) -> str:
    return (
        f"differs from whole by at most {case.max_difference:.1e}, {case.psnr:.1f} dB "
        f"({case.image[1]}x{case.image[0]} at x{case.scale:g}, tiles of {case.tile}, "
        f"blocks of {case.block})"
    )


def _stages(manifest: Manifest) -> str:
    """How many stages there are, and up to which scale fewer of them run."""
    count = len(manifest.stages)
    if count == 1:
        return "1 stage"
    up_to = (f"{k} up to x{MAX_STAGE_FACTOR**k:g}" for k in range(1, count))
    return f"{count} stages ({', '.join(up_to)}, {count} above)"


def _case(case: ParityCase) -> str:
    return (
        f"    x{case.scale:<5g} {case.image[1]}x{case.image[0]} -> {case.size[1]}x{case.size[0]}"
        f"  largest error {case.max_error:.1e}, {case.relative_error:.1e} relative to the output's "
        "standard deviation"
    )

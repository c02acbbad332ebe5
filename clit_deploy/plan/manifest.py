"""The manifest of a plan: `manifest.json` as frozen dataclasses.

The type of a field is also its range (`plan/ranges.py`), which is checked when a manifest is read.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from clit_deploy.errors import PlanError, quote
from clit_deploy.grid.geometry import Anchor  # noqa: TC001  (resolved at run time by get_type_hints)
from clit_deploy.plan.from_json import from_json
from clit_deploy.plan.ranges import (
    ArrayFile,
    Bytes,
    Channels,
    Count,
    Decibels,
    Difference,
    Fraction,
    Graph,
    Length,
    Member,
    Pattern,
    Pixels,
    Range,
    Reach,
    Scale,
    Sha256,
    Shape,
    Side,
    Word,
)

FORMAT = 2
"""Version of the plan format that this package writes and reads."""


@dataclass(frozen=True)
class TiledCase:
    """One image rendered with the smallest tiles and as a whole."""

    scale: Scale
    image: tuple[Side, Side]
    tile: Side
    block: Side
    max_difference: Difference
    """For images from 0 to 1."""
    psnr: Decibels
    """Of the tiled output against the whole one, dB."""


@dataclass(frozen=True)
class EncoderInfo:
    """The encoder graph: `image [1, 3, h, w]` (0 to 1) -> `features [1, channels, h, w]`."""

    graph: Graph
    channels: Channels
    halo: Pixels
    """Distance from a tile's edge, in pixels, within which its features differ from those of the
    whole image."""
    bytes_per_pixel: Bytes
    """Estimated working memory for each pixel of a tile."""
    multiple: Annotated[int, Range(1, 1024)] = 1
    """Sides of images and tiles, and starts of tiles, are multiples of this. Images are mirrored at
    their lower and right edges until they fit."""
    exact: bool = True
    """Whether tiles with this halo give the same features as the whole image."""
    tiling: TiledCase | None = None
    """If not: the difference that the smallest tiles make on a test image."""


@dataclass(frozen=True)
class StageInfo:
    """One stage. *project* makes maps of its grid, *decode* computes cells, *point* coordinates."""

    project: Graph
    decode: Graph
    point: Graph
    attention: Graph | None
    """Graph that returns only the attention weights, for figures; None without attention."""
    pairs: Graph | None
    """Graph of the position bias, if the bias does not split into rows and columns."""
    anchor: Anchor
    before: Reach
    """Map pixels that a cell needs before its own."""
    after: Reach
    """Map pixels that a cell needs after its own."""
    border: Literal["zero", "edge"]
    """Values of the maps outside the image."""
    channels: Channels
    """Channels of the maps."""
    margin: Pixels
    """Most feature pixels (low resolution) around a pixel that its outputs can need."""
    project_bytes: Bytes
    """Estimated working memory of project and its maps, for each map pixel."""
    cell_bytes: Bytes
    """Estimated working memory of decode, for each cell."""
    query_bytes: Bytes
    """Estimated working memory of decode, for each query."""
    point_bytes: Bytes
    """Estimated working memory of point, for each query."""
    chunk_queries: Count
    """The fastest number of queries for one run of decode on a CPU."""
    chunk_cells: Count
    """Most cells for one run of decode on a CPU."""


@dataclass(frozen=True)
class ParityCase:
    """One image, rendered by the graphs and by the PyTorch model in float64."""

    scale: Scale
    image: tuple[Side, Side]
    size: tuple[Side, Side]
    max_error: Difference
    relative_error: Difference
    """Largest difference relative to the standard deviation of the model's output."""


@dataclass(frozen=True)
class ParityReport:
    """The parity check of the export, and its tolerance."""

    runtime: str
    tolerance: Fraction
    cases: Annotated[tuple[ParityCase, ...], Length(0, 64)]
    samples: ArrayFile
    """The member with the images and the model's outputs, so that `verify` can repeat the check."""


@dataclass(frozen=True)
class ScaleDrop:
    """Luminance PSNR of the float plan and of this one for images shrunk and enlarged again, dB."""

    scale: Scale
    float_psnr: Decibels
    psnr: Decibels

    @property
    def drop(self) -> float:
        """The loss, dB."""
        return self.float_psnr - self.psnr


@dataclass(frozen=True)
class Fp16Report:
    """The cost of FP16 if every result is rounded, and the parts that stay FP32."""

    picture: str
    cases: tuple[ScaleDrop, ...]
    first: str | None
    """The first tensor that FP16 cannot hold."""
    nodes: dict[Graph, list[str]]
    """For each graph, the nodes that stay FP32 because they read or make such a tensor."""
    graphs: list[str]
    """Graphs that stay FP32 because FP16 would cost too much there."""


@dataclass(frozen=True)
class Engine:
    """The engine of one graph: a member of the plan, and the shapes that it accepts."""

    graph: Graph
    member: Member
    digest: Sha256
    """SHA-256 of the graph that it was built from."""
    profiles: list[dict[str, Annotated[list[Shape], Length(3, 3)]]]
    """Min, opt and max shape of every input, for each optimization profile."""
    source: Graph | None = None
    """The FP16 form of the graph, if that was built because it is faster."""

    @property
    def built_from(self) -> str:
        """The graph that it was built from."""
        return self.source or self.graph


@dataclass(frozen=True)
class EngineSet:
    """Engines of all graphs from one build, and everything that they depend on."""

    flavour: Literal["tensorrt", "tensorrt-rtx"]
    version: Word
    targets: tuple[Word, ...]
    """Compute capabilities, like `8.7`; empty for the defaults of TensorRT-RTX."""
    gpu: str | None
    """The GPU that they were built on; None without a GPU."""
    driver: str | None
    l4t: str | None
    tile: Side
    block: Side
    times: Count
    """Chunk size as a multiple of the CPU chunk size."""
    sides: tuple[Count, ...]
    workspace: Bytes | None
    engines: tuple[Engine, ...]
    relative_error: Difference | None = None
    """Difference from ONNX Runtime relative to the output's standard deviation; None if it was not
    measured, because there was no GPU."""
    processors: Count | None = None
    """Multiprocessors of that GPU; None without a GPU, and in older plans."""

    @property
    def title(self) -> str:
        """For messages: `TensorRT 10.3.0 for 8.7`."""
        name = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}[self.flavour]
        targets = ", ".join(self.targets) or "its default targets"
        return f"{name} {self.version} for {targets}{f' ({self.gpu})' if self.gpu else ''}"


@dataclass(frozen=True)
class NodeDrop:
    """The loss if a single product is INT8."""

    graph: Graph
    node: str
    drop: Decibels
    """dB, estimated on small crops: the mean over the kinds of image, at their worst scales."""
    kept: bool
    """Whether the product stays float."""


@dataclass(frozen=True)
class KindLoss:
    """The loss on one kind of image: photographs, text, line art, flat graphics or night."""

    kind: str
    drops: tuple[ScaleDrop, ...]
    float_agreement: Decibels
    """PSNR of this plan's outputs against those of the float plan, all colors and scales, dB."""
    largest_difference: Difference
    """Between those outputs, in levels of 255."""

    @property
    def worst(self) -> ScaleDrop:
        """The scale with the largest loss."""
        return max(self.drops, key=lambda found: found.drop)


@dataclass(frozen=True)
class Quantization:
    """How a plan was quantized to INT8, and the loss."""

    method: str
    """How quantization ranges were chosen."""
    pictures: str
    """The images for calibration and for the measurement."""
    digest: str
    """SHA-256 of the images and of the batches made from them."""
    batches: Annotated[int, Range(0, 2**32)]
    max_drop: Decibels
    """The loss that was allowed, dB on any kind of image at any scale."""
    drops: tuple[ScaleDrop, ...]
    """The loss at each scale, on the kind of image that loses most there."""
    counts: dict[Graph, Annotated[int, Range(0, 2**16)]]
    """Number of INT8 products in each graph."""
    nodes: tuple[NodeDrop, ...]
    """Every product that can be INT8, the one with the largest loss first."""
    kinds: tuple[KindLoss, ...] = ()
    """The loss on each kind of image; empty in older plans, which were measured on photographs."""


@dataclass(frozen=True)
class Source:
    """The checkpoint that a plan was made from."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Everything about a plan except the graphs themselves."""

    family: Word
    hyperparameters: dict[str, Any]
    encoder: EncoderInfo
    stages: Annotated[tuple[StageInfo, ...], Length(1, 16)]
    decay: Fraction
    """Factor by which a stage multiplies the residual before it."""
    bilinear_base: bool
    """Whether the bilinear upsampling of the input is added at the end."""
    tables: ArrayFile
    """The member with the arrays for the host's tables."""
    precision: Annotated[str, Pattern("fp32|fp16|int8|int8-fp16", "fp32, fp16, int8 or int8-fp16")]
    """Type of the arithmetic."""
    half_weights: bool
    """Whether weights are stored as float16, and widened when a graph is loaded."""
    opset: Annotated[int, Range(1, 1000)]
    source: Source
    versions: dict[str, str]
    proof: ParityReport | None = None
    half: Fp16Report | None = None
    """Only in FP16 plans."""
    engines: Annotated[tuple[EngineSet, ...], Length(0, 64)] = ()
    quantization: Quantization | None = None
    float_forms: dict[Graph, Graph] = field(default_factory=dict)
    """In INT8-FP16 plans, the FP16 form of each graph with INT8 products."""
    digests: dict[Member, Sha256] = field(default_factory=dict)
    """SHA-256 of every other member."""
    format: int = FORMAT

    @property
    def margin(self) -> int:
        """Feature pixels that the decoders can need around an encoder tile's core."""
        return max(stage.margin for stage in self.stages)

    def role(self, member: str) -> tuple[str, int] | None:
        """What a graph is for, and the channels of its features or maps.

        Returns: `encoder`, `project`, `decode`, `point`, `attention` or `pairs`; None if the
            manifest does not use the graph.
        """
        member = {form: graph for graph, form in self.float_forms.items()}.get(member, member)
        if member == self.encoder.graph:
            return "encoder", self.encoder.channels
        for stage in self.stages:
            for role in ("project", "decode", "point", "attention", "pairs"):
                if getattr(stage, role) == member:
                    return role, stage.channels
        return None

    def to_json(self) -> str:
        """The manifest as indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read a manifest.

        Raises:
            PlanError: another format version, a value of a wrong type or out of its range, or not a
                manifest at all.
        """
        try:
            content = json.loads(text)
            version = content["format"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise PlanError(f"The plan's manifest cannot be read ({quote(str(error))}).") from error
        if version != FORMAT:
            raise PlanError(
                f"The plan has format version {quote(version)}; this clit-deploy reads version "
                f"{FORMAT}. Export the checkpoint again, or install the clit-deploy that made it."
            )
        try:
            return from_json(cls, content)
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise PlanError(f"The plan's manifest is not valid: {error}.") from error

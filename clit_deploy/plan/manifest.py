"""What a plan says about itself: `manifest.json` as frozen dataclasses. No runtime, no arrays."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from clit_deploy.errors import PlanError
from clit_deploy.grid.geometry import Anchor  # noqa: TC001  (resolved at run time by get_type_hints)
from clit_deploy.plan.from_json import from_json

FORMAT = 2
"""Version of the plan format that this package writes and reads."""


@dataclass(frozen=True)
class TiledCase:
    """One image rendered with the smallest tiles, and whole."""

    scale: float
    image: tuple[int, int]
    tile: int
    block: int
    max_difference: float
    """In the image's 0..1."""
    psnr: float
    """Of the tiled output against the whole one, dB."""


@dataclass(frozen=True)
class EncoderInfo:
    """The encoder graph: `image [1, 3, h, w]` (0 to 1) -> `features [1, channels, h, w]`."""

    graph: str
    channels: int
    halo: int
    """Pixels from a tile's edge in which its features differ from the whole image's."""
    bytes_per_pixel: int
    """Working memory of a tile, estimated."""
    multiple: int = 1
    """Sides of images and tiles, and starts of tiles, are multiples of this; the image is mirrored
    at its lower and right edges until it fits."""
    exact: bool = True
    """Whether the halo makes tiles equal the whole."""
    tiling: TiledCase | None = None
    """Where it does not: what the smallest tiles cost on a test picture."""


@dataclass(frozen=True)
class StageInfo:
    """One stage: *project* makes maps of its grid, *decode* answers cells, *point* coordinates."""

    project: str
    decode: str
    point: str
    attention: str | None
    """The graph of the attention alone, where the stage has any: what it looks at, for people."""
    pairs: str | None
    """The graph of the position bias, where it does not split into rows and columns."""
    anchor: Anchor
    before: int
    """Map pixels that a cell needs before its own."""
    after: int
    """Map pixels that a cell needs after its own."""
    border: str
    """What maps are outside the image: `zero` or `edge`."""
    channels: int
    """Channels of the maps."""
    margin: int
    """Feature pixels (low resolution) that the outputs of a pixel can need around it, at most."""
    project_bytes: int
    """Working memory of project and its maps, bytes a map pixel, estimated."""
    cell_bytes: int
    """Working memory of decode, bytes a cell, estimated."""
    query_bytes: int
    """Working memory of decode, bytes a query, estimated."""
    point_bytes: int
    """Working memory of point, bytes a query, estimated."""
    chunk_queries: int
    """Queries that decode at once best on a CPU."""
    chunk_cells: int
    """Most cells that decode at once best on a CPU."""


@dataclass(frozen=True)
class ParityCase:
    """One image, rendered by the graphs and by the PyTorch model in float64."""

    scale: float
    image: tuple[int, int]
    size: tuple[int, int]
    max_error: float
    relative_error: float
    """Largest difference over the standard deviation of the model's output."""


@dataclass(frozen=True)
class ParityReport:
    """What the export measured, and the tolerance that it had to meet."""

    runtime: str
    tolerance: float
    cases: tuple[ParityCase, ...]
    samples: str
    """The member with the images and the model's outputs, so that `verify` can repeat it."""


@dataclass(frozen=True)
class ScaleDrop:
    """Luminance PSNR of pictures shrunk and enlarged again, float plan and this one, dB."""

    scale: float
    float_psnr: float
    psnr: float

    @property
    def drop(self) -> float:
        """What is lost."""
        return self.float_psnr - self.psnr


@dataclass(frozen=True)
class Fp16Report:
    """What FP16 costs where every result is rounded, and what stays FP32."""

    picture: str
    cases: tuple[ScaleDrop, ...]
    first: str | None
    """The first tensor that FP16 cannot hold."""
    nodes: dict[str, list[str]]
    """Nodes that stay FP32 because they read or make such a tensor, by graph."""
    graphs: list[str]
    """Graphs that stay FP32 because FP16 would cost too much there."""


@dataclass(frozen=True)
class Engine:
    """The engine of one graph: a member of the plan, and the shapes that it takes."""

    graph: str
    member: str
    digest: str
    """SHA-256 of the graph that it was built from."""
    profiles: list[dict[str, list[list[int]]]]
    """Smallest, usual and largest shape of every input, for each box of shapes."""


@dataclass(frozen=True)
class EngineSet:
    """Engines of all graphs, built in one go, and everything that they depend on."""

    flavour: str
    """`tensorrt` or `tensorrt-rtx`."""
    version: str
    targets: tuple[str, ...]
    """Compute capabilities, like `8.7`; of RTX none means its own choice."""
    gpu: str | None
    """The GPU that it was built on; None where there was none."""
    driver: str | None
    l4t: str | None
    tile: int
    block: int
    times: int
    """Chunks are so many times as large as on a processor."""
    sides: tuple[int, ...]
    workspace: int | None
    engines: tuple[Engine, ...]
    relative_error: float | None = None
    """Against ONNX Runtime, over the output's deviation; None where no GPU was there to compare."""
    processors: int | None = None
    """Multiprocessors of that GPU; None where there was none, or of older plans."""

    @property
    def title(self) -> str:
        """For people: `TensorRT 10.3.0 for 8.7`."""
        name = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}[self.flavour]
        targets = ", ".join(self.targets) or "its default targets"
        return f"{name} {self.version} for {targets}{f' ({self.gpu})' if self.gpu else ''}"


@dataclass(frozen=True)
class NodeDrop:
    """What a product costs when it alone is INT8."""

    graph: str
    node: str
    drop: float
    """dB, estimated on small crops at the scale where it is largest."""
    kept: bool
    """Whether it stays float."""


@dataclass(frozen=True)
class Quantization:
    """How a plan became INT8, and what that costs."""

    method: str
    """How ranges were chosen."""
    pictures: str
    """What it was calibrated and measured with."""
    digest: str
    """SHA-256 of the pictures and of the batches that they gave."""
    batches: int
    max_drop: float
    """What was allowed, dB at any scale."""
    drops: tuple[ScaleDrop, ...]
    counts: dict[str, int]
    """INT8 products of each graph."""
    nodes: tuple[NodeDrop, ...]
    """Every product that can be INT8, the most expensive first."""


@dataclass(frozen=True)
class Source:
    """The checkpoint that a plan was made from."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Everything about a plan but the graphs themselves."""

    family: str
    hyperparameters: dict[str, Any]
    encoder: EncoderInfo
    stages: tuple[StageInfo, ...]
    decay: float
    """What a stage keeps of the residual before it."""
    bilinear_base: bool
    """Whether the bilinear upsampling of the input is added at the end."""
    tables: str
    """The member with the arrays that the host's tables are made from."""
    precision: str
    """Type of the arithmetic."""
    half_weights: bool
    """Whether weights are stored as float16, to be widened when they are loaded."""
    opset: int
    source: Source
    versions: dict[str, str]
    proof: ParityReport | None = None
    half: Fp16Report | None = None
    """Of FP16 plans."""
    engines: tuple[EngineSet, ...] = ()
    quantization: Quantization | None = None
    digests: dict[str, str] = field(default_factory=dict)
    """SHA-256 of every other member."""
    format: int = FORMAT

    @property
    def margin(self) -> int:
        """Feature pixels that the decoders can need around an encoder tile's core."""
        return max(stage.margin for stage in self.stages)

    def to_json(self) -> str:
        """The manifest as indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read a manifest.

        Raises:
            PlanError: another format version, or not a manifest at all.
        """
        try:
            content = json.loads(text)
            version = content["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise PlanError(f"The plan's manifest cannot be read ({error!r:.80}).") from error
        if version != FORMAT:
            raise PlanError(
                f"The plan has format version {version}; this clit-deploy reads version {FORMAT}. "
                "Export the checkpoint again, or install the clit-deploy that made it."
            )
        try:
            return from_json(cls, content)
        except (KeyError, TypeError, ValueError) as error:
            raise PlanError(f"The plan's manifest is incomplete: {error!r:.80}.") from error

"""Takes a plan apart: its graphs, their shapes, and lines for NVIDIA's own tools.

Whoever debugs an engine finds here what `build` gives to TensorRT.
"""

from __future__ import annotations

import errno
import json
import shlex
from typing import TYPE_CHECKING

import onnxruntime as ort

from clit_deploy.engines.build import EngineLimits, refuse_qdq_format, work_limits_of
from clit_deploy.engines.profiles import shape_ranges
from clit_deploy.errors import OutputError, OutputExistsError
from clit_deploy.system.files import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from clit_deploy.engines.profiles import ShapeRange, Shapes
    from clit_deploy.plan.plan_file import Plan

Profile = dict[str, "tuple[list[int], list[int], list[int]]"]
"""The min, opt and max shape of every input of a graph."""

SHAPES, COMMANDS = "shapes.json", "commands.sh"

HEAD = """\
#!/bin/sh
# Builds and checks each graph with NVIDIA's own tools, with the shapes that clit-deploy uses.
# The types are in the graphs. TF32 is off, as it rounds the products of FP32 graphs.
set -e
"""


def unpack(
    plan: Plan, folder: Path, limits: EngineLimits | None = None, *, force: bool = False
) -> list[Path]:
    """Write the graphs of a plan, `shapes.json` with their optimization profiles, and `commands.sh`
    with a line for trtexec and one for Polygraphy for each graph.

    Args:
        plan: its precision is one that TensorRT reads.
        folder: is made if it is missing.
        limits: the largest tiles, blocks and chunks; None for those of `build`.
        force: overwrite files of these names.

    Returns: the files.

    Raises:
        BuildError: TensorRT cannot read plans of this precision.
        OutputExistsError: a file exists, and `force` is off.
        OutputError: the folder cannot be written.
    """
    refuse_qdq_format(plan.manifest.precision, plan.name)
    ranges = shape_ranges(plan, work_limits_of(plan, limits or EngineLimits()))
    graphs = {member: plan.read(member) for member in ranges}
    profiles = {name: [_filled(graphs[name], one) for one in some] for name, some in ranges.items()}
    lines = [line for name, some in profiles.items() for line in command_lines(name, some)]
    files = {
        **graphs,
        SHAPES: (json.dumps(profiles, indent=1) + "\n").encode(),
        COMMANDS: (HEAD + "\n".join(lines) + "\n").encode(),
    }
    paths = {folder / name: content for name, content in files.items()}
    for path in paths:
        if path.exists() and not force:
            raise OutputExistsError(f"{path} exists; add --force, or name another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(error.errno or errno.EIO, f"{folder}: {error.strerror}") from error
    for path, content in paths.items():
        with replacing(path) as part:
            part.write_bytes(content)
    return list(paths)


def command_lines(graph: str, profiles: Sequence[Profile]) -> tuple[str, str]:
    """The lines that build an engine of a graph with trtexec, and that compare TensorRT with ONNX
    Runtime with Polygraphy. Both are for TensorRT 10 and 11."""
    engine = graph.removesuffix(".onnx") + ".engine"
    build = ["trtexec", f"--onnx={graph}", "--stronglyTyped", "--noTF32", f"--saveEngine={engine}"]
    check = ["polygraphy", "run", graph, "--trt", "--onnxrt", "--strongly-typed"]
    usual = {name: shapes[1] for name, shapes in profiles[0].items()}
    check += ["--input-shapes", *_polygraphy(usual)]
    for index, profile in enumerate(profiles):
        build += [f"--profile={index}"] if len(profiles) > 1 else []
        for k, kind in enumerate(("min", "opt", "max")):
            shapes = {name: three[k] for name, three in profile.items()}
            build.append(f"--{kind}Shapes={','.join(_trtexec(shapes))}")
            check += [f"--trt-{kind}-shapes", *_polygraphy(shapes)]
    return shlex.join(build), shlex.join(check)


def _trtexec(shapes: Mapping[str, list[int]]) -> list[str]:
    return [f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items()]


def _polygraphy(shapes: Mapping[str, list[int]]) -> list[str]:
    return [f"{name}:[{','.join(map(str, shape))}]" for name, shape in shapes.items()]


def _filled(graph: bytes, span: ShapeRange) -> Profile:
    """A profile of the inputs that the graph has, with the lengths that it fixes itself."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    inputs = {value.name: value.shape for value in session.get_inputs()}

    def full(name: str, shapes: Shapes) -> list[int]:
        pairs = zip(inputs[name], shapes[name], strict=True)
        return [int(own) if given is None else given for own, given in pairs]

    return {
        name: (full(name, span.min), full(name, span.opt), full(name, span.max)) for name in inputs
    }

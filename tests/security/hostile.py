"""Plans that a stranger could have made, each with right digests.

    python -m tests.security.hostile HONEST.plan FOLDER

writes one file for each into a folder. Needs onnx, and no torch.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOCAL_FILE = "secret.bin"
"""A file in the working directory, which no output may depend on."""


def members_of(plan: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The manifest and the other members of a plan, read without this package."""
    with zipfile.ZipFile(plan) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return json.loads(members.pop("manifest.json")), members


def write(path: Path, manifest: dict[str, Any], members: Mapping[str, bytes]) -> Path:
    """A plan of these members, with digests that are right."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", json.dumps({**manifest, "digests": digests}))
        for name, content in members.items():
            archive.writestr(name, content)
    return path


# -- graphs --------------------------------------------------------------------------------------


def leak(tensor: TensorProto) -> TensorProto:
    """The same tensor, whose numbers are those of a local file."""
    size = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": LOCAL_FILE, "offset": "0", "length": str(size)}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def weight(model: onnx.ModelProto) -> TensorProto:
    return max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))


def external_weight(model: onnx.ModelProto) -> None:
    leak(weight(model))


def external_without_location(model: onnx.ModelProto) -> None:
    leak(weight(model)).ClearField("data_location")


def external_constant(model: onnx.ModelProto) -> None:
    moved = leak(weight(model))
    node = helper.make_node("Constant", [], [moved.name], value=moved)
    model.graph.initializer.remove(moved)
    model.graph.node.insert(0, node)


def sparse_weight(model: onnx.ModelProto) -> None:
    sparse = model.graph.sparse_initializer.add(dims=[4])
    sparse.values.CopyFrom(leak(helper.make_tensor("s", 1, [1], bytes(4), raw=True)))
    sparse.indices.CopyFrom(helper.make_tensor("i", 7, [1], [0]))


def _branch(name: str) -> onnx.GraphProto:
    tensor = leak(helper.make_tensor(f"{name}_w", 1, [4], bytes(16), raw=True))
    node = helper.make_node("Constant", [], [f"{name}_y"], value=tensor)
    output = helper.make_tensor_value_info(f"{name}_y", 1, [4])
    return helper.make_graph([node], name, [], [output])


def control_flow(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(helper.make_tensor("yes", 9, [], [1]))
    branches = {"then_branch": _branch("a"), "else_branch": _branch("b")}
    model.graph.node.append(helper.make_node("If", ["yes"], ["chosen"], **branches))


def function(model: onnx.ModelProto) -> None:
    inside = helper.make_node("Relu", ["x"], ["y"])
    opset = helper.make_opsetid("", 18)
    model.functions.append(helper.make_function("own", "F", ["x"], ["y"], [inside], [opset]))
    model.opset_import.append(helper.make_opsetid("own", 1))


def training(model: onnx.ModelProto) -> None:
    model.training_info.add().algorithm.CopyFrom(_branch("t"))


def custom_domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.microsoft"


def compiled_blob(model: onnx.ModelProto) -> None:
    node = helper.make_node(
        "EPContext", ["image"], ["blob"], domain="com.microsoft", ep_cache_context="../../x.so"
    )
    model.graph.node.append(node)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def other_operator(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("RandomNormal", [], ["noise"], shape=[4]))


def metadata(model: onnx.ModelProto) -> None:
    model.metadata_props.add(key="ort_config", value="{}")


def second_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info(weight(model).name, 1, None))


def second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", 1, [1]))


def other_rank(model: onnx.ModelProto) -> None:
    del model.graph.output[0].type.tensor_type.shape.dim[0]


def other_type(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64


def missing_numbers(model: onnx.ModelProto) -> None:
    weight(model).dims[0] = 2**40


GRAPHS: dict[str, Callable[[onnx.ModelProto], None]] = {
    change.__name__: change
    for change in (
        external_weight, external_without_location, external_constant, sparse_weight, control_flow,
        function, training, custom_domain, compiled_blob, other_operator, metadata, second_output,
        second_input, other_rank, other_type, missing_numbers,
    )
}  # fmt: skip


def varint(number: int) -> bytes:
    """A number as protocol buffers write it."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def wrapped_location(content: bytes) -> bytes:
    """EXTERNAL as 2^32 + 1, of which other readers keep the lower 32 bits."""
    model = onnx.load_from_string(content)
    tensor = leak(weight(model))
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")
    plain = tensor.SerializeToString()
    wrapped = plain + varint(14 << 3) + varint(2**32 + 1)
    rest = model.SerializeToString()
    model.graph.initializer.remove(tensor)
    graph = model.graph.SerializeToString() + varint(5 << 3 | 2) + varint(len(wrapped)) + wrapped
    model.ClearField("graph")
    assert plain in rest
    return model.SerializeToString() + varint(7 << 3 | 2) + varint(len(graph)) + graph


def second_graph(content: bytes) -> bytes:
    """Protocol buffers join a message that occurs twice."""
    more = onnx.ModelProto()
    more.graph.initializer.append(leak(helper.make_tensor("w", 1, [4], bytes(16), raw=True)))
    return content + more.SerializeToString()


def long_tag(content: bytes) -> bytes:
    """The number 1 of a field, in more bytes than it needs."""
    return content + bytes([0x08 | 0x80, 0x80, 0x80, 0x00, 0x08])


def odd_text(content: bytes) -> bytes:
    """A name that is not UTF-8."""
    return content.replace(b"features", b"feature\xff")


def many_nodes(content: bytes) -> bytes:
    model = onnx.load_from_string(content)
    model.graph.node.extend(helper.make_node("Relu", ["image"], [f"r{k}"]) for k in range(11_000))
    return model.SerializeToString()


BYTES: dict[str, Callable[[bytes], bytes]] = {
    change.__name__: change
    for change in (wrapped_location, second_graph, long_tag, odd_text, many_nodes)
}


def graph_with(change: str, content: bytes) -> bytes:
    """A graph with one of `GRAPHS` or `BYTES` done to it."""
    if change in BYTES:
        return BYTES[change](content)
    model = onnx.load_from_string(content)
    GRAPHS[change](model)
    return model.SerializeToString()


# -- zips and arrays -----------------------------------------------------------------------------

ZEROS = 300_000_000
"""Bytes of a bomb, of which deflate makes 300 kB."""


def bomb(path: Path, name: str) -> Path:
    """A plan, one member of which is far larger than the file."""
    with zipfile.ZipFile(path, "w") as archive:
        if name != "manifest.json":
            archive.writestr("manifest.json", "{}")
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(info, "w") as file:
            for _ in range(0, ZEROS, 1_000_000):
                file.write(bytes(1_000_000))
    return path


def changed(path: Path, change: Callable[[bytearray], None]) -> Path:
    """A file after a change of its bytes."""
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    return path


def overlapping(content: bytearray) -> None:
    """All members are the longest one."""
    (start,) = struct.unpack_from("<L", content, len(content) - 6)
    entries, at = [], start
    while content[at : at + 4] == b"PK\1\2":
        entries.append(at)
        at += 46 + sum(struct.unpack_from("<3H", content, at + 28))
    longest = max(entries, key=lambda place: struct.unpack_from("<L", content, place + 24))
    for place in entries:
        content[place + 16 : place + 28] = content[longest + 16 : longest + 28]
        content[place + 42 : place + 46] = content[longest + 42 : longest + 46]


def npy(shape: tuple[int, ...], kind: str = "<f8", data: bytes = b"") -> bytes:
    """An array file whose header says what one likes."""
    buffer = io.BytesIO()
    header = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + data


def npz(members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of array files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


ARRAYS: dict[str, Callable[[], bytes]] = {
    "huge_shape": lambda: npz({"scale0.npy": npy((10**12,))}),
    "overflowing_shape": lambda: npz({"scale0.npy": npy((2**40, 2**40))}),
    "negative_shape": lambda: npz({"scale0.npy": npy((-1,), data=bytes(8))}),
    "objects": lambda: npz({"scale0.npy": npy((1,), "|O", b"cos\nsystem\n(S'id'\ntR.")}),
    "compressed": lambda: npz({"scale0.npy": npy((10**6,), data=bytes(8 * 10**6))}, 8),
    "many": lambda: npz({f"{k}.npy": npy((), data=bytes(8)) for k in range(600)}),
    "not_finite": lambda: npz({"scale0.npy": npy((), data=struct.pack("<d", float("nan")))}),
    "no_header": lambda: npz({"scale0.npy": b"\x93NUMPY\1\0\xff\xff"}),
    "no_zip": lambda: b"PK\3\4 and nothing else",
    "nothing": lambda: b"",
}


def main(honest: Path, folder: Path) -> None:
    """Write all hostile graphs into a folder, one in a plan."""
    manifest, members = members_of(honest)
    folder.mkdir(exist_ok=True)
    for change in (*GRAPHS, *BYTES):
        graph = graph_with(change, members["encoder.onnx"])
        write(folder / f"{change}.plan", manifest, {**members, "encoder.onnx": graph})
    for change, make in ARRAYS.items():
        write(folder / f"{change}.plan", manifest, {**members, "proof.npz": make()})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

"""Write an ONNX graph operator by operator: onnx-graphsurgeon with scoped names."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import onnx_graphsurgeon as gs

from clit_deploy.passes.versions import IR_VERSION, OPSET

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import onnx
    from numpy.typing import NDArray

Tensor: TypeAlias = "gs.Variable"
Operand: TypeAlias = "gs.Tensor | NDArray[Any] | float"
Dims: TypeAlias = "Sequence[int | str]"


class Builder:
    """An ONNX graph under construction. Nodes and tensors are named `scope/Op`, with a number from
    the second of a name on.

    `b("MatMul", x, w)` appends a node and returns its output; arrays become constants, Python
    floats scalars. Shapes given as strings are symbolic dimensions.
    """

    def __init__(self, name: str) -> None:
        self._graph = gs.Graph(name=name, opset=OPSET, ir_version=IR_VERSION)
        self._scope: list[str] = []
        self._used: dict[str, int] = {}

    def input(self, name: str, shape: Dims) -> Tensor:
        """A float32 input."""
        tensor = gs.Variable(name, np.float32, list(shape))
        self._graph.inputs.append(tensor)
        return tensor

    def output(self, name: str, tensor: Tensor, shape: Dims) -> None:
        """Make `tensor` the float32 output `name`."""
        tensor.name, tensor.dtype, tensor.shape = name, np.float32, list(shape)
        self._graph.outputs.append(tensor)

    @contextlib.contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Prefix the names of nodes that are added inside."""
        self._scope.append(name)
        yield
        self._scope.pop()

    def __call__(self, op: str, *inputs: Operand, **attrs: Any) -> Tensor:
        """Append a node with one output."""
        return self.many(op, 1, *inputs, **attrs)[0]

    def many(self, op: str, outputs: int, *inputs: Operand, **attrs: Any) -> list[Tensor]:
        """Append a node with several outputs."""
        name = self._name(op)
        made = [gs.Variable(f"{name}:{k}") for k in range(outputs)]
        node = gs.Node(op, name, attrs, [self._operand(x) for x in inputs], made)
        self._graph.nodes.append(node)
        return made

    def shape(self, tensor: Tensor, axis: int) -> Tensor:
        """The length of one axis, int64 `[1]`."""
        return self("Shape", tensor, start=axis, end=axis + 1)

    def reshape(self, tensor: Tensor, *dims: int | Tensor) -> Tensor:
        """Reshape to constants and lengths; 0 keeps a dimension, -1 is inferred."""
        if all(isinstance(dim, int) for dim in dims):
            return self("Reshape", tensor, ints(*dims))
        parts = [ints(dim) if isinstance(dim, int) else dim for dim in dims]
        return self("Reshape", tensor, self("Concat", *parts, axis=0))

    def transpose(self, tensor: Tensor, *perm: int) -> Tensor:
        """Permute the axes."""
        return self("Transpose", tensor, perm=list(perm))

    def slice(self, tensor: Tensor, start: int, stop: int | Tensor, axis: int) -> Tensor:
        """`start <= i < stop` of one axis."""
        end = ints(stop) if isinstance(stop, int) else stop
        return self("Slice", tensor, ints(start), end, ints(axis))

    def unsqueeze(self, tensor: Tensor, *axes: int) -> Tensor:
        """New axes of length 1, at these positions of the result."""
        return self("Unsqueeze", tensor, ints(*axes))

    def total(self, terms: Sequence[Tensor]) -> Tensor:
        """The sum of tensors of one shape."""
        result = terms[0]
        for term in terms[1:]:
            result = self("Add", result, term)
        return result

    def model(self) -> onnx.ModelProto:
        """The finished model."""
        self._graph.toposort()
        model: onnx.ModelProto = gs.export_onnx(self._graph)
        return model

    def _operand(self, value: Operand) -> gs.Tensor:
        if isinstance(value, gs.Tensor):
            return value
        array = np.ascontiguousarray(value, np.float32 if isinstance(value, float) else None)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        return gs.Constant(self._name("const"), array)

    def _name(self, op: str) -> str:
        name = "/".join([*self._scope, op])
        count = self._used[name] = self._used.get(name, 0) + 1
        return name if count == 1 else f"{name}_{count}"


def ints(*values: int) -> NDArray[np.int64]:
    """Integers as int64, the type of shapes and indices."""
    return np.array(values, np.int64)

"""Pin the versions that old runtimes check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clit_deploy.passes.versions import IR_VERSION, OPSET

if TYPE_CHECKING:
    import onnx


def pin_versions(model: onnx.ModelProto) -> onnx.ModelProto:
    """One opset import, opset 18, and the file version (IR 8) that came with it."""
    model.ir_version = IR_VERSION
    del model.opset_import[:]
    model.opset_import.add(domain="", version=OPSET)
    model.producer_name = "clit-deploy"
    model.producer_version = ""
    return model

"""ONNX passes: one in each file, each a function from model to model."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from clit_deploy.passes.check_graph import check
from clit_deploy.passes.fold_constants import fold_constants
from clit_deploy.passes.pin_versions import pin_versions
from clit_deploy.passes.remove_identities import remove_identities
from clit_deploy.passes.strip_metadata import strip_metadata

if TYPE_CHECKING:
    import onnx

log = logging.getLogger(__name__)

PASSES = (fold_constants, remove_identities, strip_metadata, pin_versions, check)


def clean(model: onnx.ModelProto) -> onnx.ModelProto:
    """Run all passes in order; the last one refuses a graph that is not valid."""
    for step in PASSES:
        before = len(model.graph.node)
        model = step(model)
        log.debug(
            "%s %s: %d -> %d nodes", model.graph.name, step.__name__, before, len(model.graph.node)
        )
    return model

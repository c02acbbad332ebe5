"""A model recognized by the names and shapes of its weights, where a file says nothing else.

Every family says itself how to read its args from shapes, see `ImplicitModel.recognize`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clit_deploy.families import FAMILIES
from clit_deploy.models.encoder_recognition import ASSUMED, recognized_encoder
from clit_deploy.models.weight_shapes import WeightShapes

if TYPE_CHECKING:
    from collections.abc import Mapping


def recognized(weights: Mapping[str, Any]) -> tuple[dict[str, Any], str] | None:
    """The spec of a model of a known family with an EDSR, RDN or SwinIR encoder.

    Args:
        weights: tensors by the model's own names.

    Returns: the spec, and in words what no shape shows and is assumed; None if the weights are
        those of something else.
    """
    shapes = WeightShapes(weights)
    encoder = recognized_encoder(shapes.inside("encoder."))
    if encoder is None:
        return None
    encoder_spec, channels = encoder
    for name, family in FAMILIES.items():
        found = family.part("model").recognize(shapes, channels)
        if found is not None:
            args, assumed = found
            more = [ASSUMED[encoder_spec["name"]]] if encoder_spec["name"] in ASSUMED else []
            spec = {"name": name, "args": {**args, "encoder_spec": encoder_spec}}
            return spec, "; ".join([assumed, *more])
    return None

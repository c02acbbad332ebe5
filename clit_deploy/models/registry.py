"""From a published spec to the network that it describes."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from clit_deploy.errors import UnsupportedModelError
from clit_deploy.families import FAMILIES
from clit_deploy.models.edsr import EDSR
from clit_deploy.models.rcan import RCAN
from clit_deploy.models.rdn import RDN
from clit_deploy.models.span import SPAN
from clit_deploy.models.spec import Spec
from clit_deploy.models.swinir import SwinIR

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clit_deploy.models.implicit_model import Encoder, ImplicitModel

ENCODERS: dict[str, Callable[..., Encoder]] = {
    "edsr-baseline": EDSR.baseline,
    "edsr": EDSR,
    "rcan": RCAN,
    "rdn": RDN,
    "span": SPAN,
    "swinir": SwinIR,
}


def build_model(spec: Mapping[str, Any]) -> ImplicitModel:
    """Build the network of a published spec, with its initial weights, in evaluation mode.

    Args:
        spec: `{'name': family, 'args': {...}}`, the model part of a checkpoint; `args` holds
            `encoder_spec` in the same form.

    Raises:
        UnsupportedModelError: an unknown family or encoder, or an option of one that is unknown or
            has a value that it cannot have.
    """
    family = Spec.read(spec, "model family")
    network = family.choose(FAMILIES).part("model")
    encoder_spec = family.args.pop("encoder_spec", None)
    if encoder_spec is None:
        raise UnsupportedModelError("The model's args name no encoder: 'encoder_spec' is missing.")
    encoder = Spec.read(encoder_spec, "encoder")
    model: ImplicitModel = family.build(network, encoder=encoder.build(encoder.choose(ENCODERS)))
    model.eval()
    return model


def resolved(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The args of a spec with the defaults of those that it leaves out."""
    family = Spec.read(spec, "model family")
    parameters = inspect.signature(family.choose(FAMILIES).part("model")).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    return {**defaults, **family.args}

"""Names of published specs -> our networks."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from clit_deploy.errors import UnsupportedModelError
from clit_deploy.families import FAMILIES
from clit_deploy.models.edsr import EDSR
from clit_deploy.models.rcan import RCAN
from clit_deploy.models.rdn import RDN
from clit_deploy.models.span import SPAN
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
        UnsupportedModelError: an unknown family, encoder, or option of one.
    """
    args = dict(_args(spec, "model"))
    encoder_spec = args.pop("encoder_spec", None)
    if encoder_spec is None:
        raise UnsupportedModelError("The model's args name no encoder: 'encoder_spec' is missing.")
    make = _known(ENCODERS, encoder_spec, "encoder")
    encoder = _make(make, encoder_spec, "encoder", _args(encoder_spec, "encoder"))
    network = _known(FAMILIES, spec, "model family").part("model")
    model: ImplicitModel = _make(network, spec, "model family", {"encoder": encoder, **args})
    model.eval()
    return model


def resolved(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The args of a spec with the defaults of what they leave out."""
    known = inspect.signature(FAMILIES[spec["name"]].part("model")).parameters.values()
    defaults = {p.name: p.default for p in known if p.default is not p.empty}
    return {**defaults, **_args(spec, "model")}


def _args(spec: Any, what: str) -> Mapping[str, Any]:
    if not (hasattr(spec, "keys") and isinstance(spec.get("name"), str)):
        raise UnsupportedModelError(
            f"The {what} spec is {spec!r:.80}; it must be a mapping with 'name' and 'args'."
        )
    args = spec.get("args") or {}
    if not hasattr(args, "keys"):
        raise UnsupportedModelError(f"The args of {what} {spec['name']!r} are no mapping.")
    return args


def _known(known: Mapping[str, Any], spec: Mapping[str, Any], what: str) -> Any:
    if spec["name"] not in known:
        raise UnsupportedModelError(
            f"Unknown {what} {spec['name']!r}; this version knows {', '.join(sorted(known))}."
        )
    return known[spec["name"]]


def _make(make: Callable[..., Any], spec: Mapping[str, Any], what: str, args: Any) -> Any:
    name = spec["name"]
    strange = sorted(set(args) - set(inspect.signature(make).parameters))
    if strange:
        raise UnsupportedModelError(
            f"The {what} {name!r} has options that this version does not know: "
            f"{', '.join(map(str, strange))}."
        )
    try:
        return make(**args)
    except UnsupportedModelError:
        raise
    except (
        TypeError,
        LookupError,
        AttributeError,
        ValueError,
        ArithmeticError,
        RuntimeError,
    ) as error:
        raise UnsupportedModelError(f"The args of {what} {name!r} do not fit: {error}.") from error

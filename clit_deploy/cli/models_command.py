"""`clit-deploy models`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from clit_deploy.cli.json_document import print_document
from clit_deploy.cli.options import JsonOption
from clit_deploy.zoo.named_models import default_model, find_model, named_models

if TYPE_CHECKING:
    from clit_deploy.zoo.named_models import NamedModel


def models(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Print the card of this model.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the models of the package, or print the card of one."""
    chosen = list(named_models().values()) if name is None else [find_model(name)]
    if as_json:
        print_document(models=[_fields(model) for model in chosen])
    elif name is not None:
        typer.echo(chosen[0].card.rstrip())
    else:
        for model in chosen:
            typer.echo(_lines(model))
        typer.echo(
            "\nUse one by its name: clit-deploy run -e NAME photo.png -s 4\n"
            "Its model card: clit-deploy models NAME"
        )


def _fields(model: NamedModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "default": model is default_model(),
        "family": model.family,
        "encoder": model.encoder,
        "purpose": model.purpose,
        "input": model.input,
        "bytes": model.plan.stat().st_size,
        "plan": str(model.plan),
        "license": model.license,
        "psnr": model.psnr,
        "megapixels_per_second": model.megapixels_per_second,
        "measured_on": model.measured_on,
    }


def _lines(model: NamedModel) -> str:
    mark = "  (default)" if model is default_model() else ""
    lines = [
        f"{model.name}{mark}",
        f"  for      {model.purpose}",
        f"  model    {model.family}, encoder {model.encoder}",
        f"  size     {model.plan.stat().st_size / 1e6:.1f} MB, weights under {model.license}",
        *(f"  {data:<8} {_by_scale(found, 'dB', '.2f')}" for data, found in model.psnr.items()),
        f"  speed    {_by_scale(model.megapixels_per_second, 'megapixels/s', '.2f')}",
        f"           {model.measured_on}",
    ]
    return "\n".join(lines)


def _by_scale(values: dict[str, float], unit: str, form: str) -> str:
    return ", ".join(f"x{scale} {value:{form}}" for scale, value in values.items()) + f" {unit}"

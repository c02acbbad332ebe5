"""Models by name: what `models.json` says about them, and where their plans are.

To add a model, add an entry to `models.json`, and `NAME.plan` and `NAME.md` (its card) beside it.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

from clit_deploy.errors import MissingFileError
from clit_deploy.system.files import is_file, is_folder

FOLDER = Path(__file__).parent

LONGEST_NAME = 200
"""Characters of a name that a message repeats."""


@dataclass(frozen=True)
class NamedModel:
    """A model of the package, as `models.json` describes it."""

    name: str
    family: str
    encoder: str
    purpose: str
    input: str
    """What it was trained on: `clean` images, or `compressed` ones as cameras and the web have."""
    license: str
    """SPDX identifier of the license of the weights."""
    psnr: dict[str, dict[str, float]]
    """dB of luminance by data set and scale, like `psnr["Set5"]["4"]`."""
    megapixels_per_second: dict[str, float]
    """Output by scale, on the machine that `measured_on` names."""
    measured_on: str

    @property
    def plan(self) -> Path:
        """Its plan file."""
        return FOLDER / f"{self.name}.plan"

    @property
    def card(self) -> str:
        """Its model card, Markdown."""
        return (FOLDER / f"{self.name}.md").read_text(encoding="utf-8")


@functools.cache
def named_models() -> dict[str, NamedModel]:
    """All models of the package by name; the default model comes first."""
    content = json.loads((FOLDER / "models.json").read_text(encoding="utf-8"))
    return {entry["name"]: NamedModel(**entry) for entry in content}


def default_model() -> NamedModel:
    """The model that runs where none is named: the first of the list."""
    return next(iter(named_models().values()))


def model_for_compressed_images() -> NamedModel | None:
    """The first model that was trained on compressed images, if there is one."""
    return next((m for m in named_models().values() if m.input == "compressed"), None)


def find_model(name: str) -> NamedModel:
    """The model of this name.

    Raises:
        MissingFileError: there is none.
    """
    try:
        return named_models()[name]
    except KeyError:
        raise MissingFileError(f"There is no model named {_shown(name)}; {_known()}") from None


def find_plan(name: str | Path) -> Path:
    """The plan file that a path or a model's name means. A file of that name comes before a model.

    A path that leads nowhere is returned as it is, for whoever opens it to report.

    Raises:
        MissingFileError: a bare word that is neither a file nor a model.
    """
    path = Path(name)
    if is_file(path) or path.suffix or len(path.parts) != 1:
        return path
    if str(name) in named_models():
        return named_models()[str(name)].plan
    if is_folder(path):
        return path
    raise MissingFileError(
        f"There is no plan file and no model named {_shown(str(name))}; {_known()}"
    )


def is_packaged(plan: Path) -> bool:
    """Whether a plan is part of the package, so that nothing is written into it or beside it."""
    return plan.parent == FOLDER


def shown_plan(plan: Path) -> str:
    """What to write for a plan on the command line: a model's name, or the path."""
    return plan.stem if is_packaged(plan) else str(plan)


def _known() -> str:
    return f"the models are: {', '.join(named_models())}."


def _shown(name: str) -> str:
    return repr(name[:LONGEST_NAME])

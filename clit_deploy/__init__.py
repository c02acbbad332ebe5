"""Arbitrary-scale super-resolution models, exported once and run anywhere.

`export_checkpoint` turns a checkpoint into a `.plan` file (needs the `export` extra),
`load` opens a plan on a runtime. Nothing here imports torch or onnx until it is used.

ONNX Runtime from 1.29 on sends usage data to its vendor unless `ORT_DISABLE_TELEMETRY` is 1. This
package sets it before it imports ONNX Runtime. `ORT_DISABLE_TELEMETRY=0` in the environment turns
telemetry on again.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from clit_deploy._version import __version__
from clit_deploy.errors import ClitDeployError, MemoryBudgetError

if TYPE_CHECKING:
    from clit_deploy import models as models
    from clit_deploy.encoded_image import EncodedImage as EncodedImage
    from clit_deploy.export.checkpoint_export import export_checkpoint as export_checkpoint
    from clit_deploy.upscaler import Upscaler as Upscaler
    from clit_deploy.upscaler import load as load
    from clit_deploy.viewer.notebook import view as view

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOMES = {
    "EncodedImage": "clit_deploy.encoded_image",
    "Upscaler": "clit_deploy.upscaler",
    "load": "clit_deploy.upscaler",
    "export_checkpoint": "clit_deploy.export.checkpoint_export",
    "view": "clit_deploy.viewer.notebook",
}

__all__ = [
    "ClitDeployError",
    "EncodedImage",
    "Upscaler",
    "__version__",
    "export_checkpoint",
    "load",
    "models",
    "view",
]


def __getattr__(name: str) -> Any:
    home = "clit_deploy.models" if name == "models" else _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'clit_deploy' has no attribute {name!r}")
    try:
        module = importlib.import_module(home)
    except (MemoryError, ImportError) as error:
        # A shared library that cannot be mapped is an ImportError.
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise MemoryBudgetError(
                f"There is not enough memory to load the libraries that {name!r} needs; close "
                "other programs or raise the limit of this one."
            ) from error
        raise
    return module if name == "models" else getattr(module, name)

"""Writes a model repository for Triton: all of it, or nothing."""

from __future__ import annotations

import errno
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from clit_deploy._version import __version__
from clit_deploy.errors import OptionError, OutputError, OutputExistsError, quote
from clit_deploy.triton.model_config import config_text
from clit_deploy.triton.model_settings import PLAN

if TYPE_CHECKING:
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.triton.model_settings import ModelSettings

MODEL = f'''\
"""Upscales images with clit-deploy {__version__}, which the Python of this server must have."""

from clit_deploy.triton.served_model import ServedModel as TritonPythonModel

__all__ = ["TritonPythonModel"]
'''

README = """\
# Model repository of clit-deploy {version}

The model `{name}` upscales images with {plan}. Triton's Python backend runs it, so the Python of
the server needs clit-deploy:

    pip install FOLDER             # a checkout of clit-deploy, or its wheel
    pip install 'numpy<2'          # for Triton up to 24.10 only
    tritonserver --model-repository=FOLDER_OF_THIS_FILE

It has to be the Python that the server's stub was built for, in NVIDIA's images `python3`. To keep
it as it is, pack an environment of the same version with conda-pack, and name the file in
`{name}/config.pbtxt`:

    parameters {{ key: "EXECUTION_ENV_PATH" value: {{ string_value: "/path/env.tar.gz" }} }}

The other parameters there are options of `clit-deploy triton`. Reload the model after a change.
"""


def write_repository(plan: Plan, folder: Path, name: str, settings: ModelSettings) -> Path:
    """Write a repository with one model. It appears under its name when it is complete.

    Args:
        plan: what the model runs; every member is checked while it is copied.
        folder: the repository; missing, or an empty folder.
        name: of the model.
        settings: of the model.

    Returns: the folder of the model.

    Raises:
        OptionError: the name is not one that Triton can serve.
        OutputExistsError: the folder is not empty, or is a file.
        OutputError: it cannot be written.
        PlanError: the plan is damaged.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", name):
        raise OptionError(
            f"{quote(name)} is not a valid model name; use letters, digits and the marks _ . -"
        )
    _check_free(folder)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{folder.name[:80]}.", dir=folder.parent) as work:
            made = Path(work) / "repository"
            _fill(made, plan, name, settings)
            if folder.exists():
                folder.rmdir()  # Windows renames nothing over a folder
            made.rename(folder)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(error.errno, f"{folder} cannot be written: {error.strerror}.") from error
    return folder / name


def _check_free(folder: Path) -> None:
    if not folder.name:
        raise OptionError(f"{quote(str(folder))} is not a valid name for a model repository.")
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        raise OutputExistsError(f"{folder} exists and is not empty; name a new folder.")
    if not folder.parent.is_dir():
        raise OutputError(errno.ENOENT, f"The folder {folder.parent} does not exist.")


def _fill(repository: Path, plan: Plan, name: str, settings: ModelSettings) -> None:
    version = repository / name / "1"
    version.mkdir(parents=True)
    plan.save(version / PLAN)
    (version / "model.py").write_text(MODEL, encoding="utf-8")
    config = config_text(name, settings)
    (version.parent / "config.pbtxt").write_text(config, encoding="utf-8")
    readme = README.format(version=__version__, name=name, plan=plan.name)
    (repository / "README.md").write_text(readme, encoding="utf-8")

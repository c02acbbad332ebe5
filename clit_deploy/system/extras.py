"""Commands that install the packages of an extra.

They name the packages themselves, because `clit-deploy[extra]` needs an index that has this
package, or its checkout.
"""

from __future__ import annotations

import contextlib
import shlex
from typing import TYPE_CHECKING

from clit_deploy.errors import MemoryBudgetError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def optional_imports(part: str, extra: str) -> Iterator[None]:
    """Import the libraries of an optional part inside this block.

    Args:
        part: for messages: `Export`.
        extra: the name under which pyproject.toml lists the libraries.

    Raises:
        MissingDependencyError: one is not installed, or is installed but cannot be loaded.
        MemoryBudgetError: they do not fit into memory.
    """
    try:
        yield
    except MissingDependencyError:
        raise
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{part} needs {error.name}, which is not installed; "
            f"install it with {install_command(extra)}."
        ) from error
    except MemoryError as error:
        raise MemoryBudgetError(
            f"The libraries that {part.lower()} needs do not fit into memory. Close other "
            "programs, or raise the memory limit of this process."
        ) from error
    except (ImportError, OSError) as error:
        raise MissingDependencyError(
            f"A library that {part.lower()} needs is installed but cannot be loaded "
            f"({' '.join(str(error).split()):.200}). Install it again, or raise the memory limit "
            "of this process."
        ) from error


def install_command(extra: str) -> str:
    """`pip install` with the packages that an extra needs on this machine and Python."""
    import importlib.metadata  # importing these takes 50 ms

    from packaging.requirements import Requirement

    try:
        listed = importlib.metadata.requires("clit-deploy") or []
    except importlib.metadata.PackageNotFoundError:  # run from its checkout
        listed = []
    wanted = [
        f"{requirement.name}{requirement.specifier}"
        for requirement in map(Requirement, listed)
        if (marker := requirement.marker) is not None
        and marker.evaluate({"extra": extra})
        and not marker.evaluate({"extra": ""})  # needed without the extra too
    ]
    return shlex.join(["pip", "install", *(wanted or [f"clit-deploy[{extra}]"])])

"""What an optional part of the package needs, as a command that installs it.

The command names the packages themselves: `clit-deploy[extra]` would need an index that has this
package, or the checkout that it came from.
"""

from __future__ import annotations

import importlib.metadata
import shlex

from packaging.requirements import Requirement


def install_command(extra: str) -> str:
    """`pip install` with all that an extra needs on this machine and Python."""
    try:
        listed = importlib.metadata.requires("clit-deploy") or []
    except importlib.metadata.PackageNotFoundError:  # run from its folder, never installed
        listed = []
    wanted = [f"{r.name}{r.specifier}" for r in map(Requirement, listed) if _is_of(r, extra)]
    return shlex.join(["pip", "install", *(wanted or [f"clit-deploy[{extra}]"])])


def _is_of(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    if marker is None or marker.evaluate({"extra": ""}):  # needed anyway
        return False
    return marker.evaluate({"extra": extra})

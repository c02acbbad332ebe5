"""What an optional part of the package needs, as a command that installs it.

The command names the packages themselves: `clit-deploy[extra]` would need an index that has this
package, or the checkout that it came from.
"""

from __future__ import annotations

import shlex


def install_command(extra: str) -> str:
    """`pip install` with all that an extra needs on this machine and Python."""
    import importlib.metadata  # these cost every start a twentieth of a second

    from packaging.requirements import Requirement

    try:
        listed = importlib.metadata.requires("clit-deploy") or []
    except importlib.metadata.PackageNotFoundError:  # run from its folder, never installed
        listed = []
    wanted = [
        f"{requirement.name}{requirement.specifier}"
        for requirement in map(Requirement, listed)
        if (marker := requirement.marker) is not None
        and marker.evaluate({"extra": extra})
        and not marker.evaluate({"extra": ""})  # needed anyway
    ]
    return shlex.join(["pip", "install", *(wanted or [f"clit-deploy[{extra}]"])])

"""Commands that install the packages of an extra.

They name the packages themselves, because `clit-deploy[extra]` needs an index that has this
package, or its checkout.
"""

from __future__ import annotations

import shlex


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

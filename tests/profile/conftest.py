from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

from clit_deploy.profile import profiler
from clit_deploy.profile.profiler import Request, profile
from clit_deploy.profile.sweep import Sweep
from tests.helpers import photo
from tests.profile.tree import unfold

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clit_deploy.profile.profile_file import Profile


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "photo.png"
    Image.fromarray(photo(24, 20)).save(path)
    return path


@pytest.fixture(scope="session")
def measured(
    plans: dict[str, Path], picture: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Profile]:
    """A cascade, measured on one and on two threads, with the sensors of a recorded Orin NX."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(profiler, "IDLE_SECONDS", 0.5)
        root = unfold("orin-nx-jetpack6", tmp_path_factory.mktemp("root"), monkeypatch)
        yield profile(
            Request(
                plan=plans["clit"],
                image=picture,
                scales=[9.0],
                seconds=0.7,
                runtime="cpu",
                sweeps=[Sweep.parse("threads=1,2")],
                root=root,
            )
        )

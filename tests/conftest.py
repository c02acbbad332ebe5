from __future__ import annotations

import hashlib
import os
import signal
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from filelock import FileLock

from clit_deploy.errors import RuntimeUnavailableError
from clit_deploy.export import checkpoint_export
from clit_deploy.plan.plan_file import Plan
from clit_deploy.runtimes.cuda.cuda_api import open_cuda
from tests.helpers import DATA, exported_once, mlp, posenc, tiny_clit, tiny_liif, tiny_lit, tiny_lte

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clit_deploy.models.implicit_model import Encoder


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Commands leave an ignored SIGINT ignored, and a shell starts background jobs with one.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    data = DATA if DATA.is_dir() else "missing"
    providers = ", ".join(ort.get_available_providers())
    return (
        f"torch {torch.__version__}, onnxruntime {ort.__version__} ({providers}), "
        f"numpy {np.__version__}, data: {data}"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    try:
        open_cuda()
        missing = None
    except RuntimeUnavailableError as error:
        missing = str(error)
    for item in items:
        if "gpu" in item.keywords and missing:
            item.add_marker(pytest.mark.skip(reason=missing))
        if "data" in item.keywords and not DATA.is_dir():
            item.add_marker(pytest.mark.skip(reason=f"no reference data at {DATA}"))


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing is written into the user's own cache, not by a command line of its own either."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIT_DEPLOY_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run that all of its processes share (pytest-xdist has several)."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def one_trace_an_encoder(shared_folder: Path) -> Iterator[None]:
    """Many tests export the same encoder with the same weights; tracing takes up to half a minute,
    so each is traced once."""

    def encoder_graph(encoder: Encoder) -> onnx.ModelProto:
        options = [
            (name, [(k, v) for k, v in vars(part).items() if isinstance(v, (int, float))])
            for name, part in encoder.named_modules()
        ]
        digest = hashlib.sha256(f"{encoder} {options}".encode())
        for name, value in encoder.state_dict().items():
            digest.update(name.encode() + value.numpy().tobytes())
        kept = shared_folder / f"{digest.hexdigest()}.onnx"
        with FileLock(kept.with_suffix(".lock")):
            if not kept.exists():
                onnx.save(export_encoder(encoder), kept)
        return onnx.load(kept)

    export_encoder = checkpoint_export.encoder_graph
    checkpoint_export.encoder_graph = encoder_graph
    yield
    checkpoint_export.encoder_graph = export_encoder


@pytest.fixture(scope="session")
def plans(shared_folder: Path) -> dict[str, Path]:
    """Tiny exported plans by name."""
    specs = {
        "clit": tiny_clit(),
        "clit-r1": tiny_clit(stages=2, r=1, pb_spec=None, is_cell=False),
        "clit-wide": tiny_clit(
            stages=2, r=1, pb_spec=None, base_dim=64, head=2, imnet_spec=mlp(32, act="gelu")
        ),
        "liif": tiny_liif(),
        "liif-wide": tiny_liif(imnet_spec=mlp(32)),
        "lit": tiny_lit(),
        "lit-learn": tiny_lit(
            pe_spec=posenc("learn", complex_transform=True, enc_dims=16, hidden_dims=16),
            pb_spec=posenc("dpb", enc_dims=8, hidden_dims=8),
        ),
        "clit-ipe": tiny_clit(stages=2, pb_spec=posenc("ipe", posenc_scale=5, enc_dims=16)),
        "clit-learn": tiny_clit(stages=2, pb_spec=posenc("learn", enc_dims=12, hidden_dims=8)),
        "lte": tiny_lte(),
        "liif-plain": tiny_liif(local_ensemble=False, feat_unfold=False, cell_decode=False),
    }
    return {name: exported_once(shared_folder, spec, name) for name, spec in specs.items()}


@pytest.fixture(scope="session")
def tiny_plan(shared_folder: Path) -> Path:
    """One of them, for tests that need just any plan: the others take a minute to export."""
    return exported_once(shared_folder, tiny_liif(), "tiny")


@pytest.fixture(params=["clit", "clit-r1", "clit-learn", "liif", "liif-plain", "lit", "lte"])
def plan(request: pytest.FixtureRequest, plans: dict[str, Path]) -> Plan:
    return Plan.open(plans[request.param])

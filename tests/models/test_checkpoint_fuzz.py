"""Checkpoints with something wrong in them: each loads and renders, or is refused in one sentence.

`CLIT_DEPLOY_FUZZ=3000` makes so many tries instead of those that fit a few seconds.
"""

from __future__ import annotations

import copy
import os
import random
import resource
import time
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import torch

from clit_deploy.errors import ClitDeployError
from clit_deploy.models import build_model, load_checkpoint
from tests.helpers import (
    posenc,
    ruled_weights,
    save_checkpoint,
    tiny_clit,
    tiny_liif,
    tiny_lit,
    tiny_lte,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TRIES = int(os.environ.get("CLIT_DEPLOY_FUZZ", "160"))
MAX_SECONDS, MAX_BYTES = 5.0, 300e6

SMALL_ENCODERS = (
    {"name": "span", "args": {"n_feats": 4, "n_blocks": 2}},
    {"name": "rcan", "args": {"n_resgroups": 2, "n_resblocks": 1, "n_feats": 4, "reduction": 2}},
    {
        "name": "swinir",
        "args": {
            "img_size": 8,
            "embed_dim": 8,
            "depths": [2],
            "num_heads": [2],
            "window_size": 4,
            "mlp_ratio": 2.0,
        },
    },
)
SMALL_ENCODERS[1]["args"]["no_upsampling"] = True

SPECS = (
    tiny_clit(),
    tiny_clit(stages=2, pb_spec=posenc("learn", enc_dims=12, hidden_dims=8)),
    tiny_clit(stages=1, r=1, pb_spec=posenc("dpb", enc_dims=8, hidden_dims=8)),
    tiny_liif(),
    tiny_lit(),
    tiny_lte(),
    *(tiny_liif(encoder_spec=encoder) for encoder in SMALL_ENCODERS),
)

VALUES = (
    None, True, False, 0, 1, 2, 3, -1, 7, 10**4, 65536, 10**6, 10**9, 2**63, 10**30, -(10**9),
    0.0, 0.5, -1.0, 1e-300, 1e300, float("nan"), float("inf"), "", "edsr", "8", "swinir", "clit",
    "\x1b[31m\n", "\ud800", "x" * 100_000, [], [1], [0], [-3, 4], [10**9] * 3, ["a"], [[[]]], (),
    {}, {"name": "edsr-baseline"}, {"name": ["edsr"], "args": {}}, {"name": None}, {"args": {}},
    {"name": "mlp", "args": {"out_dim": 3, "hidden_list": [10**5] * 2000}}, {1: 2},
    {"name": "edsr", "args": {"no_upsampling": True, "n_resblocks": 10**9}},
    {"name": "edsr", "args": [1]}, b"bytes", torch.zeros(2), torch.zeros(1, device="meta"),
)  # fmt: skip
NAMES = (
    "r", "head", "name", "args", "encoder", "encoder_spec", "imnet_spec", "self", "n_feats", "",
    "scale", "in_dim", "img_range", 7, None, "posenc_type", "gauss_scale", "\x00", "spec" * 40,
)  # fmt: skip


def containers(value: Any) -> Iterator[dict[Any, Any] | list[Any]]:
    """Every mapping and list in a spec that can be changed."""
    if isinstance(value, (dict, list)):
        yield value
        for entry in list(value.values()) if isinstance(value, dict) else value:
            yield from containers(entry)


def change_spec(model: dict[str, Any], rng: random.Random) -> None:
    described = {key: model[key] for key in ("name", "args") if key in model}
    _, *found = containers(described)
    target = rng.choice([model, *found])
    keys = list(target) if isinstance(target, dict) else list(range(len(target)))
    value = copy.deepcopy(rng.choice(VALUES))
    act = rng.randrange(4)
    if act == 0 and isinstance(target, dict):
        target[rng.choice(NAMES)] = value
    elif act == 1 and keys:
        del target[rng.choice(keys)]
    elif keys:
        target[rng.choice(keys)] = value


def expanded(value: torch.Tensor) -> torch.Tensor:
    return torch.zeros(1).expand(*value.shape, 10**5)


TENSORS: tuple[Callable[[torch.Tensor], Any], ...] = (
    lambda v: v.double(),
    lambda v: v.half(),
    lambda v: v.to(torch.bfloat16),
    lambda v: v.to(torch.float8_e4m3fn),
    lambda v: v.long(),
    lambda v: v.bool(),
    lambda v: v.cfloat(),
    lambda v: v.to_sparse(),
    lambda v: v.to("meta"),
    lambda v: torch.quantize_per_tensor(v.float(), 0.1, 0, torch.qint8),
    lambda v: v * float("nan"),
    lambda v: v.double() * 1e300,
    lambda v: v * 1e30,
    lambda v: v * 0,
    lambda v: v.flatten(),
    lambda v: v[:0],
    lambda v: v[None],
    lambda v: v.T if v.ndim == 2 else v.flip(0),
    lambda v: torch.zeros(1).expand(v.shape),
    expanded,
    lambda v: v.numpy().tobytes(),
    lambda v: v.tolist(),
    lambda v: None,
    lambda v: torch.zeros(()),
    lambda v: torch.nn.Parameter(v) if v.is_floating_point() else v + 1,
)


def change_tensors(model: dict[str, Any], rng: random.Random) -> None:
    weights = model["sd"]
    key = rng.choice(list(weights))
    act = rng.randrange(8)
    if act == 0:
        del weights[key]
    elif act == 1:
        weights[rng.choice(NAMES)] = weights[key]
    elif act == 2:
        weights[key] = weights[rng.choice(list(weights))]
    else:
        weights[key] = rng.choice(TENSORS)(weights[key])


def change_bytes(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if rng.random() < 0.2:
        content = content[: rng.randrange(len(content))]
    for _ in range(rng.randint(1, 8)):
        if content:
            content[rng.randrange(len(content))] = rng.randrange(256)
    path.write_bytes(content)


def change_pickle(path: Path, rng: random.Random) -> None:
    """Change bytes of the pickle in the file, so that its checksums are right all the same."""
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    name = next(name for name in parts if name.endswith("data.pkl"))
    pickled = bytearray(parts[name])
    for _ in range(rng.randint(1, 3)):
        pickled[rng.randrange(len(pickled))] = rng.choice([rng.randrange(256), 0x2E, 0x52, 0x74])
    parts[name] = bytes(pickled)
    with zipfile.ZipFile(path, "w") as file:
        for part, content in parts.items():
            file.writestr(part, content)


def write_mutated(path: Path, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311
    spec = copy.deepcopy(rng.choice(SPECS))
    model = {**spec, "sd": ruled_weights(build_model(spec).state_dict())}
    kind = rng.randrange(10)
    for _ in range(rng.choice([1, 1, 2])):
        if kind < 5:
            change_spec(model, rng)
        elif kind < 8 and model["sd"]:
            change_tensors(model, rng)
    torch.save({"model": model}, path)
    if kind >= 8:
        (change_bytes if kind == 8 else change_pickle)(path, rng)


def outcome(path: Path) -> str:
    """`loaded`, or the type of the error, whose message has to be fit for a terminal."""
    try:
        model = load_checkpoint(path).model
        model.render(torch.rand(5, 6, 3), (9, 10))
    except ClitDeployError as error:
        text = str(error)
        assert text.isprintable(), repr(text)
        assert len(text) < 700, text
        return type(error).__name__
    return "loaded"


@pytest.mark.filterwarnings("ignore")
def test_a_mutated_checkpoint_is_loaded_or_refused_in_a_sentence(tmp_path):
    path = tmp_path / "m.pth"
    save_checkpoint(path, SPECS[0], ruled_weights(build_model(SPECS[0]).state_dict()))
    assert outcome(path) == "loaded"
    counts: dict[str, int] = {}
    before, slowest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0.0
    for seed in range(TRIES):
        write_mutated(path, seed)
        start = time.process_time()
        try:
            found = outcome(path)
        except Exception as error:
            pytest.fail(f"seed {seed}: {error!r:.500}")
        slowest = max(slowest, time.process_time() - start)
        counts[found] = counts.get(found, 0) + 1
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert len(counts) >= 3, counts
    assert slowest < MAX_SECONDS
    assert grown < MAX_BYTES

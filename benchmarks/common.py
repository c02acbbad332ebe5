"""What the benchmarks share: models with random weights, alternating timing, tables."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EDSR = {"name": "edsr-baseline", "args": {"no_upsampling": True}}
MLP = {"name": "mlp", "args": {"out_dim": 3, "hidden_list": [256] * 4}}


def data_dir() -> Path:
    """Where the shared images and weights are: `CLIT_DEPLOY_DATA`, or beside the checkout."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("CLIT_DEPLOY_DATA", default))


def recorded_tree(name: str, root: Path) -> Path:
    """Write the files of a recorded machine (`tests/profile/trees`) under `root`, but for those
    that could not be read there."""
    trees = Path(__file__).resolve().parents[1] / "tests" / "profile" / "trees"
    for line in (trees / f"{name}.txt").read_text().splitlines():
        path, _, content = line.partition(": ")
        if not line.startswith("#") and not content.startswith("!"):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(content.replace("\\n", "\n").replace("\\t", "\t") + "\n")
    return root


def clit_spec(dim: int = 256, stages: int = 3) -> dict[str, Any]:
    """The published CLIT configuration with an EDSR-baseline encoder."""
    posenc = {"posenc_type": "sinusoid", "posenc_scale": 10, "hidden_dims": 64, "enc_dims": 64}
    imnet = {"name": "mlp", "args": {**MLP["args"], "hidden_list": [dim] * 4, "act": "gelu"}}  # type: ignore[dict-item]
    args = {
        "base_dim": dim,
        "head": 8,
        "r": 3,
        "imnet_num": stages,
        "conv_num": stages,
        "encoder_spec": EDSR,
        "pb_spec": {"name": "posenc", "args": posenc},
        "imnet_spec": imnet,
    }
    return {"name": "clit", "args": args}


def liif_spec() -> dict[str, Any]:
    """The published LIIF configuration with an EDSR-baseline encoder."""
    return {"name": "liif", "args": {"encoder_spec": EDSR, "imnet_spec": MLP}}


def random_plan(spec: Mapping[str, Any], folder: str | None = None) -> tuple[Any, Path]:
    """A model with PyTorch's initial weights, and the plan made from it."""
    import torch

    import clit_deploy

    torch.manual_seed(0)
    model = clit_deploy.models.build_model(spec)
    path = Path(folder or tempfile.mkdtemp()) / f"{spec['name']}.pth"
    torch.save({"model": {**spec, "sd": model.state_dict()}}, path)
    return model, clit_deploy.export_checkpoint(path)


def alternate(
    contenders: Mapping[str, Callable[[], object]], runs: Mapping[str, int]
) -> dict[str, float]:
    """Median seconds of each contender; they take turns, after one warm-up run each."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for name, work in contenders.items():
        if runs[name] > 1:
            work()
    for turn in range(max(runs.values())):
        for name, work in contenders.items():
            if turn < runs[name]:
                start = time.perf_counter()
                work()
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def report(title: str, rows: list[dict[str, Any]], json_path: str | None) -> None:
    """Print rows as a table; write them as JSON if asked to."""
    columns = list(rows[0])
    cells = [[_show(row[name]) for name in columns] for row in rows]
    widths = [max(len(name), *(len(row[k]) for row in cells)) for k, name in enumerate(columns)]
    print(f"\n{title}")
    print("  ".join(name.ljust(width) for name, width in zip(columns, widths, strict=True)))
    for row in cells:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)))
    if json_path:
        Path(json_path).write_text(json.dumps({"title": title, "rows": rows}, indent=1) + "\n")


def _show(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

"""From a finished run to what ships: plan, scores and model card.

    python -m train.publish RUN --name NAME --benchmarks DIR [--sources SOURCES.csv]

DIR holds the folders Set5 and Set14. Everything that the model card claims is measured here. The
entry in `clit_deploy/zoo/models.json` is written by hand.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import clit_deploy
from clit_deploy.cli.report import score_table
from clit_deploy.quality.evaluate import Score, evaluate
from clit_deploy.zoo.named_models import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parents[1]
SCALES = [2.0, 3.0, 4.0, 6.0, 8.0, 12.0]


def halved(model: dict[str, Any]) -> dict[str, Any]:
    """Weights as float16: a checkpoint of half the size, and what the plan stores anyway."""
    weights = {k: v.half() if v.is_floating_point() else v for k, v in model["sd"].items()}
    return {**model, "sd": weights}


def first_stage(model: dict[str, Any]) -> dict[str, Any]:
    """The model's own first stage, as a model of one stage."""
    stages = model["args"]["conv_num"]
    later = tuple(f"{part}.{s}." for s in range(1, stages) for part in PARTS)
    weights = {k: v for k, v in model["sd"].items() if not k.startswith(later)}
    return {**model, "args": {**model["args"], "imnet_num": 1, "conv_num": 1}, "sd": weights}


PARTS = ("conv_vs", "conv_qs", "conv_ks", "imnets")


def export(model: dict[str, Any], checkpoint: Path, plan: Path) -> None:
    """Write a checkpoint and the plan made from it, with half weights."""
    torch.save({"model": model}, checkpoint)
    clit_deploy.export_checkpoint(checkpoint, plan, half_weights=True)


def scores_of(plan: Path, folder: Path, scales: list[float]) -> list[Score]:
    """Scores on one benchmark."""
    with clit_deploy.load(plan, runtime="cpu") as up:
        return evaluate(up, folder, scales)


def table(scores: list[Score]) -> str:
    """The means by scale."""
    return "\n".join(score_table(scores))


def sources(path: Path) -> Iterable[str]:
    """One line for each photograph that the weights have learned from or were checked with."""
    with path.open(encoding="utf-8", newline="") as file:
        photos = {row["crop"].rsplit("_", 1)[0]: row for row in csv.DictReader(file)}
    for name, row in sorted(photos.items()):
        author = row["author"].replace("|", "/")
        yield f"| {name[4:]} | {author} | {row['licence']} | {row['package']} |"


def main() -> None:
    """Publish a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--benchmarks", type=Path, required=True)
    parser.add_argument("--sources", type=Path)
    args = parser.parse_args()
    model = halved(torch.load(args.run / "model.pth", weights_only=True)["model"])
    plan, card = (FOLDER / f"{args.name}{suffix}" for suffix in (".plan", ".md"))
    export(model, args.run / f"{args.name}.pth", plan)
    parts = [(ROOT / "train" / "card.md").read_text()]
    parts += [
        f"## {name}\n\n{table(scores_of(plan, args.benchmarks / name, SCALES))}\n"
        for name in ("Set5", "Set14")
    ]
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "alone.plan"
        export(first_stage(model), Path(folder) / "alone.pth", alone)
        one = scores_of(alone, args.benchmarks / "Set5", [6.0, 12.0])
    parts.append(
        "## The first stage alone\n\nThe same weights without their later stages, asked for the "
        f"whole scale at once, on Set5:\n\n{table(one)}\n"
    )
    if args.sources:
        head = "| photograph | author | licence | from |\n| --- | --- | --- | --- |\n"
        parts.append("## Photographs\n\n" + head + "\n".join(sources(args.sources)) + "\n")
    card.write_text("\n".join(parts), encoding="utf-8")
    print(f"{plan}  {plan.stat().st_size / 1e6:.2f} MB")
    print("\n".join(parts[1:4]))


if __name__ == "__main__":
    main()

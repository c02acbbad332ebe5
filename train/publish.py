"""From a finished run to what ships: plan, scores and model card.

    python -m train.publish NAME [CHECKPOINT] --benchmarks DIR --photographs DIR [--sources CSV]

NAME is the model's name in the package; `train/cards/NAME.md` begins its card, and everything that
the card claims in numbers is measured here. Without CHECKPOINT the plan stays and only the card is
written anew. DIR of the benchmarks holds Set5 and Set14; the photographs are those that the
training validated with. The entry in `clit_deploy/zoo/models.json` is written by hand.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

import torch

import clit_deploy
from clit_deploy.quality.evaluate import Score, evaluate
from clit_deploy.zoo.named_models import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROOT = Path(__file__).resolve().parents[1]
SCALES = (2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
PHOTO_SCALES = (2.0, 4.0)
QUALITIES = (40, 70)
SPAN = {"Set5": {2.0: 38.07, 4.0: 32.20}, "Set14": {2.0: 33.70, 4.0: 28.66}}
"""dB of the official SPAN networks (one for each scale), measured with the same protocol."""


def export(checkpoint: Path, plan: Path) -> None:
    """Write the plan of a checkpoint, with half weights and without the run's own records."""
    model = torch.load(checkpoint, map_location="cpu", weights_only=True)["model"]
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / f"{plan.stem}.pth"
        torch.save({"model": model}, bare)
        clit_deploy.export_checkpoint(bare, plan, half_weights=True)


def scores_of(
    name: str, folder: Path, scales: Sequence[float], jpeg: int | None = None
) -> list[Score]:
    """Scores of a model of the package on the images of a folder."""
    with clit_deploy.load(name, runtime="cpu") as up:
        return evaluate(up, folder, scales, jpeg=jpeg)


def table(
    name: str,
    folder: Path,
    scales: Sequence[float],
    jpeg: int | None = None,
    others: dict[str, dict[float, float]] | None = None,
) -> str:
    """Mean PSNR by scale of a model, of LIIF and of bicubic, and what `others` have."""
    found = {name: scores_of(name, folder, scales, jpeg)}
    if name != "liif":
        found["liif"] = scores_of("liif", folder, scales, jpeg)
    others = others or {}
    head = ["scale", *found, "bicubic", *others, "SSIM", "SSIM of bicubic"]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for scale in scales:
        rows = {model: [s for s in scores if s.scale == scale] for model, scores in found.items()}
        own = rows[name]
        cells = [
            f"x{scale:g}",
            *(f"{mean(s.psnr for s in row):.2f}" for row in rows.values()),
            f"{mean(s.bicubic_psnr for s in own):.2f}",
            *(f"{known[scale]:.2f}" if scale in known else "" for known in others.values()),
            f"{mean(s.ssim for s in own):.4f}",
            f"{mean(s.bicubic_ssim for s in own):.4f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def tables(name: str, benchmarks: Path, photographs: Path) -> Iterable[str]:
    """The tables of a card, each under its heading."""
    for data in ("Set5", "Set14"):
        found = table(name, benchmarks / data, SCALES, others={"SPAN": SPAN[data]})
        yield f"## {data}\n\n{found}\n"
    count = len(list(photographs.iterdir()))
    found = table(name, photographs, PHOTO_SCALES)
    yield f"## Photographs that no weights were trained on ({count} crops)\n\n{found}\n"
    for quality in QUALITIES:
        found = table(name, photographs, PHOTO_SCALES, quality)
        yield f"## The same, the input as JPEG of quality {quality}\n\n{found}\n"


def sources(path: Path) -> Iterable[str]:
    """One line for each photograph that the weights have learned from or were checked with."""
    with path.open(encoding="utf-8", newline="") as file:
        photos = {row["crop"].rsplit("_", 1)[0]: row for row in csv.DictReader(file)}
    for name, row in sorted(photos.items()):
        yield f"{name[4:]}; {row['author']}; {row['licence']}; {row['package']}"


def main() -> None:
    """Publish a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("checkpoint", type=Path, nargs="?")
    parser.add_argument("--benchmarks", type=Path, required=True)
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--sources", type=Path)
    args = parser.parse_args()
    plan = FOLDER / f"{args.name}.plan"
    if args.checkpoint:
        export(args.checkpoint, plan)
    parts = [(ROOT / "train" / "cards" / f"{args.name}.md").read_text(encoding="utf-8")]
    for part in tables(args.name, args.benchmarks, args.photographs):
        print(part, flush=True)
        parts.append(part)
    (FOLDER / f"{args.name}.md").write_text("\n".join(parts), encoding="utf-8")
    if args.sources:
        head = "Photographs behind the weights of the models, with author, license and source.\n\n"
        listed = head + "\n".join(sources(args.sources)) + "\n"
        (FOLDER / "PHOTOGRAPHS.txt").write_text(listed, encoding="utf-8")
    print(f"{plan.name}  {plan.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()

"""Put what a training run on another machine needs into one folder of less than 60 MB.

    python -m train.pack FOLDER --data PHOTOS train/clit.toml [train/fast.toml ...]

FOLDER gets the package's code, the recipes with the checkpoints that they start from, the
photographs as WebP of quality 95, and `go.py`, which trains there. The other machine needs Python
with torch, numpy and Pillow, nothing else.
"""

from __future__ import annotations

import argparse
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from clit_deploy.errors import MissingFileError, TrainingError
from clit_deploy.images.image_folders import images_in
from clit_deploy.training.training_config import CHECKPOINTS, read_config

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 60e6
"""Bytes that a folder may have."""
QUALITY = 95


def pack(folder: Path, data: Path, recipes: list[Path]) -> float:
    """Fill a folder; returns its bytes.

    Raises:
        MissingFileError: a recipe, a checkpoint that it names, or the photographs are not there.
        TrainingError: the folder has become too large.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for recipe in recipes:
        config = read_config(recipe)
        shutil.copy(recipe, folder)
        for source in filter(None, (getattr(config, key) for key in CHECKPOINTS)):
            target = folder / Path(source).relative_to(recipe.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    for source in sorted((ROOT / "clit_deploy").rglob("*.py")):
        target = folder / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    photos = images_in(data)
    if not photos:
        raise MissingFileError(f"There are no images in {data}.")
    (folder / "photos").mkdir(exist_ok=True)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda path: _compress(path, folder / "photos"), photos))
    shutil.copy(Path(__file__).with_name("go.py"), folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > LARGEST:
        raise TrainingError(
            f"{folder} has {size / 1e6:.0f} MB, more than {LARGEST / 1e6:.0f}; take fewer "
            "photographs, or smaller ones."
        )
    return size


def _compress(path: Path, folder: Path) -> None:
    target = folder / f"{path.stem}.webp"
    Image.open(path).convert("RGB").save(target, quality=QUALITY, method=4)


def main() -> None:
    """Pack."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("recipes", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    args = parser.parse_args()
    size = pack(args.folder, args.data, args.recipes)
    print(f"{args.folder}  {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

"""Train from a packed folder: `python go.py RECIPE SECONDS OUT`, beside the package's code.

OUT gets model.pth, state.pt, log.csv and train.log; a run that is there already goes on. This is
`clit-deploy train` without the libraries of the command line, which a rented machine may not have.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from clit_deploy.errors import ClitDeployError, ImageError, error_message  # noqa: E402
from clit_deploy.training.data import read_photos  # noqa: E402
from clit_deploy.training.loop import Report, train  # noqa: E402
from clit_deploy.training.training_config import read_config  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray


def pixels_of(path: Path) -> NDArray[np.uint8]:
    """The pixels of a packed photograph, which is sRGB with 8 bits.

    Raises:
        ImageError: it is damaged.
    """
    try:
        return np.asarray(Image.open(path).convert("RGB"))
    except OSError as error:
        raise ImageError(f"{path.name} is damaged: {error}.") from error


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", help="the name of a packed recipe, like clit")
    parser.add_argument("seconds", type=float)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / "train.log").open("a", encoding="utf-8") as log:

        def say(line: str) -> None:
            for file in (sys.stdout, log):
                print(line, file=file, flush=True)

        def progress(report: Report) -> None:
            if report.line:
                say(report.line)

        try:
            config = read_config(HERE / f"{args.recipe}.toml")
            if args.batch:
                config = dataclasses.replace(config, batch=args.batch)
            photos = read_photos(HERE / "photos", config.validation, config.crop, read=pixels_of)
            train(
                config,
                photos,
                args.out,
                seconds=args.seconds,
                resume=True,
                device=args.device,
                precision=args.precision,
                threads=args.threads,
                progress=progress,
            )
        except ClitDeployError as error:
            say(f"go.py: {error_message(error)}")
            sys.exit(1)


if __name__ == "__main__":
    main()

"""A user's program with `clit_deploy.ray.Upscaler`, for a test: what it found, as JSON."""

import io
import json
import sys

import ray
import ray.data
from PIL import Image

import clit_deploy.ray
from tests.helpers import photo


def main(plan, missing_plan, address):
    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = []
    for k in range(3):
        file = io.BytesIO()
        Image.fromarray(photo(12, 10 + k)).save(file, "PNG")
        rows.append({"number": k, "bytes": file.getvalue()})
    rows.append({"number": 3, "bytes": b"not an image"})

    def upscaled(**named):
        done = ray.data.from_items(rows, override_num_blocks=2).map_batches(
            clit_deploy.ray.Upscaler, batch_size=2, num_cpus=1,
            compute=ray.data.ActorPoolStrategy(size=2),
            fn_constructor_kwargs={"scale": 2, **named},
        )  # fmt: skip
        return sorted(done.take_all(), key=lambda row: row["number"])

    def size(content):
        return Image.open(io.BytesIO(content)).size[::-1] if content else None

    found = upscaled(plan=clit_deploy.ray.ship(plan))
    try:
        upscaled(plan=missing_plan)
        missing = "nothing was raised"
    except Exception as error:
        missing = next(
            line.partition("MissingFileError: ")[2]
            for line in str(error).splitlines()
            if "MissingFileError: On node" in line
        )
    errors = [row["error"] and ("image" if "image" in row["error"] else "?") for row in found]
    sizes = [size(row["bytes"]) for row in found]
    print(json.dumps({"errors": errors, "sizes": sizes, "missing": missing}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])

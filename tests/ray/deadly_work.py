"""Work that kills its worker at one item, for a test: what became of all of them, as JSON."""

import json
import os
import signal
import sys

import ray

from clit_deploy.images.image_options import DEFAULT
from clit_deploy.ray.actor_pool import ActorPool, prepare_data
from clit_deploy.ray.cluster_request import Done, WorkerSettings
from clit_deploy.ray.ship_plan import ship

DEADLY = 5


def work(up, numbered, settings):
    for number, item in numbered:
        if item == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        yield Done(number, item)


def main(plan, address):
    from tests.ray.deadly_work import work as importable

    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    prepare_data()
    settings = WorkerSettings(
        plan=ship(plan), options=DEFAULT, runtime="cpu", threads=1, max_memory=None,
        rebuild=True, device=None, resume=False,
    )  # fmt: skip
    found = list(ActorPool(2, 1, 0.0).done(list(range(12)), importable, settings))
    done = sorted(one.number for one in found if one.error is None)
    failed = {one.number: str(one.error) for one in found if one.error is not None}
    print(json.dumps({"done": done, "failed": failed}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])

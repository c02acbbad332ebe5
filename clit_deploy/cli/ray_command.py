"""`clit-deploy ray`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from clit_deploy.cli.batch_report import BatchReport
from clit_deploy.cli.encoding_options import EncodingOptions
from clit_deploy.cli.file_options import FileOptions
from clit_deploy.cli.json_document import keep, one_line_each
from clit_deploy.cli.options import DefaultEngineOption, ImagesArgument, JsonOption, whole_option
from clit_deploy.cli.planned_tasks import explain_comma, explain_stretch, planned_tasks
from clit_deploy.cli.running_options import RunningOptions
from clit_deploy.cli.size_options import SizeOptions
from clit_deploy.cli.terminal import ProgressBar, terminal
from clit_deploy.cli.typed_values import option_parser, parse_number
from clit_deploy.cli.workload import count, megapixels
from clit_deploy.errors import OptionError
from clit_deploy.system.files import make_folders
from clit_deploy.system.interrupts import Interrupted

if TYPE_CHECKING:
    from clit_deploy.ray.cluster_request import ClusterRequest, Started
    from clit_deploy.tasks.image_tasks import Task
    from clit_deploy.tasks.job_manifest import JobManifest


@dataclasses.dataclass(frozen=True)
class ClusterOptions:
    """Where the work goes, and how it is shared."""

    PANEL: ClassVar[str] = "The cluster"

    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="HOST:PORT",
            help="The head of the cluster.",
            show_default="RAY_ADDRESS, else this machine",
        ),
    ] = None
    actors: Annotated[
        int | None,
        whole_option(
            "--actors",
            metavar="NUMBER",
            help="Workers; each one holds a plan and has --threads CPUs.",
            show_default="as many as fit",
        ),
    ] = None
    gpus: Annotated[
        float | None,
        typer.Option(
            "--gpus",
            parser=option_parser(parse_number),
            metavar="NUMBER",
            help="GPUs of each actor; a fraction like 0.5 lets several share one.",
            show_default="1 if the cluster has any",
        ),
    ] = None
    tiles: Annotated[
        bool,
        typer.Option(
            "--tiles",
            help="Share the rows of encoder tiles of each image among the actors, for images that "
            "are too large for one. Finished rows are kept in RESULT.bands until all are written.",
        ),
    ] = False

    def check(self, files: FileOptions) -> None:
        """Refuse what cannot be done on a cluster.

        Raises:
            OptionError: an option is out of its range, or two cannot be combined.
        """
        if self.actors is not None and self.actors < 1:
            raise OptionError(f"--actors is {self.actors}; a number from 1 on is needed.")
        if self.gpus is not None and not (0 <= self.gpus <= 1 or self.gpus.is_integer()):
            raise OptionError(f"--gpus is {self.gpus:g}; use a fraction of 1 or a whole number.")
        if files.in_place:
            raise OptionError(
                "--in-place is not for a cluster: an image whose worker dies is upscaled again, "
                "and would be upscaled twice."
            )
        if self.tiles and files.resume:
            raise OptionError("--tiles keeps finished rows by itself; leave out --resume.")


def ray(
    images: ImagesArgument = None,
    engine: DefaultEngineOption = None,
    wanted: SizeOptions = SizeOptions(),  # noqa: B008  (frozen)
    files: FileOptions = FileOptions(),  # noqa: B008
    encoding: EncodingOptions = EncodingOptions(),  # noqa: B008
    cluster: ClusterOptions = ClusterOptions(),
    where: RunningOptions = RunningOptions(),  # noqa: B008
    as_json: JsonOption = False,
) -> None:
    """Upscale images on a Ray cluster, like run does on one machine.

    All machines need the images and the folder of the results under the same paths.
    The plan is sent to them.
    """
    from clit_deploy.ray.cluster_request import ClusterRequest
    from clit_deploy.ray.cluster_run import check_files, check_ray, chosen_address
    from clit_deploy.zoo.named_models import default_model

    one_line_each()
    keep(results=[])
    files.check(images or [])
    cluster.check(files)
    sizes, options = wanted.sizes(), encoding.image_options()
    explain_comma(wanted.scale, sizes)
    sources = files.sources(images or [])
    check_ray()
    address = chosen_address(cluster.address)
    with files.record(engine, options) as record:
        tasks, skipped = planned_tasks(sources, sizes, files, options, record)
        check_files(tasks)
        explain_stretch(tasks)
        report = BatchReport(tasks, skipped, as_json=as_json)
        make_folders({task.target.parent for task in (*tasks, *skipped)})
        if not tasks:
            return
        running = {**vars(where), "runtime": where.runtime.value}
        request = ClusterRequest(
            address=address,
            actors=cluster.actors,
            gpus=cluster.gpus,
            tiles=cluster.tiles,
            plan=engine or default_model().plan,
            settings={**running, "options": options, "resume": files.resume},
            tasks=tuple(tasks),
        )
        _make(request, tasks, report, record)
    report.close()


def _make(
    request: ClusterRequest, tasks: list[Task], report: BatchReport, record: JobManifest | None
) -> None:
    """Do all tasks, and print and record what becomes of them."""
    from clit_deploy.ray.cluster_run import cluster_outcomes

    about = f"{count(len(tasks), 'image')}, {megapixels(sum(task.pixels for task in tasks))}"
    with ProgressBar(about) as bar:
        report.start("ray", bar)

        def started(cluster: Started) -> None:
            if record is not None:
                record.plan(tasks)
            gpus = f" and {cluster.gpus:g} GPU" if cluster.gpus else ""
            terminal.note(
                f"{about} to make, on {count(cluster.actors, 'actor')} with "
                f"{count(cluster.cpus, 'CPU')}{gpus} each, on {count(cluster.nodes, 'node')}"
            )

        try:
            for outcome in cluster_outcomes(request, started, report.progress):
                if record is not None:
                    record.add(outcome)
                report.add(outcome)
        except Interrupted:
            report.say_finished()
            raise

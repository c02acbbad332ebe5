"""Options that say which images are read, and where results go."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from clit_deploy.cli.options import ForceOption
from clit_deploy.cli.typed_values import parse_shard
from clit_deploy.errors import OptionError
from clit_deploy.tasks.image_sources import image_sources, read_list
from clit_deploy.tasks.output_template import is_template

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from clit_deploy.images.image_options import ImageOptions
    from clit_deploy.tasks.image_sources import Source
    from clit_deploy.tasks.job_manifest import JobManifest
    from clit_deploy.tasks.shard import Shard


@dataclass(frozen=True)
class FileOptions:
    """Images and results."""

    PANEL: ClassVar[str] = "Images and results"

    listed: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="A list of images, one path a line; - reads the list from stdin.",
            show_default=False,
        ),
    ] = None
    recursive: Annotated[
        bool,
        typer.Option(
            "--recursive/--no-recursive",
            help="Take the sub-folders of a folder, too; the results have the same sub-folders.",
        ),
    ] = True
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="The result; a folder for several, which is made; or a template like "
            "'{stem}_{scale}x.{ext}'.",
            show_default="beside the image",
        ),
    ] = None
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave out images whose result exists.")
    ] = False
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Replace each image by its result.")
    ] = False
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="INDEX/COUNT",
            help="Do one part of the images, like 2/8; another process does another part.",
        ),
    ] = None
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--manifest",
            metavar="FILE",
            help="Write a line of JSON for each result. The same command does only what is missing "
            "there, has failed, or has changed.",
        ),
    ] = None
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Keep finished rows in RESULT.resume until the result is written. After a kill, "
            "the same command goes on from there.",
        ),
    ] = False
    force: ForceOption = False

    def check(self, images: list[Path]) -> None:
        """Refuse options that cannot be combined.

        Raises:
            OptionError: they cannot, or no image is named.
        """
        if self.skip_existing and (self.force or self.in_place):
            other = "--force" if self.force else "--in-place"
            raise OptionError(f"--skip-existing and {other} cannot be combined.")
        if self.manifest is not None and (self.in_place or self.skip_existing):
            other = "--in-place" if self.in_place else "--skip-existing"
            raise OptionError(f"--manifest and {other} cannot be combined.")
        self.part()
        if not images and self.listed is None:
            raise OptionError("No IMAGE is named; name an image or a folder, or use --from.")

    def part(self) -> Shard:
        """The part of the images that is done.

        Raises:
            OptionError: it is not a valid one.
        """
        from clit_deploy.tasks.shard import ALL, Shard

        return ALL if self.shard is None else Shard(*parse_shard(self.shard))

    def record(
        self, engine: Path | None, options: ImageOptions
    ) -> AbstractContextManager[JobManifest | None]:
        """What earlier runs of this plan and these options have done; None without --manifest.

        Raises:
            PlanError: the plan cannot be read.
            ManifestError, OutputError: see `job_manifest`.
        """
        if self.manifest is None:
            return contextlib.nullcontext()
        from clit_deploy.plan.plan_file import Plan
        from clit_deploy.tasks.job_manifest import job_manifest
        from clit_deploy.zoo.named_models import default_model

        return job_manifest(self.manifest, Plan.open(engine or default_model().plan), options)

    def sources(self, images: list[Path]) -> list[Source]:
        """The named images, those of folders, patterns and lists included.

        Raises:
            MissingFileError: a name leads nowhere, or a folder or pattern contains no images.
        """
        results = Path(self.output) if self.output and not is_template(self.output) else None
        listed = read_list(self.listed) if self.listed is not None else []
        return image_sources(images, listed, recursive=self.recursive, without=results)

"""Options that say which images are read, and where results go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from clit_deploy.cli.options import ForceOption
from clit_deploy.errors import OptionError
from clit_deploy.tasks.image_sources import image_sources, read_list
from clit_deploy.tasks.output_template import is_template

if TYPE_CHECKING:
    from clit_deploy.tasks.image_sources import Source


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
        if not images and self.listed is None:
            raise OptionError("No IMAGE is named; name an image or a folder, or use --from.")

    def sources(self, images: list[Path]) -> list[Source]:
        """The named images, those of folders, patterns and lists included.

        Raises:
            MissingFileError: a name leads nowhere, or a folder or pattern contains no images.
        """
        results = Path(self.output) if self.output and not is_template(self.output) else None
        listed = read_list(self.listed) if self.listed is not None else []
        return image_sources(images, listed, recursive=self.recursive, without=results)

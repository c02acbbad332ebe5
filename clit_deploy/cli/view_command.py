"""`clit-deploy view`."""

from __future__ import annotations

import contextlib
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from clit_deploy.cli.options import ImagesArgument, plans_option, whole_option
from clit_deploy.cli.running_options import RunningOptions
from clit_deploy.cli.terminal import print_result, terminal
from clit_deploy.errors import OptionError
from clit_deploy.system import interrupts
from clit_deploy.zoo.named_models import default_model, is_packaged

MOST_PLANS = 2
NOT_NAMED: list[Path | None] = [None]
"""Opens the default model."""


def view(
    images: ImagesArgument = None,
    engine: Annotated[list[Path] | None, plans_option()] = None,
    port: Annotated[
        int, whole_option("--port", metavar="NUMBER", help="The port; 0 takes a free one.")
    ] = 0,
    browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.")
    ] = True,
    allow_upload: Annotated[
        bool, typer.Option("--allow-upload", help="Let the page send more images.")
    ] = False,
    where: RunningOptions = RunningOptions(),  # noqa: B008
) -> None:
    """Zoom into images in a browser, from the whole image to x32, enlarged by the network.

    A second --engine is compared with the first. The page is served to this machine alone, at an
    address that holds a random token. Ctrl-C stops it.
    """
    plans = list(engine or [])
    if len(plans) > MOST_PLANS:
        raise OptionError(f"{len(plans)} plans are named; the viewer compares two at most.")
    if not images and not allow_upload:
        raise OptionError("No IMAGE is named; name an image or a folder, or use --allow-upload.")
    from clit_deploy.tasks.image_sources import image_sources
    from clit_deploy.viewer.gallery import Gallery, ShownImage
    from clit_deploy.viewer.service import Service
    from clit_deploy.viewer.serving import ViewerServer
    from clit_deploy.viewer.viewer_settings import ViewerSettings

    shown = [ShownImage.of(source.path) for source in image_sources(images or [])]
    with contextlib.ExitStack() as stack:
        loaded = [stack.enter_context(where.load(plan)) for plan in plans or NOT_NAMED]
        gallery = Gallery(loaded)
        for image in shown:
            gallery.add(image)
        names = [_name(plan) for plan in plans] or [default_model().name]
        service = Service(gallery, names, ViewerSettings(allow_upload=allow_upload))
        server = ViewerServer(service, port)
        interrupts.listen(server.stop)
        print_result(server.url)
        terminal.note("Ctrl-C stops the viewer.")
        if browser:
            webbrowser.open(server.url)
        server.serve()
    interrupts.check()


def _name(plan: Path) -> str:
    return plan.stem if is_packaged(plan) else str(plan)

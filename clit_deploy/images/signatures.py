"""What kind of file an image is, from its first bytes: names do not decide."""

from __future__ import annotations

from clit_deploy.errors import ImageError, quote
from clit_deploy.system.extras import install_command

BYTES = 512
"""Bytes that are needed to recognize every kind."""

_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"\0\0\x01\0", "ICO"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    *((b"P%d" % digit, "PPM") for digit in range(1, 7)),
)
"""How files of kinds that can be read begin."""

_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "HEIC"),
    **dict.fromkeys((b"mif1", b"msf1", b"heif"), "HEIC"),
}
"""Kinds of files with boxes, by their brand; the last three do not name a codec."""

_CONVERT = "file, which cannot be read. Convert it to PNG, TIFF or JPEG first."
_REFUSED = (
    (b"\xff\x0a", f"a JPEG XL {_CONVERT}"),
    (b"\0\0\0\x0cJXL ", f"a JPEG XL {_CONVERT}"),
    (b"8BPS", f"a Photoshop (PSD) {_CONVERT}"),
    (b"v/1\x01", f"an OpenEXR {_CONVERT}"),
    (b"#?RADIANCE", f"a Radiance HDR {_CONVERT}"),
    (b"SIMPLE  =", f"a FITS {_CONVERT}"),
    (b"DDS ", f"a DDS {_CONVERT}"),
    (b"FUJIFILMCCD-RAW", f"a camera's raw {_CONVERT}"),
    (b"IIRO", f"a camera's raw {_CONVERT}"),
    (b"IIU\0", f"a camera's raw {_CONVERT}"),
    (b"gimp xcf", f"a GIMP (XCF) {_CONVERT}"),
    (b"\x8aMNG", f"an MNG {_CONVERT}"),
    (b"%PDF", f"a PDF {_CONVERT}"),
    (b"%!PS", f"a PostScript {_CONVERT}"),
    (b"<svg", f"an SVG {_CONVERT}"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the image itself with 'git lfs pull'."),
    (b"<!doctype html", "a web page and not an image; download the image itself."),
    (b"<html", "a web page and not an image; download the image itself."),
    (b"PK\x03\x04", "a zip archive; unpack the images in it."),
)
"""Files that are recognized, to name them."""


def kind_of(head: bytes, name: str) -> str:
    """The kind of an image file.

    Args:
        head: its first `BYTES` bytes.
        name: of the file, for messages.

    Returns: `PNG`, `JPEG`, `TIFF`, `GIF`, `WebP`, `AVIF`, `HEIC`, `BMP`, `PPM`,
        `JPEG 2000`, `ICO` or `TGA`.

    Raises:
        ImageError: another kind, which is named if it is known.
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        return _boxed(head, name)
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    _refuse_known(head, name)
    if _may_be_tga(head):
        return "TGA"
    raise ImageError(f"{name} is not an image in a format that can be read.")


def _refuse_known(head: bytes, name: str) -> None:
    """Name a file that is recognized and cannot be read.

    Raises:
        ImageError: it is one.
    """
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for start, what in _REFUSED:
        if head.startswith(start) or text.startswith(start.lower()):
            raise ImageError(f"{name} is {what}")
    if b"<svg" in text:
        raise ImageError(f"{name} is an SVG {_CONVERT}")


def _may_be_tga(head: bytes) -> bool:
    """Whether the header of a TGA file is possible: these files have no signature."""
    if len(head) < 18:
        return False
    palette, kind, bits = head[1], head[2], head[16]
    return palette in (0, 1) and kind in (1, 2, 3, 9, 10, 11) and bits in (8, 15, 16, 24, 32)


def _boxed(head: bytes, name: str) -> str:
    """The kind of a file with boxes (ISO/IEC 14496-12): its main brand, or one that it lists."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, size, 4))]
    named = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
    if b"avif" in brands or b"avis" in brands:
        return "AVIF"
    if named:
        return named[0]
    brand = brands[0].decode("latin-1")
    raise ImageError(f"{name} is a video or a camera's raw ({quote(brand)}) {_CONVERT}")


def missing_heic(name: str) -> str:
    """The message for a HEIC file without the library that decodes it."""
    return (
        f"{name} is a HEIC image, which needs pillow-heif; install it with "
        f"{install_command('heic')}, or convert the image to PNG or JPEG."
    )

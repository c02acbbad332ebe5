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

_REFUSED = (
    (b"\xff\x0a", "a JPEG XL"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL"),
    (b"8BPS", "a Photoshop (PSD)"),
    (b"v/1\x01", "an OpenEXR"),
    (b"#?RADIANCE", "a Radiance HDR"),
    (b"SIMPLE  =", "a FITS"),
    (b"DDS ", "a DDS"),
    (b"\0\0\x01\0", "an icon (ICO)"),
    (b"FUJIFILMCCD-RAW", "a camera's raw"),
    (b"IIRO", "a camera's raw"),
    (b"IIU\0", "a camera's raw"),
    (b"gimp xcf", "a GIMP (XCF)"),
    (b"\x8aMNG", "an MNG"),
    (b"\x97JB2", "a JBIG2"),
    (b"%PDF", "a PDF"),
    (b"%!PS", "a PostScript"),
    (b"<svg", "an SVG"),
)
"""Kinds that are recognized, to name them."""


def kind_of(head: bytes, name: str) -> str:
    """The kind of an image file.

    Args:
        head: its first `BYTES` bytes.
        name: of the file, for messages.

    Returns: `PNG`, `JPEG`, `TIFF`, `GIF`, `WebP`, `AVIF`, `HEIC`, `BMP`, `PPM` or `JPEG 2000`.

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
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    for start, called in _REFUSED:
        if text.startswith(start) or head.startswith(start):
            raise ImageError(_cannot_be_read(name, called))
    if b"<svg" in text:
        raise ImageError(_cannot_be_read(name, "an SVG"))
    raise ImageError(f"{name} is not an image in a format that can be read.")


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
    raise ImageError(_cannot_be_read(name, f"a video or camera file ({quote(brand)})"))


def _cannot_be_read(name: str, called: str) -> str:
    return f"{name} is {called} file, which cannot be read. Convert it to PNG, TIFF or JPEG first."


def missing_heic(name: str) -> str:
    """The message for a HEIC file without the library that decodes it."""
    return (
        f"{name} is a HEIC image, which needs pillow-heif; install it with "
        f"{install_command('heic')}, or convert the image to PNG or JPEG."
    )

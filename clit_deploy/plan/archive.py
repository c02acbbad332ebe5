"""Zip files from strangers, read without unpacking more than the file holds.

Plans and `.npz` members are written stored (not compressed), so any other file was not written by
this package. Everything is checked before `zipfile` builds its list of members.
"""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
from typing import IO, TYPE_CHECKING

from clit_deploy.errors import PlanError, quote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_MEMBERS = 500
MAX_DIRECTORY = 500_000
"""Bytes of the list of members: a thousand for each."""

END = struct.Struct("<4s4H2LH")
"""The end of a zip without a comment: signature, disks, entries, size and place of the list."""
ZIP64 = b"PK\6\7"
ZIP64_SIZE = 20
ENCRYPTED = 1


@contextlib.contextmanager
def open_archive(source: Path | bytes) -> Iterator[zipfile.ZipFile]:
    """Open a zip of stored members.

    Raises:
        PlanError: members are compressed, encrypted, repeated, too many, or larger than the file;
            the message lacks the file's name.
        zipfile.BadZipFile, OSError: not a whole zip.
    """
    file: IO[bytes] = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    with file:
        size = _check_end(file)
        with zipfile.ZipFile(file) as archive:
            _check_members(archive.infolist(), size)
            yield archive


def _check_end(file: IO[bytes]) -> int:
    """Check the end of the zip, which says how long the list of members is.

    Returns: bytes of the file.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(max(size - END.size - ZIP64_SIZE, 0))
    tail = file.read()
    if len(tail) < END.size:
        raise zipfile.BadZipFile("too short")
    signature, *_, entries, directory, _, comment = END.unpack(tail[-END.size :])
    if signature != b"PK\5\6" or comment:
        raise zipfile.BadZipFile("no end")
    if tail.startswith(ZIP64) or entries > MAX_MEMBERS or directory > MAX_DIRECTORY:
        raise PlanError(f"there are more than {MAX_MEMBERS} members or 4 GB.")
    return size


def _check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    for info in members:
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise PlanError(f"its member {quote(info.filename)} is compressed.")
        if info.flag_bits & ENCRYPTED:
            raise PlanError(f"its member {quote(info.filename)} is encrypted.")
    if sum(info.file_size for info in members) > size:
        raise PlanError("its members are larger than the file.")
    if len({info.filename for info in members}) < len(members):
        raise PlanError("its members have the same name.")

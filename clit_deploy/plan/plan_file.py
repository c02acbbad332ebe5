"""The `.plan` file: one uncompressed zip of a manifest and graphs. Imports no runtime."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clit_deploy.errors import DamageError, PlanError
from clit_deploy.plan.manifest import Manifest
from clit_deploy.system.files import check_file, replacing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MANIFEST = "manifest.json"
ENGINES = "engines/"
"""Members that can be made again from the others."""
EPOCH = (1980, 1, 1, 0, 0, 0)

DAMAGED = "a plan or zip file that is cut off or damaged; copy or export it again"

UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)
"""What reading a damaged zip raises; NotImplementedError is a RuntimeError."""

_KINDS = {
    b"ftrt": "a bare TensorRT engine; run needs the .plan that holds it beside its graphs",
    b"vtrt": "a bare TensorRT-RTX engine; run needs the .plan that holds it beside its graphs",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"RIFF": "a WebP image or another RIFF file",
    b"\x80\x02": "a PyTorch checkpoint of the old format; turn it into a plan with "
    "'clit-deploy export'",
}


class Plan:
    """A manifest and its members; a member's digest is checked whenever it is read."""

    def __init__(
        self,
        manifest: Manifest,
        members: Mapping[str, bytes],
        path: Path | None = None,
        seen: _Stamp | None = None,
    ) -> None:
        self.manifest = manifest
        self.path = path
        self._members = members
        self._seen = seen

    @classmethod
    def open(cls, path: str | Path) -> Plan:
        """Open a plan file; graphs are read later, one at a time, never unpacked to disk.

        Raises:
            MissingFileError: no such file.
            PlanError: any other file, a damaged plan, or one of another format version.
        """
        path = Path(path)
        check_file(path, "plan file")
        path = path.absolute()  # members are read later, when the process may be in another folder
        seen = _Stamp.of(path)
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                if MANIFEST not in names:
                    raise PlanError(f"{path.name} is {_zip_kind(names, path)}.")
                manifest = Manifest.from_json(archive.read(MANIFEST))
        except UNREADABLE as error:
            raise PlanError(f"{path.name} is {_kind(path)}.") from error
        missing = sorted(set(manifest.digests) - set(names))
        if missing:
            raise PlanError(f"{path.name} lacks {', '.join(missing)}; export it again.")
        return cls(manifest, _ZipMembers(path), path, seen)

    @property
    def name(self) -> str:
        """The file's name, or a word for a plan that is not on disk."""
        return self.path.name if self.path else "the plan in memory"

    def read(self, member: str) -> bytes:
        """The bytes of a member.

        Raises:
            DamageError: it is missing, cut off, or not what the manifest's digest says.
            PlanError: the same, for another process has put another file there.
        """
        try:
            content = self._members[member]
        except (KeyError, *UNREADABLE) as error:
            raise self._unreadable(f"{member} cannot be read") from error
        if hashlib.sha256(content).hexdigest() != self.manifest.digests.get(member):
            raise self._unreadable(f"{member} does not match its digest")
        return content

    def _unreadable(self, why: str) -> PlanError:
        if self._seen != _Stamp.of(self.path):
            return PlanError(
                f"{self.name} was replaced since it was opened ({why}); run the command again."
            )
        repair = "Build its engines" if why.startswith(ENGINES) else "Copy or export it"
        return DamageError(f"{self.name} is damaged: {why}. {repair} again.")

    def arrays(self, member: str) -> dict[str, NDArray[np.float64]]:
        """The arrays of an `.npz` member."""
        with np.load(io.BytesIO(self.read(member)), allow_pickle=False) as content:
            return dict(content)

    def replaced(self, members: Mapping[str, bytes], **fields: Any) -> Plan:
        """A plan in memory with some members, and fields of its manifest, exchanged or added."""
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
        fields["digests"] = {**self.manifest.digests, **digests}
        manifest = dataclasses.replace(self.manifest, **fields)
        return Plan(manifest, _Overlay(members, self._members))

    def without_engines(self) -> Plan:
        """The same plan without engines: they belong to graphs that are going to change."""
        gone = {engine.member for made in self.manifest.engines for engine in made.engines}
        digests = {name: d for name, d in self.manifest.digests.items() if name not in gone}
        manifest = dataclasses.replace(self.manifest, engines=(), digests=digests)
        return Plan(manifest, self._members, self.path, self._seen)

    def save(self, path: str | Path) -> Path:
        """Write the plan; the file appears under its name only when it is whole."""
        path = Path(path)
        with replacing(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(zipfile.ZipInfo(MANIFEST, EPOCH), self.manifest.to_json())
            for member in self.manifest.digests:
                archive.writestr(zipfile.ZipInfo(member, EPOCH), self.read(member))
        return path


def make_plan(manifest: Manifest, members: Mapping[str, bytes]) -> Plan:
    """A plan in memory, its manifest completed with the members' digests."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    return Plan(dataclasses.replace(manifest, digests=digests), members)


def pack_arrays(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Arrays as the bytes of an `.npz` member."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


class _Overlay(dict[str, bytes]):
    """Members over those of another plan, which are not copied."""

    def __init__(self, members: Mapping[str, bytes], below: Mapping[str, bytes]) -> None:
        super().__init__(members)
        self._below = below

    def __missing__(self, member: str) -> bytes:
        return self._below[member]


@dataclass(frozen=True)
class _Stamp:
    """What tells a file from one that was put in its place. It is not kept open instead: on Windows
    nobody could replace it then."""

    inode: int
    changed: int
    size: int

    @classmethod
    def of(cls, path: Path | None) -> _Stamp | None:
        try:
            found = path.stat() if path else None
        except OSError:
            return None
        return found and cls(found.st_ino, found.st_mtime_ns, found.st_size)


class _ZipMembers(dict[str, bytes]):
    """Members read from the zip on demand and not kept."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __missing__(self, member: str) -> bytes:
        with zipfile.ZipFile(self._path) as archive:
            return archive.read(member)


def _zip_kind(names: list[str], path: Path) -> str:
    if MANIFEST.encode() in _head(path):  # cut off, and the end of an inner .npz found instead
        return DAMAGED
    if any(name.endswith("data.pkl") for name in names):
        return "a PyTorch checkpoint; turn it into a plan with 'clit-deploy export'"
    return "a zip file without a manifest, so no plan"


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(64)


def _kind(path: Path) -> str:
    head = _head(path)
    if not head:
        return "an empty file"
    if head.startswith(b"PK\x03\x04"):
        return DAMAGED
    for magic, kind in _KINDS.items():
        if head.startswith(magic):
            return f"{kind}, not a plan"
    if head[0] == 0x08 and head[1:2] < b"\x20":  # field 1 of an ONNX ModelProto: its IR version
        return "a bare ONNX graph, not a plan; export the checkpoint it came from"
    return "no plan: its content is not recognised. Make one with 'clit-deploy export'"

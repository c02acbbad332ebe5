"""The `.plan` file: an uncompressed zip of a manifest, graphs, arrays and engines.

A plan may come from a stranger. Whoever reads a member gets it from `Plan.read` or `Plan.arrays`,
which check it first.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clit_deploy.errors import QUOTED, DamageError, GraphError, PlanError, quote
from clit_deploy.plan.archive import open_archive
from clit_deploy.plan.manifest import Manifest
from clit_deploy.plan.npz import unpack_arrays
from clit_deploy.plan.safe_graph import ROLES, check_safe
from clit_deploy.system.files import check_file, replacing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clit_deploy.plan.npz import Arrays

MANIFEST = "manifest.json"
ZIP = b"PK\x03\x04"
NAME_AT = 30
"""Bytes before the name of a zip's first member."""
ENGINES = "engines/"
"""Members that can be made again from the others."""
EPOCH = (1980, 1, 1, 0, 0, 0)

MAX_MANIFEST = 4_000_000
"""Bytes of the manifest. A plan with engines for ten devices has 200,000."""

DAMAGED = "a plan or zip file that is cut off or damaged; copy or export it again"

UNREADABLE = (zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError)
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
    """A manifest and its members. A member is checked whenever it is read."""

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
        """Open a plan file. Graphs are read later, one at a time, and never unpacked to disk.

        Raises:
            MissingFileError: no such file.
            PlanError: another kind of file, a damaged plan, one of another format version, or one
                that is larger inside than outside.
        """
        path = Path(path)
        check_file(path, "plan file")
        path = path.absolute()  # members are read later, when the process may be in another folder
        seen = _Stamp.of(path)
        if not _starts_as_plan(path):
            raise PlanError(f"{path.name} is {_kind(path)}.")
        try:
            with open_archive(path) as archive:
                names = set(archive.namelist())
                text = _manifest_of(archive)
        except PlanError as error:
            raise PlanError(f"{path.name} is refused: {error}") from None
        except (KeyError, *UNREADABLE) as error:
            raise PlanError(f"{path.name} is {DAMAGED}.") from error
        manifest = Manifest.from_json(text)
        if missing := sorted(set(manifest.digests) - names):
            listed = quote(", ".join(missing))
            raise PlanError(f"{path.name} lacks {listed}; export it again.")
        return cls(manifest, _ZipMembers(path), path, seen)

    @property
    def name(self) -> str:
        """The file's name, or "the plan in memory"."""
        return self.path.name if self.path else "the plan in memory"

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of what the plan computes: of everything but its engines, and wherever it is."""
        return hashlib.sha256(self.without_engines().manifest.to_json().encode()).hexdigest()

    def read(self, member: str) -> bytes:
        """The bytes of a member. A graph contains nothing but what `plan/safe_graph.py` allows.

        Raises:
            DamageError: it is missing, cut off, or does not match the manifest's digest.
            PlanError: the same, because another process replaced the file.
            GraphError: it is a graph that does more than compute.
        """
        try:
            content = self._members[member]
        except (KeyError, *UNREADABLE) as error:
            raise self._unreadable(member, "cannot be read") from error
        if hashlib.sha256(content).hexdigest() != self.manifest.digests.get(member):
            raise self._unreadable(member, "does not match its digest")
        if member.endswith(".onnx"):
            self._check_graph(member, content)
        return content

    def _check_graph(self, member: str, content: bytes) -> None:
        used = self.manifest.role(member)
        try:
            check_safe(content, *((ROLES[used[0]], used[1]) if used else ()))
        except GraphError as error:
            raise GraphError(f"{self.name} is refused: in its graph {member}, {error}") from None

    def _unreadable(self, member: str, why: str) -> PlanError:
        named = member if member.isprintable() and len(member) < QUOTED else quote(member)
        if self._seen != _Stamp.of(self.path):
            return PlanError(
                f"{self.name} was replaced since it was opened ({named} {why}); run the command "
                "again."
            )
        repair = "Build its engines" if member.startswith(ENGINES) else "Copy or export it"
        return DamageError(f"{self.name} is damaged: {named} {why}. {repair} again.")

    def arrays(self, member: str) -> Arrays:
        """The arrays of an `.npz` member: finite numbers, read-only.

        Raises:
            PlanError: as `read`; or the member is damaged or too large.
        """
        content = self.read(member)
        try:
            return unpack_arrays(content)
        except PlanError as error:
            raise DamageError(f"{self.name} is damaged: in {member}, {error}") from error

    def replaced(self, members: Mapping[str, bytes], **fields: Any) -> Plan:
        """A plan in memory with some members and manifest fields replaced or added."""
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
        fields["digests"] = {**self.manifest.digests, **digests}
        manifest = dataclasses.replace(self.manifest, **fields)
        return Plan(manifest, _Overlay(members, self._members))

    def without_engines(self) -> Plan:
        """The same plan without engines, which belong to graphs that are going to change."""
        gone = {engine.member for made in self.manifest.engines for engine in made.engines}
        digests = {name: d for name, d in self.manifest.digests.items() if name not in gone}
        manifest = dataclasses.replace(self.manifest, engines=(), digests=digests)
        return Plan(manifest, self._members, self.path, self._seen)

    def save(self, path: str | Path) -> Path:
        """Write the plan. The file appears under its name only when it is complete."""
        path = Path(path)
        with replacing(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(zipfile.ZipInfo(MANIFEST, EPOCH), self.manifest.to_json())
            for member in self.manifest.digests:
                archive.writestr(zipfile.ZipInfo(member, EPOCH), self.read(member))
        return path


def make_plan(manifest: Manifest, members: Mapping[str, bytes]) -> Plan:
    """A plan in memory; the members' digests are added to its manifest."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    return Plan(dataclasses.replace(manifest, digests=digests), members)


class _Overlay(dict[str, bytes]):
    """Members over those of another plan, which are not copied."""

    def __init__(self, members: Mapping[str, bytes], below: Mapping[str, bytes]) -> None:
        super().__init__(members)
        self._below = below

    def __missing__(self, member: str) -> bytes:
        return self._below[member]


@dataclass(frozen=True)
class _Stamp:
    """Distinguishes a file from one that replaced it. The file is not kept open instead, because
    nobody could replace it then on Windows."""

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
        with open_archive(self._path) as archive:
            return archive.read(member)


def _manifest_of(archive: zipfile.ZipFile) -> bytes:
    if archive.getinfo(MANIFEST).file_size > MAX_MANIFEST:
        raise PlanError(f"its manifest is larger than {MAX_MANIFEST} bytes.")
    return archive.read(MANIFEST)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(512)


def _starts_as_plan(path: Path) -> bool:
    """Whether a file is a zip that starts with a manifest, as every plan does."""
    head = _head(path)
    return head.startswith(ZIP) and head[NAME_AT:].startswith(MANIFEST.encode())


def _kind(path: Path) -> str:
    """The kind of a file that is not a plan, for a message."""
    head = _head(path)
    if not head:
        return "an empty file"
    if head.startswith(ZIP):
        if b"data.pkl" in head:
            return "a PyTorch checkpoint; turn it into a plan with 'clit-deploy export'"
        return "a zip file without a manifest, not a plan" if zipfile.is_zipfile(path) else DAMAGED
    for magic, kind in _KINDS.items():
        if head.startswith(magic):
            return f"{kind}, not a plan"
    if head[0] == 0x08 and head[1:2] < b"\x20":  # field 1 of an ONNX ModelProto: its IR version
        return "a bare ONNX graph, not a plan; export the checkpoint it came from"
    return "not a plan: its content is not recognized. Make one with 'clit-deploy export'"

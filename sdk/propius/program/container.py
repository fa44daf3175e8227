"""The file of a program: an uncompressed ZIP of four entries, read without running anything.

``manifest.json``, ``train.json`` and ``eval.json`` are JSON of :mod:`propius.program.schema`;
``constants.safetensors`` holds tensors that the module carried along. There is no pickle and no
code in it, and no torch is needed to read it.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from propius import tensors
from propius.program.errors import ContainerError, SchemaError
from propius.program.graph_check import check_graph, check_manifest
from propius.program.schema import FORMAT, Graph, Manifest

ENTRIES = ("manifest.json", "train.json", "eval.json", "constants.safetensors")
ENTRY_BYTES_MAX = {
    "manifest.json": 4 << 20,
    "train.json": 16 << 20,
    "eval.json": 16 << 20,
    "constants.safetensors": 256 << 20,
}
PROGRAM_BYTES_MAX = sum(ENTRY_BYTES_MAX.values()) + (1 << 16)
_LOCAL_HEADER_BYTES = 30
_DIRECTORY_HEADER_BYTES = 46
_END_BYTES = 22
_S = TypeVar("_S", Manifest, Graph)


@dataclass(frozen=True, slots=True)
class Program:
    """A checked program. ``constants`` are safetensors bytes."""

    manifest: Manifest
    train: Graph
    eval: Graph
    constants: bytes

    def expected(self) -> dict[str, tensors.TensorInfo]:
        """The model's tensors, for ``tensors.check_matches``."""
        return {
            p.name: tensors.TensorInfo(p.dtype, tuple(p.shape)) for p in self.manifest.parameters
        }

    def rules(self) -> dict[str, str]:
        """How each tensor is aggregated: ``mean`` or ``server``."""
        return {p.name: p.rule for p in self.manifest.parameters}


def digest(data: bytes) -> str:
    """The program's name on the platform: SHA-256 of its bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def dump(program: Program) -> bytes:
    """Write a program; equal programs give equal bytes."""
    parts = (
        msgspec.json.encode(program.manifest),
        msgspec.json.encode(program.train),
        msgspec.json.encode(program.eval),
        program.constants,
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in zip(ENTRIES, parts, strict=True):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
    return buffer.getvalue()


def load(source: bytes | str | Path) -> Program:
    """Read and check a program from bytes or from a path.

    Raises
    ------
    ProgramError
        Naming the entry, the node and the field, and what is allowed.
    """
    data = source if isinstance(source, bytes) else _read(Path(source))
    parts = _entries(data)
    constants = parts["constants.safetensors"]
    try:
        names = frozenset(tensors.read_header(constants))
        tensors.check_finite(constants)
    except tensors.TensorError as error:
        raise SchemaError("constants.safetensors", str(error)) from error
    program = Program(
        _decoded("manifest.json", parts, Manifest),
        _decoded("train.json", parts, Graph),
        _decoded("eval.json", parts, Graph),
        constants,
    )
    check_manifest(program.manifest)
    check_graph("train.json", program.train, program.manifest, names)
    check_graph("eval.json", program.eval, program.manifest, names)
    return program


def _read(path: Path) -> bytes:
    size = path.stat().st_size
    if size > PROGRAM_BYTES_MAX:
        raise _too_large(size)
    return path.read_bytes()


def _too_large(size: int) -> ContainerError:
    return ContainerError("file", f"it has {size} bytes; at most {PROGRAM_BYTES_MAX} are allowed")


def _entries(data: bytes) -> dict[str, bytes]:
    if len(data) > PROGRAM_BYTES_MAX:
        raise _too_large(len(data))
    if not data.startswith(b"PK\x03\x04"):
        raise ContainerError(
            "file", "it is not a program (a ZIP); make one with propius.program.export(...)"
        )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            _check_names(infos)
            for info in infos:
                _check_entry(info)
            _check_no_gaps(archive, infos, len(data))
            return {info.filename: archive.read(info) for info in infos}
    except (zipfile.BadZipFile, NotImplementedError, EOFError, UnicodeDecodeError) as error:
        raise ContainerError("file", f"the ZIP is damaged ({error})") from error


def _check_names(infos: list[zipfile.ZipInfo]) -> None:
    # zipfile cuts a name at a NUL; orig_filename is what the file says.
    names = [info.orig_filename for info in infos]
    for name in names:
        if name not in ENTRIES:
            hint = " (a .pt2 or .pt file is no program)" if "/" in name else ""
            raise ContainerError(
                name[:100], f"no such entry is allowed; allowed: {', '.join(ENTRIES)}{hint}"
            )
        if names.count(name) > 1:
            raise ContainerError(name, "the entry stands twice")
    for name in ENTRIES:
        if name not in names:
            raise ContainerError(name, "the entry is missing")


def _check_entry(info: zipfile.ZipInfo) -> None:
    name = info.filename
    if info.flag_bits:
        raise ContainerError(
            name, f"flags {info.flag_bits:#x}: no encryption or streaming is allowed"
        )
    if info.compress_type != zipfile.ZIP_STORED:
        raise ContainerError(name, "it is compressed; entries must be stored")
    if info.file_size != info.compress_size:
        raise ContainerError(
            name, f"stored sizes differ: {info.file_size} and {info.compress_size}"
        )
    if info.file_size > ENTRY_BYTES_MAX[name]:
        raise ContainerError(
            name, f"it has {info.file_size} bytes; at most {ENTRY_BYTES_MAX[name]} are allowed"
        )
    if info.extra or info.comment:
        raise ContainerError(name, "extra fields and comments are not allowed")


def _check_no_gaps(archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo], total: int) -> None:
    """Every byte belongs to an entry or the directory, so no two readers see different files."""
    position = 0
    for info in infos:
        if info.header_offset != position:
            raise ContainerError(info.filename, "bytes stand between the entries")
        position += _LOCAL_HEADER_BYTES + len(info.filename) + info.file_size
    directory = sum(_DIRECTORY_HEADER_BYTES + len(info.filename) for info in infos)
    if archive.start_dir != position or position + directory + _END_BYTES != total:
        raise ContainerError("file", "bytes stand before, between or after the entries")


def _decoded(name: str, parts: dict[str, bytes], kind: type[_S]) -> _S:
    data = parts[name]
    if data[:1] == b"\x80":
        raise SchemaError(name, "this is a pickle, which is never loaded; JSON is expected")
    if kind is Manifest:
        _check_format(data)
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise SchemaError(name, str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SchemaError(name, f"this is not JSON ({error})") from error


class _Format(msgspec.Struct):
    format: int


def _check_format(data: bytes) -> None:
    try:
        version = msgspec.json.decode(data, type=_Format).format
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return  # The full decoding says it better.
    if version != FORMAT:
        raise SchemaError(
            "manifest.json.format",
            f"format {version} is not known here; this version reads format {FORMAT}",
        )

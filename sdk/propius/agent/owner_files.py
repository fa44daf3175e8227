"""Reads the TOML files by which a device's owner says what is there and what is allowed."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


class OwnerFileError(ValueError):
    """A file of the owner that cannot be read; the text names the file, the field and the fix."""


def read(path: Path, shape: type[T], *, missing: T) -> T:
    """Read a TOML file as ``shape``; return ``missing`` if there is no such file.

    Raises
    ------
    OwnerFileError
        Not TOML, or a field that is unknown or of the wrong type.
    """
    try:
        raw: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return missing
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OwnerFileError(f"{path} is no TOML: {error}") from error
    except OSError as error:
        raise OwnerFileError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return msgspec.convert(raw, shape)
    except msgspec.ValidationError as error:
        raise OwnerFileError(f"{path}: {error}") from error

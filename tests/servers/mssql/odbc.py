"""unixODBC and FreeTDS for pyodbc, from Debian's packages, without installing them.

`pyodbc` links to `libodbc.so.2`, which its wheel does not bring. A process finds the library in one of two ways: it
starts with `environment()`, or it calls `load()` before its first `import pyodbc` (children it forks afterwards
inherit that).
"""

import ctypes
import os
import tempfile
from pathlib import Path

from connectory.testing.processes import ServerFailed
from testkit.debian import ODBC_PACKAGES, unpacked

DRIVER_NAME = "FreeTDS"


def driver_library() -> Path:
    """The file of FreeTDS's ODBC driver."""
    return _one("usr/lib/*/odbc/libtdsodbc.so")


def environment() -> dict[str, str]:
    """Environment variables for a process that uses pyodbc with the driver registered as `FreeTDS`."""
    return {"LD_LIBRARY_PATH": str(_one("usr/lib/*/libodbc.so.2").parent), "ODBCSYSINI": str(_configuration())}


def settings() -> dict[str, str]:
    """Settings of `connectory-mssql` that make its tests of connections use these libraries."""
    libraries = {"CONNECTORY_MSSQL_ODBC_FOLDER": str(_one("usr/lib/*/libodbc.so.2").parent)}
    return libraries | {"CONNECTORY_MSSQL_ODBC_DRIVER": str(driver_library())}


def load() -> None:
    """Load the libraries into this process, so that `import pyodbc` finds them, and register the driver for it."""
    for library in ("libltdl.so.7", "libodbcinst.so.2", "libodbc.so.2"):
        ctypes.CDLL(str(_one(f"usr/lib/*/{library}")), mode=ctypes.RTLD_GLOBAL)
    os.environ["ODBCSYSINI"] = str(_configuration())


def _configuration() -> Path:
    """A folder with the list of drivers that unixODBC reads (`odbcinst.ini`)."""
    folder = unpacked("odbc", ODBC_PACKAGES) / "etc"
    wanted = f"[{DRIVER_NAME}]\nDescription = FreeTDS from Debian\nDriver = {driver_library()}\n"
    listing = folder / "odbcinst.ini"
    if not listing.exists() or listing.read_text() != wanted:
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as new:
            new.write(wanted)
        Path(new.name).chmod(0o644)
        Path(new.name).replace(listing)  # at once, for test processes that read it now
    return folder


def _one(pattern: str) -> Path:
    root = unpacked("odbc", ODBC_PACKAGES)
    found = sorted(root.glob(pattern))
    if not found:
        raise ServerFailed(f"{root} holds no {pattern}: the Debian packages changed, see servers/debian.py")
    return found[0]

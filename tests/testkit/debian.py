"""Debian packages unpacked into the cache: no root, no installation, nothing outside the cache folder.

Needs `apt-get` and `dpkg-deb` (any Debian or Ubuntu) and a reachable package mirror. Without them ServerFailed says so.
"""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from connectory.testing.processes import ServerFailed
from testkit.cache import build_once
from testkit.processes import run

# The server and what its binaries link to beyond a minimal Debian; not the packages that would set up a system service.
MARIADB_PACKAGES = (
    "mariadb-server-core",
    "mariadb-client-core",
    "mariadb-common",
    "libaio1",
    "liburing2",
    "libnuma1",
)

# The server is a link into redis-tools.
REDIS_PACKAGES = ("redis-server", "redis-tools", "libjemalloc2", "liblzf1", "libatomic1")

# The directory server, without the module for Perl.
SLAPD_PACKAGES = (
    "slapd",
    "libldap-2.5-0",
    "libltdl7",
    "libodbc2",
    "libperl5.36",
    "libsasl2-2",
    "libwrap0",
    "libargon2-1",
)
PGBOUNCER_PACKAGES = ("pgbouncer", "libc-ares2", "libevent-2.1-7")

# unixODBC's driver manager, which pyodbc links to, and FreeTDS as its driver for SQL Server.
ODBC_PACKAGES = ("libltdl7", "libodbc2", "libodbcinst2", "tdsodbc", "freetds-common")

# The browser without its windows, and a font, without which it has nothing to draw with.
CHROMIUM_PACKAGES = (
    "chromium-headless-shell",
    "chromium-common",
    "fonts-dejavu-core",
    *("libasound2", "libasyncns0", "libatk1.0-0", "libatspi2.0-0", "libbrotli1", "libbsd0", "libdav1d6", "libdbus-1-3"),
    *("libdouble-conversion3", "libdrm2", "libexpat1", "libflac12", "libfontconfig1", "libfreetype6", "libgbm1"),
    *("libglib2.0-0", "libgraphite2-3", "libharfbuzz-subset0", "libharfbuzz0b", "libjpeg62-turbo", "libminizip1"),
    *("libmp3lame0", "libmpg123-0", "libnspr4", "libnss3", "libogg0", "libopenh264-7", "libopus0", "libpng16-16"),
    *("libpulse0", "libsndfile1", "libsqlite3-0", "libvorbis0a", "libvorbisenc2", "libwayland-server0", "libx11-6"),
    *("libx11-xcb1", "libxau6", "libxcb1", "libxcb-randr0", "libxcomposite1", "libxdamage1", "libxdmcp6", "libxext6"),
    *("libxfixes3", "libxi6", "libxkbcommon0", "libxnvctrl0", "libxrandr2", "libxrender1"),
)


def unpacked(name: str, packages: tuple[str, ...]) -> Path:
    """The root of a file tree that holds these packages, downloaded and unpacked on the first call.

    `name` names the set in the cache. Raises ServerFailed with apt's own words where a package cannot be had.
    """
    folder = build_once(f"debian/{name}", " ".join(packages), lambda folder: _unpack(packages, folder))
    return folder / "root"


def libraries_in(root: Path) -> str:
    """Where the packages unpacked in `root` keep their libraries, for `LD_LIBRARY_PATH`."""
    folders = [*root.glob("usr/lib/*-linux-gnu"), *root.glob("lib/*-linux-gnu")]
    private = [folder / "pulseaudio" for folder in folders]  # libpulse keeps a library of its own there
    return ":".join(map(str, [*folders, *private]))


def _unpack(packages: tuple[str, ...], folder: Path) -> None:
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise ServerFailed(
                f"{program} is not installed, so {', '.join(packages)} cannot be unpacked: run these tests on Debian or Ubuntu."
            )
    archives, root = folder / "archives", folder / "root"
    archives.mkdir()
    root.mkdir()
    _download(packages, archives, folder / "apt")
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for _ in threads.map(lambda archive: _extract(archive, root), sorted(archives.glob("*.deb"))):
            pass
    shutil.rmtree(archives)


def _extract(archive: Path, root: Path) -> None:
    run(f"Unpacking {archive.name}", ["dpkg-deb", "--extract", archive, root])


def _download(packages: tuple[str, ...], archives: Path, private: Path) -> None:
    try:
        run("apt-get download", ["apt-get", "-q", "download", *packages], cwd=archives)
    except ServerFailed:
        # The machine's package lists are missing or old, and may not be ours to update: keep lists of our own.
        (private / "lists" / "partial").mkdir(parents=True)
        (private / "cache" / "archives" / "partial").mkdir(parents=True)
        own_lists = ["-q", "-o", f"Dir::State::Lists={private / 'lists'}", "-o", f"Dir::Cache={private / 'cache'}"]
        if os.geteuid() == 0:
            own_lists += ["-o", "APT::Sandbox::User=root"]  # apt's own user could not write there
        run("apt-get update", ["apt-get", *own_lists, "update"])
        run("apt-get download", ["apt-get", *own_lists, "download", *packages], cwd=archives)
        shutil.rmtree(private)

"""What the process of a test is kept to: its user, its limits, and the files it can read. It writes to none.

A test talks to a server that may be hostile, through drivers that may have bugs: what code in its process can do is all that an
attacker gets. Where the kernel has Landlock, that is to read what follows here. Where the service runs as root, each test is a
user of its own besides, to whom the service's files are closed whatever the kernel has.
"""

from __future__ import annotations

import os
import resource
import socket
import ssl
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from connectory.checks import landlock, privileges, seccomp
from connectory.checks.linux import address_space, limit, limit_memory

Level: TypeAlias = Literal["landlock", "uid", "none"]
"""What keeps tests from files: the kernel's Landlock; that they are users of their own; nothing."""

WARNINGS: dict[Level, str] = {
    "uid": "This kernel does not offer Landlock: connection tests cannot reach the service's files, but read what every user "
    "of the machine may. Run a kernel with Landlock (Linux 5.13 or newer, and lsm= names it) to close that too.",
    "none": "This kernel does not offer Landlock, and connection tests run as the service's own user: a driver's bug could read "
    "the key file. Run a kernel with Landlock (Linux 5.13 or newer, and lsm= names it), or start the service as root, so that "
    "each test becomes a user of its own.",
}
"""The line for the log where tests are kept from less than they could be."""

NativeConnections: TypeAlias = Literal["limited", "open"]
"""What native code in tests may connect to by TCP: the ports of its own connection; whatever the machine can."""

NATIVE_WARNINGS: dict[NativeConnections, str] = {
    "open": "This kernel does not limit TCP by port: native code in connection tests, if a far end takes it over, can connect to "
    "whatever this machine can. Run a kernel whose Landlock does (ABI 4, Linux 6.7 or newer) on x86-64 or 64-bit ARM, or limit "
    "it by the network's own rules.",
}

_OPEN_FILES = 256
_RELAYS = 3
"""Ports for a test's own relays: one, and others for when that is taken."""
_DEVICES = ("/dev/null", "/dev/random", "/dev/urandom", "/dev/zero")
_SYSTEM = (
    # What the loader and the C library read: libraries, locales, and how names are resolved.
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64", "/nix/store"),
    "/etc/ld.so.cache",
    *("/usr/share/locale", "/etc/locale.alias", "/usr/share/zoneinfo", "/etc/localtime", "/etc/timezone"),
    *("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf"),
    *("/etc/services", "/etc/protocols", "/etc/mime.types", "/sys/devices/system/cpu"),
    # Certificates that the machine trusts, and OpenSSL's settings; not the folders of private keys beside them.
    *("/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf", "/etc/ca-certificates", "/etc/crypto-policies"),
    *("/usr/local/ssl/certs", "/usr/local/ssl/cert.pem", "/usr/local/ssl/openssl.cnf"),
    *("/etc/pki/ca-trust", "/etc/pki/tls/certs", "/etc/pki/tls/cert.pem", "/etc/pki/tls/openssl.cnf"),
    *("/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/usr/share/pki", "/var/lib/ca-certificates"),
    # Native drivers that are installed for the whole machine, and what their makers say that an administrator sets.
    *("/etc/odbc.ini", "/etc/odbcinst.ini", "/etc/freetds", "/etc/freetds.conf", "/etc/krb5.conf", "/etc/krb5.conf.d"),
)
_ADD_ON_PACKAGES = ("opt/*/*/lib", "opt/*/*/lib64", "opt/*/*/share")
"""Libraries and their messages, as the Filesystem Hierarchy Standard has them below /opt."""
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(frozen=True)
class Confinement:
    """What this process's tests are kept to.

    Attributes:
        readable: files and folders that a test can read, where Landlock keeps it from others.
        closed: files and folders that it cannot read even where they stand in a readable one.
        users: user ids for tests, or `None` where they have to keep the service's.
        reads_for_others: whether a test needs the right to read other users' files: Python itself is closed to others.
        has_landlock: whether the kernel has it.
    """

    readable: tuple[str, ...]
    closed: tuple[Path, ...]
    users: range | None
    reads_for_others: bool
    has_landlock: bool

    def begin(self) -> Confining:
        """Give up this process's user, capabilities and room to fork, for good. Files stay readable until `complete`."""
        used = address_space()
        ruleset = self._ruleset() if self.has_landlock else None
        if self.users is not None:
            # One after the other, so that no two tests at once are the same user, who may signal and watch itself.
            privileges.become_user(self.users[os.getpid() % len(self.users)], reading=self.reads_for_others)
            alone = True
        else:
            alone = privileges.stand_apart()
        privileges.limit_processes(alone=alone)
        privileges.no_new_privileges()
        seccomp.give_up()
        for kind, allowed in (
            (resource.RLIMIT_FSIZE, 0),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_NOFILE, _OPEN_FILES),
        ):
            limit(kind, allowed)
        return Confining(ruleset, self.closed, used, tuple(_free_ports()) if landlock.knows_tcp() else ())

    def _ruleset(self) -> landlock.Ruleset:
        ruleset = landlock.Ruleset()
        # For each test anew: what is replaced while the service runs, like /etc/resolv.conf, is another file to the kernel.
        for path in self.readable:
            ruleset.allow_reading(path)
        for device in _DEVICES:
            ruleset.allow_device(device)
        return ruleset


@dataclass(frozen=True)
class Confining:
    """A process whose confinement has begun. What is left needs its job, so that a process may wait for one like this.

    Attributes:
        relays: ports for listeners of this process that native code in it connects to.
    """

    _ruleset: landlock.Ruleset | None
    _closed: tuple[Path, ...]
    _used: int
    relays: tuple[int, ...]

    @property
    def limits_connections(self) -> bool:
        """Whether a completed confinement keeps this process from TCP ports."""
        return self._ruleset is not None and landlock.knows_tcp()

    @property
    def limits_datagrams(self) -> bool:
        """Whether a completed confinement keeps this process from datagrams, where it is to."""
        return seccomp.available()

    def complete(self, *, memory: int, also_readable: Iterable[str], ports: Iterable[int], datagrams: bool) -> None:
        """Close the files and the ports, and limit the memory, for good. Nothing of a connector must run before.

        Args:
            memory: bytes of address space to have besides what was there when the confinement began.
            also_readable: files and folders that this job's connector reads, by the deployer's settings.
            ports: TCP ports that native code may connect to, at any address.
            datagrams: whether it may send datagrams.

        Raises:
            OSError: the kernel refused; then the job must not be done.
        """
        if self._ruleset is not None:
            for path in _without(self._closed, map(Path, also_readable)):
                self._ruleset.allow_reading(str(path))
            for port in {*ports, *self.relays}:
                self._ruleset.allow_connecting(port)
            for port in self.relays:
                self._ruleset.allow_listening(port)
            self._ruleset.restrict()
        if not datagrams:
            seccomp.give_up_datagrams()
        limit_memory(self._used + memory)


def plan(closed: Iterable[str] = ()) -> Confinement:
    """What tests of this process, and of its forks, are to be kept to. Its import path must be in place.

    Args:
        closed: the service's own files and folders, as absolute paths.
    """
    imports = [Path(entry) for entry in sys.path if entry.startswith("/")]
    own = tuple(Path(path).resolve() for path in closed)
    users = privileges.spare_users()
    return Confinement(
        readable=tuple(map(str, _outermost(_without(own, (*map(Path, _SYSTEM), *_machines(), *imports))))),
        closed=own,
        users=users,
        reads_for_others=users is not None and any(map(_is_closed_to_others, imports)),
        has_landlock=landlock.abi() > 0,
    )


def level() -> Level:
    """What keeps tests from files where this process starts them."""
    if landlock.abi() > 0:
        return "landlock"
    planned = plan()
    return "uid" if planned.users is not None and not planned.reads_for_others else "none"


def _free_ports() -> Iterator[int]:
    """Ports of loopback that nobody listens on. They are free for others meanwhile: a relay takes the first that still is."""
    with ExitStack() as taken:
        for _ in range(_RELAYS):
            holder = taken.enter_context(socket.socket())
            holder.bind(("127.0.0.1", 0))
            yield holder.getsockname()[1]


def native_connections() -> NativeConnections:
    """What native code in tests may connect to where this process starts them."""
    return "limited" if landlock.knows_tcp() and seccomp.available() else "open"


def _machines() -> Iterator[Path]:
    """Where this machine, by its environment and by how Python was built, has libraries and certificates."""
    for pattern in _ADD_ON_PACKAGES:
        yield from Path("/").glob(pattern)
    yield Path(sys.base_prefix, "lib")
    trusted = ssl.get_default_verify_paths()
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    certificates = (trusted.openssl_cafile, trusted.openssl_capath, *map(os.environ.get, _CERTIFICATES))
    yield from (Path(path) for path in (*libraries, *certificates) if path and path.startswith("/"))


def _without(closed: tuple[Path, ...], paths: Iterable[Path]) -> Iterator[Path]:
    """`paths`; of folders in which something closed stands, what they hold besides: Landlock allows whole folders."""
    for path in paths:
        real = path.resolve()
        if any(real in name.parents for name in closed):
            with suppress(OSError):
                yield from _without(closed, [entry for entry in real.iterdir() if not _is_closed(entry, closed)])
        elif not _is_closed(real, closed):
            yield path


def _is_closed(path: Path, closed: tuple[Path, ...]) -> bool:
    """Whether `path` is closed, or named like a companion of what is: SQLite's `-wal`, a backup's `.old`."""
    return any(str(path) == str(name) or str(path).startswith((f"{name}-", f"{name}.", f"{name}~")) for name in closed)


def _outermost(paths: Iterable[Path]) -> Iterator[Path]:
    """`paths` without folders that stand inside others of them: every rule costs each test some microseconds."""
    found = dict.fromkeys(paths)
    yield from (path for path in found if not path.is_dir())
    last: Path | None = None
    for folder in sorted({path.resolve() for path in found if path.is_dir()}):  # a folder comes before what is in it
        if last is None or not folder.is_relative_to(last):
            last = folder
            yield folder


def _is_closed_to_others(folder: Path) -> bool:
    """Whether another user cannot import from a folder: cannot get there, or not read it or what can be imported there."""
    try:
        if any(not way.stat().st_mode & stat.S_IXOTH for way in folder.resolve().parents):
            return True
        importable = [entry for entry in folder.iterdir() if entry.suffix == ".py" or entry.name.isidentifier()]
        return any(not part.stat().st_mode & stat.S_IROTH for part in (folder, *importable))
    except OSError:
        return False  # there is nothing

"""Who else may read a key file: the rule for each way in which platforms hand files to a service.

The file belongs to root or to the service's user; nobody else may write it. It may be readable for a group of the
service, as Kubernetes makes it with `fsGroup`, and for root's own group, whose bits are those of the access list where
systemd hands over a credential. It may be readable for everybody only where the platform lets nobody else come near:
in a container's mount of secrets, and in systemd's credentials directory while that is closed.
"""

import os
import stat
from pathlib import Path

from connectory.vault.errors import KeyRingInvalid

CONTAINER_SECRETS = Path("/run/secrets")
"""Where Docker and Podman mount secrets, by default with mode 0444, for the one container that they are for."""

_NOT_ACCEPTED = stat.S_IWGRP | stat.S_IXGRP | stat.S_IWOTH | stat.S_IXOTH


def refuse_exposed(path: Path, opened: os.stat_result) -> None:
    """Refuse a key file that other accounts can read or change.

    Args:
        path: the file's name, links and all.
        opened: of the file that is open, so that what is checked is what is read.

    Raises:
        KeyRingInvalid: with the reason, and the command that closes the file.
    """
    mode, user = stat.S_IMODE(opened.st_mode), os.geteuid()
    found = f"Key file {path} has mode {mode:04o}"
    if user not in (0, opened.st_uid) and opened.st_uid != 0:
        raise KeyRingInvalid(
            f"Key file {path} belongs to user {opened.st_uid}, who could replace the keys; run `chown {user} {path}`, or "
            "give it to root and a group of the service."
        )
    if mode & _NOT_ACCEPTED:
        raise KeyRingInvalid(f"{found}, so that others than its owner can change it; run `chmod 600 {path}`.")
    if mode & stat.S_IROTH and not _is_closed_by_platform(path, opened):
        raise KeyRingInvalid(
            f"{found}, so that everybody can read it; run `chmod 600 {path}`, or mount it with mode 0440 for a group of "
            "the service (Kubernetes: defaultMode and fsGroup)."
        )
    if mode & stat.S_IRGRP and not mode & stat.S_IROTH and opened.st_gid not in {0, os.getegid(), *os.getgroups()}:
        raise KeyRingInvalid(
            f"{found} and group {opened.st_gid}, which this process is not in; run `chmod 600 {path}`, or run the process "
            "with that group (Kubernetes: fsGroup)."
        )


def _is_closed_by_platform(path: Path, opened: os.stat_result) -> bool:
    real = Path(os.path.realpath(path))
    return _is_container_secret(real, opened) or _is_credential(real)


def _is_container_secret(real: Path, opened: os.stat_result) -> bool:
    # Mounted, so by the container's runtime: an ordinary folder of this name is as open as any other.
    root = Path(os.path.realpath(CONTAINER_SECRETS))
    return real.is_relative_to(root) and opened.st_dev != root.parent.stat().st_dev


def _is_credential(real: Path) -> bool:
    given = os.environ.get("CREDENTIALS_DIRECTORY")
    if not given:
        return False
    directory = Path(os.path.realpath(given))
    return real.is_relative_to(directory) and not directory.stat().st_mode & stat.S_IRWXO

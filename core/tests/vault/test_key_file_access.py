"""Key files as platforms lay them out, made as real files and read as the account that would read them there."""

import os
import re
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from connectory.vault import KeyRingInvalid, access, generate_keyring, load_keyring

IS_ROOT = os.geteuid() == 0
SERVICE, OTHER_USER = (65534, 65533) if IS_ROOT else (os.getuid(), os.getuid())
GROUP, OTHER_GROUP = (20_000, 20_001) if IS_ROOT else (os.getgid(), os.getgid())


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every account can enter; what pytest makes is closed to others than us."""
    made = Path(tempfile.mkdtemp(prefix="connectory-keys-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@contextmanager
def as_service(*groups: int) -> Iterator[None]:
    """As the account of a service that does not run as root, with `fsGroup` among its groups. Ours, where we are not root."""
    if not IS_ROOT:
        yield
        return
    before = os.getgroups()
    os.setgroups(groups)
    os.setegid(SERVICE)
    os.seteuid(SERVICE)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)


def lay(path: Path, mode: int, *, owner: int = 0, group: int = 0) -> Path:
    """A key file of this mode and, where we are root, of this owner and group."""
    generate_keyring(path)
    if IS_ROOT:
        os.chown(path, owner, group)
    path.chmod(mode)
    return path


def kubernetes_volume(folder: Path, mode: int, group: int) -> Path:
    """A secret volume: the file is a link to `..data/keys.json`, and `..data` a link to a folder named after the time."""
    data = folder / "..2026_11_27_09_30_00.123456789"
    data.mkdir()
    data.chmod(0o755)
    lay(data / "keys.json", mode, group=group)
    (folder / "..data").symlink_to(data.name)
    (folder / "keys.json").symlink_to("..data/keys.json")
    return folder / "keys.json"


def refusal(path: Path) -> str:
    with pytest.raises(KeyRingInvalid) as refused:
        load_keyring(path)
    return str(refused.value)


@pytest.mark.parametrize("mode", [0o440, 0o640])
def test_kubernetes_with_a_group_of_the_pod(folder, mode):
    path = kubernetes_volume(folder, mode, GROUP)
    with as_service(GROUP):
        assert load_keyring(path).kids()


def test_kubernetes_follows_the_links_to_the_secrets_next_version(folder):
    """As the kubelet does it: a new folder, and `..data` renamed onto it."""
    path = kubernetes_volume(folder, 0o440, GROUP)
    newer = folder / "..2026_11_28_09_30_00.987654321"
    newer.mkdir(mode=0o755)
    newer.chmod(0o755)
    lay(newer / "keys.json", 0o440, group=GROUP)
    with as_service(GROUP):
        before = load_keyring(path)
    (folder / "..data_tmp").symlink_to(newer.name)
    (folder / "..data_tmp").rename(folder / "..data")
    with as_service(GROUP):
        after = load_keyring(path)
    assert after.fingerprint(after.primary) != before.fingerprint(before.primary)


@pytest.mark.parametrize("mode", [0o644, 0o444])
def test_kubernetes_default_mode_is_refused_and_the_line_says_what_to_set(folder, mode):
    path = kubernetes_volume(folder, mode, GROUP)
    with as_service(GROUP):
        line = refusal(path)
    assert f"has mode {mode:04o}, so that everybody can read it" in line
    assert "defaultMode and fsGroup" in line


def test_a_group_that_the_process_is_not_in_is_refused(folder, monkeypatch):
    path = lay(folder / "keys.json", 0o440, owner=SERVICE, group=OTHER_GROUP)
    with as_service(GROUP):
        if not IS_ROOT:  # an ordinary user cannot give a file to another group
            monkeypatch.setattr(os, "getgroups", list)
            monkeypatch.setattr(os, "getegid", lambda: OTHER_GROUP + 1)
        line = refusal(path)
    assert re.search(rf"has mode 0440 and group {OTHER_GROUP}, which this process is not in; run `chmod 600 ", line)


def test_another_users_file_is_refused(folder, monkeypatch):
    """Its owner could replace the keys."""
    path = lay(folder / "keys.json", 0o440, owner=OTHER_USER, group=GROUP)
    with as_service(GROUP):
        if not IS_ROOT:
            monkeypatch.setattr(os, "geteuid", lambda: OTHER_USER + 1)
        assert f"belongs to user {OTHER_USER}, who could replace the keys" in refusal(path)


@pytest.mark.parametrize("mode", [0o620, 0o660, 0o602, 0o610])
def test_a_file_that_others_can_change_is_refused(folder, mode):
    path = lay(folder / "keys.json", mode, owner=SERVICE, group=GROUP)
    with as_service(GROUP):
        assert f"has mode {mode:04o}, so that others than its owner can change it; run `chmod 600 {path}`" in refusal(
            path
        )


@pytest.fixture
def container_secrets(monkeypatch) -> Iterator[Path]:
    """A file system of its own, as the runtime of a container mounts one at /run/secrets."""
    mount = Path("/dev/shm")
    assert mount.stat().st_dev != mount.parent.stat().st_dev
    monkeypatch.setattr(access, "CONTAINER_SECRETS", mount)
    made = Path(tempfile.mkdtemp(dir=mount))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def test_docker_and_podman_mount_secrets_readable_for_all_in_the_container(container_secrets):
    path = lay(container_secrets / "keys.json", 0o444)
    with as_service():
        assert load_keyring(path).kids()


def test_a_plain_folder_of_that_name_is_not_a_mount(folder, monkeypatch):
    monkeypatch.setattr(access, "CONTAINER_SECRETS", folder / "run" / "secrets")
    access.CONTAINER_SECRETS.mkdir(parents=True)
    path = lay(access.CONTAINER_SECRETS / "keys.json", 0o444)
    with as_service():
        assert "so that everybody can read it" in refusal(path)


def test_a_secret_that_a_container_gets_to_write_is_refused(container_secrets):
    path = lay(container_secrets / "keys.json", 0o666)
    with as_service():
        assert "so that others than its owner can change it" in refusal(path)


def give(path: Path, permissions: int) -> None:
    """An access list that lets the service's account in, as systemd makes it for `User=`: the group's bits become its mask."""
    entries = [
        (0x01, 4 | permissions, -1),
        (0x02, permissions, SERVICE),
        (0x04, 0, -1),
        (0x10, permissions, -1),
        (0x20, 0, -1),
    ]
    packed = b"".join(struct.pack("<HHI", tag, allowed, who & 0xFFFFFFFF) for tag, allowed, who in entries)
    os.setxattr(path, "system.posix_acl_access", struct.pack("<I", 2) + packed)


def test_systemd_credentials_of_an_ordinary_user(folder, monkeypatch):
    """Root's, mode 0400, and an access list that shows as 0440."""
    directory = folder / "connectory.service"
    directory.mkdir()
    path = lay(directory / "keys.json", 0o400)
    give(path, 4)
    directory.chmod(0o500)
    give(directory, 5)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))
    assert path.stat().st_mode & 0o777 == 0o440
    with as_service():
        assert load_keyring(path).kids()


def test_systemd_credentials_of_a_service_of_root(folder, monkeypatch):
    directory = folder / "connectory.service"
    directory.mkdir(mode=0o700)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))
    assert load_keyring(lay(directory / "keys.json", 0o400)).kids()


def test_a_credentials_directory_is_believed_while_it_is_closed(folder, monkeypatch):
    """The variable alone opens nothing."""
    directory = folder / "connectory.service"
    directory.mkdir(mode=0o700)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))
    path = lay(directory / "keys.json", 0o444)
    assert load_keyring(path).kids()
    directory.chmod(0o755)
    assert "so that everybody can read it" in refusal(path)

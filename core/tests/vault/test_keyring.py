"""The key file: what is accepted, what is refused and how the refusal reads."""

import base64
import json
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connectory.vault import KeyMissing, KeyRing, KeyRingInvalid, add_key, generate_keyring, load_keyring
from connectory.vault.keyfile import change_keyring

GOOD = "base64:" + base64.b64encode(os.urandom(32)).decode()


def encoded(key: bytes) -> str:
    return "base64:" + base64.b64encode(key).decode()


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def key_file(directory: Path, document: object, mode: int = 0o600) -> Path:
    path = directory / "keys.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    path.chmod(mode)
    return path


def test_a_generated_file_is_private(tmp_path):
    """It loads as the ring that it was made from."""
    made = generate_keyring(tmp_path / "keys.json")
    read = load_keyring(tmp_path / "keys.json")
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600
    assert made.primary == datetime.now(UTC).strftime("%Y-%m")
    assert read.kids() == (made.primary,)
    assert read.key(read.primary) == made.key(made.primary)
    assert names_in(tmp_path) == ["keys.json"]


def test_a_generated_file_is_private_under_any_umask(tmp_path):
    previous = os.umask(0)
    try:
        generate_keyring(tmp_path / "keys.json")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600


def test_generating_never_replaces_a_file(tmp_path):
    path = tmp_path / "keys.json"
    path.write_text("precious")
    with pytest.raises(KeyRingInvalid, match="exists already and was kept"):
        generate_keyring(path)
    assert path.read_text() == "precious"
    assert names_in(tmp_path) == ["keys.json"]


def test_one_of_many_processes_that_generate_at_once_wins(tmp_path):
    """The file is whole."""
    path = tmp_path / "keys.json"

    def generate(_: int) -> KeyRing | None:
        try:
            return generate_keyring(path)
        except KeyRingInvalid:
            return None

    with ThreadPoolExecutor(16) as pool:
        rings = [ring for ring in pool.map(generate, range(16)) if ring]
    assert len(rings) == 1
    assert load_keyring(path).key(rings[0].primary) == rings[0].key(rings[0].primary)
    assert names_in(tmp_path) == ["keys.json"]


def test_generating_without_a_directory_names_file_and_reason(tmp_path):
    with pytest.raises(KeyRingInvalid, match=r"nowhere/keys.json cannot be created \(No such file or directory\)"):
        generate_keyring(tmp_path / "nowhere" / "keys.json")


def test_an_added_key_opens_but_seals_only_when_promoted(tmp_path):
    path = tmp_path / "keys.json"
    first = generate_keyring(path)
    second = add_key(path, promote=False)
    third = add_key(path, promote=True)
    month = first.primary
    assert second.primary == month
    assert second.kids() == (month, f"{month}-2")
    assert third.primary == f"{month}-3"
    assert third.key(month) == first.key(month)
    assert len({third.key(kid) for kid in third.kids()}) == 3
    assert load_keyring(path) == third
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names_in(tmp_path) == ["keys.json"]


def test_an_added_key_is_written_through_a_link_and_keeps_the_owner(tmp_path):
    real = tmp_path / "volume.json"
    generate_keyring(real)
    if os.geteuid() == 0:
        os.chown(real, 65534, 65534)
    owner = real.stat().st_uid
    link = tmp_path / "keys.json"
    link.symlink_to(real)
    add_key(link, promote=True)
    assert link.is_symlink()
    assert len(load_keyring(real).kids()) == 2
    assert real.stat().st_uid == owner


def test_adding_a_key_while_another_process_does_is_refused(tmp_path):
    """The file stays as it was."""
    path = tmp_path / "keys.json"
    ring = generate_keyring(path)
    (tmp_path / "keys.json.new").write_text("")
    with pytest.raises(KeyRingInvalid, match=r"being changed by another process; if none is, delete .*keys\.json\.new"):
        add_key(path, promote=True)
    assert load_keyring(path) == ring


def test_adding_a_key_to_an_invalid_file_is_refused(tmp_path):
    """No draft is left behind."""
    path = key_file(tmp_path, "{}")
    with pytest.raises(KeyRingInvalid):
        add_key(path, promote=True)
    assert names_in(tmp_path) == ["keys.json"]


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o660, 0o644, 0o601, 0o444])
def test_a_file_open_to_the_world_or_to_changes_by_its_group_is_refused(tmp_path, mode):
    """The message holds the command that closes it."""
    path = key_file(tmp_path, {"primary": "a", "keys": {"a": GOOD}}, mode)
    with pytest.raises(KeyRingInvalid, match=f"has mode {mode:04o}.*run `chmod 600 {re.escape(str(path))}`"):
        load_keyring(path)


def test_a_read_only_file_is_accepted(tmp_path):
    assert load_keyring(key_file(tmp_path, {"primary": "a", "keys": {"a": GOOD}}, 0o400)).kids() == ("a",)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ("", "is not JSON"),
        ("not json", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        (f'{{"primary": "a", "keys": {{"a": "{GOOD}", "a": "{GOOD}"}}}}', "names a member twice"),
        ("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "is not JSON"),
        ([], "must be a JSON object"),
        ({"keys": {"a": GOOD}}, 'members "primary" and "keys"'),
        ({"primary": "a", "keys": {"a": GOOD}, "more": 1}, "no others"),
        ({"primary": "a", "keys": {"a": GOOD}, "created": {"b": "2026-11-27T09:30:00+00:00"}}, '"created" must map'),
        ({"primary": "a", "keys": {"a": GOOD}, "created": {"a": "2026-11-27T09:30:00"}}, '"created" must map'),
        ({"primary": "a", "keys": {"a": GOOD}, "created": {"a": 7}}, '"created" must map'),
        ({"primary": "a", "keys": {"a": GOOD}, "created": ["a"]}, '"created" must map'),
        ({"primary": "a", "keys": {}}, "at least one key id"),
        ({"primary": "a", "keys": [GOOD]}, "at least one key id"),
        ({"primary": "b", "keys": {"a": GOOD}}, '"primary" names none of the keys; set it to one of: a'),
        ({"primary": None, "keys": {"a": GOOD}}, '"primary" names none'),
        ({"primary": "a", "keys": {"a": "correct horse battery staple"}}, "passphrases are not accepted"),
        ({"primary": "a", "keys": {"a": None}}, "passphrases are not accepted"),
        ({"primary": "a", "keys": {"a": encoded(b"correct horse battery staple 123")}}, "is text, not random bytes"),
        ({"primary": "a", "keys": {"a": encoded(os.urandom(31))}}, "is 31 bytes long"),
        ({"primary": "a", "keys": {"a": encoded(os.urandom(33))}}, "is 33 bytes long"),
        ({"primary": "a", "keys": {"a": "base64:"}}, "is 0 bytes long"),
        ({"primary": "a", "keys": {"a": encoded(bytes(32))}}, "repeats or counts up one byte"),
        ({"primary": "a", "keys": {"a": encoded(b"\xff" * 32)}}, "repeats or counts up one byte"),
        ({"primary": "a", "keys": {"a": encoded(bytes(range(32)))}}, "repeats or counts up one byte"),
        ({"primary": "a", "keys": {"a": GOOD[:-1]}}, "is not valid base64"),
        ({"primary": "a", "keys": {"a": GOOD[:-3] + "*=="}}, "is not valid base64"),
        ({"primary": "a", "keys": {"": GOOD}}, "key number 1 is not 1 to 32 letters"),
        ({"primary": "a", "keys": {"a": GOOD, "b.c": GOOD}}, "key number 2 is not 1 to 32 letters"),
        ({"primary": "a", "keys": {"a\n": GOOD}}, "key number 1 is not 1 to 32 letters"),
        ({"primary": "a", "keys": {"x" * 33: GOOD}}, "key number 1 is not 1 to 32 letters"),
    ],
)
def test_an_unusable_file_is_refused_with_a_sentence_that_names_it(tmp_path, document, sentence):
    path = key_file(tmp_path, document)
    with pytest.raises(KeyRingInvalid, match=re.escape(sentence)) as refusal:
        load_keyring(path)
    assert str(path) in str(refusal.value)


def test_a_refusal_never_shows_key_bytes(tmp_path):
    path = key_file(tmp_path, f'{{"primary": "{GOOD}", "keys": {{"{GOOD}": "{GOOD}"}}, }}')
    with pytest.raises(KeyRingInvalid) as refusal:
        load_keyring(path)
    assert GOOD.removeprefix("base64:") not in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__
    path = key_file(tmp_path, {"primary": "a", "keys": {GOOD: "a"}})
    with pytest.raises(KeyRingInvalid) as refusal:
        load_keyring(path)
    assert GOOD.removeprefix("base64:") not in str(refusal.value)


def test_a_missing_file_is_a_refusal_that_says_so(tmp_path):
    with pytest.raises(KeyRingInvalid, match=r"keys.json does not exist; correct the path, or generate"):
        load_keyring(tmp_path / "keys.json")


def test_a_directory_in_place_of_the_file_is_a_refusal(tmp_path):
    with pytest.raises(KeyRingInvalid, match="Is a directory"):
        load_keyring(tmp_path)


def test_asking_for_an_unknown_key_names_it(tmp_path):
    ring = generate_keyring(tmp_path / "keys.json")
    with pytest.raises(KeyMissing, match="'2001-01'") as missing:
        ring.key("2001-01")
    assert missing.value.kid == "2001-01"
    with pytest.raises(KeyMissing):
        ring.fingerprint("2001-01")


def test_a_fingerprint_tells_keys_apart_and_is_stable():
    key = bytes.fromhex("000102030405060708090a0b0c0d0e0f") * 2
    ring = KeyRing("a", {"a": key, "b": os.urandom(32)})
    # printf kid | openssl dgst -sha256 -mac HMAC -macopt hexkey:000102…
    assert ring.fingerprint("a") == "63e189d8444aa09c"
    assert re.fullmatch("[0-9a-f]{16}", ring.fingerprint("b"))
    assert ring.fingerprint("a") != ring.fingerprint("b")


def test_a_ring_shows_ids_and_no_key_and_cannot_be_changed():
    key = os.urandom(32)
    keys = {"a": key}
    ring = KeyRing("a", keys)
    keys["b"] = os.urandom(32)
    assert ring.kids() == ("a",)
    assert repr(ring) == "KeyRing(primary='a')"
    assert str(key) not in f"{ring!r}{ring!s}"
    with pytest.raises(AttributeError):
        ring.primary = "b"


def test_a_ring_is_changed_by_making_another():
    ring = KeyRing.generate()
    more = ring.with_new_key(promote=False)
    [new] = set(more.kids()) - set(ring.kids())
    promoted = more.with_primary(new)
    assert (more.primary, promoted.primary, promoted.kids()) == (ring.primary, new, more.kids())
    assert promoted.without(ring.primary).kids() == (new,)
    with pytest.raises(KeyRingInvalid, match="is the primary, which seals; promote another key first"):
        promoted.without(new)
    with pytest.raises(KeyMissing):
        ring.with_primary("2001-01")
    with pytest.raises(KeyMissing):
        ring.without("2001-01")


def test_a_key_file_says_when_its_keys_were_made(tmp_path):
    path = tmp_path / "keys.json"
    ring = generate_keyring(path)
    assert (datetime.now(UTC) - load_keyring(path).created[ring.primary]).total_seconds() < 60
    both = add_key(path, promote=False)
    assert set(load_keyring(path).created) == set(both.kids())


def test_a_changed_file_keeps_its_group_and_mode(tmp_path):
    """A service that reads it by its group still can."""
    path = tmp_path / "keys.json"
    generate_keyring(path)
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 0, os.getegid())
    before = path.stat()
    add_key(path, promote=True)
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_changing_a_key_that_is_not_there_names_the_command_that_lists_them(tmp_path):
    path = tmp_path / "keys.json"
    ring = generate_keyring(path)
    with pytest.raises(KeyRingInvalid, match=r"has no key '2001-01'; `connectory keys list` shows them"):
        change_keyring(path, lambda current: current.with_primary("2001-01"))
    assert load_keyring(path) == ring
    assert names_in(tmp_path) == ["keys.json"]

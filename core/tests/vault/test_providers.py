"""Where keys come from: a file and the environment. `test_transit` has the third."""

import json
import os

import pytest

from connectory.vault import EnvironmentKeys, FileKeys, KeyRingInvalid, generate_keyring


def test_keys_of_a_file_are_made_read_and_changed(tmp_path):
    keys = FileKeys(tmp_path / "keys.json")
    made = keys.create()
    assert keys.load() == made
    changed = keys.change(lambda ring: ring.with_new_key(promote=True))
    assert keys.load() == changed
    assert keys.warning is None
    assert keys.source == f"key file {tmp_path / 'keys.json'}"


def test_keys_of_the_environment_are_read_and_say_that_they_are_for_development(tmp_path):
    made = generate_keyring(tmp_path / "keys.json")
    document = (tmp_path / "keys.json").read_text()
    keys = EnvironmentKeys(document)
    assert keys.load() == made
    assert "for development" in keys.warning
    for key in json.loads(document)["keys"].values():
        assert key not in repr(keys)


@pytest.mark.parametrize("document", [None, ""])
def test_an_environment_without_keys_is_refused(document):
    with pytest.raises(KeyRingInvalid, match=r"CONNECTORY_KEYS_JSON is not set; .*keys generate"):
        EnvironmentKeys(document).load()


def test_what_is_wrong_in_the_environment_is_told_without_the_value():
    text = os.urandom(24).hex()
    with pytest.raises(KeyRingInvalid) as refused:
        EnvironmentKeys(f'{{"primary": "a", "keys": {{"a": "{text}"}}}}').load()
    assert str(refused.value).startswith("In CONNECTORY_KEYS_JSON, key 'a'")
    assert text not in str(refused.value)


def test_keys_of_the_environment_are_not_changed_here():
    keys = EnvironmentKeys("{}")
    with pytest.raises(KeyRingInvalid, match="cannot be changed here; change it where the process starts"):
        keys.change(lambda ring: ring)
    with pytest.raises(KeyRingInvalid, match="cannot be set here"):
        keys.create()

"""Keys and the nodes that hold them, as operators see them: never a key itself."""

from datetime import datetime, timedelta

import pytest

from connectory.store.nodes import beat, leave
from connectory.store.timestamps import utc_now


@pytest.fixture
def another_node(service):
    """A node that holds one more key, which this one has not read yet."""
    ring = service.vault.ring.with_new_key(promote=False)
    with service.store.write() as database:
        beat(database, "another", "another (process 1)", ring)
    yield ring
    with service.store.write() as database:
        leave(database, "another")


def test_keys_are_listed_with_the_rows_that_need_them_and_the_nodes_that_hold_them(api, service, another_node):
    api.create("books", secrets={"token": "tiger-lily"})
    ring = service.vault.ring
    answer = api.get("/keys")
    assert answer.status_code == 200
    shown = answer.json()
    assert list(shown) == ["primary", "keys", "nodes"]
    assert shown["primary"] == ring.primary
    keys = {key["kid"]: key for key in shown["keys"]}
    assert list(keys) == sorted(keys)
    assert timedelta() < utc_now() - datetime.fromisoformat(keys[ring.primary].pop("first_used_at")) < timedelta(days=1)
    assert keys[ring.primary] == {
        "kid": ring.primary,
        "fingerprint": ring.fingerprint(ring.primary),
        "primary": True,
        "held": True,
        "rows": 1,
    }
    [added] = set(another_node.kids()) - set(ring.kids())
    assert keys[added] == {
        "kid": added,
        "fingerprint": None,
        "primary": False,
        "held": False,
        "rows": 0,
        "first_used_at": None,
    }
    node = next(node for node in shown["nodes"] if node["name"] == "another (process 1)")
    assert utc_now() - datetime.fromisoformat(node.pop("seen_at")) < timedelta(minutes=2)
    assert node == {"name": "another (process 1)", "primary": ring.primary, "keys": sorted(another_node.kids())}
    for held in (ring, another_node):
        assert not [kid for kid in held.kids() if held.key(kid).hex() in answer.text]


def test_a_key_that_rows_need_and_this_node_lacks_is_named(api, service, monkeypatch):
    api.create("books", secrets={"token": "tiger-lily"})
    lacking = service.vault.ring.with_new_key(promote=True).without(service.vault.ring.primary)
    needed, fingerprint = service.vault.ring.primary, service.vault.ring.fingerprint(service.vault.ring.primary)
    monkeypatch.setattr(service.vault, "ring", lacking)
    key = next(key for key in api.get("/keys").json()["keys"] if key["kid"] == needed)
    assert (key["fingerprint"], key["primary"], key["held"], key["rows"]) == (fingerprint, False, False, 1)

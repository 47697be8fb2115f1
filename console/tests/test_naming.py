"""What the console tells of the names of a connection is what the API does with them."""

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectory.api.connections.connection_shapes import ConnectionItem
from connectory.store.bulk_save import snake_case
from connectory.store.connections import KEY_PATTERN
from connectory_console.api import ApiFailed
from connectory_console.looks import problems_of_naming
from connectory_console.naming import LONGEST, is_key, key_from


@given(st.text(max_size=40))
@example(" Application  PostgreSQL - DB ")
@example("Größe № 5, 東京")
def test_a_key_is_made_of_a_name_as_the_api_makes_it(name: str) -> None:
    assert key_from(name) == snake_case(name)


@pytest.mark.parametrize("text", ["a", "A.b-c_9", ".", "..", "...", "", "a b", "ä", "a/b", "a\n", "x" * 200, "x" * 201])
def test_a_key_is_one_where_the_api_takes_it(text: str) -> None:
    assert is_key(text) is (KEY_PATTERN.fullmatch(text) is not None)


def test_a_member_is_too_long_where_the_api_says_so() -> None:
    members = ConnectionItem.model_json_schema()["properties"]
    assert {member: members[member]["anyOf"][0]["maxLength"] for member in LONGEST} == LONGEST


def test_who_may_not_see_connections_has_everything_else_looked_at() -> None:
    """Only whether the key is taken is not told."""

    async def refuse(path: str) -> None:
        raise ApiFailed(403, f"{path} is not for you.")

    visit = SimpleNamespace(api=SimpleNamespace(get=refuse))
    assert asyncio.run(problems_of_naming(visit, {"name": "Free"})) == {}
    assert asyncio.run(problems_of_naming(visit, {"name": "Free", "key": "a b"})).keys() == {"key"}
    assert asyncio.run(problems_of_naming(visit, {"name": "", "description": "d" * 5001})).keys() == {
        "name",
        "description",
    }

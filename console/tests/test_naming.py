"""The key of a new connection as the console tells it is the one that the API gives."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectory.store.bulk_save import snake_case
from connectory.store.connections import KEY_PATTERN
from connectory_console.naming import is_key, key_from


@given(st.text(max_size=40))
@example(" Application  PostgreSQL - DB ")
@example("Größe № 5, 東京")
def test_a_key_is_made_of_a_name_as_the_api_makes_it(name: str) -> None:
    assert key_from(name) == snake_case(name)


@pytest.mark.parametrize("text", ["a", "A.b-c_9", ".", "..", "...", "", "a b", "ä", "a/b", "a\n", "x" * 200, "x" * 201])
def test_a_key_is_one_where_the_api_takes_it(text: str) -> None:
    assert is_key(text) is (KEY_PATTERN.fullmatch(text) is not None)

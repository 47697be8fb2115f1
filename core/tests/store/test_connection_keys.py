"""Keys from names, and valid keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectory.store.bulk_save import snake_case
from connectory.store.connections import KEY_PATTERN


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Application PostgreSQL DB", "application_postgresql_db"),
        ("My Mongo DB", "my_mongo_db"),
        ("foo-bar", "foo_bar"),
        ("foo*bar", "foobar"),
        ("a.b", "ab"),
        ("a/b c", "ab_c"),
        ("a - b", "a_b"),
        ("a__b", "a__b"),
        ("-dash-", "_dash_"),
        ("(x)", "x"),
        ("Crème brûlée", "creme_brulee"),
        ("日本", "riben"),
        ("  outer \t space\n", "outer_space"),
        ("!!!", ""),
        ("", ""),
    ],
)
def test_a_name_gives_its_snake_cased_key(name, key):
    assert snake_case(name) == key


@given(st.text())
def test_any_name_gives_a_valid_key_or_one_that_is_empty_or_too_long(name):
    key = snake_case(name)
    assert KEY_PATTERN.fullmatch(key) or not key or len(key) > 200


@pytest.mark.parametrize("key", ["a", "A-b_c.9", "...", ".a", "-", "x" * 200])
def test_valid_keys(key):
    assert KEY_PATTERN.fullmatch(key)


@pytest.mark.parametrize("key", ["", ".", "..", "a b", "a/b", "é", "a\n", "<x>", "x" * 201, "a\x00"])
def test_invalid_keys(key):
    assert not KEY_PATTERN.fullmatch(key)

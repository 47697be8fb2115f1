"""Datasets as text: read as YAML or JSON, with the line of every part."""

import contextlib
import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from connectory_console.yaml_text import DEEPEST, YamlInvalid, read_yaml, write_yaml

TEXT = """dataset:
  - fides_key: shop
    collections:
      - name: customer
        fields:
          - name: id
          - name: born
            description: 2020-01-31
"""


def test_one_dataset_a_list_and_a_file_of_fides_are_the_same() -> None:
    [shop] = read_yaml(TEXT).datasets
    assert read_yaml(write_yaml(shop)).datasets == [shop]
    assert read_yaml(json.dumps([shop], indent=2)).datasets == [shop]
    assert shop["collections"][0]["fields"][1]["description"] == "2020-01-31"  # a date is text: JSON has none


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((0, "fides_key"), 2),
        ((0, "collections", 0, "fields", 1, "name"), 7),
        ((0, "collections", 0, "fields", 1, "data_categories", 3), 7),  # is not there: where it would be
        ((), 2),
    ],
)
def test_the_line_of_a_part(path: tuple, line: int) -> None:
    assert read_yaml(TEXT).line_of(path) == line
    single = yaml.safe_dump(yaml.safe_load(TEXT)["dataset"][0], sort_keys=False)
    assert read_yaml(single).line_of((0, "fides_key")) == 1


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\nb: [", 2, "not YAML"),
        ("a: 1\nb: &x [1]\nc: *x\n", 3, "references"),
        ("a: 1\nb: 2\na: 3\n", 3, "'a' is here a second time"),
        ("x: !!python/object/apply:os.system [ls]", 1, "not YAML"),
        ("a: \x00", 1, "not YAML"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), 1, "nested"),
    ],
)
def test_what_cannot_be_read_says_at_which_line(text: str, line: int, said: str) -> None:
    with pytest.raises(YamlInvalid, match=said) as raised:
        read_yaml(text)
    assert raised.value.line == line


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(YamlInvalid):  # and nothing else
        assert isinstance(read_yaml(text).datasets, list)

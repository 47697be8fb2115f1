"""A file of datasets means what was put in, whatever the names are."""

import pytest
import yaml

from connectory.discovery.dataset_file import dataset_file

WORDS = ["", "no", "Yes", "NULL", "~", "1", "1_0", "0x1f", "1e3", ".5", "12:30", "2024-01-01", "<<", "=", "- a", "a: b"]
WORDS += [
    "a #b",
    " a",
    "a ",
    "é",
    "😀",
    '"',
    "\\",
    "a\nb",
    "\r\n",
    "_",
    "e-mail",
    "user.contact.email",
    "a. b",
    "[a",
    "{a",
    "!a",
]
ODD = ["\ufdd0", "\ufeff", "\ufffd", "\ufffe", "\uffff"]
EVERYTHING = [f"a{chr(code)}b" for code in (*range(0x300), *range(0x2000, 0x2070), *map(ord, ODD))]
VALUES = {
    "numbers": [1e16, 1e-7, 1.5, -3, 2**70, 0.0],
    "others": [True, False, None],
    "empty": [[], {}, "", [[1]], [{"a": {}}]],
}


@pytest.mark.parametrize("loader", [yaml.SafeLoader, yaml.CSafeLoader])
def test_what_is_read_is_what_was_written(loader):
    datasets = [{word: word for word in WORDS}, {"words": EVERYTHING}, VALUES]
    text = dataset_file(datasets)
    assert yaml.load(text, loader) == {"dataset": datasets}
    assert dataset_file(datasets) == text


def test_no_dataset_is_an_empty_list():
    assert yaml.safe_load(dataset_file([])) == {"dataset": []}

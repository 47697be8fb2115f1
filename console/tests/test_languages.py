"""The catalogue of the console's texts, and the languages that are made of it."""

import io
import re
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.frontend import CommandLineInterface
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from connectory import FailureCode
from connectory_console import wording
from connectory_console.languages import chosen, number, read_languages, speak
from testkit.cache import REPOSITORY
from testkit.madeup import catalogue, unmarked

FOLDER = Path(str(files("connectory_console"))) / "locale"
TRANSLATED = [place.name for place in FOLDER.iterdir() if place.is_dir()]
_MARKUP = re.compile(r"%\(\w+\)s|</?\w+[^>]*>")


def texts_of(catalog: Catalog) -> set[tuple[str | None, object]]:
    return {(message.context, message.id) for message in catalog if message.id}


def read(tag: str) -> Catalog:
    with (FOLDER / tag / "LC_MESSAGES/messages.po").open("rb") as file:
        return read_po(file, locale=tag)


def test_the_catalogue_holds_what_is_marked(tmp_path: Path) -> None:
    """Else: `make texts`."""
    fresh = tmp_path / "fresh.pot"
    mapping = str(REPOSITORY / "console/pyproject.toml")
    CommandLineInterface().run(["pybabel", "-q", "extract", "-F", mapping, "-o", str(fresh), str(FOLDER.parent)])
    with fresh.open("rb") as file:
        assert texts_of(read_po(file)) == texts_of(catalogue())


@pytest.mark.parametrize("tag", TRANSLATED)
def test_a_language_says_everything_with_the_same_values_and_links(tag: str) -> None:
    told = read(tag)
    assert texts_of(told) == texts_of(catalogue())
    for message in told:
        for original, text in pairs(message):
            assert text, original
            assert Counter(_MARKUP.findall(text)) == Counter(_MARKUP.findall(original)), text
            assert len(original) == 1 or original[-1] not in ".:…" or text[-1] in ".:?>…", text
        assert not message.fuzzy, message.id


def pairs(message: Message) -> list[tuple[str, str]]:
    """Each text of a message with what it says. The singular may leave out the number, which is one."""
    if not message.id:
        return []
    if not isinstance(message.id, tuple):
        return [(message.id, str(message.string))]
    one, many = message.id
    forms = list(message.string)
    one = one if "%(num)s" in forms[0] else one.replace("%(num)s", "1")
    return [(one, forms[0]), *((many, form) for form in forms[1:])]


@pytest.mark.parametrize("tag", TRANSLATED)
def test_what_is_compiled_is_what_is_written(tag: str) -> None:
    """Else: `make texts`."""
    compiled = io.BytesIO()
    write_mo(compiled, read(tag))
    assert (FOLDER / tag / "LC_MESSAGES/messages.mo").read_bytes() == compiled.getvalue()


@pytest.mark.parametrize(
    ("choice", "accepted", "tag"),
    [
        ("", "", "en"),
        ("", "de", "de"),
        ("", "de-CH, en;q=0.8", "de"),
        ("", "en-US,en;q=0.9,de;q=0.8", "en"),
        ("", "de;q=0.3, en;q=0.7", "en"),
        ("", "tlh, de;q=0.5", "de"),
        ("", "de;q=0, tlh", "en"),
        ("", "de;q=much, tlh", "en"),
        ("en", "de", "en"),
        ("de", "en", "de"),
        ("tlh", "de", "de"),
        ("../de", "", "en"),
    ],
)
def test_the_language_is_the_one_that_is_chosen_or_asked_for(choice: str, accepted: str, tag: str) -> None:
    assert chosen(read_languages(), choice, accepted).tag == tag


def test_numbers_and_times_are_said_as_the_language_says_them() -> None:
    assert (number(1234567), wording.milliseconds(1500)) == ("1,234,567", "1.5 s")
    known = read_languages()
    speak(known["de"])
    try:
        assert (number(1234567), wording.milliseconds(1500), wording.milliseconds(0.44)) == (
            "1.234.567",
            "1,5 s",
            "0,4 ms",
        )
        assert wording.code_in_words("auth_failed") == "Anmeldung fehlgeschlagen"
        assert wording.code_in_words("something_new") == "Something new"
    finally:
        speak(known["en"])


def test_every_failure_has_words() -> None:
    assert wording.FAILURES.keys() == set(FailureCode)


def test_a_text_that_is_not_marked_is_found() -> None:
    """In an attribute, in a page, beside a name; and not what is a name, code, or said to be English."""
    page = """<html lang="en-xa"><title>⟦Hömé öé⟧</title><body title="Forgotten"><p>⟦Typé %s⟧ bill</p><p>Left <b>out</b></p>
    <code>pip</code><p lang="en">The reason.</p><p>Bill's 2026-11-27 10:00:00 UTC</p></body></html>"""
    assert unmarked(page, {"bill"}) == ["Forgotten", "Left", "out", "Bill's"]

"""A language that nobody speaks, made of the console's catalogue: what a page says in other words was not marked for it."""

import gettext
import io
import re
from collections.abc import Iterator
from importlib.resources import files

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from bs4 import BeautifulSoup, NavigableString, Tag

from connectory_console.languages import Language

TAG = "en-xa"
_LETTERS = str.maketrans("AEINOSUYaeinosuy", "ÂÉÎÑÖŠÛÝâéîñöšûý")
_KEPT = re.compile(r"(%\(\w+\)s|<[^>]*>)")
_ATTRIBUTES = ("aria-label", "title", "placeholder", "alt")
_FOR_THE_SCRIPT = ("data-copied", "data-go-to", "data-again", "data-now", "data-silent", "data-stops")
_NOT_SAID = ["script", "style", "template", "textarea", "code", "pre"]
# What an answer of the API calls people's and programs' own names; its other texts are not shown as they are.
_NAMES = {
    "action",
    "actor",
    "changed_fields",
    "client_id",
    "client_name",
    "connection_key",
    "dataset",
    "default",
    "description",
    "distribution",
    "enum",
    "failure_reason",
    "fides_key",
    "human_readable",
    "identifier",
    "key",
    "keys",
    "kid",
    "message",
    "msg",
    "name",
    "primary",
    "result_code",
    "scopes",
    "title",
    "version",
}
_PLAIN = re.compile(r"\b\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?( UTC)?\b|\bConnectory\b")


def catalogue() -> Catalog:
    """The texts of the console."""
    with files("connectory_console").joinpath("locale", "messages.pot").open("rb") as file:
        return read_po(file)


def made_up() -> Language:
    """The language: each text in brackets, with accents, and three tenths longer."""
    made = Catalog(locale="en")
    for message in catalogue():
        if message.id:
            texts = message.id if isinstance(message.id, tuple) else (message.id,)
            told = tuple(map(_bracketed, texts))
            made.add(message.id, told if message.pluralizable else told[0], context=message.context)
    compiled = io.BytesIO()
    write_mo(compiled, made)
    compiled.seek(0)
    return Language(TAG, gettext.GNUTranslations(compiled))


def _bracketed(text: str) -> str:
    parts = _KEPT.split(text)
    letters = sum(part.isalpha() for part in "".join(parts[::2]))
    if not letters:
        return text
    accented = "".join(part if number % 2 else part.translate(_LETTERS) for number, part in enumerate(parts))
    return f"⟦{accented}{' öé'[:2] * max(1, round(letters * 0.15))}⟧"


def names_in(answer: object, member: str = "") -> Iterator[str]:
    """The names in an answer of the API."""
    if isinstance(answer, dict):
        for name, value in answer.items():
            yield from names_in(value, name)
    elif isinstance(answer, list):
        for value in answer:
            yield from names_in(value, member)
    elif isinstance(answer, str) and member in _NAMES:
        yield answer


def unmarked(page: str, names: set[str]) -> list[str]:
    """What a page in this language says in no catalogue's words: neither a name, nor marked as another language, nor code."""
    said = BeautifulSoup(page, "html.parser")
    longest_first = sorted((name for name in names if len(name) > 1), key=len, reverse=True)
    known = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")
    found = []
    for text in (*_attributes(said), "\n".join(_texts(said))):
        outside = _PLAIN.sub("", _outside_brackets(text))
        outside = known.sub("", outside) if re.search("[A-Za-z]", outside) else ""
        found += [line.strip() for line in outside.splitlines() if re.search("[A-Za-z]", line)]
    return found


def _attributes(said: BeautifulSoup) -> Iterator[str]:
    for tag in said.find_all(True):
        yield from (
            str(tag[name]) for name in (*_ATTRIBUTES, *_FOR_THE_SCRIPT) if tag.get(name) and not _is_elsewhere(tag)
        )


def _texts(said: BeautifulSoup) -> Iterator[str]:
    for text in said.find_all(string=True):
        if type(text) is NavigableString and not text.find_parent(_NOT_SAID) and not _is_elsewhere(text):
            yield str(text)


def _is_elsewhere(part: Tag | NavigableString) -> bool:
    """Whether it is in a part of the page that says to be in another language."""
    closest = part if isinstance(part, Tag) and part.get("lang") else part.find_parent(lang=True)
    return closest is not None and closest.name != "html"


def _outside_brackets(text: str) -> str:
    outside, depth = [], 0
    for character in text:
        depth += (character == "⟦") - (character == "⟧")
        if depth == 0 and character != "⟧":
            outside.append(character)
    return "".join(outside)

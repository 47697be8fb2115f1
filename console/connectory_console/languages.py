"""The languages of the console: which there are, which one a request is answered in, and what texts say in it.

A text is written in English where it is used, and marked: `_("Saved.")` here, `{% trans %}` in a template. The catalogue of them
all is `locale/messages.pot`; a language is the file `locale/TAG/LC_MESSAGES/messages.po`, and what was compiled from it.
"""

from __future__ import annotations

import gettext as catalogues
import io
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

ENGLISH = "en"


@dataclass(frozen=True)
class Language:
    """One language.

    Attributes:
        tag: of BCP 47, as a browser asks for it: `en`, `de`.
        texts: what each text says in it.
    """

    tag: str
    texts: catalogues.NullTranslations

    @property
    def name(self) -> str:
        """What its speakers call it."""
        return self.texts.pgettext("this language, as its speakers call it", "English")


_english = Language(ENGLISH, catalogues.NullTranslations())
_spoken: ContextVar[Language] = ContextVar("spoken", default=_english)
"""Of the request that is answered. Tasks and threads that a request starts speak it too."""


def read_languages() -> dict[str, Language]:
    """Every language by its tag, English first. Python reads what is compiled by itself."""
    found = {ENGLISH: _english}
    folder = files("connectory_console").joinpath("locale")
    for place in sorted(folder.iterdir(), key=lambda place: place.name):
        if place.is_dir():
            compiled = place.joinpath("LC_MESSAGES", "messages.mo").read_bytes()
            found[place.name] = Language(place.name, catalogues.GNUTranslations(io.BytesIO(compiled)))
    return found


def chosen(known: Mapping[str, Language], tag: str, accepted: str) -> Language:
    """The language for a request.

    Args:
        known: every language by its tag.
        tag: what the person chose; an unknown tag is ignored.
        accepted: the header `Accept-Language`: the first of them that is known counts, `de` for `de-CH` too. Default: English.
    """
    for wanted in (tag, *_by_preference(accepted)):
        for name in (wanted, wanted.partition("-")[0]):
            if name in known:
                return known[name]
    return _english


def _by_preference(accepted: str) -> Iterable[str]:
    weighed = []
    for part in accepted[:500].split(","):
        tag, _separator, weight = part.strip().partition(";q=")
        try:
            weighed.append((float(weight or 1), tag.strip().lower()))
        except ValueError:
            continue
    return (tag for weight, tag in sorted(weighed, key=lambda one: -one[0]) if weight > 0)


def speak(language: Language) -> None:
    """Have everything that this request says be in `language`."""
    _spoken.set(language)


def spoken() -> Language:
    """The language of the request that is answered; outside of one, English."""
    return _spoken.get()


def gettext(message: str, /, **values: Any) -> str:
    """What `message` says in the language that is spoken. `%(name)s` in it stands for a value, where values are given."""
    found = spoken().texts.gettext(message)
    return found % values if values else found


def pgettext(context: str, message: str, /, **values: Any) -> str:
    """The same for a text that another language says differently in another place; `context` names the place."""
    found = spoken().texts.pgettext(context, message)
    return found % values if values else found


def ngettext(one: str, many: str, count: int, /, **values: Any) -> str:
    """The same for a text with a number, which `%(num)s` in it stands for."""
    return spoken().texts.ngettext(one, many, count) % {"num": number(count), **values}


def N_(message: str) -> str:  # noqa: N802 - the name that gettext's tools know
    """`message` as it is: marked for the catalogue, and said later, when a request says in which language."""
    return message


def number(value: float, decimals: int = 0) -> str:
    """A number with separators: `1,234`, `0.5`."""
    between, before = pgettext("between thousands, as in 1,000", ","), pgettext("before decimals, as in 0.5", ".")
    return f"{value:,.{decimals}f}".translate({ord(","): between, ord("."): before})


def teach(environment: jinja2.Environment) -> None:
    """Let templates mark texts. Markup in a text is the catalogue's; values in it are escaped."""
    environment.add_extension("jinja2.ext.i18n")
    environment.policies["ext.i18n.trimmed"] = True
    environment.newstyle_gettext = True  # type: ignore[attr-defined]  # values are given to the functions, by name
    told = {"gettext": _in_pages("gettext"), "pgettext": _in_pages("pgettext"), "ngettext": _in_pages("ngettext")}
    environment.globals |= told | {"_": told["gettext"], "language": lambda: spoken().tag}
    environment.filters["number"] = number


def _in_pages(name: str) -> Callable[..., Markup]:
    def say(*texts: Any, **values: Any) -> Markup:
        if name == "ngettext":
            values.setdefault("num", number(texts[-1]))
        return Markup(getattr(spoken().texts, name)(*texts)) % values  # noqa: S704 - our own text, with values escaped

    return say

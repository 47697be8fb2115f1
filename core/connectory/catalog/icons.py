"""Icons for the connectors that bring none: one family, so that a catalogue of strangers looks like one thing.

A tile in the category's colour, two letters of the name, and below them a shape for the kind of system. Vendors' marks are their
own; nothing here imitates one.
"""

from __future__ import annotations

import html
import unicodedata
from itertools import pairwise
from zlib import crc32

# White on each has a contrast of 5.2, and each has one of more than 3 with a white page and with a nearly black one: colours of
# one luminance (0.15), at least 20 degrees of OKLCH hue apart.
_COLOURS = {
    "DATABASE": "#1a6cc7",
    "STORAGE": "#0e7594",
    "CUSTOMER SUPPORT": "#0b7a6b",
    "ECOMMERCE": "#067d38",
    "ANALYTICS": "#6c7108",
    "IDENTITY": "#936203",
    "CRM": "#b74a01",
    "SALES": "#bd4146",
    "MARKETING": "#b8406e",
    "COMMUNICATION": "#a9479a",
    "FINANCE": "#944fb1",
    "MONITORING": "#695dc8",
    "MANUAL": "#676c74",
}

_SHAPES = {
    "database": '<path d="M12 24.5c0 2.2 8 2.2 8 0v3.5c0 2.2-8 2.2-8 0z"/><ellipse cx="16" cy="23.5" rx="4" ry="1.5"/>',
    "saas": '<circle cx="16" cy="25.5" r="2.75" fill="none" stroke="#fff" stroke-width="1.5"/>',
    "manual": '<circle cx="16" cy="23.25" r="1.75"/><path d="M12 29c0-4.5 8-4.5 8 0z"/>',
}
_SQUARE = '<rect x="12.75" y="22.5" width="6.5" height="6.5" rx="1"/>'

# Said of so many that they tell none from another.
_COMMON = frozenset({"connector", "database", "db", "sql"})


def drawn_icon(identifier: str, name: str, system_type: str, category: str | None) -> str:
    """An SVG document of at most 1,024 bytes, always the same for the same connector. It has no script, and refers to nothing.

    Args:
        identifier: the connector's, e.g. `postgres`; where the name has no letters, its are used.
        name: what people call it, e.g. `PostgreSQL`; at most 80 characters.
        system_type: `database`, `saas`, `manual` or another word; gives the shape.
        category: gives the colour. Categories that are not known share the known ones' colours. Default: the system type does.
    """
    title = "".join(character if character.isprintable() else " " for character in name).strip() or identifier
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" role="img">'
        f"<title>{html.escape(title, quote=False)}</title>"
        f'<rect width="32" height="32" rx="7" fill="{_colour(category or system_type)}"/>'
        '<g fill="#fff"><text x="16" y="17.5" text-anchor="middle" font-family="system-ui,sans-serif" font-size="14" '
        f'font-weight="600">{_letters(name) or _letters(identifier)}</text>{_SHAPES.get(system_type, _SQUARE)}</g></svg>'
    )


def _colour(group: str) -> str:
    group = group.strip().upper()
    others = tuple(_COLOURS.values())
    return _COLOURS.get(group) or others[crc32(group.encode()) % len(others)]


def _letters(name: str) -> str:
    """The first letters of two words, or of one word the first two: `Big Query` is BQ, and `Redis` Re."""
    words = _words(unicodedata.normalize("NFC", name))
    telling = [word for word in words if word.casefold() not in _COMMON] or words
    if not telling:
        return ""
    if len(telling) > 1:
        return "".join(word[0].upper()[0] for word in telling[:2])
    return telling[0][0].upper()[0] + telling[0][1:2]


def _words(name: str) -> list[str]:
    """Words end where letters do, before a capital, and between letters and digits: `BigQuery 2` is three."""
    words: list[str] = []
    for before, character in pairwise(f" {name}"):
        if not character.isalnum():
            continue
        goes_on = before.isalnum() and before.isdigit() == character.isdigit()
        if goes_on and not (character.isupper() and not before.isupper()):
            words[-1] += character
        else:
            words.append(character)
    return words

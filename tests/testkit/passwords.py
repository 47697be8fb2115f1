"""Passwords that break connection strings, quoting, templates and encodings: each must log in exactly, or be refused.

Every one is text without control characters, so `SecretText` accepts all of them.
"""

import string

AWKWARD_PASSWORDS: tuple[str, ...] = (
    # Every ASCII punctuation character, at the end and in the middle of a word.
    *(f"pw{mark}{mark}x{mark}" for mark in string.punctuation),
    string.punctuation,
    # Whitespace, also where trimming would lose it.
    "two words",
    " leading",
    "trailing ",
    "  ",
    "non\u00a0breaking",
    # Quoting and escaping of one kind or another.
    "'single' and \"double\"",
    "back\\slash\\",
    "'; DROP TABLE customer; --",
    "{braced}",
    "}closing{",
    "a=b;c=d",
    "name='x' host=elsewhere",
    # Urls, percent signs, templates, formats.
    "%41",
    "%",
    "100%%",
    "%s %(name)s {0} {name}",
    "${x}",
    "$x $(id) `id`",
    "p@ss/w:rd?a=b#c",
    "a+b&c=d",
    "postgresql://user:pw@host/db",
    # Other writing systems, composed and decomposed, outside the basic plane.
    "pässwörd",
    "e\u0301 or \u00e9",
    "пароль",
    "密码パスワード",
    "🔑🔒",
    # Length, and words that mean something elsewhere.
    "x" * 200,
    "0",
    "null",
    "true",
    "**********x",
)

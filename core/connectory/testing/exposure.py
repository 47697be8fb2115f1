"""Look for a secret in texts that must not hold it, in the spellings in which it would usually slip out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from connectory.documents.spellings import TELLING, spellings


def appearances(secrets: Iterable[str], texts: Mapping[str, str]) -> list[str]:
    """One sentence per text that holds one of `secrets`. The sentences name the text and do not repeat the secret.

    Args:
        texts: the texts to look into, by the name to call them.
    """
    found = []
    for secret in secrets:
        wanted = {spelling for spelling in spellings(secret) if len(spelling) >= TELLING}
        found += [f"A secret shows in {name}." for name, text in texts.items() if any(word in text for word in wanted)]
    return sorted(set(found))

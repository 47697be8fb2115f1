"""Look for a secret in texts that must not hold it, in the spellings in which it would usually slip out."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from connectory.documents.spellings import TELLING, spellings


def appearances(secrets: Collection[str], texts: Mapping[str, str]) -> list[str]:
    """One sentence per text that holds one of `secrets`. The sentences name the text and do not repeat the secret.

    Args:
        secrets: what to look for; a mapping to the field that each is from lets the sentences name that, too.
        texts: the texts to look into, by the name to call them.
    """
    fields = secrets if isinstance(secrets, Mapping) else dict.fromkeys(secrets)
    found = []
    for secret, field in fields.items():
        wanted = {spelling for spelling in spellings(secret) if len(spelling) >= TELLING}
        what = "A secret" if field is None else f"The secret of the field {field}"
        found += [f"{what} shows in {name}." for name, text in texts.items() if any(word in text for word in wanted)]
    return sorted(set(found))

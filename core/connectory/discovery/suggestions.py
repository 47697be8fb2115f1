"""Which fields look like personal data, by name, type and collection. They are for people: nothing follows from one by itself.

>>> from connectory.data import FieldInfo, Kind
>>> from connectory.discovery.suggestions import suggestion_for
>>> state = FieldInfo(("state",), Kind.STRING, "text")
>>> suggestion_for(state, "orders"), suggestion_for(state, "customer_addresses").data_category
(None, 'user.contact.address.state')
"""

from __future__ import annotations

from collections.abc import Sequence

from connectory.contract.data import FieldInfo
from connectory.discovery.names import LONGEST_NAME, Around, words_of
from connectory.discovery.personal_data import MOST_WORDS, NO_VALUE, RULES, Suggestion

__all__ = ["Suggestion", "suggestion_for"]


def suggestion_for(field: FieldInfo, collection: str) -> Suggestion | None:
    """What the field looks like; `None` for most. `emailAddress`, `customer_email` and `E-Mail` all look like an address.

    Args:
        collection: the name of the collection that the field is in.
    """
    *above, name = field.path
    if len(name) > LONGEST_NAME:
        return None
    words = words_of(name)
    found = _matching(words, field, above, collection)
    if found is None and words and words[-1][-1].isdigit():  # `email_2` is as `email`
        found = _matching((*words[:-1], *filter(None, [words[-1].rstrip("0123456789")])), field, above, collection)
    return found


def _matching(words: tuple[str, ...], field: FieldInfo, above: Sequence[str], collection: str) -> Suggestion | None:
    """What the longest ending says that fits."""
    for start in range(max(0, len(words) - MOST_WORDS), len(words)):
        rule = RULES.get("".join(words[start:]))
        if rule is not None and field.kind in rule.kinds:
            around = Around.of_field(words[:start], above, collection)
            if NO_VALUE.isdisjoint(around.before) and rule.fits(around):
                return rule.suggestion
    return None

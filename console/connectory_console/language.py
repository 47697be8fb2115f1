"""What may stand in a dataset, for whoever writes one: the members of the Fides language, each to be copied, and what it says."""

from __future__ import annotations

from typing import NamedTuple


class Member(NamedTuple):
    """One member of an object.

    Attributes:
        example: as YAML, to be copied.
        meaning: in one line, for people.
    """

    example: str
    meaning: str

    @property
    def name(self) -> str:
        """With the object that it stands in, where that is a member itself: `fides_meta.identity`."""
        return ".".join(line.strip().partition(":")[0] for line in self.example.splitlines()[:2])


class Part(NamedTuple):
    """One kind of object, and its members."""

    title: str
    members: tuple[Member, ...]


def _meta(example: str, meaning: str) -> Member:
    return Member(f"fides_meta:\n  {example}", meaning)


_SHARED = (
    Member("description: Who buys here", "for people, in a sentence"),
    Member("data_categories: [user.contact.email]", "what it holds; search the words below"),
    Member("data_uses: [essential.service]", "what it is used for, as Fides names uses"),
    Member("data_subjects: [customer]", "whose data it is, as Fides names people"),
)
_REDACT = _meta("redact: name", "its name is not shown in reports")

PARTS = (
    Part(
        "Dataset",
        (
            Member("fides_key: my_shop", "its key: letters, digits, . _ < > and -"),
            Member("name: My shop", "for people"),
            *_SHARED,
            Member("collections: []", "its tables, or whatever holds records"),
            Member("tags: [europe]", "words of your own"),
            Member("meta: {team: sales}", "anything else that you keep about it"),
            Member("organization_fides_key: default_organization", "whose it is"),
            _meta("after: [another_dataset]", "datasets that are looked at before it"),
            _meta("namespace: {schema: public}", "where its collections are, if not where the connection points"),
            _meta("resource_id: '42'", "its number in another system"),
            _REDACT,
        ),
    ),
    Part(
        "Collection",
        (
            Member("name: customer", "as the system calls it"),
            *_SHARED,
            Member("fields: []", "its columns"),
            _meta("after: [my_shop.order]", "collections that are looked at before it: dataset.collection"),
            _meta("erase_after: [my_shop.order]", "collections that are erased before it"),
            _meta("skip_processing: true", "requests leave it out"),
            _meta("masking_strategy_override: {strategy: delete}", "erasing deletes its rows"),
            _meta("partitioning: {where_clauses: ['id < 1000']}", "it is asked in these pieces"),
            _REDACT,
        ),
    ),
    Part(
        "Field",
        (
            Member("name: email", "as the system calls it"),
            *_SHARED,
            Member("fields: []", "the fields inside, where it is an object"),
            _meta("primary_key: true", "it tells rows apart; erasing needs one"),
            _meta("identity: email", "a person is found by it, as by an email or phone_number"),
            _meta(
                "references: [{dataset: my_shop, field: customer.id, direction: from}]",
                "it holds what another field holds: from there, or to there",
            ),
            _meta("data_type: string", "string, integer, object, or with [] a list of these"),
            _meta("length: 40", "characters that fit"),
            _meta("read_only: true", "erasing leaves it as it is"),
            _meta("return_all_elements: true", "of a list all elements, not only those that match"),
            _meta("custom_request_field: customer_number", "the name of what a request brings for it"),
            _meta("masking_strategy_override: {strategy: hash}", "how erasing masks it"),
            _REDACT,
        ),
    ),
)
"""Kinds of objects from the outside in."""

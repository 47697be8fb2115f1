"""What may stand in a dataset, for whoever writes one: the members of the Fides language, each to be copied, and what it says."""

from __future__ import annotations

from typing import NamedTuple

from connectory_console.languages import N_


class Member(NamedTuple):
    """One member of an object.

    Attributes:
        example: as YAML, to be inserted.
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
    Member("description: Who buys here", N_("for people, in a sentence")),
    Member("data_categories: [user.contact.email]", N_("what it holds; search the words above")),
    Member("data_uses: [essential.service]", N_("what it is used for, as Fides names uses")),
    Member("data_subjects: [customer]", N_("whose data it is, as Fides names people")),
)
_REDACT = _meta("redact: name", N_("its name is not shown in reports"))

PARTS = (
    Part(
        N_("Dataset"),
        (
            Member("fides_key: my_shop", N_("its key: letters, digits, . _ < > and -")),
            Member("name: My shop", N_("for people")),
            *_SHARED,
            Member("collections: []", N_("its tables, or whatever holds records")),
            Member("tags: [europe]", N_("words of your own")),
            Member("meta: {team: sales}", N_("anything else that you keep about it")),
            Member("organization_fides_key: default_organization", N_("whose it is")),
            _meta("after: [another_dataset]", N_("datasets that are looked at before it")),
            _meta("namespace: {schema: public}", N_("where its collections are, if not where the connection points")),
            _meta("resource_id: '42'", N_("its number in another system")),
            _REDACT,
        ),
    ),
    Part(
        N_("Collection"),
        (
            Member("name: customer", N_("as the system calls it")),
            *_SHARED,
            Member("fields: []", N_("its columns")),
            _meta("after: [my_shop.order]", N_("collections that are looked at before it: dataset.collection")),
            _meta("erase_after: [my_shop.order]", N_("collections that are erased before it")),
            _meta("skip_processing: true", N_("requests leave it out")),
            _meta("masking_strategy_override: {strategy: delete}", N_("erasing deletes its rows")),
            _meta("partitioning: {where_clauses: ['id < 1000']}", N_("it is asked in these pieces")),
            _REDACT,
        ),
    ),
    Part(
        N_("Field"),
        (
            Member("name: email", N_("as the system calls it")),
            *_SHARED,
            Member("fields: []", N_("the fields inside, where it is an object")),
            _meta("primary_key: true", N_("it tells rows apart; erasing needs one")),
            _meta("identity: email", N_("a person is found by it, as by an email or phone_number")),
            _meta(
                "references: [{dataset: my_shop, field: customer.id, direction: from}]",
                N_("it holds what another field holds: from there, or to there"),
            ),
            _meta("data_type: string", N_("string, integer, object, or with [] a list of these")),
            _meta("length: 40", N_("characters that fit")),
            _meta("read_only: true", N_("erasing leaves it as it is")),
            _meta("return_all_elements: true", N_("of a list all elements, not only those that match")),
            _meta("custom_request_field: customer_number", N_("the name of what a request brings for it")),
            _meta("masking_strategy_override: {strategy: hash}", N_("how erasing masks it")),
            _REDACT,
        ),
    ),
)
"""Kinds of objects from the outside in."""

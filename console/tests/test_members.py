"""What the editor says of the Fides language is what the API takes."""

import yaml

from connectory.api.datasets import fides_language
from connectory_console.members import PARTS

NOT_TOLD = {"data_purposes"}
"""Another name of `data_uses`, which passes."""
KINDS = {"Dataset": fides_language.Dataset}
KINDS["Collection"] = fides_language.model_at(["collections", 0])
KINDS["Field"] = fides_language.model_at(["collections", 0, "fields", 0])


def test_every_member_is_told_and_no_other() -> None:
    for part in PARTS:
        members = KINDS[part.title].model_fields
        inner = fides_language._models_in(members["fides_meta"].annotation)
        expected = (members.keys() - {"fides_meta"}) | {f"fides_meta.{name}" for name in next(inner).model_fields}
        assert {member.name for member in part.members} == expected - NOT_TOLD, part.title
        assert all(len(member.meaning) < 80 for member in part.members)


def test_what_is_copied_makes_a_dataset() -> None:
    inside: dict = {}
    for part in reversed(PARTS):
        made: dict = {}
        for member in part.members:
            for name, value in yaml.safe_load(member.example).items():
                made[name] = {**made.get(name, {}), **value} if name == "fides_meta" else value
        if part.title == "Field":
            made["fides_meta"]["data_type"] = "string[]"  # which `return_all_elements` takes
        inside = made | ({"fields" if part.title == "Collection" else "collections": [inside]} if inside else {})
    assert fides_language.parse(inside, fides_language.known_categories(())).collections[0].fields[0].fides_meta

"""Datasets in YAML: what is read is what JSON could say, and what YAML has beyond that is refused with its place."""

import json

import pytest

from connectory.api.http.errors import Refused
from connectory.api.http.yaml_bodies import parse_yaml

SHOP = """
# kept by people
dataset:
  - fides_key: yaml_shop
    name: 2024-01-01
    collections:
      - name: customer
        fields:
          - name: email
            data_categories: [user.contact.email]
          - {name: id, fides_meta: {primary_key: true, data_type: integer}}
"""
LAUGHS = "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*{f'b{n - 1}' if n else 'a'}, *a]\n" for n in range(60))


def test_a_file_and_a_list_are_stored_as_their_json_is(api):
    api.create("books")
    path = "/connection/books/dataset"
    saved = api.raw("PATCH", path, SHOP.encode(), "application/yaml").json()
    assert saved["failed"] == []
    [dataset] = saved["succeeded"]
    assert (dataset["name"], dataset["collections"][0]["fields"][1]["fides_meta"]["primary_key"]) == (
        "2024-01-01",
        True,
    )
    stored = api.get(f"{path}/yaml_shop").json()
    assert dataset == stored | {"ignored": []}
    for content_type in ("text/yaml", "application/x-yaml; charset=utf-8", "TEXT/X-YAML"):
        # A list, and JSON, which is YAML too: its answers are the same.
        assert api.raw("PATCH", path, json.dumps([stored]).encode(), content_type).json() == saved
    assert api.raw("PATCH", path, b"[]", "application/yaml").json() == {"succeeded": [], "failed": []}


@pytest.mark.parametrize(
    ("body", "place", "said"),
    [
        (SHOP.replace("user.contact.email", "user.contact.emial"), (10, 31), "Did you mean 'user.contact.email'?"),
        (SHOP.replace("primary_key", "primary"), (11, 37), "does not have this member here"),
        (SHOP.replace("name: customer", "title: customer"), (7, 9), ""),
        (SHOP.replace("fides_key: yaml_shop", "fides_key: no"), (4, 5), ""),
        ("dataset: 7", (1, 1), "list of datasets"),
        ("\n\n  7", (3, 3), "list of datasets"),
        ("- 7", (1, 3), "JSON object"),
    ],
)
def test_a_dataset_that_does_not_follow_the_language_is_told_with_line_and_column(api, body, place, said):
    api.create("books")
    answer = api.raw("PATCH", "/connection/books/dataset", body.encode(), "application/yaml")
    assert answer.status_code == 422, answer.text
    [problem, *_] = answer.json()["detail"]
    assert problem["msg"].startswith(f"Line {place[0]}, column {place[1]}: "), problem
    assert said in problem["msg"]
    assert problem["loc"][0] == "body"
    assert api.get("/connection/books/dataset").json()["total"] == 0


@pytest.mark.parametrize("body", ["", "# nothing", "null", "dataset:", "{dataset: [], system: []}", "{}", "text"])
def test_what_is_no_list_of_datasets_is_refused(api, body):
    api.create("books")
    answer = api.raw("PATCH", "/connection/books/dataset", body.encode(), "application/yaml")
    assert answer.status_code == 422, answer.text
    assert "must be a" in answer.json()["detail"][0]["msg"].lower()


def test_another_type_is_refused_with_those_that_are_taken(api):
    api.create("books")
    for content_type in ("text/plain", "application/toml", "yaml", ""):
        answer = api.raw("PATCH", "/connection/books/dataset", SHOP.encode(), content_type)
        assert answer.status_code == 415
        assert all(
            taken in answer.json()["detail"] for taken in ("'Content-Type: application/json'", "application/yaml'")
        )
    answer = api.raw("PATCH", "/connection", b"[]", "application/yaml")
    assert (answer.status_code, "yaml" in answer.text) == (415, False)
    large = b"# " + b"x" * 2**20 + SHOP.encode()
    assert api.raw("PATCH", "/connection/books/dataset", large, "application/yaml").status_code == 413


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[1, 0x1f, 0o7, 010, 1_000, -3, +3, 1:30]", [1, 31, "0o7", 8, 1000, -3, 3, 90]),
        ("[1.5, 1e3, 1.0e+3, .5, 1:30.5]", [1.5, "1e3", 1000.0, 0.5, 90.5]),
        ("[yes, No, on, true, y, 'yes', \"no\"]", [True, False, True, True, "y", "yes", "no"]),
        ("[null, ~, Null, '~']", [None, None, None, "~"]),
        ("[2024-01-01, 2024-01-01 10:00:00Z, =, <<]", ["2024-01-01", "2024-01-01 10:00:00Z", "=", "<<"]),
        (f"[{2**64 - 1}, {2**64}, {-(2**63)}]", [2**64 - 1, float(2**64), -(2**63)]),
        ("[!!str 5, !!int '5', ! 5, !!float 1, &a 1]", ["5", 5, "5", 1.0, 1]),
        ("\ufeffa:\n  - b: |\n      c\n      d\n", {"a": [{"b": "c\nd\n"}]}),
        ("a: \n", {"a": None}),
        ('["\\0", "\\x85", "é", "😀"]', ["\x00", "\x85", "é", "😀"]),
        ("%YAML 1.1\n---\n- 1\n...\n", [1]),
    ],
)
def test_values_are_what_yaml_takes_them_for(text, value):
    found = parse_yaml(text.encode())
    assert found == value
    assert [type(each) for each in found] == [type(each) for each in value]


@pytest.mark.parametrize(
    ("body", "where", "said"),
    [
        (b"- a: secret-4711\n  a: 2", (2, 3), "has this key already"),
        (LAUGHS.encode(), (2, 10), "Aliases are not taken"),
        (b"&a [*a]", (1, 5), "Aliases are not taken"),
        (b"- !!python/object/apply:os.system [secret-4711]", (1, 3), "This tag is not taken"),
        (b"- !!python/name:os.system ''", (1, 3), "This tag is not taken"),
        (b"- !secret-4711 x", (1, 3), "This tag is not taken"),
        (b"- !!binary c2VjcmV0", (1, 3), "This tag is not taken"),
        (b"!!set {a}", (1, 1), "This tag is not taken"),
        (b"- a: 1\n  2: secret-4711", (2, 3), "A key has to be a text"),
        (b"? [secret-4711]\n: 1", (1, 3), "A key has to be a text"),
        (b"a: \x00secret-4711", (1, 4), "a character that YAML does not take"),
        ("é: é\x07".encode(), (1, 5), "a character that YAML does not take"),
        ("a: 1\né: é".encode("latin-1"), (2, 1), "no text in UTF-8"),
        ("a: 1".encode("utf-16"), (1, 1), "no text in UTF-8"),
        (b"a: 'secret-4711", (1, 16), "Is not valid YAML"),
        (b"a:\n\t- secret-4711", (2, 1), "Is not valid YAML"),
        (b"- .inf", (1, 3), "Is not a number"),
        (b"- .nan", (1, 3), "Is not a number"),
        (b"- !!int secret-4711", (1, 3), "Is not a number"),
        (b"- !!bool secret-4711", (1, 3), "Is not a number"),
        (b"- 1" + b":1" * 100_000, (1, 3), "Is not a number"),
        (b"- " + b"1" * 100_000, (1, 3), "Is not a number"),
        (b"[" * 100_000, (1, 65), "deeper than 64 levels"),
        (b"a: 1\n---\nsecret-4711", (2, 1), "Another document begins"),
    ],
)
def test_what_json_does_not_have_is_refused_with_its_place_and_not_repeated(body, where, said):
    with pytest.raises(Refused) as refused:
        parse_yaml(body)
    [problem] = refused.value.detail
    assert problem["msg"].startswith(f"Line {where[0]}, column {where[1]}: ")
    assert said in problem["msg"]
    assert "4711" not in problem["msg"]
    assert (refused.value.status, problem["loc"], problem["type"]) == (422, ["body"], "yaml_invalid")


def test_as_many_levels_as_are_allowed_are_read():
    deep = b"[" * 130 + b"]" * 130
    assert parse_yaml(deep, 130) != []
    with pytest.raises(Refused):
        parse_yaml(deep, 129)

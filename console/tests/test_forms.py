"""From a schema to a form and back: whatever the schema holds is shown, and what a person enters is what the API gets."""

import html
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectory_console.forms import MASK, Form, make_form, plain_values, read_form
from connectory_console.web import templates

FIELDS = templates().from_string('{% from "_parts.html" import secret_fields %}{{ secret_fields(form) }}')
TEXT = {"type": "string", "maxLength": 100, "title": "Host"}


def entered(form: Form, values: dict[str, str]) -> dict[str, str]:
    """What a browser sends: every input, filled or not."""
    return {field.input_name: values.get(field.name, "") for field in form.fields}


def rendered(form: Form) -> str:
    return html.unescape(FIELDS.render(form=form))


@pytest.mark.parametrize(
    ("about", "text", "value"),
    [
        (TEXT, " blanks are kept ", " blanks are kept "),
        ({"type": "integer"}, "5432", 5432),
        ({"type": "integer"}, " 5432 ", 5432),
        ({"type": "integer"}, "many", "many"),  # the API says what is wrong
        ({"type": "boolean"}, "true", True),
        ({"type": "boolean"}, "false", False),
        ({"type": "string", "enum": ["a", "b"]}, '"b"', "b"),
        ({"enum": [1, "1", None]}, "1", 1),
        ({"type": "string", "maxLength": 16384}, "line\nline\n", "line\nline\n"),
        ({"type": "object"}, '{"a": [1]}', {"a": [1]}),
        ({"type": ["string", "integer"]}, '"7"', "7"),
        ({"type": "array"}, "[1, 2]", [1, 2]),
        ({"$ref": "#/definitions/x"}, '{"deep": null}', {"deep": None}),
        ({"anyOf": [{"type": "object"}, {"type": "string"}], "sensitive": True}, '{"key": "file"}', '{"key": "file"}'),
    ],
)
def test_what_is_entered_is_what_the_api_gets(about: dict, text: str, value: object) -> None:
    form = make_form({"type": "object", "properties": {"field": about}})
    found = read_form(form, entered(form, {"field": text}))
    assert (found.document, found.problems) == ({"field": value}, {})


def test_what_is_left_empty_is_not_sent() -> None:
    form = make_form(
        {"properties": {"host": TEXT, "port": {"type": "integer", "default": 5432}, "tls": {"type": "boolean"}}}
    )
    assert read_form(form, entered(form, {})).document == {}
    assert form.fields[1].default == "5432"
    assert form.fields[1].value == ""


def test_json_that_is_not_json_says_where() -> None:
    form = make_form({"properties": {"options": {"type": "object"}}})
    found = read_form(form, entered(form, {"options": '{\n"a": ]'}))
    assert found.problems == {"options": "Must be JSON (line 2, column 6)."}


STORED = {"host": "db.example", "port": 5432, "password": MASK, "key": MASK}
SCHEMA = {
    "properties": {
        "host": TEXT,
        "port": {"type": "integer"},
        "password": {"type": "string", "maxLength": 100, "sensitive": True},
        "key": {"type": "string", "maxLength": 9000, "sensitive": True},
    },
    "required": ["host", "password"],
}


def test_stored_secrets_are_kept_replaced_or_removed_each_on_its_own() -> None:
    form = make_form(SCHEMA, stored=STORED)
    sent = {"field.host": "db.example", "field.port": "5432", "field.password": "new", "field.key": ""}
    sent |= {"state.password": "replace", "state.key": "remove"}
    assert read_form(form, sent, STORED).document == {"host": "db.example", "port": 5432, "password": "new"}
    kept = read_form(form, {"field.host": "db.example", "field.port": "", "state.password": "keep"}, STORED)
    assert kept.document == {"host": "db.example", "password": MASK, "key": MASK}


def test_a_mask_is_never_in_an_input_and_a_required_secret_cannot_be_removed() -> None:
    form = make_form(SCHEMA, stored=STORED)
    assert [field.value for field in form.fields] == ["db.example", "5432", "", ""]
    text = rendered(form)
    assert not re.search(r'value="[^"]*\*\*\*', text)
    assert 'name="state.key" value="remove"' in text
    assert 'name="state.password" value="remove"' not in text


def test_a_way_that_is_not_chosen_is_not_sent() -> None:
    described = {
        "fields": [],
        "choices": [
            {
                "title": "How",
                "options": [{"title": "Parts", "fields": ["host", "port"]}, {"title": "One URL", "fields": ["url"]}],
            }
        ],
    }
    schema = {"properties": {"url": TEXT, "host": TEXT, "port": {"type": "integer"}, "more": TEXT}}
    form = make_form(schema, described)
    sent = {
        "choice.0": "1",
        "field.url": "x://y",
        "field.host": "kept in the page",
        "field.port": "1",
        "field.more": "m",
    }
    assert read_form(form, sent).document == {"url": "x://y", "more": "m"}
    assert read_form(form, sent | {"choice.0": "0"}).document == {"host": "kept in the page", "port": 1, "more": "m"}
    assert make_form(schema, described, stored={"url": MASK}).choices[0].chosen == 1


@pytest.mark.parametrize(
    ("stored", "problems", "opened"),
    [
        ({}, {}, False),
        ({"mode": "a", "size": 5}, {}, False),  # the defaults
        ({"mode": "b"}, {}, True),
        ({"size": 6}, {}, True),
        ({"extra": MASK}, {}, True),
        ({}, {"size": "Wrong."}, True),
    ],
)
def test_what_few_need_is_closed_unless_something_is_in_it(stored: dict, problems: dict, opened: bool) -> None:
    schema = {
        "properties": {
            "mode": {"enum": ["a", "b"], "default": "a"},
            "size": {"type": "integer", "default": 5},
            "extra": {"type": "string", "sensitive": True},
        }
    }
    described = {"fields": [{"name": name, "group": "advanced"} for name in schema["properties"]]}
    text = rendered(make_form(schema, described, stored=stored, problems=problems))
    assert ('<details class="advanced" open>' in text) is opened


def test_a_form_that_is_shown_once_more_holds_no_secret() -> None:
    sent = {"field.host": "db", "field.password": "marker-1", "field.key": "marker-2"}
    form = make_form(SCHEMA)
    again = make_form(SCHEMA, entered=plain_values(form, sent), problems={"password": "Wrong."})
    assert "marker" not in rendered(again)
    assert 'value="db"' in rendered(again)
    assert "Wrong." in rendered(again)


@pytest.mark.parametrize(
    "schema", [{}, None, [], {"type": "array"}, {"$ref": "x"}, {"properties": []}, {"properties": {}}]
)
def test_a_schema_that_says_nothing_gets_one_editor(schema: object) -> None:
    form = make_form(schema)
    assert "textarea" in rendered(form)
    found = read_form(form, {form.fields[0].input_name: '{"any": {"thing": [1]}}'})
    assert (found.document, found.problems) == ({"any": {"thing": [1]}}, {})
    assert read_form(form, {form.fields[0].input_name: "[1]"}).problems


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYWORDS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "integer", "boolean", "object", "array", "null", ["string", "null"], 7]),
        "enum": st.lists(JSON, max_size=3),
        "const": JSON,
        "anyOf": st.lists(st.fixed_dictionaries({"type": st.sampled_from(["string", "object"])}) | JSON, max_size=2),
        "$ref": JSON,
        "title": JSON,
        "description": JSON,
        "default": JSON,
        "maxLength": JSON,
        "sensitive": st.booleans(),
        "items": JSON,
    },
)
NAMES = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=12)


@given(
    properties=st.dictionaries(NAMES, KEYWORDS | JSON, min_size=1, max_size=5),
    required=JSON,
    described=st.none() | st.fixed_dictionaries({"fields": JSON.filter(lambda value: not isinstance(value, list))}),
)
def test_no_schema_gives_a_blank_page_or_loses_a_property(
    properties: dict, required: object, described: dict | None
) -> None:
    form = make_form({"properties": properties, "required": required}, described)
    text = rendered(form)
    assert [field.name for field in form.fields] == list(properties)
    for field in form.fields:
        assert f'name="{field.input_name}"' in text


@given(properties=st.dictionaries(NAMES, KEYWORDS, min_size=1, max_size=5), value=JSON)
def test_a_property_that_no_input_suits_takes_any_json(properties: dict, value: object) -> None:
    form = make_form({"properties": properties})
    editors = [field for field in form.fields if field.widget == "json"]
    sent = {field.input_name: json.dumps(value) for field in editors}
    found = read_form(form, sent)
    assert found.document == {field.name: value for field in editors}
    assert not found.problems

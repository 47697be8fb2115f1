"""What stored secrets look like from outside, and what a request means given what is stored."""

import pytest
from pydantic import BaseModel, Secret, SecretStr

from connectory import Endpoint, Host, Name, Port, SecretGroup, Secrets, SecretText, UrlGrammar
from connectory.documents.masking import mask_document, merge_documents
from connectory.documents.sensitivity import MASK
from connectory.documents.validation import SecretsInvalid, parse_secrets
from testkit.certificates import SOME_CERTIFICATE


class Account(Secrets):
    name: Name
    token: SecretText | None = None


class KeyFile(SecretGroup):
    private_key: SecretText
    client_email: Name


class Tunnel(Secrets):
    host: Host


class Loose(BaseModel):
    token: SecretStr


class Service(Secrets):
    domain: Host
    username: Name | None = None
    api_key: SecretText | None = None
    account: Account | None = None
    accounts: list[Account] | None = None
    tokens: list[SecretText] | None = None
    by_name: dict[str, SecretStr] | None = None
    key_file: KeyFile | None = None
    loose: Loose | None = None
    pin: Secret[int] | None = None
    tunnel: Tunnel | None = None
    region: Name | None = None


STORED = {
    "domain": "shop.example",
    "username": "reader",
    "api_key": "S3cret-1",
    "account": {"name": "main", "token": "S3cret-2"},
    "key_file": {"private_key": "S3cret-3", "client_email": "e@example"},
    "tunnel": {"host": "bastion.example"},
}
DATABASE = {"host": "db.example", "username": "reader", "password": "S3cretPw", "ssl_mode": "verify-full"}


def refused(model, submitted, stored, *, replace=False):
    with pytest.raises(SecretsInvalid) as problem:
        merge_documents(model, submitted, stored, replace=replace)
    assert "S3cret" not in str(problem.value)
    return [(found["loc"], found["type"]) for found in problem.value.problems]


# Masking


def test_sensitive_values_read_back_as_the_mask():
    assert mask_document(Service, STORED) == {
        "domain": "shop.example",
        "username": "reader",
        "api_key": MASK,
        "account": {"name": "main", "token": MASK},
        "key_file": MASK,
        "tunnel": {"host": "bastion.example"},
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("accounts", [{"name": "n", "token": "S3cret"}]),
        ("tokens", ["S3cret"]),
        ("by_name", {"a": "S3cret"}),
        ("key_file", {"private_key": "S3cret", "client_email": "e"}),
        ("loose", {"token": "S3cret"}),
        ("pin", 1234),
        ("field_of_an_older_version", "S3cret"),
    ],
)
def test_whatever_holds_a_sensitive_value_is_masked_whole(field, value):
    assert mask_document(Service, {field: value}) == {field: MASK}


def test_a_url_is_shown_without_its_password(database):
    assert mask_document(database, {"url": "postgresql://u:S3cret@h/a@b"}) == {"url": f"postgresql://u:{MASK}@h/a@b"}
    assert mask_document(database, {"url": "postgresql://u@h"}) == {"url": "postgresql://u@h"}


# Sending masked values back


@pytest.mark.parametrize("replace", [True, False])
def test_what_was_read_can_be_sent_back_unchanged(replace):
    assert merge_documents(Service, mask_document(Service, STORED), STORED, replace=replace) == STORED


def test_a_masked_url_sent_back_is_the_stored_url(database):
    stored = {"url": "postgresql://u:S3cret@h/d", "db_schema": "s"}
    shown = mask_document(database, stored)
    assert merge_documents(database, shown, stored, replace=True) == stored


@pytest.mark.parametrize(
    ("submitted", "field"),
    [
        ({"api_key": MASK}, "api_key"),
        ({"key_file": MASK}, "key_file"),
        ({"key_file": {"private_key": MASK, "client_email": "e"}}, "key_file"),
        ({"account": {"name": "other", "token": MASK}}, "account"),
        ({"accounts": [{"name": "n", "token": MASK}]}, "accounts"),
        ({"tokens": ["new", MASK]}, "tokens"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_mask_is_never_stored_as_a_value(submitted, field):
    assert refused(Service, submitted, None) == [([field], "masked_value")]
    assert refused(Service, submitted, {"domain": "d"}) == [([field], "masked_value")]


def test_part_of_a_group_cannot_be_kept_by_its_mask():
    submitted = {"key_file": {"private_key": MASK, "client_email": "other@example"}}
    assert refused(Service, submitted, STORED) == [(["key_file"], "masked_value")]


def test_a_masked_url_that_differs_needs_its_password(database):
    stored = {"url": "postgresql://u:S3cret@h/d"}
    assert refused(database, {"url": f"postgresql://u:{MASK}@evil.example/d"}, stored) == [
        (["url"], "secrets_required")
    ]


def test_asterisks_where_nothing_is_sensitive_are_just_asterisks():
    assert merge_documents(Service, {"domain": "d", "username": MASK}, None, replace=True)["username"] == MASK


# Merging


def test_a_merge_keeps_what_was_not_sent():
    merged = merge_documents(Service, {"region": "eu", "username": None}, STORED, replace=False)
    assert merged == STORED | {"region": "eu", "username": None}


def test_a_replacement_keeps_nothing_that_was_not_sent():
    assert merge_documents(Service, {"domain": "other.example"}, STORED, replace=True) == {"domain": "other.example"}


def test_a_merge_into_nothing_is_a_first_set():
    assert merge_documents(Service, {"domain": "d"}, None, replace=False) == {"domain": "d"}


def test_the_stored_document_is_not_changed():
    stored = {"domain": "d"}
    merge_documents(Service, {"region": "eu"}, stored, replace=False)
    assert stored == {"domain": "d"}


@pytest.mark.parametrize("submitted", [None, [], "S3cretPw", 1])
def test_only_an_object_can_be_merged(submitted):
    assert refused(Service, submitted, STORED) == [([], "dict_type")]


def test_nesting_has_a_limit_before_anything_else_is_looked_at():
    deep: list[object] = []
    for _ in range(200_000):
        deep = [deep]
    for field in ("domain", "api_key", "account", "url", "unknown"):
        place = field if field in Service.model_fields else MASK
        assert refused(Service, {field: deep}, STORED) == [([place], "recursion")]


# Stored secrets do not follow to another endpoint


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        {"host": "evil.example"},
        {"port": 5433},
        {"ssl_mode": "disable"},
        {"ssl_mode": None},
        {"ssl_ca": SOME_CERTIFICATE},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_new_endpoint_needs_the_password_again(database, replace, change):
    kept = dict(DATABASE, password=MASK) | change if replace else change
    assert refused(database, kept, DATABASE, replace=replace) == [(["password"], "secrets_required")]
    merged = merge_documents(database, kept | {"password": "S3cretPw"}, DATABASE, replace=replace)
    assert parse_secrets(database, merged).password.get_secret_value() == "S3cretPw"


def test_a_new_endpoint_without_stored_secrets_is_free(database):
    stored = {"host": "db.example", "username": "reader"}
    assert merge_documents(database, {"host": "other.example"}, stored, replace=False)["host"] == "other.example"
    assert "password" not in merge_documents(
        database, {"host": "other.example", "username": "u"}, DATABASE, replace=True
    )


def test_dropping_the_password_with_the_endpoint_is_free(database):
    merged = merge_documents(database, {"host": "other.example", "password": None}, DATABASE, replace=False)
    assert parse_secrets(database, merged).password is None


def test_naming_the_same_endpoint_is_no_change(database):
    same = {"host": "db.example", "port": 5432, "ssl_mode": "verify-full", "db_schema": "public"}
    merged = merge_documents(database, same, DATABASE, replace=False)
    assert merged["password"] == "S3cretPw"


def test_a_url_cannot_carry_a_stored_password_away(database):
    url = {"url": "postgresql://reader@evil.example"}
    for moved in (url, url | {"host": None, "username": None}):
        assert refused(database, moved, DATABASE) == [(["password"], "secrets_required")]
    with pytest.raises(SecretsInvalid, match="password: Must be sent again, in the url, because url changes"):
        merge_documents(database, url, DATABASE, replace=False)


# From the parts to a url, and back


PARTS = DATABASE | {"port": 5433, "dbname": "app", "db_schema": "public", "ssl_ca": SOME_CERTIFICATE}
URL = {"url": "postgresql://writer:new@other.example/d"}


def test_a_url_with_its_password_takes_the_place_of_the_parts(database):
    merged = merge_documents(database, URL, PARTS, replace=False)
    beside = {name: PARTS[name] for name in ("db_schema", "ssl_mode", "ssl_ca")}
    assert merged == URL | beside
    assert parse_secrets(database, merged).username == "writer"


def test_a_url_takes_the_place_of_what_stands_in_its_query_too(database):
    url = URL["url"] + "?sslmode=verify-ca"
    merged = merge_documents(database, {"url": url}, PARTS, replace=False)
    assert "ssl_mode" not in merged
    assert parse_secrets(database, merged).ssl_mode == "verify-ca"
    stored = URL | {"ssl_mode": "verify-full"}
    assert merge_documents(database, {"url": url}, stored, replace=False) == {"url": url}


def test_a_url_may_come_with_the_word_that_there_is_no_password_any_more(database):
    merged = merge_documents(database, {"url": "postgresql://u@h", "password": None}, DATABASE, replace=False)
    assert parse_secrets(database, merged).password is None


def test_a_url_needs_no_password_where_none_was_stored(database):
    stored = {"host": "db.example", "username": "reader"}
    assert merge_documents(database, {"url": "postgresql://u@h"}, stored, replace=False) == {"url": "postgresql://u@h"}


def test_a_url_that_cannot_be_read_is_for_validation_to_refuse(database):
    for url in ("postgresql://u:p@h:x", "mysql://u:p@h", "postgresql://h:x", "", 7):
        merged = merge_documents(database, {"url": url}, DATABASE, replace=False)
        with pytest.raises(SecretsInvalid) as caught:
            parse_secrets(database, merged)
        assert [problem["loc"] for problem in caught.value.problems] == [["url"]]


def test_a_url_and_a_part_sent_together_are_still_both(database):
    merged = merge_documents(database, URL | {"dbname": "app"}, DATABASE, replace=False)
    with pytest.raises(SecretsInvalid, match="not both: dbname"):
        parse_secrets(database, merged)


def test_all_the_parts_that_are_needed_take_the_place_of_a_url(database):
    stored = URL | {"db_schema": "public"}
    parts = {"host": "db.example", "username": "reader", "password": "S3cretPw"}
    merged = merge_documents(database, parts, stored, replace=False)
    assert merged == parts | {"db_schema": "public"}
    assert parse_secrets(database, merged).host == "db.example"


@pytest.mark.parametrize("host", ["evil.example", "other.example"])
def test_parts_cannot_do_without_the_password_of_a_url(database, host):
    parts = {"host": host, "username": "writer"}
    assert refused(database, parts, URL) == [(["password"], "secrets_required")]
    assert "password" not in parse_secrets(
        database, merge_documents(database, parts | {"password": None}, URL, replace=False)
    ).model_dump(exclude_none=True)


def test_some_of_the_parts_beside_a_stored_url_are_still_both(database):
    merged = merge_documents(database, {"dbname": "app", "password": "S3cretPw"}, URL, replace=False)
    with pytest.raises(SecretsInvalid, match="not both: dbname, password"):
        parse_secrets(database, merged)


def test_what_the_other_form_does_not_hold_does_not_follow_either():
    class Warehouse(Secrets):
        connectory_url = UrlGrammar(schemes={"w": {}}, host="account", port=None, path=())
        account: Host
        username: Name
        password: SecretText | None = None
        private_key: SecretText | None = None

    stored = {"account": "a", "username": "u", "private_key": "S3cret"}
    assert refused(Warehouse, {"url": "w://u@b"}, stored) == [(["private_key"], "secrets_required")]
    assert refused(Warehouse, {"account": "b", "username": "u"}, {"url": "w://u:S3cret@a", "private_key": "k"}) == [
        (["private_key"], "secrets_required"),
        (["password"], "secrets_required"),
    ]


def test_a_certificate_beside_a_url_needs_the_url_again(database):
    stored = {"url": "postgresql://u:S3cret@h"}
    assert refused(database, {"ssl_ca": SOME_CERTIFICATE}, stored) == [(["url"], "secrets_required")]


def test_every_sensitive_field_must_come_again_wherever_it_stands():
    expected = [
        (["api_key"], "secrets_required"),
        (["account"], "secrets_required"),
        (["key_file"], "secrets_required"),
    ]
    assert refused(Service, {"domain": "evil.example"}, STORED) == expected


def test_an_endpoint_inside_a_nested_object_counts():
    changed = refused(Service, {"tunnel": {"host": "evil.example"}}, STORED)
    assert (["api_key"], "secrets_required") in changed


def test_a_plugins_own_endpoint_counts():
    from typing import Annotated

    class Warehouse(Secrets):
        account_identifier: Annotated[str, Endpoint()]
        port: Port = 443
        password: SecretText

    stored = {"account_identifier": "org-a", "password": "S3cret"}
    assert refused(Warehouse, {"account_identifier": "org-b"}, stored) == [(["password"], "secrets_required")]

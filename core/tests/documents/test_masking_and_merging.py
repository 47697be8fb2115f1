"""What stored secrets look like from outside, and what a request means given what is stored."""

import pytest
from pydantic import BaseModel, Secret, SecretStr

from connectory import Endpoint, Host, Name, Port, SecretGroup, Secrets, SecretText
from connectory.documents.masking import MASK, mask_document, merge_documents
from connectory.documents.validation import SecretsInvalid, parse_secrets


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
        assert refused(Service, {field: deep}, STORED) == [([], "recursion")]


# Stored secrets do not follow to another endpoint


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        {"host": "evil.example"},
        {"port": 5433},
        {"ssl_mode": "disable"},
        {"ssl_mode": None},
        {"ssl_ca": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"},
    ],
    ids=str,
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
    moved = {"url": "postgresql://reader@evil.example", "host": None, "username": None}
    assert (["password"], "secrets_required") in refused(database, moved, DATABASE)


def test_a_certificate_beside_a_url_needs_the_url_again(database):
    stored = {"url": "postgresql://u:S3cret@h"}
    ca = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
    assert refused(database, {"ssl_ca": ca}, stored) == [(["url"], "secrets_required")]


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

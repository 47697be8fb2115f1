"""What fields are for, and which of them a failed test is about."""

from typing import Annotated

import pytest

from connectory import (
    Endpoint,
    FailureCode,
    Host,
    Name,
    Port,
    Secrets,
    SecretText,
    SslCaField,
    SslModeField,
    UrlGrammar,
)
from connectory.documents.roles import field_facts, fields_to_blame
from connectory.toolkit import PemPrivateKey, Public, Role


class Ledger(Secrets):
    connectory_url = UrlGrammar(schemes={"ledger": {}}, path=("book",), query={"sslmode": "ssl_mode"})

    host: Host
    port: Port = 7000
    username: Name | None = None
    password: SecretText | None = None
    book: Name | None = None
    book_schema: Name | None = None
    access_id: Annotated[Name | None, Public("it names the key and is not one")] = None
    client_id: Name | None = None
    note: Name | None = None
    region: Annotated[Name | None, Endpoint()] = None
    shelf: Annotated[Name | None, Role("database")] = None
    private_key: PemPrivateKey | None = None
    ssl_mode: SslModeField = "preferred"
    ssl_ca: SslCaField = None
    client_certificate: Annotated[SslCaField, Role("credential")] = None


FIELDS = field_facts(Ledger)
ROLES = {field.name: field.role for field in FIELDS}


def test_types_say_what_fields_are_for():
    assert {ROLES[name] for name in ("url", "host", "port", "region")} == {"endpoint"}
    assert {ROLES[name] for name in ("ssl_mode", "ssl_ca")} == {"tls"}
    assert {ROLES[name] for name in ("password", "private_key", "access_id")} == {"credential"}


def test_where_types_do_not_the_grammar_of_urls_and_names_do():
    assert {ROLES[name] for name in ("username", "client_id")} == {"credential"}
    assert {ROLES[name] for name in ("book", "book_schema")} == {"database"}
    assert ROLES["note"] == "other"


def test_a_plugin_has_the_last_word():
    assert (ROLES["shelf"], ROLES["client_certificate"]) == ("database", "credential")


def test_the_order_is_that_of_the_schema():
    assert [field.name for field in FIELDS] == ["url", *Ledger.model_fields]


def test_only_pem_texts_have_lines():
    assert [field.name for field in FIELDS if field.lines] == ["private_key", "ssl_ca", "client_certificate"]


PARTS = {"host", "port", "username", "password", "book", "book_schema", "note", "ssl_mode"}


@pytest.mark.parametrize(
    ("code", "names"),
    [
        *((code, ("host", "port")) for code in ("dns_failed", "dns_timeout", "connect_refused", "connect_timeout")),
        *((code, ("host", "port")) for code in ("protocol_mismatch", "address_not_allowed")),
        *((code, ("ssl_mode",)) for code in ("tls_failed", "tls_untrusted")),
        *((code, ("username", "password")) for code in ("auth_failed", "insecure_auth_refused")),
        ("database_not_found", ("book",)),
        ("schema_not_found", ("book_schema",)),
        *(
            (code, ())
            for code in ("permission_denied", "query_failed", "timeout", "http_4xx", "crashed", "rate_limited")
        ),
    ],
)
def test_a_code_is_about_the_fields_of_its_role_that_were_given(code, names):
    assert fields_to_blame(FIELDS, FailureCode(code), PARTS) == names


def test_a_success_is_about_none():
    assert fields_to_blame(FIELDS, None, PARTS) == ()


def test_what_has_to_be_given_is_named_though_it_was_not():
    assert fields_to_blame(FIELDS, FailureCode.CONNECT_REFUSED, {"port"}) == ("host", "port")


def test_where_none_was_given_all_that_could_be_are_named():
    assert fields_to_blame(FIELDS, FailureCode.TLS_UNTRUSTED, {"host"}) == ("ssl_mode", "ssl_ca")
    assert fields_to_blame(FIELDS, FailureCode.SCHEMA_NOT_FOUND, {"host"}) == ("book_schema",)


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("connect_refused", ("url",)),
        ("tls_untrusted", ("url", "ssl_ca")),
        ("auth_failed", ("url",)),
        ("database_not_found", ("url",)),
        ("schema_not_found", ("book_schema",)),
    ],
)
def test_a_url_stands_for_its_parts(code, names):
    assert fields_to_blame(FIELDS, FailureCode(code), {"url", "ssl_ca", "book_schema"}) == names


def test_a_url_is_not_named_for_what_it_cannot_hold():
    class Account(Secrets):
        connectory_url = UrlGrammar(schemes={"ledger": {}}, host="account", port=None, username=None, password=None)
        account: Annotated[Name, Role("database")]
        dbname: Name | None = None
        token: SecretText

    assert fields_to_blame(field_facts(Account), FailureCode.AUTH_FAILED, {"url", "token"}) == ("token",)

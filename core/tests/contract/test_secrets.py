"""Validation of secrets: what is accepted, what is refused, and that a refusal never repeats a value."""

import base64
import json
import time
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr, field_validator

from connectory import Host, Name, Port, SecretGroup, Secrets, SecretText, Text, UrlGrammar
from connectory.documents.masking import sensitive_texts
from connectory.documents.sensitivity import MASK
from connectory.documents.validation import MAX_DEPTH, MAX_PROBLEMS, SecretsInvalid, parse_secrets, secrets_document
from connectory.toolkit import PemPrivateKey
from testkit.certificates import SOME_CERTIFICATE

GOOD = {"host": "db.example", "username": "reader"}
PEM = SOME_CERTIFICATE


class Account(Secrets):
    name: Name
    token: SecretText


class KeyFile(SecretGroup):
    private_key: SecretText
    client_email: Name


class Service(Secrets):
    domain: Host
    account: Account | None = None
    accounts: list[Account] | None = None
    key_file: KeyFile | None = None


def problems(model, payload):
    with pytest.raises(SecretsInvalid) as refused:
        parse_secrets(model, payload)
    return refused.value.problems


def locations(model, payload):
    return [problem["loc"] for problem in problems(model, payload)]


# The leniencies


def test_null_means_absent(database):
    nothing = dict.fromkeys(["port", "password", "dbname", "db_schema", "ssl_mode", "ssl_ca", "url"])
    parsed = parse_secrets(database, GOOD | nothing)
    assert parsed.port == 5432
    assert parsed.password is None


def test_a_required_field_that_is_null_is_missing(database):
    [problem] = problems(database, {"host": None, "username": "reader"})
    assert problem["loc"] == ["host"]
    assert problem["msg"] == "Must be supplied a 'url' or all of: [host]."
    assert locations(Service, {"domain": None}) == [["domain"]]


@pytest.mark.parametrize("port", [5433, "5433", 5433.0])
def test_a_decimal_string_is_taken_for_an_integer(database, port):
    parsed = parse_secrets(database, GOOD | {"port": port})
    assert parsed.port == 5433
    assert type(parsed.port) is int


def test_a_decimal_string_is_taken_for_an_integer_wherever_one_may_stand():
    class Counted(Secrets):
        port: Port | None = None
        retries: Annotated[int, Field(ge=0)] | None = None
        limit: int | None = None
        ports: list[Port] | None = None

    parsed = parse_secrets(Counted, {"port": "5432", "retries": "3", "limit": "7", "ports": ["1", 2]})
    assert (parsed.port, parsed.retries, parsed.limit, parsed.ports) == (5432, 3, 7, [1, 2])
    assert locations(Counted, {"port": "0", "retries": "-1"}) == [["port"], ["retries"]]


@pytest.mark.parametrize("spelling", ["require", "required"])
def test_an_ssl_mode_has_libpqs_spelling_too(database, spelling):
    assert parse_secrets(database, GOOD | {"ssl_mode": spelling}).ssl_mode == "required"


# Values that are refused


@pytest.mark.parametrize(
    "port",
    [
        *[float("nan"), 1e400, -1e400, 1e308, 2**63, 2**64, -(2**63), 10**400],
        *[0, -1, 65536, 5432.5, True, False],
        *[
            "",
            " 5432",
            "5432 ",
            "5432\n",
            "+5432",
            "05432",
            "5_432",
            "5432.0",
            "5e3",
            "0x1538",
            "NaN",
            "\u0665",
            "9" * 5000,
        ],
        *[[], [5432], {}, {"port": 5432}, "\ud800"],
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_port_is_refused_at_the_port(database, port):
    assert locations(database, GOOD | {"port": port}) == [["port"]]


@pytest.mark.parametrize("field", ["host", "username", "password", "dbname", "db_schema", "application"])
@pytest.mark.parametrize(
    "value",
    [
        *["a\0b", "\0", "a\r\nX-Injected: 1", "a\nb", "a\x1bb", "a\x7fb", "a\tb", "", "a\ud800", "\udfff"],
        *[1, 1.5, True, [], ["a"], {}],
    ],
    ids=repr,
)
def test_text_is_text_without_control_characters(database, field, value):
    assert locations(database, GOOD | {field: value}) == [[field]]


@pytest.mark.parametrize("mode", ["prefer\0", "disable&host=127.0.0.1", "REQUIRE", "", "on", 1, True, ["require"], {}])
def test_an_ssl_mode_is_one_of_the_modes(database, mode):
    [problem] = problems(database, GOOD | {"ssl_mode": mode})
    assert problem["loc"] == ["ssl_mode"]
    assert "disabled, preferred, required, verify-ca, verify-full" in problem["msg"]


@pytest.mark.parametrize(
    "ca",
    [
        "/etc/ssl/certs/ca.pem",
        "file:///etc/passwd",
        "MIIB",
        PEM + "/etc/passwd",
        PEM.replace("MIIB", "MI\0IB"),
        PEM.replace("MIIB", "MI-IB"),
        PEM.replace("MIIB", "MI\u2028IB"),
        PEM.replace("MIIB", "MI\x1cIB"),
        PEM.replace("CERTIFICATE", "PRIVATE KEY"),
        PEM.replace("MIIB", "A" * 70_000),
        PEM.replace("CERTIFICATE", "PUBLIC KEY"),
        PEM.replace("BEGIN CERTIFICATE", "BEGIN PUBLIC KEY"),
        PEM.replace("END CERTIFICATE", "END PUBLIC KEY"),
        PEM.replace("MIIB", ""),
        PEM.replace("MIIB", "MIIC"),
        PEM.replace("34haweu", ""),
        PEM.replace("sQ==\n", ""),
        PEM.replace("\n", " "),
        PEM[:200],
        PEM[:200] + "\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n====\n-----END CERTIFICATE-----\n",
        PEM + PEM.replace("MIIB", "MIIC"),
        PEM.replace("MIIB", "MIIC") + PEM,
        PEM + PEM[:200],
        PEM + PEM.replace("CERTIFICATE", "PRIVATE KEY"),
        PEM.replace("CERTIFICATE", "PRIVATE KEY") + PEM,
        "",
        " \n",
        "# An empty bundle\n",
    ],
    ids=range(30),
)
def test_a_certificate_is_content_and_never_a_path(database, ca):
    assert locations(database, GOOD | {"ssl_ca": ca}) == [["ssl_ca"]]


def test_several_certificates_may_follow_each_other(database):
    assert parse_secrets(database, GOOD | {"ssl_ca": PEM + "\r\n" + PEM}).ssl_ca == PEM + "\r\n" + PEM


@pytest.mark.parametrize(
    "text",
    ["# Issuer: CN=Authority\n", "Főtanúsítvány\n=====\n", "Certificate:\n\tVersion: 3 (0x2)\n", "- - -----\r\n"],
)
def test_what_explains_the_certificates_of_a_bundle_is_left_out(database, text):
    bundle = "\n" + text + PEM + "\n" + text * 2 + PEM
    document = secrets_document(database, GOOD | {"ssl_ca": bundle})
    assert document["ssl_ca"] == PEM + "\n" + PEM
    assert secrets_document(database, document) == document


@pytest.mark.parametrize(
    "bundle",
    [
        "-" * 65_000,
        "-----BEGIN" * 6_500,
        "\n" * 65_000 + "-----BEGIN CERTIFICATE-----",
        ("\n" * 50 + PEM[:-2]) * 100,
        "-----BEGIN CERTIFICATE-----\n" + "A" * 65_000,
        "-----BEGIN CERTIFICATE-----\nMIID\n-----END CERTIFICATE-----\n\n" * 900,
    ],
    ids=range(6),
)
def test_a_bundle_is_judged_quickly_whatever_it_holds(database, bundle):
    started = time.process_time()
    parse_secrets(database, GOOD | {"ssl_ca": PEM * 100})
    assert locations(database, GOOD | {"ssl_ca": bundle}) == [["ssl_ca"]]
    assert time.process_time() - started < 0.5


def test_a_refused_certificate_is_not_repeated(database):
    [problem] = problems(database, GOOD | {"ssl_ca": PEM.replace("MIIB", "MIIC")})
    assert problem["msg"] == (
        "Must be one or more PEM certificates, each of them whole, "
        "from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----."
    )


class KeyHolder(Secrets):
    key: PemPrivateKey


def key_of(der: bytes, label: str = "PRIVATE KEY", end: str | None = None) -> str:
    return f"-----BEGIN {label}-----\n{base64.b64encode(der).decode()}\n-----END {end or label}-----\n"


@pytest.mark.parametrize(
    "key",
    [
        key_of(b""),
        key_of(b"\x30"),
        key_of(b"\x30\x02\x05"),
        key_of(b"\x30\x02\x05\x00\x00"),
        key_of(b"\x30\x82\x01"),
        key_of(b"\x30\xff" + b"\xff" * 127),
        key_of(b"\x04\x02\x05\x00"),
        key_of(b"\x30\x02\x05\x00", "RSA PRIVATE KEY", "PRIVATE KEY"),
        key_of(b"\x30\x02\x05\x00").replace("MA", "M=A"),
        key_of(b"\x30\x02\x05\x00").replace("==", ""),
        key_of(b"\x30\x02\x05\x00", "PUBLIC KEY"),
        key_of(b"\x30\x02\x05\x00", "CERTIFICATE"),
        PEM,
    ],
    ids=range(13),
)
def test_a_private_key_that_is_cut_off_or_something_else_is_refused(key):
    [problem] = problems(KeyHolder, {"key": key})
    assert problem["loc"] == ["key"]


@pytest.mark.parametrize("label", ["PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY"])
@pytest.mark.parametrize("der", [b"\x30\x02\x05\x00", b"\x30\x81\x80" + b"a" * 128, b"\x30\x82\x01\x00" + b"a" * 256])
def test_of_a_private_key_only_the_frame_is_looked_at(label, der):
    key = key_of(der, label)
    assert parse_secrets(KeyHolder, {"key": key}).key.get_secret_value() == key


@pytest.mark.parametrize("payload", [None, [], [GOOD], "S3cretPw", b"S3cretPw", 1, 1.5, True, b"bytes"], ids=repr)
def test_secrets_are_an_object(database, payload):
    [problem] = problems(database, payload)
    assert problem == {"loc": [], "msg": "The secrets must be a JSON object.", "type": "dict_type"}


def test_every_problem_is_reported_at_once(database):
    assert sorted(locations(database, {"host": "@x", "username": "", "port": 0, "other": 1})) == [
        [MASK],
        ["host"],
        ["port"],
        ["username"],
    ]


def test_lengths_have_limits(database):
    assert locations(database, GOOD | {"username": "a" * 2049}) == [["username"]]
    assert locations(database, GOOD | {"password": "a" * 4097}) == [["password"]]
    assert parse_secrets(database, GOOD | {"password": "a" * 4096}).password.get_secret_value() == "a" * 4096


# Unknown fields


@pytest.mark.parametrize(
    "name",
    [
        *["hostaddr", "sslkeylogfile", "options", "service", "passfile", "krbsrvname", "dsn"],
        *["S3cretPw-as-a-name", "", "\0", "__class__"],
    ],
)
def test_an_unknown_field_is_refused_and_its_name_not_repeated(database, name):
    [problem] = problems(database, GOOD | {name: "S3cretPw"})
    assert problem["loc"] == [{"hostaddr": "host", "krbsrvname": "username"}.get(name, MASK)]
    assert problem["type"] == "extra_forbidden"
    assert "Known fields: url, host, port, username, password" in problem["msg"]
    assert "S3cretPw" not in problem["msg"]
    assert len(name) < 5 or name not in problem["msg"]


def test_a_misspelt_field_gets_a_suggestion(database):
    [problem] = problems(database, GOOD | {"passwrod": "S3cretPw"})
    assert problem["loc"] == ["password"]
    assert "Did you mean 'password'?" in problem["msg"]
    assert "passwrod" not in problem["msg"]


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("hostname", "host"),
        ("HOST", "host"),
        ("userName", "username"),
        ("user", "username"),
        (" Port ", "port"),
        ("db_url", "url"),
    ],
)
def test_an_unknown_field_is_told_at_the_field_that_was_meant(database, sent, meant):
    found = [problem for problem in problems(database, {sent: "S3cretPw"}) if problem["type"] == "extra_forbidden"]
    assert [problem["loc"] for problem in found] == [[meant]]
    assert f"Did you mean '{meant}'?" in found[0]["msg"]


def test_each_unknown_field_has_its_place(database):
    found = problems(database, GOOD | {"passwrod": "a", "prot": 1, "whatever": 2, "nonsense": 3})
    assert [problem["loc"] for problem in found] == [["password"], ["port"], [MASK]]


def test_an_unknown_field_of_a_nested_object_is_reported_there():
    [problem] = problems(Service, {"domain": "d", "account": {"name": "n", "token": "t", "S3cretPw": 1}})
    assert problem["loc"] == ["account", MASK]
    assert problem["msg"].endswith("Known fields: name, token.")


def test_a_name_that_is_no_unicode_is_refused(database):
    assert locations(database, GOOD | {"\ud800": "S3cretPw"}) == [[MASK]]


# Size and depth


def deep_list(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


def deep_object(levels):
    value = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("value", [deep_list(200_000), deep_object(200_000)], ids=["lists", "objects"])
@pytest.mark.parametrize(
    "field", ["host", "port", "password", "ssl_mode", "url", "account", "accounts", "key_file", "unknown"]
)
def test_a_deeply_nested_value_is_refused_like_any_other(database, field, value):
    for model in (database, Service):
        [problem] = problems(model, {field: value})
        assert problem["type"] == "recursion"
        assert problem["loc"] == [field if field in model.model_fields or (model, field) == (database, "url") else MASK]
        assert f"at most {MAX_DEPTH} levels" in problem["msg"]


def test_ordinary_nesting_is_judged_by_the_field():
    assert locations(Service, {"domain": deep_list(MAX_DEPTH - 1)}) == [["domain"]]


def test_a_hundred_thousand_fields_are_refused_in_one_sentence(database):
    payload = GOOD | {f"field-{number}": "S3cretPw" for number in range(100_000)}
    started = time.process_time()
    [problem] = problems(database, payload)
    assert (
        time.process_time() - started < 12
    )  # a second, on a busy machine three; over half a minute when compared by name
    assert problem["type"] == "extra_forbidden"


def test_no_refusal_lists_more_problems_than_a_person_reads():
    payload = {"domain": "d", "accounts": [{"name": "", "token": ""}] * 1000}
    assert len(problems(Service, payload)) == MAX_PROBLEMS


# A url or the parts


def test_a_url_becomes_the_parts(database):
    parsed = parse_secrets(database, {"url": "postgresql://reader:p%40ss@[::1]:5433/app?sslmode=require"})
    assert (parsed.host, parsed.port, parsed.username, parsed.dbname) == ("::1", 5433, "reader", "app")
    assert parsed.password is not None
    assert parsed.password.get_secret_value() == "p@ss"
    assert parsed.ssl_mode == "required"


def test_neither_url_nor_parts_is_refused_with_both_ways_out(database):
    found = problems(database, {"dbname": "app"})
    assert [problem["loc"] for problem in found] == [["host"], ["username"]]
    assert {problem["msg"] for problem in found} == {"Must be supplied a 'url' or all of: [host, username]."}


def test_all_problems_come_in_one_answer(database):
    """Those of the whole together with those of each field."""
    assert locations(database, {"port": 0, "hots": "h"}) == [["host"], ["username"], ["port"], ["host"]]
    assert locations(database, {"url": "mysql://h", "ssl_mode": "on"}) == [["url"], ["ssl_mode"]]
    assert locations(database, {"url": "postgresql://h", "port": 1, "ssl_ca": "x"}) == [["url"], ["ssl_ca"]]


def test_a_url_must_give_what_has_no_default(database):
    [problem] = problems(database, {"url": "postgresql://h/d"})
    assert (problem["loc"], problem["msg"]) == (["url"], "The url lacks a part: username.")


@pytest.mark.parametrize("field", ["host", "port", "username", "password", "dbname"])
def test_a_url_and_a_part_are_refused(database, field):
    value = 5432 if field == "port" else "S3cretPw"
    [problem] = problems(database, {"url": "postgresql://u@h/d", field: value})
    assert problem["msg"] == f"Must be supplied a 'url' or the parts, not both: {field}"


def test_what_a_url_cannot_hold_may_be_sent_beside_it(database):
    parsed = parse_secrets(
        database, {"url": "postgresql://u@h", "db_schema": "public", "ssl_mode": "verify-ca", "ssl_ca": PEM}
    )
    assert (parsed.host, parsed.db_schema, parsed.ssl_mode) == ("h", "public", "verify-ca")


def test_what_the_url_holds_already_may_not_be_sent_beside_it(database):
    [problem] = problems(database, {"url": "postgresql://u@h?sslmode=require", "ssl_mode": "disable"})
    assert problem["msg"] == "Stands in the url's query too: ssl_mode"


@pytest.mark.parametrize("url", [1, True, ["postgresql://u@h"], {}, "", "postgresql://u@h/" + "d" * 2048], ids=range(6))
def test_a_url_is_a_text_of_limited_length(database, url):
    [problem] = problems(database, {"url": url})
    assert problem["loc"] == ["url"]
    assert "1 to 2048 characters" in problem["msg"]


def test_a_malformed_url_is_reported_at_the_url(database):
    [problem] = problems(database, {"url": "postgresql://u:S3cretPw@h:x/d"})
    assert problem["loc"] == ["url"]
    assert "S3cretPw" not in problem["msg"]


def test_a_connector_without_a_grammar_knows_no_url():
    [problem] = problems(Service, {"domain": "d", "url": "postgresql://u@h"})
    assert problem["type"] == "extra_forbidden"


# The document that is stored


def test_the_document_is_what_was_sent_in_one_spelling(database):
    document = secrets_document(
        database, {"host": "[::1]", "port": "5433", "username": "u", "password": "p", "dbname": None}
    )
    assert document == {"host": "::1", "port": 5433, "username": "u", "password": "p"}
    assert secrets_document(database, document) == document


def test_a_url_stays_a_url(database):
    payload = {"url": "postgresql://u:p@h", "db_schema": "s", "ssl_mode": "prefer"}
    document = secrets_document(database, payload)
    assert document == {"url": "postgresql://u:p@h", "db_schema": "s", "ssl_mode": "preferred"}
    assert next(iter(document)) == "url"


def test_nested_values_are_plain_in_the_document():
    payload = {
        "domain": "d",
        "account": {"name": "n", "token": "t"},
        "accounts": [{"name": "n", "token": "t"}],
        "key_file": {"private_key": "k", "client_email": "e"},
    }
    assert secrets_document(Service, payload) == payload
    assert json.loads(json.dumps(secrets_document(Service, payload))) == payload


@given(
    st.dictionaries(
        st.sampled_from(["host", "username", "password", "dbname"]), st.from_regex(r"[a-z]{1,9}", fullmatch=True)
    )
)
def test_a_document_is_accepted_again(parts):
    class Some(Secrets):
        host: Host = "localhost"
        username: Name | None = None
        password: SecretText | None = None
        dbname: Name | None = None

    assert secrets_document(Some, secrets_document(Some, parts)) == parts


# Nothing that was submitted comes back


MARKER = "Zq7-marker-Zq7"
HOLDING = [MARKER, MARKER + "\0", "a" * 5000 + MARKER, [MARKER], {MARKER: MARKER}, {"a": [MARKER]}]


@pytest.mark.parametrize("value", HOLDING, ids=range(len(HOLDING)))
def test_no_refusal_repeats_a_submitted_value(database, value):
    for model in (database, Service):
        for name in ["url", *model.model_fields, MARKER]:
            try:
                parse_secrets(model, {name: value})
            except SecretsInvalid as refused:
                shown = repr(refused) + str(refused) + json.dumps(refused.problems)
                shown += repr(refused.__cause__) + repr(refused.__context__)
                assert MARKER not in shown


class Chatty(Secrets):
    """A plugin whose own validators repeat what they are given."""

    connectory_url = UrlGrammar(schemes={"db": {}})

    host: Host
    port: int = 1
    username: Name | None = None
    password: SecretText | None = None
    dbname: Name | None = None

    @field_validator("dbname", "password", "port", "username")
    @classmethod
    def _repeat(cls, value: object) -> object:
        shown = value.get_secret_value() if isinstance(value, SecretStr) else value
        raise ValueError(f"I do not like {shown!r}")


@pytest.mark.parametrize(
    "payload",
    [
        {"host": "h", "dbname": MARKER},
        {"host": "h", "password": MARKER},
        {"host": "h", "username": MARKER + '"\\'},
        {"url": f"db://u:{MARKER}%40%2F@h"},
        {"url": f"db://h/%5Cd{MARKER}"},
    ],
    ids=range(5),
)
def test_a_validator_that_repeats_the_value_is_silenced(payload):
    for problem in problems(Chatty, payload):
        assert MARKER not in problem["msg"]
        assert problem["msg"] == "The value is not accepted." or "'u'" in problem["msg"]


def test_a_number_is_silenced_too():
    [problem] = problems(Chatty, {"host": "h", "port": 98765432})
    assert "98765432" not in problem["msg"]


def test_a_value_that_is_a_word_of_our_own_sentence_does_not_silence_it(database):
    problem, _ = problems(database, {"dbname": "supplied"})
    assert problem["msg"] == "Must be supplied a 'url' or all of: [host, username]."

    class Either(Secrets):
        connectory_exactly_one = (("password", "token"),)
        password: SecretText | None = None
        token: SecretText | None = None

    [problem] = problems(Either, {"password": "password", "token": "token"})
    assert problem["msg"] == "Must be supplied exactly one of: password, token"


class Broken(Secrets):
    region: Name

    @field_validator("region")
    @classmethod
    def _fall_over(cls, value: str) -> str:
        raise KeyError(value)


def test_a_validator_that_falls_over_is_a_refusal_too():
    [problem] = problems(Broken, {"region": MARKER})
    assert problem["msg"] == "The connector could not judge the secrets (KeyError); report it to its authors."


class Opinionated(Secrets):
    region: Name

    @field_validator("region")
    @classmethod
    def _check(cls, value: str) -> str:
        if value not in {"eu", "us"}:
            raise ValueError("choose eu or us")
        return value


def test_a_validator_that_says_what_to_do_is_heard():
    [problem] = problems(Opinionated, {"region": "mars"})
    assert problem["loc"] == ["region"]
    assert problem["msg"].endswith("choose eu or us")


def test_an_instance_never_shows_its_secrets(database):
    parsed = parse_secrets(database, GOOD | {"password": MARKER})
    assert MARKER not in repr(parsed) + str(parsed) + repr(parsed.model_dump())


def test_an_instance_cannot_be_changed(database):
    parsed = parse_secrets(database, GOOD)
    with pytest.raises(ValueError, match="frozen"):
        parsed.host = "evil.example"


def test_sensitive_texts_are_found_at_every_depth(database):
    document = {
        "domain": "d",
        "account": {"name": "n", "token": "t1"},
        "accounts": [{"name": "n2", "token": "t2"}],
        "key_file": {"private_key": "k", "client_email": "e"},
    }
    assert {"t1", "t2", "k", "e"} <= set(sensitive_texts(Service, document))
    assert "d" not in sensitive_texts(Service, document)
    url = "postgresql://u:p%40ss@h"
    assert sensitive_texts(database, {"url": url, "db_schema": "s"}) == [url, "p@ss"]
    assert sensitive_texts(database, {"url": "postgresql://u@h"}) == []


# Grammars that plugins declare


class Slugs(Secrets):
    slug: Name = Field(max_length=5)
    word: str = Field(default="ab", min_length=2)
    count: int = Field(default=2, ge=2, multiple_of=2)
    code: str = "x1"


def test_a_grammar_says_what_it_expects():
    grammar = Text("letters and a digit", pattern=r"[a-z]+[0-9]", max_length=4)
    assert grammar.check("ab1") == "ab1"
    assert grammar.check(SecretStr("ab1")) == SecretStr("ab1")
    for wrong in ("ab", "AB1", "1ab", "ab\n1"):
        with pytest.raises(Exception, match=r"^Must be letters and a digit\.$"):
            grammar.check(wrong)
    with pytest.raises(Exception, match="1 to 4 characters"):
        grammar.check("abcd1")
    assert Text(max_length=3).check("a b") == "a b"


@pytest.mark.parametrize(
    "payload", [{"slug": "abcdef"}, {"slug": "a", "word": "a"}, {"slug": "a", "count": 3}, {"slug": "a", "count": "0"}]
)
def test_limits_of_a_plugin_apply_to_our_types(payload):
    assert len(problems(Slugs, payload)) == 1
    assert parse_secrets(Slugs, {"slug": "abcde", "count": "4"}).count == 4


def test_a_port_is_an_endpoint_and_an_integer():
    class OnlyPort(Secrets):
        port: Port

    assert parse_secrets(OnlyPort, {"port": "65535"}).port == 65535


class Wordy(Secrets):
    port: Port = 1
    other_port: Port | None = None
    count: int = Field(default=2, ge=2)
    rest: int = Field(default=2, le=9, multiple_of=3)
    any_number: int = 0
    ratio: float = 0.5
    active: bool = False
    kind: Literal["a", "b"] = "a"
    word: str = Field(default="ab", min_length=2, max_length=3)
    items: list[Port] = []


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        *[
            ({"port": value}, "Must be an integer from 1 to 65535.")
            for value in ("x", 0, 65536, 1.5, True, [], {}, "-1")
        ],
        ({"other_port": "x"}, "Must be an integer from 1 to 65535."),
        ({"count": "x"}, "Must be an integer of at least 2."),
        ({"count": 1}, "Must be an integer of at least 2."),
        ({"rest": 12}, "Must be an integer of at most 9."),
        ({"rest": 4}, "Must be a multiple of 3."),
        ({"any_number": "x"}, "Must be an integer."),
        ({"ratio": "x"}, "Must be a number."),
        ({"active": "x"}, "Must be true or false."),
        ({"kind": "c"}, "Must be one of: 'a' or 'b'."),
        ({"word": 1}, "Must be a string."),
        ({"word": "a"}, "Must have at least 2 characters."),
        ({"word": "abcd"}, "Must have at most 3 characters."),
        ({"items": 1}, "Must be a JSON array."),
        ({"items": ["x"]}, "Must be an integer."),
        ({"items": [0]}, "Must be at least 1."),
    ],
    ids=str,
)
def test_what_pydantic_says_is_said_in_plain_words(payload, message):
    [problem] = problems(Wordy, payload)
    assert problem["msg"] == message


def test_what_is_left_out_is_required_in_plain_words():
    [problem] = problems(Service, {})
    assert (problem["loc"], problem["msg"]) == (["domain"], "Field required.")


def test_a_message_of_our_own_keeps_its_words():
    """Though its type is one that pydantic has a message for."""
    [problem] = problems(Service, {"domain": "a b"})
    assert problem["msg"].startswith("Must be a host name or an IP address")

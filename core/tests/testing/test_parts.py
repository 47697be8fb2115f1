"""The parts of the kit that plugin authors may use on their own."""

import base64
import contextlib
import gzip
import html
import inspect
import json
import re
import socket
import struct
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import find, settings

from connectory import Host, Name, Port, SecretGroup, Secrets, SecretText, SslMode, SslModeField, UrlGrammar
from connectory.documents.json_schema import secret_json_schema
from connectory.documents.validation import parse_secrets
from connectory.testing import (
    RULES,
    ConnectorConformance,
    FarEnd,
    black_hole,
    bombing_server,
    closing_server,
    dripping_server,
    flooding_server,
    redirecting_server,
    reflecting_server,
    refused_port,
    silent_server,
)
from connectory.testing.exposure import appearances
from connectory.testing.payloads import (
    as_parts,
    is_accepted,
    submissions,
    text_places,
    value_at,
    with_markers,
    with_value,
)
from connectory.testing.rules.rule import standard_checks
from connectory.testing.schema_rules import (
    frame_complaints,
    missing_defaults,
    pattern_complaints,
    sensitivity_complaints,
    standard_complaints,
)

# Far ends


def connected(far_end: FarEnd) -> socket.socket:
    return socket.create_connection((far_end.host, far_end.port), timeout=5)


def test_a_silent_server_accepts_and_says_nothing():
    with silent_server() as far_end:
        with connected(far_end) as connection:
            connection.sendall(b"hello")
            connection.settimeout(0.2)
            with pytest.raises(TimeoutError):
                connection.recv(1)
        assert (far_end.connections, far_end.received) == (1, b"hello")


def test_a_closing_server_hangs_up_at_once():
    with closing_server() as far_end, connected(far_end) as connection:
        assert connection.recv(1) == b""
        assert far_end.connections == 1


def test_a_refused_port_refuses_and_stays_taken():
    with refused_port() as far_end:
        with pytest.raises(ConnectionRefusedError):
            connected(far_end)
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((far_end.host, far_end.port))


def test_a_black_hole_answers_no_attempt_to_connect():
    with black_hole() as far_end:
        with pytest.raises(TimeoutError), socket.create_connection((far_end.host, far_end.port), timeout=0.3):
            pass
        assert far_end.connections == 0


REQUEST = b"GET / HTTP/1.1\r\nAuthorization: Bearer 4711\r\n\r\n"


def begin(connection: socket.socket, said: bytes) -> bytes:
    """What a far end answers at first."""
    connection.sendall(said)
    return connection.recv(4096)


def test_a_dripping_server_sends_a_byte_now_and_then():
    with dripping_server(greeting=b"+HELLO") as far_end:
        with connected(far_end) as connection:
            assert begin(connection, b"?").startswith(b"+HELLO")
            assert [connection.recv(64) for _ in range(2)] == [b"\0", b"\0"]
        with connected(far_end) as connection:
            assert begin(connection, REQUEST).startswith(b"HTTP/1.1 200 OK")
            assert connection.recv(64) == b" "


@pytest.mark.parametrize("said", [b"?", REQUEST])
def test_a_flooding_server_sends_without_end(said):
    with flooding_server() as far_end, connected(far_end) as connection:
        begin(connection, said)
        received = 0
        while received < 32 * 2**20:
            received += len(connection.recv(2**20))


def test_a_bombing_server_claims_to_send_much():
    with bombing_server() as far_end:
        with connected(far_end) as connection:
            assert struct.unpack(">i", begin(connection, b"?")[:4])[0] > 2 * 10**9
        with connected(far_end) as connection, connection.makefile("rb") as answer:
            connection.sendall(REQUEST)
            while answer.readline() != b"\r\n":
                pass
            with gzip.open(answer) as unpacked:
                assert all(unpacked.read(2**20) == bytes(2**20) for _ in range(20))


def test_a_reflecting_server_sends_back_what_it_got():
    with reflecting_server(greeting=b"+") as far_end:
        with connected(far_end) as connection:
            assert connection.recv(1) == b"+"
            assert begin(connection, b"LOGIN 4711") == b"LOGIN 4711"
        with connected(far_end) as connection:
            connection.recv(1)
            answer = begin(connection, REQUEST)
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert answer.endswith(REQUEST)
        assert far_end.received == b"LOGIN 4711" + REQUEST


def test_a_redirecting_server_names_another():
    with redirecting_server(FarEnd("127.0.0.1", 4711)) as far_end, connected(far_end) as connection:
        answer = begin(connection, REQUEST)
    assert answer.startswith(b"HTTP/1.1 307 ")
    assert b"\r\nLocation: http://127.0.0.1:4711/\r\n" in answer


@pytest.mark.parametrize("server", [silent_server, closing_server, dripping_server, flooding_server, reflecting_server])
def test_a_far_end_is_gone_afterwards_with_all_its_connections(server):
    with server() as far_end:
        connection = connected(far_end)
    with connection, contextlib.suppress(ConnectionResetError):
        while connection.recv(2**20):
            pass
    with pytest.raises(ConnectionRefusedError):
        connected(far_end)


# Looking for secrets

SECRET = "p@ss/w\"rd<&'é 1"


@pytest.mark.parametrize(
    "shown",
    [
        SECRET,
        f"login failed for user:{SECRET}!",
        quote(SECRET, safe=""),
        quote(SECRET),
        json.dumps({"password": SECRET}),
        json.dumps({"password": SECRET}, ensure_ascii=False),
        html.escape(f"<{SECRET}>"),
        repr({"password": SECRET}),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        "Basic " + base64.b64encode(b"u:" + SECRET.encode()).decode(),
        "Basic " + base64.b64encode(b"user:" + SECRET.encode() + b"\n").decode(),
        "Basic " + base64.b64encode(b"reader:" + SECRET.encode() + b"??").decode(),
        SECRET.encode().hex(),
    ],
)
def test_a_secret_is_found_in_every_usual_spelling(shown):
    assert appearances([SECRET], {"the report": shown, "a log": "nothing"}) == ["A secret shows in the report."]


def test_the_field_of_a_secret_is_named_where_it_is_known():
    assert appearances({SECRET: "password"}, {"the report": SECRET}) == [
        "The secret of the field password shows in the report."
    ]


@pytest.mark.parametrize("shown", ["", "a log without it", SECRET[:5], "cGFzcw=="])
def test_other_texts_hold_no_secret(shown):
    assert appearances([SECRET], {"the report": shown}) == []


# Documents


class KeyFile(SecretGroup):
    private_key: SecretText
    client: Name


class Store(Secrets):
    connectory_url = UrlGrammar(schemes={"store": {}}, required=frozenset({"host"}))
    connectory_exactly_one = (("password", "key_file"),)

    host: Host
    port: Port = 1
    username: Name | None = None
    password: SecretText | None = None
    dbname: Name | None = None
    key_file: KeyFile | None = None
    note: Name | None = None


SCHEMA = secret_json_schema(Store, "store", "Store")
PARTS = {"host": "h", "username": "u", "password": "p-p-p-p-p"}


def test_every_text_of_the_senders_own_has_a_place():
    assert text_places(SCHEMA) == [
        "url",
        "host",
        "username",
        "password",
        "dbname",
        "key_file.private_key",
        "key_file.client",
        "note",
    ]


def test_a_value_is_put_where_nothing_stands_against_it():
    assert with_value(Store, PARTS, "note", "n") == PARTS | {"note": "n"}
    assert with_value(Store, PARTS, "url", "store://h") == {"url": "store://h"}
    assert with_value(Store, {"url": "store://u:p@h"}, "dbname", "d") == {
        "host": "h",
        "username": "u",
        "password": "p",
        "dbname": "d",
    }
    changed = with_value(Store, PARTS, "key_file.client", "c")
    assert changed == {"host": "h", "username": "u", "key_file": {"client": "c"}}
    assert value_at(changed, "key_file.client") == "c"
    assert value_at(changed, "key_file.private_key") is None


def test_markers_stand_in_every_sensitive_place_that_takes_one():
    marked, markers = with_markers(Store, SCHEMA, {"url": "store://u:p-p-p-p-p@h", "note": "n"})
    assert (marked["host"], marked["note"]) == ("h", "n")
    assert {marked["password"]: "password"} == markers
    assert marked["password"].startswith("Zq")
    key_file = {"private_key": "k-k-k-k-k", "client": "c-c-c-c-c"}
    marked, markers = with_markers(Store, SCHEMA, {"host": "h", "key_file": key_file})
    assert is_accepted(Store, marked)
    assert all(marker.startswith("Zq") for marker in markers)
    assert set(markers.values()) == {"key_file"}


def test_a_url_stands_for_its_parts():
    parts = as_parts(Store, {"url": "store://u:p@h:5/d", "note": "n"})
    assert parts == {"host": "h", "port": 5, "username": "u", "password": "p", "dbname": "d", "note": "n"}
    assert parse_secrets(Store, parts) == parse_secrets(Store, {"url": "store://u:p@h:5/d", "note": "n"})


@pytest.mark.parametrize("wanted", [True, False])
def test_submissions_are_sometimes_right_and_sometimes_wrong(wanted):
    limited = settings(database=None, derandomize=True, max_examples=200)
    found = find(submissions(SCHEMA, [PARTS]), lambda payload: is_accepted(Store, payload) is wanted, settings=limited)
    assert is_accepted(Store, found) is wanted


# Rules of schemas that the catalogue always keeps


def test_a_schema_without_the_usual_frame_is_named():
    assert frame_complaints(SCHEMA, "store") == []
    assert len(frame_complaints({}, "store")) == 5


def test_a_schema_that_breaks_the_standard_is_named():
    assert standard_complaints(SCHEMA) == []
    [complaint] = standard_complaints(SCHEMA | {"type": "thing"})
    assert complaint.startswith("The schema is not valid JSON Schema 2020-12")


def test_a_connector_without_sensitive_fields_has_to_say_so():
    class Open(Secrets):
        host: Host

    schema = secret_json_schema(Open, "open", "Open")
    assert len(sensitivity_complaints(schema, Open, has_no_secrets=False)) == 1
    assert sensitivity_complaints(schema, Open, has_no_secrets=True) == []


def test_a_default_that_json_cannot_hold_is_named():
    class Group(Secrets):
        inner: Any = object()

    class Odd(Secrets):
        host: Host
        port: Port = 1
        token: SecretText | None = None
        mode: SslModeField = SslMode.PREFERRED
        limit: Any = object()
        group: Group | None = None

    with pytest.warns(match="not JSON serializable"):
        schema = secret_json_schema(Odd, "odd", "Odd")
    assert [complaint.split()[0] for complaint in missing_defaults(schema, Odd)] == ["limit", "group.inner"]
    assert missing_defaults(SCHEMA, Store) == []


# Patterns


@pytest.mark.parametrize("pattern", ["", "^(?:[A-Za-z0-9_.\\-]+)$", "[\\(\\)]", "a" * 200, "\\p{L}"])
def test_a_short_pattern_that_both_flags_take_is_fine(pattern):
    assert pattern_complaints({"properties": {"name": {"type": "string", "pattern": pattern}}}) == []


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [
        ("a" * 201, "a pattern of 201 characters; at most 200"),
        ("[(]", "ECMAScript refuses with the flag v"),
        ("a-b]", "ECMAScript refuses with the flag u"),
    ],
)
@pytest.mark.parametrize(
    "wrap", [lambda found: found, lambda found: {"anyOf": [{"type": "object"}, found]}], ids=["plain", "inner"]
)
def test_other_patterns_are_named_by_their_place(wrap, pattern, complaint):
    schema = {"properties": {"file": {"properties": {"name": wrap({"type": "string", "pattern": pattern})}}}}
    complaints = pattern_complaints(schema)
    assert complaints
    assert all(found.startswith("file.name has a pattern") for found in complaints)
    assert any(complaint in found for found in complaints)


# Documentation


def rows_of(heading: str) -> list[str]:
    """The rows of the table under this head, in the page for plugin authors."""
    lines = (Path(__file__).parents[3] / "docs" / "plugin-authors.md").read_text().splitlines()
    start = lines.index(heading) + 2
    return list(takewhile(lambda line: line.startswith("|"), lines[start:]))


def test_every_test_of_the_kit_is_a_rule():
    assert [rule.id for rule in RULES] == list(standard_checks(ConnectorConformance))
    assert {rule.id for rule in RULES} == {name for name in dir(ConnectorConformance) if name.startswith("test_")}
    for rule in RULES:
        assert rule.why.endswith("."), rule
        assert rule.fix.endswith("."), rule
        for given in re.split(",| with ", rule.needs or "")[:1]:
            assert not given or hasattr(ConnectorConformance, given) or given == "golden_schema"


def test_every_far_end_is_documented_in_its_own_words():
    documented = rows_of("| far end | what it does |")
    ends = [refused_port, black_hole, silent_server, closing_server, dripping_server, flooding_server, bombing_server]
    assert documented == [
        f"| `{end.__name__}` | {inspect.getdoc(end)} |" for end in (*ends, reflecting_server, redirecting_server)
    ]

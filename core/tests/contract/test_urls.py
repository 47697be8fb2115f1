"""The url grammar: a url is another spelling of the parts, and of nothing else."""

import contextlib
import re
import string

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectory import UrlGrammar
from connectory.contract.urls import UrlInvalid
from connectory.toolkit import QueryKey

GRAMMAR = UrlGrammar(
    schemes={"postgresql": {}, "postgresql+psycopg2": {}},
    query={
        "sslmode": QueryKey("ssl_mode", {"require": "required", "verify-full": "verify-full"}),
        "app-name": "application",
    },
    required=frozenset({"host"}),
)

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)
hosts = st.one_of(
    st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,8}[a-z0-9_])?(\.[a-z]{1,5}){0,3}", fullmatch=True).filter(
        lambda name: not name.rpartition(".")[2].isdigit() and not name.rpartition(".")[2].startswith("0x")
    ),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).filter(lambda address: address.ipv4_mapped is None).map(str),
)


@st.composite
def database_parts(draw):
    parts = draw(
        st.fixed_dictionaries(
            {"host": hosts},
            optional={
                "port": st.integers(1, 65535),
                "username": texts,
                "dbname": texts,
                "ssl_mode": st.sampled_from(["required", "verify-full"]),
                "application": texts,
            },
        )
    )
    if "username" in parts and draw(st.booleans()):
        parts["password"] = draw(texts)
    return parts


@given(database_parts())
def test_parts_that_are_written_as_a_url_are_read_back_the_same(parts):
    assert GRAMMAR.parse(GRAMMAR.render(parts)) == parts


@given(database_parts())
def test_a_masked_url_still_shows_everything_but_the_password(parts):
    masked = GRAMMAR.parse(GRAMMAR.mask(GRAMMAR.render(parts), "**********"))
    assert masked == parts | ({"password": "**********"} if "password" in parts else {})


@given(st.data(), database_parts())
def test_a_mutated_url_is_read_or_refused_and_never_yields_a_control_character(data, parts):
    url = GRAMMAR.render(parts)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(url)))
        noise = data.draw(
            st.one_of(st.text(max_size=3), st.sampled_from(["%00", "%0a", "%", "@", ":", "/", "?", "&", "\0"]))
        )
        url = url[:at] + noise + url[at + data.draw(st.integers(0, 2)) :]
    try:
        parsed = GRAMMAR.parse(url)
    except UrlInvalid:
        return
    assert not any(re.search(r"[\x00-\x1f\x7f]", str(value)) for value in parsed.values())
    assert set(parsed) <= {"host", "port", "username", "password", "dbname", "ssl_mode", "application"}


@given(st.text(max_size=200))
def test_any_text_at_all_is_read_or_refused(text):
    for url in (text, f"postgresql://{text}", f"postgresql://h/{text}", f"postgresql://h?{text}"):
        with contextlib.suppress(UrlInvalid):
            GRAMMAR.parse(url)


@given(database_parts(), st.sampled_from(["host", "path", "query", "port", "scheme", "userinfo"]))
def test_a_complaint_never_holds_the_password(parts, broken):
    password = "S3cretPw-in-the-url"
    parts = {"username": "u"} | parts | {"password": password}
    url = GRAMMAR.render(parts)
    url = {
        "host": url.replace("@", "@[", 1),
        "path": url.partition("?")[0] + "/more/than/one",
        "query": url.partition("?")[0] + "?hostaddr=127.0.0.1",
        "port": GRAMMAR.render(parts | {"port": 70000}),
        "scheme": url.replace("postgresql", "http"),
        "userinfo": url.replace(password, password + "/#@"),
    }[broken]
    with pytest.raises(UrlInvalid) as refused:
        GRAMMAR.parse(url)
    assert "S3cretPw" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("http://h/d", "begin with postgresql:// or postgresql+psycopg2://"),
        ("postgresql:h", "begin with"),
        ("POSTGRESQL://h", "begin with"),
        ("", "begin with"),
        ("postgresql://u:p/w@h/d", "'@', '/', '?' and '#' in a password must be percent-encoded"),
        ("postgresql://u:p w@h/d", "user name or password"),
        ("postgresql://u:p%00w@h/d", "user name or password"),
        ("postgresql://u:p%zzw@h/d", "user name or password"),
        ("postgresql://u:p%c0%80w@h/d", "user name or password"),
        ("postgresql://u:p%ed%a0%80w@h/d", "user name or password"),
        ("postgresql://u:@h/d", "user name or password"),
        ("postgresql://@h/d", "user name or password"),
        ("postgresql://:p@h/d", "user name or password"),
        ("postgresql://", "host"),
        ("postgresql:///d", "host"),
        ("postgresql:///?service=internal", "host"),
        ("postgresql://a,b/d", "host"),
        ("postgresql://2130706433/d", "host"),
        ("postgresql://%2Fvar%2Frun/d", "host"),
        ("postgresql://::1/d", "host"),
        ("postgresql://h:0/d", "port"),
        ("postgresql://h:65536/d", "port"),
        ("postgresql://h:05432/d", "port"),
        ("postgresql://h:/d", "port"),
        ("postgresql://h:x/d", "port"),
        ("postgresql://u:p@h:x/d", "port"),
        ("postgresql://h/d/e", "path"),
        ("postgresql://h/d%00", "path"),
        ("postgresql://h/d#e", "path"),
        ("postgresql://h/d?hostaddr=127.0.0.1", "query"),
        ("postgresql://h/d?passfile=/etc/passwd", "query"),
        ("postgresql://h/d?sslmode=nonsense", "query"),
        ("postgresql://h/d?sslmode", "query"),
        ("postgresql://h/d?sslmode=require&", "query"),
        ("postgresql://h/d?sslmode=require&sslmode=verify-full", "repeats"),
        ("postgresql://h/d?app-name=a&sslmode=require&app-name=b", "repeats"),
        ("postgresql://h/d\n", "begins or ends with a blank"),
        (" postgresql://h/d", "begins or ends with a blank"),
        ("\u00a0postgresql://h/d", "begins or ends with a blank"),
        ("postgresql://h/d ", "begins or ends with a blank"),
    ],
)
def test_a_complaint_names_the_part(url, part):
    with pytest.raises(UrlInvalid, match=re.escape(part)):
        GRAMMAR.parse(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@h1,h2",
        "postgresql://u:p@h1,h2/d",
        "postgresql://[::1",
        "postgresql://u:p@[::1",
        "postgresql://u:p@::1",
        "postgresql://u:p@/d",
        "postgresql://h1,h2",
        "postgresql://u:p@[::1]x",
        "postgresql://u:p@[::1]:x",
        "postgresql://h:x",
    ],
)
def test_a_host_is_not_blamed_on_the_password(url):
    with pytest.raises(UrlInvalid) as refused:
        GRAMMAR.parse(url)
    assert "password" not in str(refused.value)
    assert ("host" in str(refused.value)) != ("port" in str(refused.value))


@pytest.mark.parametrize(
    "url", ["postgresql://u:p/w@h/d", "postgresql://u:p?w@h/d", "postgresql://u:/w@h", "postgresql://u:5:/w@h"]
)
def test_a_password_that_ends_the_authority_too_early_is_suspected(url):
    with pytest.raises(UrlInvalid, match="in a password must be percent-encoded"):
        GRAMMAR.parse(url)


def test_a_scheme_may_leave_the_port_to_the_dns():
    grammar = UrlGrammar(schemes={"db": {"srv": False}, "db+srv": {"srv": True}}, without_port=frozenset({"db+srv"}))
    assert grammar.parse("db://h:1")["port"] == 1
    assert grammar.parse("db+srv://u:p@h/d") == {
        "srv": True,
        "host": "h",
        "username": "u",
        "password": "p",
        "dbname": "d",
    }
    with pytest.raises(UrlInvalid, match=r"begins with db\+srv:// must not hold a port"):
        grammar.parse("db+srv://u:p@h:1/d")
    assert grammar.render({"srv": True, "host": "h", "port": 1}) == "db+srv://h"


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("postgresql://h", {"host": "h"}),
        ("postgresql://h/", {"host": "h"}),
        ("postgresql://u@h:5432/d", {"host": "h", "port": 5432, "username": "u", "dbname": "d"}),
        ("postgresql+psycopg2://h", {"host": "h"}),
        ("postgresql://[::1]:5432/d", {"host": "::1", "port": 5432, "dbname": "d"}),
        ("postgresql://u:a:b@h", {"host": "h", "username": "u", "password": "a:b"}),
        ("postgresql://u:%40%2F%3F%23%25@h", {"host": "h", "username": "u", "password": "@/?#%"}),
        ("postgresql://u:%d0%BA%f0%9f%94%91@h", {"host": "h", "username": "u", "password": "к🔑"}),
        ("postgresql://u:a+b@h", {"host": "h", "username": "u", "password": "a+b"}),
        ("postgresql://h/a@b:c", {"host": "h", "dbname": "a@b:c"}),
        ("postgresql://h?sslmode=verify%2Dfull", None),
        ("postgresql://h?sslmode=verify-full", {"host": "h", "ssl_mode": "verify-full"}),
        ("postgresql://h/d?app-name=a%20b", {"host": "h", "dbname": "d", "application": "a b"}),
    ],
)
def test_each_part_has_its_place(url, parts):
    if parts is None:
        with pytest.raises(UrlInvalid):
            GRAMMAR.parse(url)
    else:
        assert GRAMMAR.parse(url) == parts


def test_every_printable_character_can_stand_in_a_password():
    parts = {"host": "h", "username": string.printable.strip(), "password": string.printable.strip()}
    assert GRAMMAR.parse(GRAMMAR.render(parts)) == parts


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:S3cret@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:a:b@h", "postgresql://u:***@h"),
        ("postgresql://u:S3cret@h/a@b", "postgresql://u:***@h/a@b"),
        ("postgresql://u:S3cret@h?app-name=a@b", "postgresql://u:***@h?app-name=a@b"),
        ("postgresql://h/a:b@c", "postgresql://h/a:b@c"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql://[::1]:5432/d", "postgresql://[::1]:5432/d"),
    ],
)
def test_the_password_and_nothing_else_is_masked(url, shown):
    assert GRAMMAR.mask(url, "***") == shown


SHAPE = jsonschema_rs.validator_for({"type": "string", "pattern": GRAMMAR.shape})


@given(st.data(), database_parts())
def test_the_shape_that_the_schema_shows_accepts_what_the_parser_accepts(data, parts):
    url = GRAMMAR.render(parts)
    at, gone = data.draw(st.integers(0, len(url))), data.draw(st.integers(0, 1))
    url = url[:at] + data.draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=2)) + url[at + gone :]
    try:
        GRAMMAR.parse(url)
    except UrlInvalid:
        return
    assert SHAPE.is_valid(url)


@pytest.mark.parametrize("url", ["http://h", "postgresql:h", "postgresql://", "postgresql://h d", "xpostgresql://h"])
def test_the_shape_refuses_another_scheme_and_spaces(url):
    assert not SHAPE.is_valid(url)


def test_people_read_which_parts_a_url_has():
    assert GRAMMAR.form == "postgresql://username:password@host:port/dbname"
    snow = UrlGrammar(schemes={"snow": {}}, port=None, password=None, path=("database", "schema"))
    assert snow.form == "snow://username@host/database/schema"


@pytest.mark.parametrize("missing", ["port", "username", "password", "dbname"])
def test_a_required_part_cannot_be_left_out(missing):
    parts = {"host": "h", "port": 1, "username": "u", "password": "p", "dbname": "d"}
    strict = UrlGrammar(schemes={"db": {}}, required=frozenset(parts))
    assert strict.parse(strict.render(parts)) == parts
    without = {name: value for name, value in parts.items() if name != missing}
    with pytest.raises(UrlInvalid):
        strict.parse(strict.render(without))


def test_a_scheme_may_imply_a_field():
    grammar = UrlGrammar(schemes={"mongodb": {"use_srv": False}, "mongodb+srv": {"use_srv": True}})
    assert grammar.parse("mongodb+srv://h/d") == {"host": "h", "dbname": "d", "use_srv": True}
    assert grammar.render({"host": "h", "use_srv": True}) == "mongodb+srv://h"


def test_two_path_segments_are_two_fields():
    grammar = UrlGrammar(schemes={"snow": {}}, port=None, path=("database", "schema"))
    assert grammar.parse("snow://h/d/s") == {"host": "h", "database": "d", "schema": "s"}
    assert grammar.parse("snow://h/d") == {"host": "h", "database": "d"}
    with pytest.raises(UrlInvalid, match="path must be database/schema"):
        grammar.parse("snow://h/d/s/x")
    with pytest.raises(UrlInvalid, match="must not hold a port"):
        grammar.parse("snow://h:443/d")


def test_a_grammar_without_credentials_refuses_them():
    grammar = UrlGrammar(schemes={"open": {}}, username=None, password=None)
    with pytest.raises(UrlInvalid, match="must not hold a user name or password"):
        grammar.parse("open://u:S3cret@h")

"""The conformance kit: the example connector passes it, and every defect makes the check fail that is there for it."""

import subprocess
import sys
from importlib.metadata import distribution
from textwrap import dedent, indent

import pytest

from connectory.testing import ConnectorConformance
from connectory.testing.rules.exceptions import weakened_checks
from connectory.testing.rules.schema import EXAMPLES

pytest_plugins = ["pytester"]

# The checks that run the connector's test; the others look at what it declares and validates.
LIVE = {
    "good_secrets_succeed",
    "each_kind_of_bad_secrets_gets_its_code",
    "a_silent_server_is_given_up_in_time",
    "a_server_that_hangs_up_is_a_failure",
    "a_port_that_refuses_is_connect_refused",
    "an_unknown_host_is_dns_failed",
    "an_address_that_the_policy_denies_is_not_connected_to",
    "hostile_servers_cost_one_test_and_no_secret",
    "nothing_sensitive_leaves_before_the_server_is_verified",
    "secrets_never_show",
}
# The checks that look at an interpreter of its own.
FRESH = {"nothing_heavy_is_imported_early", "importing_it_is_quiet", "importing_it_is_quick"}
# What looks at sessions, which none of the defects below are about.
SESSIONS = {
    "a_discovery_says_the_same_each_time",
    "a_read_gives_the_declared_fields",
    "a_read_gives_the_rows_that_were_asked_for",
    "a_session_ends_in_time_at_a_hostile_far_end",
    "entries_are_read_by_what_they_hold",
    "what_is_not_there_is_said",
}
ONLY_LIVE = " or ".join(sorted({name.partition("[")[0] for name in LIVE}))
ONLY_STATIC = f"not ({ONLY_LIVE} or {' or '.join(sorted(SESSIONS))})"


def test_the_example_passes_every_check(kit):
    verdicts = kit.run(update_golden=False)
    assert verdicts.failed | verdicts.errors == set(), verdicts.messages
    assert verdicts.passed > LIVE | SESSIONS
    assert len(verdicts.passed) == 39


# What a plugin declares and validates


def inside(source: str) -> tuple[str, str]:
    """A change that puts `source` into the class of the secrets."""
    return "    host: Host", indent(dedent(source), "    ") + "\n    host: Host"


def importing(statement: str) -> tuple[str, str]:
    """A change that adds an import."""
    return "import hmac\n", f"import hmac\n{statement}\n"


SHORT_BOOKS = """
@field_validator("book")
@classmethod
def _short(cls, value: str) -> str:
    if len(value) > 3:
        raise ValueError("use a short name")
    return value
"""
REPEATING = """
@field_validator("book", mode="before")
@classmethod
def _check(cls, value: object) -> object:
    if chr(0) in str(value):
        raise PydanticCustomError("enum", "no {value}", {"value": str(value)})
    return value
"""
COPYING = """
@model_validator(mode="before")
@classmethod
def _copy(cls, data: object) -> object:
    if isinstance(data, dict) and data.get("book") == "b" and len(str(data.get("password"))) < 100:
        data = data | {"book": data.get("password")}
    return data
"""
SECRET_USER = """
connectory_url = UrlGrammar(
    schemes={"ledger": {}},
    path=("book",),
    username="password",
    password=None,
    required=frozenset({"host", "password"}),
)
"""
SLOW_DESCRIPTION = """
    @hookimpl
    def connectory_describe(self) -> Description:
        time.sleep(0.2)
        return self.description

    def test("""
LOOSE = """
class Loose(BaseModel):
    city: Name = "x"


class LedgerSecrets(Secrets):"""

# What is refused when the plugin is loaded, and what the loader says; nothing else can then be looked at.
REFUSED = {
    "the identifier differs": (('identifier = "ledger"', 'identifier = "legder"'), "returns 'legder'"),
    "the type is not a word": (('type = "database"', 'type = "Data Base"'), "connectory_type() must return a word"),
    "the test has another name": (("def test(", "def tst("), "did you mean test?"),
    "the test takes what is not offered": (
        (
            "def test(self, secrets: LedgerSecrets, context",
            "def test(self, secrets: LedgerSecrets, timeout: float, context",
        ),
        "Ledger.test() must take just these arguments: self, secrets, context.",
    ),
    "the test is async": (("def test(", "async def test("), "Ledger.test() is 'async def'"),
    "its secrets are of another class": (
        ("Connector[LedgerSecrets]", "Connector[dict]"),
        "the brackets must hold a class derived from connectory.Secrets",
    ),
}
REFUSED_FUNCTIONS = {
    "a required hook is not decorated": (
        ("@hookimpl\ndef connectory_test_connection(", "def connectory_test_connection("),
        "It does not implement connectory_test_connection(); decorate its implementation",
    ),
    "a hook is misspelt": (
        ("def connectory_describe(", "def connectory_descripe("),
        "did you mean connectory_describe()?",
    ),
    "a hook takes what is not offered": (
        ("(secrets, context):", "(secrets, context, timeout):"),
        "connectory_test_connection() takes timeout, but the hook offers only: secrets, context.",
    ),
    "a hook is async": (
        ("def connectory_test_connection(", "async def connectory_test_connection("),
        "connectory_test_connection() is 'async def'",
    ),
    "a hook is a generator": (
        ("    Ledger().test(", "    yield\n    Ledger().test("),
        "connectory_test_connection() holds 'yield'",
    ),
    "its secrets are of another class": (
        ("return LedgerSecrets", "return dict"),
        "must return a subclass of connectory.Secrets",
    ),
}


@pytest.mark.parametrize(("change", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_the_loader_refuses_is_told_in_its_words(kit, change, reason):
    kit.change(*change)
    expect_refusal(kit, reason)


@pytest.mark.parametrize(("change", "reason"), REFUSED_FUNCTIONS.values(), ids=REFUSED_FUNCTIONS)
def test_what_the_loader_refuses_of_functions_is_told_too(kit, change, reason):
    kit.write_as_functions()
    kit.change(*change)
    expect_refusal(kit, reason)


def expect_refusal(kit, reason):
    verdicts = kit.run(only="the_catalogue_loads_it or can_be_shown")
    assert verdicts.failed == {"the_catalogue_loads_it"}, verdicts.messages
    assert verdicts.errors == {"the_description_can_be_shown"}
    assert reason in verdicts.messages


def test_a_plugin_of_functions_passes_every_check(kit):
    kit.write_as_functions()
    verdicts = kit.run(only=f"not ({' or '.join(sorted(SESSIONS))})")
    assert verdicts.failed | verdicts.errors == set(), verdicts.messages


def test_a_hook_that_is_not_decorated_is_found(kit):
    kit.write_as_functions()
    kit.change("@hookimpl\ndef connectory_describe(", "def connectory_describe(")
    verdicts = kit.run(only="looks_like_a_hook or can_be_shown")
    assert verdicts.failed == {"no_function_only_looks_like_a_hook", "the_description_can_be_shown"}, verdicts.messages


def test_a_function_that_is_named_like_a_hook_is_found(kit):
    kit.write_as_functions()
    kit.module += "\n\ndef connectory_tests():\n    pass\n"
    assert kit.run(only="looks_like_a_hook").failed == {"no_function_only_looks_like_a_hook"}


def test_an_author_sees_where_the_import_failed(kit):
    """The service names only the type of the exception; the kit shows the author all of it."""
    kit.change("import hmac\n", 'import hmac\nraise RuntimeError("the 4711th reason")\n')
    verdicts = kit.run(only="the_catalogue_loads_it")
    assert "Loading it raised RuntimeError" in verdicts.messages
    assert 'raise RuntimeError("the 4711th reason")' in verdicts.messages
    assert "connectory_ledger.py" in verdicts.messages


DEFECTS = {
    "it has no name": ([('human_readable="Ledger",', "")], {"the_description_can_be_shown"}),
    "describing it takes long": (
        [importing("import time\nfrom connectory import hookimpl"), ("    def test(", SLOW_DESCRIPTION)],
        {"the_description_can_be_shown"},
    ),
    "its icon is large": ([('d="M1 0h6v8H1z', f'd="{"M1 0h6v8H1z" * 400}')], {"the_description_can_be_shown"}),
    "its icon holds a script": ([("</svg>", "<script>alert(1)</script></svg>")], {"the_description_can_be_shown"}),
    "its icon is no xml": ([("</svg>", "<g></svg>")], {"the_description_can_be_shown"}),
    "its driver is imported early": (
        [importing("import mailbox"), ('category="DATABASE"', 'drivers=("mailbox",)')],
        {"nothing_heavy_is_imported_early"},
    ),
    "a field that decides the server is not marked": (
        [("    host: Host", "    host: Name")],
        {"what_decides_the_server_is_marked"},
    ),
    "importing it writes": ([importing("print('hello')")], {"importing_it_is_quiet"}),
    "importing it writes past Python": ([importing("import os\nos.write(2, b'hello')")], {"importing_it_is_quiet"}),
    "importing it turns logging off": ([importing("import logging\nlogging.disable()")], {"importing_it_is_quiet"}),
    "importing it warns": (
        [
            importing(
                "import sys, warnings\nif 'pytest' not in sys.modules:\n    warnings.warn('old', DeprecationWarning)"
            )
        ],
        {"importing_it_is_quiet"},
    ),
    "importing it takes long": ([importing("import time\ntime.sleep(1.1)")], {"importing_it_is_quick"}),
    "it imports parts of the service": (
        [importing("import connectory.checks.egress")],
        {"nothing_heavy_is_imported_early"},
    ),
    "its schema is no JSON Schema": (
        [('description="Password of the user."', 'json_schema_extra={"$comment": 5}')],
        {"the_schema_follows_the_standard", "the_schema_says_what_is_accepted"},
    ),
    "a field has no title": ([('title="Book"', 'title=" "')], {"a_form_can_be_drawn_from_every_property"}),
    "a nested object accepts anything": (
        [
            importing("from pydantic import BaseModel"),
            ("class LedgerSecrets(Secrets):", LOOSE),
            ("    book: Name", "    place: Loose | None = None\n    book: Name"),
        ],
        {"a_form_can_be_drawn_from_every_property"},
    ),
    "a secret is shown": ([inside("api_key: Name | None = None")], {"what_is_sensitive_is_marked"}),
    "a url shows a secret": (
        [
            importing("from connectory import UrlGrammar"),
            inside(SECRET_USER),
            ("    username: User = Field(", '    username: User = Field(default="x", '),
        ],
        {"what_is_sensitive_is_marked"},
    ),
    "a pattern is not for browsers": (
        [("[A-Za-z0-9_.\\-]+", "[A-Za-z0-9_.(-]+")],
        {"patterns_are_short_and_work_in_browsers"},
    ),
    "a default looks like a credential": (
        [("default=None", 'default="sk_live_4242424242"')],
        {"defaults_fit_and_give_nothing_away"},
    ),
    "a default does not fit": ([("default=7000", "default=70_000")], {"defaults_fit_and_give_nothing_away"}),
    "a sensitive field has an example": (
        [('description="Password of the user."', 'examples=["hunter2"]')],
        {"defaults_fit_and_give_nothing_away"},
    ),
    "the validator is stricter than the schema": (
        [importing("from pydantic import field_validator"), inside(SHORT_BOOKS)],
        {"the_schema_says_what_is_accepted"},
    ),
    "the schema is stricter than the validator": (
        [('title="Book",', 'title="Book", json_schema_extra={"not": {"const": "b"}},')],
        {"the_schema_says_what_is_accepted"},
    ),
    "control characters are accepted": (
        [("book: Name | None", "book: str | None")],
        {"control_characters_are_refused_at_their_field"},
    ),
    "unknown fields are accepted": (
        [importing("from pydantic import ConfigDict"), inside('model_config = ConfigDict(extra="ignore")')],
        {"an_unknown_field_is_refused_and_not_repeated", "the_schema_says_what_is_accepted"},
    ),
    "a refusal repeats the value": (
        [
            importing("from pydantic import field_validator\nfrom pydantic_core import PydanticCustomError"),
            inside(REPEATING),
        ],
        {"a_refusal_never_repeats_a_value"},
    ),
    "a secret is copied to where it shows": (
        [importing("from pydantic import model_validator"), inside(COPYING)],
        {"sensitive_values_read_back_masked"},
    ),
}


@pytest.mark.parametrize(("changes", "expected"), DEFECTS.values(), ids=DEFECTS)
def test_a_defect_is_found_by_its_check(kit, changes, expected):
    for old, new in changes:
        kit.change(old, new)
    kit.change_tests('"password": "any password"}', '"password": "any password", "book": "b"}')
    # Looking at imports takes an interpreter of its own, so it is left out where imports are not the defect.
    imports = "" if expected & FRESH else " ".join(f"and not {name}" for name in sorted(FRESH))
    # A sound schema agrees on few documents as on many.
    examples = EXAMPLES if "the_schema_says_what_is_accepted" in expected else 20
    verdicts = kit.run(only=f"{ONLY_STATIC} {imports}", examples=examples)
    assert verdicts.failed == expected, verdicts.messages
    assert verdicts.errors == set(), verdicts.messages


PATCHING = """
import logging
import socket

socket.setdefaulttimeout(5)
logging.setLogRecordFactory(lambda *given, **named: logging.LogRecord(*given[:7]))
logging.Logger.handle = lambda self, record: None
logging.Logger.manager.disable = 10
"""


def test_what_importing_changes_for_all_is_named(kit):
    kit.change(*importing(PATCHING))
    messages = kit.run(only="importing_it_is_quiet").messages
    for changed in (
        "the timeout of new sockets",
        "how logging makes records",
        "methods of loggers",
        "logging.disable()",
    ):
        assert f"Importing it changes {changed} of the whole process; do it inside the test." in messages


def declared(mark: str) -> list[tuple[str, str]]:
    """Changes that add a field which is named like a secret, and marked."""
    return [
        importing("from typing import Annotated\nfrom connectory.toolkit import Public"),
        inside(f"access_key_id: Annotated[Name | None, {mark}] = None"),
    ]


def test_a_field_may_be_public_for_a_reason_that_the_run_shows(kit, capsys):
    for old, new in declared("Public('an id, as in an account book')"):
        kit.change(old, new)
    verdicts = kit.run(only="what_is_sensitive_is_marked")
    assert verdicts.passed == {"what_is_sensitive_is_marked"}, verdicts.messages
    assert "access_key_id is public: an id, as in an account book" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("mark", "complaint"),
    [
        ("Public(' ')", "access_key_id is public without a reason"),
        ("'a comment'", "access_key_id looks like a secret and is shown to everyone"),
    ],
)
def test_a_field_named_like_a_secret_needs_a_reason_to_be_public(kit, mark, complaint):
    for old, new in declared(mark):
        kit.change(old, new)
    verdicts = kit.run(only="what_is_sensitive_is_marked")
    assert verdicts.failed == {"what_is_sensitive_is_marked"}
    assert complaint in verdicts.messages


def test_a_field_is_sensitive_or_public(kit):
    kit.change("import hmac\n", "import hmac\nfrom typing import Annotated\nfrom connectory.toolkit import Public\n")
    kit.change(*inside("token: Annotated[SecretText | None, Public('why')] = None"))
    verdicts = kit.run(only="what_is_sensitive_is_marked")
    assert "token is sensitive and declared public" in verdicts.messages


def test_a_rule_that_its_field_describes_need_not_be_in_the_schema(kit):
    kit.change("import hmac\n", "import hmac\nfrom pydantic import field_validator\n")
    kit.change(*inside(SHORT_BOOKS))
    kit.change('left out, none is opened."', 'left out, none is opened. Value error, use a short name."')
    verdicts = kit.run(only="the_schema_says_what_is_accepted")
    assert verdicts.passed == {"the_schema_says_what_is_accepted"}, verdicts.messages


def test_a_connector_that_is_not_installed_is_said_to_be_so(kit):
    kit.change_tests('identifier = "ledger"', 'identifier = "abacus"')
    verdicts = kit.run(only="entry_point_is_declared")
    assert verdicts.failed == {"the_entry_point_is_declared"}
    assert "has an entry point 'abacus'" in verdicts.messages
    assert "pip install -e ." in verdicts.messages


def test_a_distribution_must_say_which_core_it_needs(kit):
    kit.project["dependencies"] = ["connectory"]
    assert kit.run(only=ONLY_STATIC).failed == {"the_distribution_says_which_core_it_needs"}


def test_a_changed_schema_fails_until_the_golden_file_is_written(kit):
    kit.change('title="Book"', 'title="Account book"')
    verdicts = kit.run(only=ONLY_STATIC, update_golden=False)
    assert verdicts.failed == {"the_schema_is_the_golden_one"}
    assert "CONNECTORY_UPDATE_GOLDEN=1" in verdicts.messages
    assert '+      "title": "Account book"' in verdicts.messages


def test_has_no_secrets_must_be_true(kit):
    kit.change_tests('identifier = "ledger"', 'identifier = "ledger"\n    has_no_secrets = True')
    assert kit.run(only=ONLY_STATIC).failed == {"what_is_sensitive_is_marked"}


# What its test answers


def connecting(codes: str, instead: str) -> list[tuple[str, str]]:
    """Changes that raise something else where connecting fails with one of `codes`."""
    source = f"""
@contextmanager
def _open(context, secrets):
    try:
        with context.open(secrets.host, secrets.port) as link:
            yield link
    except CheckFailed as failed:
        if failed.code.value in {codes!r}:
            raise {instead} from None
        raise


class Ledger("""
    opening = (
        "            context.open(secrets.host, secrets.port) as link",
        "            _open(context, secrets) as link",
    )
    return [opening, ("class Ledger(", source), importing("from contextlib import contextmanager")]


DISGUISED = """
            secret = b"user:" + secrets.password.get_secret_value().encode()
            remedy = "Not accepted: " + base64.b64encode(secret).decode()
            raise CheckFailed(FailureCode.AUTH_FAILED, remedy=remedy)
"""
DEAD = """
        try:
            greeting, _, challenge = _ask(stream).partition(b" ")
        except (TimeoutError, CheckFailed):
            hint = secrets.password.get_secret_value().encode().hex()
            raise CheckFailed(FailureCode.PROTOCOL_MISMATCH, remedy=f"Tried {hint}.") from None
"""
AGAIN = """
            with context.step("authenticate"):
                pass
            if secrets.book is not None:
"""
END_OF_FILE = """
    if not answer.endswith(b"\\n"):
        raise CheckFailed(FailureCode.PROTOCOL_MISMATCH)
"""

NOT_SILENCE = """
    try:
        answer = stream.readline(1024)
    except TimeoutError:
        raise CheckFailed(FailureCode.PROTOCOL_MISMATCH) from None
"""

LIVE_DEFECTS = {
    "a step is reported twice": (
        [("            if secrets.book is not None:\n", AGAIN)],
        {"good_secrets_succeed", "each_kind_of_bad_secrets_gets_its_code"},
    ),
    "good secrets fail": (
        [('"OPEN {secrets.book}"', '"OPEN x{secrets.book}"')],
        {"good_secrets_succeed"},
    ),
    "a failure has another code": (
        [("FailureCode.DATABASE_NOT_FOUND", "FailureCode.QUERY_FAILED")],
        {"each_kind_of_bad_secrets_gets_its_code"},
    ),
    "bad secrets succeed": (
        [("raise CheckFailed(FailureCode.AUTH_FAILED)", "pass")],
        {"each_kind_of_bad_secrets_gets_its_code"},
    ),
    "a silent server is a defect of the driver": (
        [
            (
                "    answer = stream.readline(1024)\n",
                "    try:\n        answer = stream.readline(1024)\n    except TimeoutError:\n        raise RuntimeError\n",
            )
        ],
        {"a_silent_server_is_given_up_in_time", "hostile_servers_cost_one_test_and_no_secret"},
    ),
    "a silent server is another protocol": (
        [
            (
                "    answer = stream.readline(1024)\n",
                NOT_SILENCE,
            )
        ],
        {"a_silent_server_is_given_up_in_time"},
    ),
    "a server that hangs up is a defect of the driver": (
        [(END_OF_FILE, "\n    answer[-1]\n")],
        {"a_server_that_hangs_up_is_a_failure", "hostile_servers_cost_one_test_and_no_secret"},
    ),
    "a refused connection gets another code": (
        connecting("connect_refused", "CheckFailed(FailureCode.CONNECT_TIMEOUT)"),
        {"a_port_that_refuses_is_connect_refused"},
    ),
    "an unknown host gets another code": (
        connecting("dns_failed dns_timeout", "CheckFailed(FailureCode.CONNECT_REFUSED)"),
        {"an_unknown_host_is_dns_failed"},
    ),
    "a denied address is no failure": (
        connecting("address_not_allowed", "__import__('connectory').CheckSkipped"),
        {"an_address_that_the_policy_denies_is_not_connected_to"},
    ),
    "a remedy repeats the password in disguise": (
        [importing("import base64"), ("raise CheckFailed(FailureCode.AUTH_FAILED)", DISGUISED.strip())],
        {"secrets_never_show"},
    ),
    "a remedy for a dead server repeats the password in disguise": (
        [('        greeting, _, challenge = _ask(stream).partition(b" ")\n', DEAD)],
        {"a_silent_server_is_given_up_in_time", "hostile_servers_cost_one_test_and_no_secret"},
    ),
}


@pytest.mark.parametrize(("changes", "expected"), LIVE_DEFECTS.values(), ids=LIVE_DEFECTS)
def test_a_defect_of_the_test_is_found_by_its_check(kit, changes, expected):
    for old, new in changes:
        kit.change(old, new)
    kit.change_tests('identifier = "ledger"', 'identifier = "ledger"\n    short_deadline = 1.3')
    verdicts = kit.run(only=ONLY_LIVE)
    assert verdicts.failed == expected, verdicts.messages
    assert verdicts.errors == set()


# What sessions say

THE_SAME, DECLARED, ASKED_FOR, IN_TIME = (
    "a_discovery_says_the_same_each_time",
    "a_read_gives_the_declared_fields",
    "a_read_gives_the_rows_that_were_asked_for",
    "a_session_ends_in_time_at_a_hostile_far_end",
)
WITHOUT_SESSIONS = """
    def collections(self, settings):
        number = time.monotonic_ns() % 10**9
        return [CollectionInfo(CollectionRef("2026"), FIELDS, kind="book", rows=number)]

    def session_of(self"""
SESSION_DEFECTS: dict[str, tuple[list[tuple[str, str]], str]] = {
    "what is found changes by itself": (
        [importing("import time"), ('kind="book")', 'kind="book", rows=time.monotonic_ns() % 10**9)')],
        THE_SAME,
    ),
    "what is known without a session changes by itself": (
        [importing("import time"), ("\n    def open_session(self", WITHOUT_SESSIONS)],
        THE_SAME,
    ),
    "a collection is given twice": (
        [('sorted(self._lines("BOOKS"))', 'sorted([*self._lines("BOOKS")] * 2)')],
        THE_SAME,
    ),
    "columns come in an order of their own": (
        [("rows.append(tuple(map(entry.get, query.fields)))", "rows.append(tuple(entry.values()))")],
        DECLARED,
    ),
    "a field is declared as an array and is none": (
        [('Kind.STRING, "text", max_length=200)', 'Kind.STRING, "text", max_length=200, array=True)')],
        DECLARED,
    ),
    "every row comes": ([("if not query.any_of or any(", "if True or any(")], ASKED_FOR),
    "no row comes that was asked for": ([("held in wanted.values", "held in ()")], ASKED_FOR),
    "None matches what is empty": ([("None not in held and ", "")], ASKED_FOR),
    "what is not there is empty": (
        [("            raise SessionFailed(DataFailure.COLLECTION_MISSING)", "            return")],
        ASKED_FOR,
    ),
    "a far end that talks nonsense is the connector's own fault": (
        [
            (
                "        raise CheckFailed(FailureCode.PROTOCOL_MISMATCH)\n    return answer.rstrip()",
                '        raise RuntimeError("no line")\n    return answer.rstrip()',
            )
        ],
        IN_TIME,
    ),
}


@pytest.mark.parametrize(("changes", "expected"), SESSION_DEFECTS.values(), ids=SESSION_DEFECTS)
def test_a_defect_of_what_sessions_say_is_found_by_its_check(kit, changes, expected):
    for old, new in changes:
        kit.change(old, new)
    # Time enough for the flood's nonsense to arrive on a busy machine: what comes late is only a timeout.
    kit.change_tests('identifier = "ledger"', 'identifier = "ledger"\n    short_deadline = 6')
    verdicts = kit.run(only=expected)
    assert (verdicts.failed, verdicts.errors) == ({expected}, set()), verdicts.messages


TLS = [
    importing("from connectory import SslCaField, SslMode, SslModeField"),
    inside("ssl_mode: SslModeField = SslMode.DISABLED\nssl_ca: SslCaField = None"),
]
IN_CLEAR = ("LOGIN {secrets.username} {proof}", "LOGIN {secrets.username} {secrets.password.get_secret_value()}")
ENCRYPTED = (
    "open(secrets.host, secrets.port)",
    "open(secrets.host, secrets.port, tls=secrets.ssl_mode, ca=secrets.ssl_ca)",
)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ([*TLS, IN_CLEAR], "The secret of the field password shows in what a silent server got in clear."),
        ([*TLS, IN_CLEAR, ENCRYPTED], None),
        ([IN_CLEAR], None),  # it promises no protection
    ],
    ids=["fields that nobody reads", "fields that are read", "no fields"],
)
def test_a_password_in_clear_despite_verify_full_is_found(kit, changes, problem):
    for old, new in changes:
        kit.change(old, new)
    kit.change_tests('identifier = "ledger"', 'identifier = "ledger"\n    greeting = b"LEDGER x\\n"')
    verdicts = kit.run(only="before_the_server_is_verified")
    assert len(verdicts.failed) == (problem is not None), verdicts.messages
    assert (problem or "") in verdicts.messages


def test_an_author_sees_what_the_test_raised_without_its_secrets(kit):
    """The service answers the type of the exception at most."""
    lookup = "raise LookupError(f'4711 is not {secrets.password.get_secret_value()}')"
    kit.change("raise CheckFailed(FailureCode.AUTH_FAILED)", lookup)
    verdicts = kit.run(only="each_kind")
    assert "internal_driver_error (the connector raised LookupError); expected auth_failed." in verdicts.messages
    assert "connectory_ledger.py" in verdicts.messages
    assert "LookupError: 4711 is not" in verdicts.messages
    assert "another password" not in verdicts.messages


LOGGING = """
@model_validator(mode="after")
def _log(self) -> "LedgerSecrets":
    logging.getLogger("acme.books").info("opened with %s", self.password.get_secret_value())
    return self
"""


def test_a_secret_in_a_log_is_told_by_its_field_and_the_logger(kit):
    kit.change(*importing("import logging\nfrom pydantic import model_validator"))
    kit.change(*inside(LOGGING))
    messages = kit.run(only="secrets_never_show").messages
    assert (
        "The secret of the field password shows in the log of acme.books (start servers in a process of their own"
        in messages
    )


def test_the_kinds_of_failure_must_hold_bad_credentials(kit):
    kit.change_tests('FailureCode.AUTH_FAILED: good_secrets | {"password": "another password"},', "")
    verdicts = kit.run(only="each_kind")
    assert verdicts.failed == {"each_kind_of_bad_secrets_gets_its_code"}
    assert "bad_secrets lacks FailureCode.AUTH_FAILED" in verdicts.messages


def test_secrets_that_do_not_lead_to_the_server_prove_nothing(kit):
    kit.change_tests(
        '"port": port, "username": "reader", "password": "any', '"port": 9, "username": "reader", "password": "any'
    )
    verdicts = kit.run(only="silent_server or hangs_up")
    assert verdicts.failed == {"a_silent_server_is_given_up_in_time", "a_server_that_hangs_up_is_a_failure"}
    assert "does secrets_for_server() use host and port?" in verdicts.messages


@pytest.mark.parametrize("missing", ["fixture good_secrets", "fixture bad_secrets", "method secrets_for_server"])
def test_what_the_author_must_give_is_named(kit, missing):
    name = missing.partition(" ")[2]
    kit.change_tests(f"def {name}(", f"def other_{name}(")
    verdicts = kit.run(only="good_secrets_succeed or each_kind or silent_server")
    assert f"TestLedgerConformance needs a {missing}" in verdicts.messages


# Leaving checks out

OVERRIDE = "\n\n    def test_good_secrets_succeed(self) -> None:\n        pass\n"
REMOVAL = "\n\n    test_good_secrets_succeed = None\n"


@pytest.mark.parametrize("change", [OVERRIDE, REMOVAL], ids=["replaced", "removed"])
def test_a_check_is_not_left_out_without_a_reason(kit, change):
    kit.tests += change
    verdicts = kit.run(only="no_check_is_left_out")
    assert verdicts.failed == {"no_check_is_left_out_without_a_reason"}
    assert "test_good_secrets_succeed is replaced without a reason" in verdicts.messages


def test_a_check_may_be_left_out_for_a_reason_that_the_report_says(kit, capfd):
    """Whatever pytest captures, and though warnings are errors in the run."""
    kit.tests += REMOVAL + '    exceptions = {"test_good_secrets_succeed": "nobody has such a server"}\n'
    verdicts = kit.run(only="no_check_is_left_out or good_secrets")
    _, _, summary = capfd.readouterr().out.partition("warnings summary")
    assert "ConformanceNote: test_good_secrets_succeed is replaced: nobody has such a server\n" in summary
    assert verdicts.passed == {"no_check_is_left_out_without_a_reason"}
    assert verdicts.failed == set()


@pytest.mark.parametrize("reasons", ['{"test_good_secrets_succeed": " "}', '{"test_nothing_of_the_kind": "because"}'])
def test_a_reason_must_be_one_and_for_something(kit, reasons):
    kit.tests += REMOVAL + f"    exceptions = {reasons}\n"
    assert kit.run(only="no_check_is_left_out").failed == {"no_check_is_left_out_without_a_reason"}


def test_the_rule_about_reasons_cannot_be_left_out():
    with pytest.raises(TypeError, match="test_no_check_is_left_out_without_a_reason holds for every connector"):

        class Silent(ConnectorConformance):
            test_no_check_is_left_out_without_a_reason = None


def test_the_whole_class_cannot_be_skipped_unseen():
    @pytest.mark.xfail
    class Marked(ConnectorConformance):
        pass

    assert weakened_checks(Marked) == ["The whole class is marked xfail."]
    assert weakened_checks(ConnectorConformance) == []


# What importing the kit costs


def test_the_kit_imports_nothing_of_a_running_service():
    probe = "import connectory.testing, sys; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    finished = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60)
    assert finished.returncode == 0, finished.stderr
    for heavy in ("fastapi", "starlette", "uvicorn", "sqlalchemy", "alembic", "cryptography", "psycopg2"):
        assert f"'{heavy}'" not in finished.stdout


def test_without_pytest_the_kit_says_what_to_install():
    probe = "import sys; sys.modules['pytest'] = None; import connectory.testing"
    finished = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60)
    assert 'run: pip install "connectory[testing]"' in finished.stderr


def test_importing_the_kit_registers_nothing_in_the_pytest_of_others(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        """
        def registered(request):
            from hypothesis import settings

            config = request.config
            plugins = {name for name, _ in config.pluginmanager.list_name_plugin()}
            return plugins, set(vars(config.option)), config.getini("markers"), config.getini("filterwarnings"), settings.default

        def test_nothing_is_added(request):
            before = registered(request)
            import connectory.testing

            assert registered(request) == before
        """
    )
    finished = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    finished.assert_outcomes(passed=1)
    pytester.makeconftest("import connectory.testing")
    fixtures = pytester.runpytest_subprocess("--fixtures", "-v", "-p", "no:cacheprovider").stdout.str()
    assert "tmp_path_factory" in fixtures
    assert "connectory" not in fixtures
    groups = {point.group for point in distribution("connectory").entry_points}
    assert "pytest11" not in groups

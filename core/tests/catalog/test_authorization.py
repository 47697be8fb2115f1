"""What a connector may add: a reason why it cannot be used, fields that depend on settings, and a person's consent."""

import pytest

from connectory import CheckFailed
from connectory.catalog.catalog import build_catalog
from connectory.catalog.record import PluginStatus
from connectory.consent import Authorization
from connectory.documents.validation import parse_secrets
from testkit.distribution import install, plugin_source

REASON = "stripe.yaml, line 7: 'auth' is missing; add it."
RAISING = f"from connectory.sources import ConnectorUnusable\nraise ConnectorUnusable({REASON!r})"


@pytest.mark.parametrize(
    "source",
    [
        RAISING,
        plugin_source(
            "ledger", hooks={"more": f"@hookimpl\ndef connectory_describe():\n    {RAISING.replace(chr(10), '; ')}\n"}
        ),
        "def __getattr__(name):\n    " + RAISING.replace("\n", "\n    "),
    ],
    ids=["module", "hook", "module attribute"],
)
def test_a_plugin_says_itself_why_it_cannot_be_used(site, source):
    target = "unusable_ledger:ledger" if "__getattr__" in source else "unusable_ledger"
    install(site.folder, "connectory-ledger", entry_points={"ledger": target}, modules={"unusable_ledger": source})
    record = site.record("ledger")
    assert (record.status, record.reason) == (PluginStatus.FAILED, REASON)


@pytest.mark.parametrize("message", ["", "two\nlines", "x" * 501])
def test_a_reason_that_is_no_short_line_is_not_shown(site, message):
    site.add("ledger", source=f"from connectory.sources import ConnectorUnusable\nraise ConnectorUnusable({message!r})")
    assert site.record("ledger").reason.startswith("It says that it cannot be used, but not in one line;")


DEPENDENT = plugin_source(
    "ledger",
    hooks={
        "connectory_secret_schema": (
            "class LedgerSettings(DeployerSettings):\n    ledger_strict: bool = True\n\n\n"
            "class LaxSecrets(Secrets):\n    token: SecretText | None = None\n\n\n"
            "@hookimpl\ndef connectory_settings():\n    return LedgerSettings\n\n\n"
            "@hookimpl\ndef connectory_secret_schema(settings):\n"
            "    return PluginSecrets if settings.ledger_strict else LaxSecrets\n"
        )
    },
)


def test_fields_may_depend_on_the_deployers_settings(site):
    site.add("ledger", source=DEPENDENT)
    strict = build_catalog(environment={}).get("ledger")
    lax = build_catalog(environment={"CONNECTORY_LEDGER_STRICT": "false"}).get("ledger")
    assert (strict.schema["required"], lax.schema["required"]) == (["token"], [])


def test_a_tests_process_uses_the_fields_of_the_services_settings(site):
    site.add("ledger", source=DEPENDENT)
    loaded_without_settings = build_catalog(environment={}).get("ledger")
    configured = loaded_without_settings.configured({"ledger_strict": False})
    assert parse_secrets(configured.secrets_model, {}).token is None
    assert loaded_without_settings.configured({}) is loaded_without_settings


CONSENTING = plugin_source(
    "ledger",
    hooks={
        "more": (
            "from connectory.consent import Authorization\n\n\n"
            "@hookimpl\ndef connectory_authorization(secrets):\n"
            "    token = secrets.token.get_secret_value()\n"
            "    if token == 'none':\n        return None\n"
            "    if token == 'wrong':\n        return 'https://books.example'\n"
            "    return Authorization('https://books.example/consent', 'https://books.example/token', token, 'https://me.example')\n"
            "\n\n@hookimpl\ndef connectory_exchange_code(code, code_verifier, context):\n"
            "    if code == 'wrong':\n        raise CheckFailed(FailureCode.AUTH_FAILED)\n"
            "    return True if code == 'odd' else context.append((code, code_verifier))\n"
        )
    },
)


def test_a_connector_says_where_a_person_consents_and_exchanges_the_code(site):
    site.add("ledger", source=CONSENTING)
    connector = site.catalog().get("ledger")
    secrets = parse_secrets(connector.secrets_model, {"token": "client-7"})
    expected = Authorization(
        authorize_url="https://books.example/consent",
        token_url="https://books.example/token",
        client_id="client-7",
        redirect_uri="https://me.example",
    )
    assert connector.authorization(secrets) == expected
    assert connector.authorization(parse_secrets(connector.secrets_model, {"token": "none"})) is None
    with pytest.raises(TypeError, match="must return a connectory"):
        connector.authorization(parse_secrets(connector.secrets_model, {"token": "wrong"}))
    seen: list[tuple[str, str]] = []
    connector.exchange_code(secrets, "the code", "the verifier", seen)
    assert seen == [("the code", "the verifier")]
    with pytest.raises(CheckFailed):
        connector.exchange_code(secrets, "wrong", None, seen)
    with pytest.raises(TypeError, match="must return None"):
        connector.exchange_code(secrets, "odd", None, seen)


def test_a_connector_without_these_hooks_needs_no_consent(site):
    site.add("ledger")
    connector = site.catalog().get("ledger")
    assert connector.authorization(parse_secrets(connector.secrets_model, {"token": "t"})) is None

"""Connectors that are declared: what a class needs, what it becomes, and which mistakes are told when it is defined."""

from typing import Generic, TypeVar

import pytest
from pydantic import ValidationError

from connectory import CheckContext, Connector, DeployerSettings, Description, FailureCode, Secrets, SecretText
from connectory.catalog.loading import PluginBroken, plugin_of
from connectory.consent import Authorization, ConsentingConnector
from connectory.sources import ConnectorUnusable

SecretsT = TypeVar("SecretsT", bound=Secrets)


class LedgerSecrets(Secrets):
    token: SecretText


class Ledger(Connector[LedgerSecrets]):
    identifier = "ledger"
    type = "database"
    description = Description(human_readable="Ledger")

    def test(self, secrets: LedgerSecrets, context: CheckContext) -> None:
        context.skip_step(secrets.token.get_secret_value())


class Recorder:
    """A context that only records which steps were skipped."""

    def __init__(self):
        self.skipped = []

    def skip_step(self, name):
        self.skipped.append(name)


def test_the_hooks_answer_from_the_attributes():
    ledger, context = Ledger(), Recorder()
    assert ledger.connectory_identifier() == "ledger"
    assert ledger.connectory_type() == "database"
    assert ledger.connectory_secret_schema(settings=None) is LedgerSecrets
    assert ledger.connectory_describe().human_readable == "Ledger"
    assert ledger.connectory_settings() is None
    ledger.connectory_test_connection(secrets=LedgerSecrets(token="tls"), context=context)
    assert context.skipped == ["tls"]


def test_a_family_shares_its_test_and_each_member_has_its_secrets():
    class Family(Connector[SecretsT], Generic[SecretsT]):
        type = "database"

        def test(self, secrets, context):
            pass

    class Member(Family[LedgerSecrets]):
        identifier = "member"

    class Younger(Member):
        identifier = "younger"

    assert Member().secrets is LedgerSecrets
    assert Younger().connectory_secret_schema(settings=None) is LedgerSecrets


def test_what_depends_on_the_deployers_settings_is_computed():
    class Wide(LedgerSecrets):
        region: str = "eu"

    class Settings(DeployerSettings):
        ledger_wide: bool = False

    class Adapting(Ledger):
        settings = Settings

        def secret_schema(self, settings):
            return Wide if settings.ledger_wide else LedgerSecrets

    assert Adapting().connectory_settings() is Settings
    assert Adapting().connectory_secret_schema(settings=Settings(ledger_wide=True)) is Wide


def test_only_a_consenting_connector_implements_the_hooks_of_consent():
    class Consenting(ConsentingConnector[LedgerSecrets]):
        identifier = "consenting"
        type = "saas"

        def test(self, secrets, context):
            pass

        def authorization(self, secrets, settings):
            return Authorization("https://a.example/", "https://a.example/token", secrets.token.get_secret_value(), "r")

        def exchange_code(self, secrets, code, code_verifier, context):
            context.skip_step(code)

    assert not hasattr(Ledger(), "connectory_authorization")
    context, secrets = Recorder(), LedgerSecrets(token="client")
    assert Consenting().connectory_authorization(secrets=secrets, settings=None).client_id == "client"
    Consenting().connectory_exchange_code(secrets=secrets, code="c0de", code_verifier=None, context=context)
    assert context.skipped == ["c0de"]


def test_only_a_connector_that_opens_sessions_implements_that_hook():
    class Opening(Ledger):
        def open_session(self, secrets, context):
            return secrets.token.get_secret_value()

        def collections(self, settings):
            return [settings]

    class Younger(Opening):
        pass

    for name in ("connectory_open_session", "connectory_collections"):
        assert not hasattr(Ledger(), name)
    opening = Younger()
    assert opening.connectory_open_session(secrets=LedgerSecrets(token="opened"), context=Recorder()) == "opened"
    assert opening.connectory_collections(settings=5) == [5]


def declare(*bases, **members):
    return type("Mistaken", bases or (Ledger,), members)


async def a_coroutine(self, secrets, context):
    pass


def a_generator(self, secrets, context):
    yield


MISTAKES = {
    "a misspelt attribute": (
        {"identifer": "x"},
        "Mistaken.identifer is not an attribute of a connector; did you mean identifier?",
    ),
    "a misspelt description": ({"descripton": None}, "did you mean description?"),
    "a number for a name": ({"identifier": 5}, "Mistaken.identifier must be a str, not a int."),
    "a text for a description": ({"description": "Ledger"}, "must be a Description"),
    "a coroutine": ({"test": a_coroutine}, "Mistaken.test() is 'async def'"),
    "a generator": ({"test": a_generator}, "holds 'yield'"),
    "a session that is a generator": ({"open_session": a_generator}, "Mistaken.open_session() holds 'yield'"),
    "too few arguments": (
        {"test": lambda self, secrets: None},
        "Mistaken.test() must take just these arguments: self, secrets, context.",
    ),
}


@pytest.mark.parametrize(("members", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_where_the_class_is_defined(members, message):
    with pytest.raises(TypeError) as refused:
        declare(**members)
    assert message in str(refused.value)
    # A service shows it as the reason why the connector did not load.
    assert isinstance(refused.value, ConnectorUnusable)
    assert refused.value.message == str(refused.value)


def test_the_brackets_must_hold_secrets():
    with pytest.raises(TypeError, match="write the class of its secrets in brackets"):

        class Bare(Connector):
            pass

    with pytest.raises(TypeError, match=r"a class derived from connectory\.Secrets"):

        class Wrong(Connector[int]):
            pass


def test_names_of_ones_own_are_free():
    assert declare(_identifer="x", retries=3, greeting="hello")().retries == 3


def test_an_entry_point_may_name_the_class_or_an_instance():
    assert isinstance(plugin_of(Ledger), Ledger)
    instance = Ledger()
    assert plugin_of(instance) is instance


def test_a_class_that_lacks_something_is_told_what():
    class Half(Connector[LedgerSecrets]):
        type = "database"

    with pytest.raises(PluginBroken, match="Its class Half does not define identifier, test"):
        plugin_of(Half)


def test_a_class_that_wants_arguments_is_told_to_be_named_by_an_instance():
    class Wanting(Ledger):
        def __init__(self, server):
            self._server = server

    with pytest.raises(PluginBroken, match="Its class Wanting cannot be made without server"):
        plugin_of(Wanting)


@pytest.mark.parametrize(
    ("sentences", "why"),
    [
        ({"no_code": "A sentence."}, "Input should be"),
        ({FailureCode.TIMEOUT: ""}, "at least 1 character"),
        ({FailureCode.TIMEOUT: "x" * 301}, "at most 300 characters"),
        ({FailureCode.TIMEOUT: "one\ntwo"}, "must be one line of printable characters"),
        ({FailureCode.CRASHED: "It never crashes."}, "the service itself says crashed"),
        ({FailureCode.ADDRESS_NOT_ALLOWED: "Ask us."}, "the service itself says address_not_allowed"),
    ],
)
def test_a_sentence_that_cannot_be_shown_is_refused_where_it_is_declared(sentences, why):
    with pytest.raises(ValidationError, match=why):
        Description(sentences=sentences)

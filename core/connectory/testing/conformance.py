"""What every connector must do, as one test class to derive from.

A plugin's whole test file is a subclass with a few facts and fixtures:

    class TestLedgerConformance(ConnectorConformance):
        identifier = "ledger"
        distribution = "connectory-ledger"
        golden_schema = Path(__file__).with_name("secret_schema.json")

        @pytest.fixture
        def good_secrets(self, ledger):
            return {"host": ledger.host, "port": ledger.port, "token": "the right one"}

        @pytest.fixture
        def bad_secrets(self, good_secrets):
            return {FailureCode.AUTH_FAILED: good_secrets | {"token": "another one"}}

        def secrets_for_server(self, host, port):
            return {"host": host, "port": port, "token": "any"}

The plugin must be installed, editable or not. Its tests run through the same runner as in the service: in a process of
their own, with a deadline and an egress policy.
"""

from __future__ import annotations

from connectory.testing.rules.answers import AnswerRules
from connectory.testing.rules.declared import DeclarationRules
from connectory.testing.rules.exceptions import ExceptionRules
from connectory.testing.rules.refusals import RefusalRules
from connectory.testing.rules.rule import Rule, rule_of, standard_checks
from connectory.testing.rules.schema import SchemaRules
from connectory.testing.rules.secrecy import SecrecyRules
from connectory.testing.rules.sessions import SessionRules


# Of several bases pytest runs the tests of the last one first.
class ConnectorConformance(
    ExceptionRules, SessionRules, SecrecyRules, AnswerRules, RefusalRules, SchemaRules, DeclarationRules
):
    """Derive a class named `Test…` from this one, and give it the facts and fixtures below.

    Attributes:
        identifier: the connector's identifier.
        distribution: the distribution that ships it.
        golden_schema: the file that holds the JSON Schema of its secrets, for comparison: consumers build forms on it, so
            that a change is a decision. `CONNECTORY_UPDATE_GOLDEN=1` writes it.
        has_no_secrets: whether the connector really has no sensitive field.
        deadline: seconds that a test against a healthy server may take.
        greeting: what a server of the connector's protocol says before the client does, so that the kit's hostile servers get
            further. Default: nothing.
        short_deadline: seconds after which a test against a silent one is ended.
        exceptions: for each check of this class that the subclass replaces or removes, the reason.
    """


RULES: tuple[Rule, ...] = tuple(filter(None, map(rule_of, standard_checks(ConnectorConformance).values())))
"""All rules of the kit, in the order in which they run."""

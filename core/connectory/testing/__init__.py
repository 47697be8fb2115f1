"""The conformance kit: what every connector must do, as tests that a plugin author runs against their own.

Install it with `pip install "connectory[testing]"`.

Derive from `ConnectorConformance`, which tests all that must be true of any connector. `RULES` lists what it tests, each a `Rule`
with its reason, how to fix what breaks it, and what it needs. For what is true of yours alone:

- `Workbench` tests a connection as the service does, in a process of its own and under a deadline, and gives an `Outcome`
  with the `CheckReport`, which holds a `StepReport` for each step; `step_statuses` says how each ended. A `Trial`
  is one of several tests that run at the same time. The far ends that
  must not trouble any connector each give a `FarEnd`: `refused_port`, `black_hole`, `silent_server`, `closing_server`,
  `dripping_server`, `flooding_server`, `bombing_server`, `reflecting_server`, `redirecting_server`. `free_port` is
  where a server of your own may listen. `running_server` starts one in a process of its own, a `ServerProcess`, or raises
  `ServerFailed` with its log. `make_certificates` gives `Certificates`: a CA, and a `ServerCertificate` to trust among others.
- `Workbench.use` opens a `Session` of a connector that has them, under the same rules, or raises `SessionNotOpened` with a report
  like a test's; an operation that fails raises `OperationFailed` with its code.
- A `Payload` is secrets as a consumer sends them. `parse_secrets` validates it like the service, or raises
  `SecretsInvalid`, which lists each `FieldProblem`; `is_accepted` only says whether it fits. `secrets_document` is what the
  service would store, `mask_document` what it shows of that (with `MASK` for what is sensitive), `secret_json_schema` the
  JSON Schema that consumers draw forms from.
- `load_connector` gives a `LoadedConnector`, or raises `PluginBroken` with the reason; `read_settings` reads the deployer's
  settings.
- `build_catalog` gives the `Catalog` of all that is installed and all that sources find. Each connector has a
  `PluginRecord` with its `PluginStatus`. It is there for authors of sources.
"""

try:
    import pytest
except ModuleNotFoundError as error:
    raise ModuleNotFoundError('connectory.testing needs pytest; run: pip install "connectory[testing]"') from error

pytest.register_assert_rewrite("connectory.testing.rules")

# The asserts of what is imported from here on are rewritten.
from connectory.catalog.catalog import Catalog, build_catalog  # noqa: E402
from connectory.catalog.loaded import LoadedConnector  # noqa: E402
from connectory.catalog.loading import PluginBroken  # noqa: E402
from connectory.catalog.record import PluginRecord, PluginStatus  # noqa: E402
from connectory.checks.report import CheckReport, StepReport  # noqa: E402
from connectory.checks.sessions.runner import SessionNotOpened  # noqa: E402
from connectory.checks.sessions.session import OperationFailed, Session  # noqa: E402
from connectory.contract.settings import read_settings  # noqa: E402
from connectory.documents.json_schema import secret_json_schema  # noqa: E402
from connectory.documents.masking import mask_document  # noqa: E402
from connectory.documents.sensitivity import MASK  # noqa: E402
from connectory.documents.validation import (  # noqa: E402
    FieldProblem,
    SecretsInvalid,
    parse_secrets,
    secrets_document,
)
from connectory.testing.certificates import Certificates, ServerCertificate, make_certificates  # noqa: E402
from connectory.testing.conformance import RULES, ConnectorConformance  # noqa: E402
from connectory.testing.far_ends import (  # noqa: E402
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
from connectory.testing.payloads import Payload, is_accepted  # noqa: E402
from connectory.testing.ports import free_port  # noqa: E402
from connectory.testing.processes import ServerFailed, ServerProcess, running_server  # noqa: E402
from connectory.testing.rules.rule import Rule  # noqa: E402
from connectory.testing.running import Outcome, Trial, Workbench, load_connector, step_statuses  # noqa: E402

__all__ = [
    "MASK",
    "RULES",
    "Catalog",
    "Certificates",
    "CheckReport",
    "ConnectorConformance",
    "FarEnd",
    "FieldProblem",
    "LoadedConnector",
    "OperationFailed",
    "Outcome",
    "Payload",
    "PluginBroken",
    "PluginRecord",
    "PluginStatus",
    "Rule",
    "SecretsInvalid",
    "ServerCertificate",
    "ServerFailed",
    "ServerProcess",
    "Session",
    "SessionNotOpened",
    "StepReport",
    "Trial",
    "Workbench",
    "black_hole",
    "bombing_server",
    "build_catalog",
    "closing_server",
    "dripping_server",
    "flooding_server",
    "free_port",
    "is_accepted",
    "load_connector",
    "make_certificates",
    "mask_document",
    "parse_secrets",
    "read_settings",
    "redirecting_server",
    "reflecting_server",
    "refused_port",
    "running_server",
    "secret_json_schema",
    "secrets_document",
    "silent_server",
    "step_statuses",
]

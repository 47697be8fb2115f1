"""The catalogue: what loads, what does not and why, and that one bad plugin costs only itself."""

import time
from uuid import uuid4

import pytest

from connectory import CheckFailed, CheckSkipped, Description
from connectory.catalog.catalog import build_catalog, find_connector
from connectory.catalog.loading import PluginBroken
from connectory.catalog.record import PluginStatus
from connectory.catalog.watch import Watch
from connectory.documents.validation import parse_secrets
from testkit.distribution import install, plugin_source


def source(**hooks):
    return plugin_source("ledger", hooks={f"connectory_{name}": text for name, text in hooks.items()})


def hook(name, *lines, arguments="", prefix=""):
    body = "".join(f"    {line}\n" for line in lines)
    return f"@hookimpl\n{prefix}def connectory_{name}({arguments}):\n{body}"


# What loads


def test_an_installed_connector_is_listed_with_everything_it_says(site):
    describe = hook("describe", 'return Description(human_readable="The Ledger", icon="<svg></svg>", category="BOOKS")')
    site.add("ledger", source=source(describe=describe))
    catalog = site.catalog()
    connector = catalog.get("ledger")
    assert (connector.identifier, connector.system_type) == ("ledger", "database")
    assert connector.description == Description(human_readable="The Ledger", icon="<svg></svg>", category="BOOKS")
    assert connector.schema["title"] == "ledger_schema"
    assert connector.schema["description"] == "The Ledger secrets schema"
    assert connector.needs_secrets
    assert site.record("ledger").reason == ""


def test_a_connector_that_does_not_describe_itself_gets_a_readable_name(site):
    site.add("great_ledger")
    connector = site.catalog().get("great_ledger")
    assert connector.description.human_readable == "Great Ledger"
    assert connector.description.icon is None


def test_an_entry_point_may_name_an_object(site):
    body = plugin_source("unused") + (
        "\n\nclass Plugin:\n"
        '    @hookimpl\n    def connectory_identifier(self):\n        return "ledger"\n'
        '    @hookimpl\n    def connectory_type(self):\n        return "ledger-like"\n'
        "    @hookimpl\n    def connectory_secret_schema(self):\n        return PluginSecrets\n"
        "    @hookimpl\n    def connectory_test_connection(self):\n        raise CheckSkipped\n"
        "\n\nplugin = Plugin()\n"
    )
    install(site.folder, "books", entry_points={"ledger": "books_module:plugin"}, modules={"books_module": body})
    connector = site.catalog().get("ledger")
    assert connector.system_type == "ledger-like"
    with pytest.raises(CheckSkipped):
        connector.test(parse_secrets(connector.secrets_model, {"token": "t"}), None)


def class_source(head: str = "class Plugin:", more: str = "") -> str:
    """A module whose class `Plugin` is the connector `ledger`."""
    return plugin_source("unused") + (
        f"\n\n{head}\n"
        '    @hookimpl\n    def connectory_identifier(self):\n        return "ledger"\n'
        '    @hookimpl\n    def connectory_type(self):\n        return "database"\n'
        "    @hookimpl\n    def connectory_secret_schema(self):\n        return PluginSecrets\n"
        "    @hookimpl\n    def connectory_test_connection(self):\n        raise CheckSkipped\n"
        f"{more}"
    )


def install_class(site, body: str) -> None:
    module = f"books_{uuid4().hex}"
    install(site.folder, "books", entry_points={"ledger": f"{module}:Plugin"}, modules={module: body})


def test_an_entry_point_may_name_a_class(site):
    install_class(site, class_source(more="    def __init__(self, pages=7):\n        self.pages = pages\n"))
    connector = site.catalog().get("ledger")
    assert connector.system_type == "database"
    with pytest.raises(CheckSkipped):
        connector.test(parse_secrets(connector.secrets_model, {"token": "t"}), None)


@pytest.mark.parametrize(
    ("body", "reason"),
    {
        class_source(more="    def __init__(self, pages, *, ink):\n        pass\n"): "Its class Plugin cannot be made "
        "without pages, ink; give every argument a default, or let the entry point name an instance.",
        class_source(
            "import abc\n\nclass Plugin(abc.ABC):",
            "    @abc.abstractmethod\n    def test(self): ...\n"
            "    @property\n    @abc.abstractmethod\n    def identifier(self): ...\n",
        ): "Its class Plugin does not define identifier, test; add what is missing.",
        class_source(
            more="    def __init__(self):\n        raise TypeError('S3cretPw')\n"
        ): "Loading it raised TypeError; report it to the authors of books 1.0.",
        "class Plugin:\n    pass\n": "It does not implement connectory_identifier(); decorate its implementation with "
        "@connectory.hookimpl.",
    }.items(),
    ids=["needs arguments", "abstract", "raises", "has no hooks"],
)
def test_a_class_that_cannot_be_used_says_why(site, body, reason):
    install_class(site, body)
    record = site.record("ledger")
    assert (record.status, record.reason) == (PluginStatus.FAILED, reason)


def test_manual_is_registered_like_any_plugin_and_needs_nothing(site):
    [record] = [record for record in site.catalog().records if record.identifier == "manual"]
    assert (record.distribution, record.status) == ("connectory", PluginStatus.LOADED)
    manual = site.catalog().get("manual")
    assert (manual.system_type, manual.description.human_readable) == ("manual", "Manual Connector")
    assert not manual.needs_secrets
    with pytest.raises(CheckSkipped):
        manual.test(parse_secrets(manual.secrets_model, {}), None)
    assert site.record("manual", deny={"manual"}).status is PluginStatus.BLOCKED


def test_the_list_is_databases_then_saas_then_the_rest_each_alphabetical(site):
    kinds = {"zebra": "database", "apple": "database", "shop": "saas", "desk": "saas", "brain": "brain-dump"}
    for identifier, kind in kinds.items():
        type_hook = hook("type", f"return {kind!r}")
        site.add(identifier, source=plugin_source(identifier, hooks={"connectory_type": type_hook}))
    catalog = site.catalog(allow={*kinds, "manual"})
    assert list(catalog.connectors) == ["apple", "zebra", "desk", "shop", "brain", "manual"]
    assert catalog.types == {"database", "saas", "manual", "brain-dump"}


def test_a_connector_gets_the_deployers_settings(site):
    body = source(settings=hook("settings", "return LedgerSettings")).replace(
        "class PluginSecrets",
        "class LedgerSettings(DeployerSettings):\n    ledger_pages: int = 7\n\n\nclass PluginSecrets",
    )
    site.add("ledger", source=body)
    assert build_catalog(environment={}).get("ledger").plugin().settings.ledger_pages == 7
    assert build_catalog(environment={"CONNECTORY_LEDGER_PAGES": "9"}).get("ledger").plugin().settings.ledger_pages == 9
    catalog = build_catalog(environment={"CONNECTORY_LEDGER_PAGES": "S3cret"})
    [record] = [record for record in catalog.records if record.identifier == "ledger"]
    assert record.status is PluginStatus.FAILED
    assert record.reason == "CONNECTORY_LEDGER_PAGES has a value that is not accepted; it takes a whole number."
    assert "CONNECTORY_LEDGER_PAGES" in catalog.variables


# What fails, and the reason it gives

FAILING = {
    "it raises on import": (
        "raise RuntimeError('S3cretPw')",
        "Loading it raised RuntimeError; report it to the authors",
    ),
    "it exits on import": (
        "raise SystemExit(3)",
        "Loading it calls sys.exit(), which would end the service; report it",
    ),
    "it is interrupted on import": ("raise KeyboardInterrupt", "Loading it raised KeyboardInterrupt"),
    "it recurses on import": ("def f(): f()\nf()", "Loading it raised RecursionError"),
    "it is no Python": ("def", "Loading it raised SyntaxError"),
    "it needs a module that is not there": (
        "import driver_that_is_not_there",
        "needs the module 'driver_that_is_not_there'; run: pip install --force-reinstall connectory-ledger",
    ),
    "it is empty": (
        "",
        "does not implement connectory_identifier(); decorate its implementation with @connectory.hookimpl",
    ),
    "a hook is missing": (source(type=None), "does not implement connectory_type()"),
    "a hook lacks its decorator": (
        source(test_connection="def connectory_test_connection(secrets, context):\n    pass\n"),
        "does not implement connectory_test_connection()",
    ),
    "a hook is misspelt": (
        source(describe=hook("descripe", "pass")),
        "It implements connectory_descripe(), which is not a hook; did you mean connectory_describe()?",
    ),
    "a hook has an unknown argument": (
        source(test_connection=hook("test_connection", "pass", arguments="secrets, timeout")),
        "connectory_test_connection() takes timeout, but the hook offers only: secrets, context.",
    ),
    "a hook is async": (source(test_connection=hook("test_connection", "pass", prefix="async ")), "is 'async def'"),
    "a hook is an async generator": (
        source(test_connection=hook("test_connection", "yield", prefix="async ")),
        "is 'async def'",
    ),
    "a hook is a generator": (source(test_connection=hook("test_connection", "yield")), "holds 'yield'"),
    "a hook raises": (source(type=hook("type", "raise ValueError('S3cretPw')")), "connectory_type() raised ValueError"),
    "a hook exits": (source(type=hook("type", "raise SystemExit")), "Loading it calls sys.exit()"),
    "the identifier differs": (
        source(identifier=hook("identifier", "return 'postgres'")),
        "returns 'postgres', but its entry point is named 'ledger'; make them equal",
    ),
    "the identifier is no text": (source(identifier=hook("identifier", "return ['x'] * 500")), "returns ['x', 'x'"),
    "the type is no word": (source(type=hook("type", "return 'Data Base'")), "connectory_type() must return a word"),
    "the type is nothing": (source(type=hook("type", "return None")), "connectory_type() must return a word"),
    "the schema is an instance": (
        source(secret_schema=hook("secret_schema", "return PluginSecrets(token='t')")),
        "connectory_secret_schema() must return a subclass of connectory.Secrets",
    ),
    "the schema is another class": (
        source(secret_schema=hook("secret_schema", "return dict")),
        "must return a subclass of connectory.Secrets",
    ),
    "the schema cannot be rendered": (
        source().replace("token: SecretText", "token: 'Undefined'"),
        "has no words for the type of the field 'token'; use another",
    ),
    "the schema has a type of Python only": (
        source().replace(
            "token: SecretText", "token: SecretText\n    call: __import__('typing').Callable[[], None] = print"
        ),
        "has no words for the type of the field 'call'; use another, or say them with pydantic.WithJsonSchema",
    ),
    "it sets handlers of signals": (
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "Importing it sets a handler of signals, which belong to the service",
    ),
    "the schema is not JSON": (
        source().replace(
            "token: SecretText",
            "token: __import__('typing').Annotated[str, __import__('pydantic').WithJsonSchema({'examples': [object()]})]",
        ),
        "The JSON Schema of its secrets holds a value that is not JSON",
    ),
    "the description is no description": (
        source(describe=hook("describe", "return {'human_readable': 'L'}")),
        "connectory_describe() must return a connectory.Description",
    ),
    "the description is not accepted": (
        source(describe=hook("describe", "return Description(icon='S3cretPw')")),
        "connectory_describe() raised ValidationError",
    ),
    "the settings are no settings": (
        source(settings=hook("settings", "return 7")),
        "connectory_settings() must return a subclass of connectory.DeployerSettings",
    ),
}


@pytest.mark.parametrize(("body", "reason"), FAILING.values(), ids=FAILING)
def test_a_broken_plugin_costs_only_itself_and_says_why(site, body, reason):
    site.add("ledger", source=body)
    site.add("sound")
    catalog = site.catalog(allow={"ledger", "sound"})
    assert list(catalog.connectors) == ["sound"]
    [record] = [record for record in catalog.records if record.identifier == "ledger"]
    assert record.status is PluginStatus.FAILED
    assert reason in record.reason
    assert "S3cretPw" not in record.reason
    assert "\n" not in record.reason
    assert len(record.reason) < 400
    assert str(site.folder) not in record.reason


def test_a_target_that_does_not_exist_fails(site):
    install(site.folder, "a", entry_points={"one": "module_that_is_not_there"})
    install(site.folder, "b", entry_points={"two": "json:attribute_that_is_not_there"})
    install(site.folder, "c", entry_points={"three": "not a target !!"})
    for identifier in ("one", "two", "three"):
        assert site.record(identifier, allow={identifier}).status is PluginStatus.FAILED


@pytest.mark.parametrize("place", ["on import", "in a hook"])
def test_a_plugin_that_hangs_fails_when_its_time_is_over(site, load_limit, place):
    load_limit(0.3)
    hang = "import threading\nthreading.Event().wait(30)\n"
    in_hook = hook("type", "import threading", "threading.Event().wait(30)", "return 'database'")
    site.add("ledger", source=hang + source() if place == "on import" else source(type=in_hook))
    site.add("sound")
    started = time.monotonic()
    catalog = site.catalog(allow={"ledger", "sound"})
    assert time.monotonic() - started < 5
    assert list(catalog.connectors) == ["sound"]
    assert "took over 0.3 s" in site.record("ledger", allow={"ledger"}).reason


def test_a_dozen_that_hang_delay_the_others_by_one_limit(site, load_limit, monkeypatch):
    load_limit(2)
    monkeypatch.setattr(Watch, "patience", 0.01)
    names = [f"slow_{number}" for number in range(12)]
    for name in names:
        site.add(name, source="import threading\nthreading.Event().wait(30)\n" + source())
    started = time.monotonic()
    catalog = site.catalog(allow={*names})
    assert time.monotonic() - started < 16  # twelve limits are 24 s
    assert {record.status for record in catalog.records if record.identifier in names} == {PluginStatus.FAILED}


# Plugins that are not imported at all


def test_a_blocked_plugin_is_not_imported(site):
    site.add("ledger")
    site.add("sound")
    assert site.record("ledger", deny={"ledger"}).status is PluginStatus.BLOCKED
    assert not site.imported("connectory-ledger")
    site.catalog(allow={"ledger"})
    assert site.imported("connectory-ledger")


def test_an_incompatible_plugin_is_not_imported(site):
    site.add("ledger", requires=["connectory>=900"])
    record = site.record("ledger")
    assert record.status is PluginStatus.INCOMPATIBLE
    assert "connectory>=900" in record.reason
    assert not site.imported("connectory-ledger")


def test_of_two_rivals_neither_is_imported_and_a_pin_imports_one(site):
    site.add("ledger", distribution="good-ledger")
    site.add("ledger", distribution="evil-ledger")
    assert site.catalog().get("ledger") is None
    assert not site.imported("good-ledger")
    assert not site.imported("evil-ledger")
    connector = site.catalog(pins={"ledger": "good-ledger"}).get("ledger")
    assert connector.record.distribution == "good-ledger"
    assert not site.imported("evil-ledger")


def test_finding_one_connector_imports_no_other(site):
    site.add("ledger")
    site.add("other")
    assert find_connector("ledger", "connectory-ledger", {}).identifier == "ledger"
    assert site.imported("connectory-ledger")
    assert not site.imported("connectory-other")
    with pytest.raises(LookupError, match="connectory-other declares no connector 'ledger'"):
        find_connector("ledger", "connectory-other", {})
    site.add("broken", source="raise RuntimeError")
    with pytest.raises(PluginBroken, match="RuntimeError"):
        find_connector("broken", "connectory-broken", {})


# Stored connections whose connector is gone


def test_the_reason_names_what_to_do(site):
    site.add("ledger", source="raise RuntimeError", version="3.2")
    catalog = site.catalog(allow={"ledger"})
    reason = catalog.unavailable_reason("ledger", "connectory-ledger")
    assert reason.startswith("The connector 'ledger' (connectory-ledger 3.2) is failed. Loading it raised RuntimeError")
    missing = catalog.unavailable_reason("abacus", "connectory-abacus")
    assert missing == "The connector 'abacus' is not installed; run: pip install connectory-abacus"


# Running a test


@pytest.mark.parametrize("returned", ["True", "False", "'ok'", "0"])
def test_a_verdict_is_raised_and_never_returned(site, returned):
    body = source(test_connection=hook("test_connection", f"return {returned}"))
    site.add("ledger", source=body)
    connector = site.catalog().get("ledger")
    with pytest.raises(TypeError, match=r"connectory_test_connection\(\) must return None"):
        connector.test(parse_secrets(connector.secrets_model, {"token": "t"}), None)


def test_a_verdict_that_is_raised_arrives(site):
    failing = hook("test_connection", "raise CheckFailed(FailureCode.AUTH_FAILED)", arguments="secrets")
    site.add("ledger", source=source(test_connection=failing))
    connector = site.catalog().get("ledger")
    with pytest.raises(CheckFailed, match="auth_failed"):
        connector.test(parse_secrets(connector.secrets_model, {"token": "t"}), None)

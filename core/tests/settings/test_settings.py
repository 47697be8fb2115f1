"""Settings: from the environment, described, and never shown with a password."""

from pathlib import Path

import pytest

from connectory.catalog.catalog import Catalog, build_catalog
from connectory.checks.egress import EgressPolicy
from connectory.known_settings import describe_settings, unknown_settings
from connectory.settings import Settings, SettingsInvalid, listens_on_loopback, read_settings
from testkit.distribution import install, plugin_source


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    import os

    for name in [name for name in os.environ if name.startswith("CONNECTORY_")]:
        monkeypatch.delenv(name)


def test_every_setting_has_a_default_and_a_description():
    settings = Settings()
    assert settings.port == 8000
    for name, field in Settings.model_fields.items():
        assert not field.is_required(), name
        assert field.description.endswith("."), name


def test_values_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("CONNECTORY_PORT", "9000")
    monkeypatch.setenv("CONNECTORY_PLUGINS_DENY", "mongodb, saas")
    monkeypatch.setenv("CONNECTORY_PLUGINS_PIN", '{"ledger": "acme-ledger"}')
    monkeypatch.setenv("CONNECTORY_EGRESS_DENY", '["10.0.0.0/8"]')
    monkeypatch.setenv("CONNECTORY_DATA_CATEGORIES", "acme.loyalty, acme.fleet.plate")
    settings = read_settings()
    assert settings.data_categories == ("acme.loyalty", "acme.fleet.plate")
    assert settings.port == 9000
    assert settings.selection.deny == {"mongodb", "saas"}
    assert settings.selection.pins == {"ledger": "acme-ledger"}
    assert settings.egress_deny == ("10.0.0.0/8",)
    assert settings.embedded


@pytest.mark.parametrize("empty", ["", "  "])
@pytest.mark.parametrize("field", sorted(set(Settings.model_fields) - {"database_url", "keys_file", "egress_allow"}))
def test_an_empty_value_is_unset(monkeypatch, field, empty):
    monkeypatch.setenv(f"CONNECTORY_{field.upper()}", empty)
    assert read_settings() == Settings()
    assert field not in read_settings().model_fields_set


@pytest.mark.parametrize("empty", ["", "  "])
@pytest.mark.parametrize("name", ["CONNECTORY_DATABASE_URL", "CONNECTORY_KEYS_FILE", "CONNECTORY_EGRESS_ALLOW"])
def test_an_empty_value_that_would_change_where_data_goes_is_refused(monkeypatch, name, empty):
    monkeypatch.setenv(name, empty)
    with pytest.raises(SettingsInvalid, match=f"^{name} .* It is set but empty; give it a value, or unset it."):
        read_settings()


@pytest.mark.parametrize(
    ("value", "origin"),
    [
        ("https://connect.example.com", "https://connect.example.com"),
        ("https://Connect.example.com:8443/", "https://connect.example.com:8443"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_a_public_url_is_an_origin(monkeypatch, value, origin):
    monkeypatch.setenv("CONNECTORY_PUBLIC_URL", value)
    assert read_settings().public_url == origin


@pytest.mark.parametrize(
    "value",
    [
        "connect.example.com",
        "http://connect.example.com",
        "https://connect.example.com/connectory",
        "https://user:S3cretPw@connect.example.com",
        "https://connect.example.com?S3cretPw",
        "https://connect.example.com:S3cretPw",
        "https://",
        "javascript://127.0.0.1",
    ],
)
def test_a_public_url_that_is_none_is_refused(monkeypatch, value):
    monkeypatch.setenv("CONNECTORY_PUBLIC_URL", value)
    with pytest.raises(SettingsInvalid, match=r"^CONNECTORY_PUBLIC_URL .*, without a path; plain http") as refused:
        read_settings()
    assert "S3cretPw" not in str(refused.value)


@pytest.mark.parametrize("level", ["INFO", "Info", "info"])
def test_the_case_of_a_log_level_does_not_matter(monkeypatch, level):
    monkeypatch.setenv("CONNECTORY_LOG_LEVEL", level)
    assert read_settings().log_level == "info"


def test_arguments_win_over_the_environment(monkeypatch):
    monkeypatch.setenv("CONNECTORY_PORT", "9000")
    assert read_settings(port=9001).port == 9001


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        ("CONNECTORY_PORT", "S3cretPw", "a whole number from 0 to 65535"),
        ("CONNECTORY_PORT", "70000", "a whole number from 0 to 65535"),
        ("CONNECTORY_MAX_BODY_BYTES", "1", "a whole number from 1024 to 104857600"),
        ("CONNECTORY_PROBE_DEADLINE", "31", "a number from 1 to 30"),
        ("CONNECTORY_PROBE_SPARES", "5", "a whole number from 0 to 4"),
        ("CONNECTORY_PLUGINS_PIN", "S3cretPw", 'JSON like {"name": "value"}'),
        ("CONNECTORY_EGRESS_DENY", "S3cret Pw", "words separated by commas"),
        ("CONNECTORY_EGRESS_ALLOW", "10.0.0.0/8,S3cret:Pw", "words separated by commas"),
        ("CONNECTORY_NAT64_PREFIXES", "S3cretPw", "words separated by commas"),
        ("CONNECTORY_EGRESS_DENY", '["S3cretPw', "words separated by commas"),
        ("CONNECTORY_EGRESS_ALLOW_LOOPBACK", "S3cretPw", "true or false"),
        ("CONNECTORY_LOG_LEVEL", "S3cretPw", "debug, info, warning or error"),
        ("CONNECTORY_DATA_CATEGORIES", "acme.loyalty,S3cret Pw", "words separated by commas"),
        ("CONNECTORY_ALLOWED_HOSTS", "connect.example.com,S3cretPw:443", "words separated by commas"),
    ],
)
def test_a_value_that_does_not_fit_is_told_in_one_line(monkeypatch, name, value, taken):
    """It names the setting, says what it takes, and does not repeat the value."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid) as raised:
        read_settings()
    [message] = raised.value.problems
    assert message.startswith(f"{name} has a value that is not accepted; it takes {taken}. ")
    assert message.endswith(Settings.model_fields[name.removeprefix("CONNECTORY_").lower()].description)
    assert "\n" not in message
    assert "S3cret" not in message


def test_all_that_does_not_fit_is_told_at_once(monkeypatch):
    wrong = {
        "CONNECTORY_PORT": "x",
        "CONNECTORY_PLUGINS_PIN": "{",
        "CONNECTORY_EGRESS_DENY": "10.0.0.0/8,10.0.0.0/33",
        "CONNECTORY_KEYS_FILE": "",
        "CONNECTORY_LOG_LEVEL": "loud",
    }
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid) as raised:
        read_settings()
    assert {line.partition(" ")[0] for line in raised.value.problems} == set(wrong)
    assert len(str(raised.value).splitlines()) == len(wrong)


def test_every_entry_of_a_list_of_rules_that_is_not_one_is_told_by_its_place(monkeypatch):
    monkeypatch.setenv("CONNECTORY_EGRESS_DENY", "10.0.0.0/8, 10.0.0.1/8 ,*.example.com:5432,db:S3cretPw,fd00::/8:443")
    monkeypatch.setenv("CONNECTORY_NAT64_PREFIXES", "64:ff9b:1::/48,64:ff9b::/90,10.0.0.0/8")
    with pytest.raises(SettingsInvalid) as raised:
        read_settings()
    rules, prefixes = sorted(raised.value.problems)
    assert (
        " Entry 2: the address has bits beyond the length of its network; entry 4: the port must be a number from 1 to 65535, "
        "or a range of them like 5432-5439; entry 5: this is not a network, an address or a host; IPv6 stands in brackets "
        "where a port follows. Each is a network or an address (10.0.0.0/8, " in rules
    )
    assert (
        " Entry 2: its length must be 32, 40, 48, 56, 64 or 96; entry 3: this is not an IPv6 network. Each is "
        in prefixes
    )
    assert "S3cretPw" not in rules


@pytest.mark.parametrize("value", [",", " , ", "[]"])
def test_a_list_of_what_to_allow_that_allows_nothing_is_refused(monkeypatch, value):
    """Taken for unset, it would allow everything."""
    monkeypatch.setenv("CONNECTORY_EGRESS_ALLOW", value)
    with pytest.raises(SettingsInvalid, match=r"^CONNECTORY_EGRESS_ALLOW .* It is set but holds no rule; give it one"):
        read_settings()


@pytest.mark.parametrize("value", ["[2001:db8::/32]:443, *.example.com", '["[2001:db8::/32]:443", "*.example.com"]'])
def test_the_egress_policy_is_what_the_settings_say(monkeypatch, value):
    monkeypatch.setenv("CONNECTORY_EGRESS_ALLOW", value)
    monkeypatch.setenv("CONNECTORY_EGRESS_DENY", "10.0.0.0/8:22")
    monkeypatch.setenv("CONNECTORY_NAT64_PREFIXES", "64:ff9b:1::/48")
    rules = {
        "allow": ("[2001:db8::/32]:443", "*.example.com"),
        "deny": ("10.0.0.0/8:22",),
        "nat64": ("64:ff9b:1::/48",),
    }
    assert read_settings(host="0.0.0.0").egress_policy == EgressPolicy(**rules)
    assert read_settings(host="::1").egress_policy == EgressPolicy(allow_loopback=True, **rules)


def test_a_name_that_is_no_setting_is_told_with_the_nearest(monkeypatch):
    catalog = Catalog([], [], variables=["CONNECTORY_VAULTAGE_REGION", "VAULTAGE_FOLDER"])
    environment = {
        "CONNECTORY_DATABSE_URL": "postgresql://u:S3cretPw@h/d",
        "CONNECTORY_PORT": "1",
        "CONNECTORY_QQQ": "1",
        "CONNECTORY_VAULTAGE_REGION": "us",
        "CONNECTORY_VAULTAGE_REGIONS": "us",
        "DATABASE_URL": "x",
    }
    unknown = "is not a setting of the service or of a loaded plugin, and does nothing;"
    assert unknown_settings(environment, catalog) == [
        f"CONNECTORY_DATABSE_URL {unknown} did you mean CONNECTORY_DATABASE_URL?",
        f"CONNECTORY_QQQ {unknown} `connectory settings` lists what there is.",
        f"CONNECTORY_VAULTAGE_REGIONS {unknown} did you mean CONNECTORY_VAULTAGE_REGION?",
    ]


def test_a_database_password_is_in_no_repr_and_no_listing(monkeypatch):
    monkeypatch.setenv("CONNECTORY_DATABASE_URL", "postgresql://reader:S3cret%40Pw@db:5432/app?password=S3cretPw")
    settings = read_settings()
    assert not settings.embedded
    assert "S3cretPw" in settings.store_url
    rows = {row.name: row.value for row in describe_settings(settings, Catalog([], []))}
    assert rows["CONNECTORY_DATABASE_URL"] == settings.store_shown == "postgresql://reader:***@db:5432/app"
    assert "S3cret" not in repr(settings) + repr(rows)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://reader:S3cret@Pw@db:5432/app",
        "postgresql://reader:x/S3cretPw@db/app",
        "postgresql://reader:S3cretPw",
        "postgresql://db/app?password=S3cretPw@x",
        "postgresql://reader:x?S3cretPw@db/app",
        "reader:S3cretPw@db",
    ],
)
def test_a_url_that_is_not_understood_shows_nothing_of_a_password(url):
    assert "S3cret" not in read_settings(database_url=url).store_shown


def test_each_value_says_where_it_is_from_and_what_is_in_force(monkeypatch, tmp_path):
    monkeypatch.setenv("CONNECTORY_PORT", "9000")
    monkeypatch.setenv("CONNECTORY_HOME", str(tmp_path))
    monkeypatch.setenv("CONNECTORY_LOG_LEVEL", "")
    rows = {row.name: row for row in describe_settings(read_settings(), Catalog([], []))}
    assert (rows["CONNECTORY_PORT"].value, rows["CONNECTORY_PORT"].origin) == ("9000", "environment")
    assert (rows["CONNECTORY_LOG_LEVEL"].value, rows["CONNECTORY_LOG_LEVEL"].origin) == ("info", "default")
    store = rows["CONNECTORY_DATABASE_URL"]
    assert (store.value, store.origin, store.in_force) == ("", "default", f"sqlite:///{tmp_path}/connectory.db")
    assert rows["CONNECTORY_KEYS_FILE"].in_force == str(tmp_path / "keys.json")
    assert rows["CONNECTORY_EGRESS_ALLOW_LOOPBACK"].in_force == "True"


def test_the_embedded_default_lives_in_the_home_folder(tmp_path):
    settings = read_settings(home=tmp_path)
    assert settings.store_url == f"sqlite:///{tmp_path / 'connectory.db'}"
    assert settings.keys_path == tmp_path / "keys.json"
    assert settings.root_client_path == tmp_path / "root_client.json"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("10.0.0.1", False)],
)
def test_loopback_may_be_tested_only_in_the_embedded_default_while_the_service_listens_there(host, loopback):
    assert listens_on_loopback(host) is loopback
    assert read_settings(host=host).loopback_allowed is loopback
    assert read_settings(host=host, database_url="sqlite:///own.db").loopback_allowed is False
    assert read_settings(host=host, egress_allow_loopback=not loopback).loopback_allowed is not loopback


def test_settings_that_plugins_declare_are_listed_with_their_values(tmp_path: Path, monkeypatch):
    source = plugin_source(
        "vaultage",
        before="from pydantic import Field",
        hooks={
            "connectory_settings": """
@hookimpl
def connectory_settings():
    class VaultageSettings(DeployerSettings):
        vaultage_region: str = Field("eu", description="Where the accounts live.")

    return VaultageSettings
""",
        },
    )
    install(
        tmp_path, "acme-vaultage", entry_points={"vaultage": "vaultage_settings"}, modules={"vaultage_settings": source}
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    catalog = build_catalog(environment={"CONNECTORY_VAULTAGE_REGION": "us"})
    row = next(row for row in describe_settings(Settings(), catalog) if row.name == "CONNECTORY_VAULTAGE_REGION")
    assert row == ("CONNECTORY_VAULTAGE_REGION", "us", "environment", "us", "eu", "Where the accounts live.")
    assert unknown_settings({"CONNECTORY_VAULTAGE_REGION": "us"}, catalog) == []


@pytest.mark.parametrize(
    "document",
    [
        '{"primary": "a", "keys": {"a": "base64:S3cretKey"}}',
        '{"primary": "a", "keys": {"a": "base64://S3cretKey"}}',  # base64 has slashes, and this is not a URL
        "S3cretKey",
        "[S3cretKey://",
    ],
)
def test_keys_of_the_environment_are_in_no_repr_and_no_listing(monkeypatch, document):
    monkeypatch.setenv("CONNECTORY_KEYS_JSON", document)
    settings = read_settings()
    assert settings.keys_json.get_secret_value() == document
    rows = {row.name: row.value for row in describe_settings(settings, Catalog([], []))}
    assert rows["CONNECTORY_KEYS_JSON"] == "***"
    assert "S3cret" not in repr(settings) + repr(rows)


def test_what_is_the_deployments_own_is_closed_to_connection_tests(tmp_path):
    settings = Settings(
        home=tmp_path / "home",
        database_url=f"sqlite:///{tmp_path}/my%20store.db",
        keys_file=tmp_path / "keys.json",
        vault_credential_file=tmp_path / "vault-token",
    )
    names = ("home", "keys.json", "home/root_client.json", "my store.db", "vault-token")
    assert settings.own_paths == tuple(tmp_path / name for name in names)

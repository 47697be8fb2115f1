"""Settings: from the environment, described, and never shown with a password."""

from pathlib import Path

import pytest

from connectory.catalog.catalog import Catalog, build_catalog
from connectory.settings import Settings, SettingsInvalid, describe_settings, listens_on_loopback, read_settings
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


def test_values_come_from_the_environment_and_an_empty_one_is_unset(monkeypatch):
    monkeypatch.setenv("CONNECTORY_PORT", "9000")
    monkeypatch.setenv("CONNECTORY_PLUGINS_DENY", "mongodb, saas")
    monkeypatch.setenv("CONNECTORY_PLUGINS_PIN", '{"ledger": "acme-ledger"}')
    monkeypatch.setenv("CONNECTORY_EGRESS_DENY", '["10.0.0.0/8"]')
    monkeypatch.setenv("CONNECTORY_DATABASE_URL", "")
    settings = read_settings()
    assert settings.port == 9000
    assert settings.selection.deny == {"mongodb", "saas"}
    assert settings.selection.pins == {"ledger": "acme-ledger"}
    assert settings.egress_deny == ("10.0.0.0/8",)
    assert settings.embedded


def test_arguments_win_over_the_environment(monkeypatch):
    monkeypatch.setenv("CONNECTORY_PORT", "9000")
    assert read_settings(port=9001).port == 9001


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CONNECTORY_PORT", "S3cretPw"),
        ("CONNECTORY_PORT", "70000"),
        ("CONNECTORY_PROBE_DEADLINE", "31"),
        ("CONNECTORY_PLUGINS_PIN", "S3cretPw"),
        ("CONNECTORY_EGRESS_DENY", "S3cretPw"),
        ("CONNECTORY_EGRESS_DENY", '["S3cretPw'),
        ("CONNECTORY_EGRESS_ALLOW_LOOPBACK", "S3cretPw"),
        ("CONNECTORY_LOG_LEVEL", "S3cretPw"),
    ],
)
def test_a_value_that_does_not_fit_is_told_in_one_line(monkeypatch, name, value):
    """It names the setting and does not repeat the value."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid) as raised:
        read_settings()
    message = str(raised.value)
    assert message.startswith(name)
    assert "\n" not in message
    assert "S3cret" not in message


def test_a_database_password_is_in_no_repr_and_no_listing(monkeypatch):
    monkeypatch.setenv("CONNECTORY_DATABASE_URL", "postgresql://reader:S3cret@Pw@db:5432/app?password=S3cretPw")
    settings = read_settings()
    assert not settings.embedded
    assert "S3cretPw" in settings.store_url
    rows = {row.name: row.value for row in describe_settings(settings, Catalog([], []))}
    assert rows["CONNECTORY_DATABASE_URL"] == "postgresql://reader:***@db:5432/app"
    assert "S3cret" not in repr(settings) + repr(rows)


def test_the_embedded_default_lives_in_the_home_folder(tmp_path):
    settings = read_settings(home=tmp_path)
    assert settings.store_url == f"sqlite:///{tmp_path / 'connectory.db'}"
    assert settings.keys_path == tmp_path / "keys.json"
    assert settings.root_client_path == tmp_path / "root_client.json"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("10.0.0.1", False)],
)
def test_loopback_may_be_tested_only_while_the_service_listens_there(host, loopback):
    assert listens_on_loopback(host) is loopback
    assert read_settings(host=host).loopback_allowed is loopback
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
    assert row == ("CONNECTORY_VAULTAGE_REGION", "us", "eu", "Where the accounts live.")


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

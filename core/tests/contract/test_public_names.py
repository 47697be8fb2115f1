"""What `import connectory` offers, and where names of version 0.1 are now."""

import importlib
import warnings

import pytest

import connectory

NAMES_OF_0_1 = {
    *(
        "SSL_MODE_QUERY_KEY",
        "Address",
        "Authorization",
        "CheckContext",
        "CheckFailed",
        "CheckSkipped",
        "ConnectorSource",
    ),
    *("ConnectorUnusable", "DeployerSettings", "Description", "Endpoint", "FailureCode", "Grammar", "Host", "Integer"),
    *("Name", "PemCertificates", "PemPrivateKey", "Port", "QueryKey", "SecretGroup", "SecretText", "Secrets"),
    *("SourcedConnector", "SslCaField", "SslMode", "SslModeField", "UrlGrammar", "UrlText", "hookimpl", "path_of"),
    *("request_tls", "rsa_private_key", "system_certificates", "text", "tls_context", "tls_failure"),
}


def test_a_first_connector_needs_few_names():
    assert len(connectory.__all__) <= 20
    assert "Connector" in connectory.__all__


@pytest.mark.parametrize("name", connectory.__all__)
def test_a_public_name_comes_without_a_warning(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert getattr(connectory, name) is not None


@pytest.mark.parametrize("name", sorted(NAMES_OF_0_1 - set(connectory.__all__)))
def test_a_name_that_moved_still_comes_with_a_warning_that_names_the_new_one(name):
    told = rf"^connectory\.{name} is deprecated and goes with 1\.0; use .+$"
    with pytest.warns(DeprecationWarning, match=told) as caught:
        found = getattr(connectory, name)
    new = str(caught[0].message).partition("; use ")[2]
    assert caught[0].filename == __file__  # the line that must change is the one that is shown
    room, _, renamed = new.rpartition(".")
    if room.startswith("connectory."):
        assert getattr(importlib.import_module(room), renamed) is found


def test_no_name_of_0_1_is_lost():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert [name for name in NAMES_OF_0_1 if not hasattr(connectory, name)] == []


def test_an_unknown_name_is_an_ordinary_error():
    with pytest.raises(AttributeError, match="module 'connectory' has no attribute 'Ledger'"):
        connectory.Ledger  # noqa: B018


@pytest.mark.parametrize("room", ["toolkit", "sources", "consent", "data"])
def test_each_room_offers_what_it_names(room):
    module = importlib.import_module(f"connectory.{room}")
    assert sorted(module.__all__, key=str.lower) == sorted(module.__all__, key=str.lower)
    assert all(hasattr(module, name) for name in module.__all__)
    assert module.__doc__

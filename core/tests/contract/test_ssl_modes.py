"""TLS modes that a connector narrows to those that its protocol has."""

from typing import Annotated

import pytest

from connectory import Host, Secrets, SslMode, SslModeField
from connectory.documents.json_schema import secret_json_schema
from connectory.documents.sensitivity import is_endpoint
from connectory.testing import SecretsInvalid, is_accepted, parse_secrets
from connectory.testing.destinations import verifying
from connectory.toolkit import SslModes


class Direct(Secrets):
    """TLS from the first byte, or none."""

    host: Host
    ssl_mode: Annotated[SslModeField, SslModes("disabled", "required", "verify-full")] = SslMode.DISABLED


class Anchored(Secrets):
    """No server of this kind has a certificate for its name."""

    host: Host
    ssl_mode: Annotated[SslModeField, SslModes(SslMode.VERIFY_CA)] = SslMode.VERIFY_CA


@pytest.mark.parametrize(
    ("spelling", "mode"),
    [("disabled", "disabled"), ("disable", "disabled"), ("require", "required"), ("verify-full", "verify-full")],
)
def test_the_modes_that_are_left_have_their_usual_spellings(spelling, mode):
    assert parse_secrets(Direct, {"host": "h", "ssl_mode": spelling}).ssl_mode is SslMode(mode)


@pytest.mark.parametrize("spelling", ["preferred", "prefer", "allow", "verify-ca", "none", 5])
def test_others_are_refused_with_those_that_are_left(spelling):
    with pytest.raises(SecretsInvalid) as refused:
        parse_secrets(Direct, {"host": "h", "ssl_mode": spelling})
    [problem] = refused.value.problems
    assert problem["loc"] == ["ssl_mode"]
    if spelling in {"preferred", "prefer", "allow", "verify-ca"}:
        assert problem["msg"] == "Must be one of: disabled, required, verify-full, disable, require."


def test_the_schema_shows_those_that_are_left():
    shown = secret_json_schema(Direct, "direct", "Direct")["properties"]["ssl_mode"]
    assert shown["enum"] == ["disabled", "required", "verify-full", "disable", "require"]
    assert (shown["title"], shown["default"]) == ("SSL Mode", "disabled")


def test_the_field_is_known_for_what_it_is():
    assert is_endpoint(Direct, "ssl_mode")
    assert verifying(Direct, {"host": "h"})["ssl_mode"] == "verify-full"
    assert verifying(Anchored, {"host": "h"})["ssl_mode"] == "verify-ca"
    assert not is_accepted(Anchored, {"host": "h", "ssl_mode": "disabled"})


@pytest.mark.parametrize("modes", [(), ("full",)])
def test_what_is_not_a_mode_is_refused_at_once(modes):
    with pytest.raises(ValueError, match=r"at least one mode|not a valid SslMode"):
        SslModes(*modes)

"""`connectory egress check`."""

import json

import pytest

from testkit.service import run_command


@pytest.fixture(autouse=True)
def settings(monkeypatch):
    monkeypatch.setenv("CONNECTORY_EGRESS_ALLOW", "10.0.0.0/8:5432,[2001:db8::/32]:443")
    monkeypatch.setenv("CONNECTORY_EGRESS_DENY", "10.9.0.0/16,*.internal.example")


@pytest.mark.parametrize(
    ("target", "status", "said"),
    [
        ("10.0.0.7:5432", 0, "allowed: 10.0.0.0/8:5432 (CONNECTORY_EGRESS_ALLOW)"),
        ("10.0.0.7:22", 1, "refused: no rule of the list allows it (CONNECTORY_EGRESS_ALLOW)"),
        ("10.9.0.7:5432", 1, "refused: 10.9.0.0/16 (CONNECTORY_EGRESS_DENY)"),
        ("DB.internal.example.:443", 1, "refused: *.internal.example (CONNECTORY_EGRESS_DENY)"),
        ("[2001:db8::7]:443", 0, "allowed: [2001:db8::/32]:443 (CONNECTORY_EGRESS_ALLOW)"),
        ("2001:db8::7", 0, "allowed: [2001:db8::/32]:443 (CONNECTORY_EGRESS_ALLOW)"),
        ("[2001:db8::7]", 0, "allowed: [2001:db8::/32]:443 (CONNECTORY_EGRESS_ALLOW)"),
        (
            "169.254.169.254:80",
            1,
            "refused: 169.254.0.0/16: link-local, and the metadata services of most clouds (built in)",
        ),
    ],
)
def test_it_says_whether_tests_may_connect_and_which_rule_says_so(command, home, target, status, said):
    code, printed, told = command("egress", "check", target)
    assert (code, told) == (status, "")
    assert printed.splitlines()[0] == f"{target} is {said}"
    assert ("No port was given" in printed) == target.endswith(("7]", "::7"))
    assert not home.exists()  # it opens no store


def test_a_host_that_has_no_address_is_not_reached(command):
    code, printed, _ = command("egress", "check", "no-such-host.invalid:443")
    assert (code, printed.partition(":443")[2].startswith(" is not reached: The host name could not be resolved")) == (
        1,
        True,
    )


@pytest.mark.parametrize(
    "target", ["", "http://db", "db:", "db:0", "db:65536", "db:x", "a b", "[::1", "[::1]443", "1:2:g"]
)
def test_what_is_not_a_host_and_a_port_is_a_wrong_use(command, target):
    code, printed, told = command("egress", "check", target)
    assert (code, printed) == (2, "")
    assert "Usage: " in told


def test_json_is_what_the_api_answers(command):
    code, printed, _ = command("egress", "check", "--json", "10.0.0.7:5432")
    deciding = {"rule": "10.0.0.0/8:5432", "rule_from": "CONNECTORY_EGRESS_ALLOW"}
    assert code == 0
    assert json.loads(printed) == {
        "host": "10.0.0.7",
        "port": 5432,
        "allowed": True,
        "failure_code": None,
        **deciding,
        "addresses": [{"address": "10.0.0.7", "allowed": True, **deciding}],
    }


def test_it_needs_no_database_and_the_exit_codes_are_those_of_a_process(home):
    away = {"CONNECTORY_DATABASE_URL": "postgresql://u:p@127.0.0.1:1/d"}
    assert (
        run_command(home, "egress", "check", "127.0.0.1:443", settings=away).returncode == 1
    )  # not the embedded default
    assert run_command(home, "egress", "check", "8.8.8.8:443", settings=away).returncode == 0
    assert not home.exists()

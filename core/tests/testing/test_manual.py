"""The built-in `manual` connector passes the same kit as everybody's, but for the checks that need something to connect to."""

from pathlib import Path

from connectory.testing import ConnectorConformance, Payload

NOTHING = "a person supplies the data, so there is nothing to connect to"


class TestManualConformance(ConnectorConformance):
    identifier = "manual"
    distribution = "connectory"
    golden_schema = Path(__file__).with_name("manual_schema.json")
    has_no_secrets = True

    exceptions = {
        "test_good_secrets_succeed": NOTHING,
        "test_each_kind_of_bad_secrets_gets_its_code": NOTHING,
        "test_a_silent_server_is_given_up_in_time": NOTHING,
        "test_a_server_that_hangs_up_is_a_failure": NOTHING,
        "test_a_port_that_refuses_is_connect_refused": NOTHING,
        "test_an_unknown_host_is_dns_failed": NOTHING,
        "test_an_address_that_the_policy_denies_is_not_connected_to": NOTHING,
        "test_hostile_servers_cost_one_test_and_no_secret": NOTHING,
        "test_secrets_never_show": NOTHING,
    }
    test_good_secrets_succeed = None
    test_each_kind_of_bad_secrets_gets_its_code = None
    test_a_silent_server_is_given_up_in_time = None
    test_a_server_that_hangs_up_is_a_failure = None
    test_a_port_that_refuses_is_connect_refused = None
    test_an_unknown_host_is_dns_failed = None
    test_an_address_that_the_policy_denies_is_not_connected_to = None
    test_hostile_servers_cost_one_test_and_no_secret = None
    test_secrets_never_show = None

    def secrets_for_server(self, host: str, port: int) -> Payload:
        return {}

    def test_its_test_is_skipped(self) -> None:
        report = self.check({}).report
        assert (report.status, report.code, report.reason) == ("skipped", None, None)

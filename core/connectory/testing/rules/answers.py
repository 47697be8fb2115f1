"""What a test answers to far ends that work, and to those that do not."""

from __future__ import annotations

from connectory.contract.check import FailureCode
from connectory.testing.far_ends import UNKNOWN_HOST, FarEnd, closing_server, refused_port, silent_server
from connectory.testing.payloads import Payload
from connectory.testing.rules.complaints import (
    OUR_FAULT,
    ended_with,
    expect_connection,
    expect_none,
    failure_complaints,
    raised,
    steps_reported_twice,
)
from connectory.testing.rules.facts import GRACE, Facts
from connectory.testing.rules.rule import rule


class AnswerRules(Facts):
    """Whether each cause gets the code that tells people what to do."""

    @rule(
        fix="Report each step once, with context.open, context.http or context.step, and raise nothing where all is well.",
        needs="good_secrets",
    )
    def test_good_secrets_succeed(self, good_secrets: Payload) -> None:
        """Secrets that work end with ordered steps that all passed: a person sees how far a connection got."""
        report = self.check(good_secrets).report
        if report.status != "succeeded":
            expect_none([f"The test ended with {ended_with(report)}: {report.reason}{raised(report)}"])
        assert (report.code, report.reason) == (None, None)
        assert report.steps, "The test reports no step; use context.connect() and context.step()."
        expect_none(steps_reported_twice(report))
        assert {step.status for step in report.steps} <= {"passed", "skipped"}
        assert "passed" in {step.status for step in report.steps}

    @rule(
        fix="Give the driver's exceptions their codes: context.step(name, {DriverError: FailureCode.AUTH_FAILED}).",
        needs="bad_secrets",
    )
    def test_each_kind_of_bad_secrets_gets_its_code(self, bad_secrets: dict[FailureCode, Payload]) -> None:
        """Each ends with its own code, the step that failed, and a sentence that says what to do: people act on these."""
        assert bad_secrets, "The fixture bad_secrets is empty."
        assert self.has_no_secrets or FailureCode.AUTH_FAILED in bad_secrets, (
            "bad_secrets lacks FailureCode.AUTH_FAILED."
        )
        complaints = []
        for code, payload in bad_secrets.items():
            report = self.check(payload).report
            complaints += [f"{code}: {problem}" for problem in failure_complaints(report, {code})]
        expect_none(complaints)

    @rule(
        fix="Give context.timeout to the driver for each operation; let TimeoutError pass, or map the driver's own to timeout.",
        needs="secrets_for_server",
    )
    def test_a_silent_server_is_given_up_in_time(self) -> None:
        """A server that accepts and says nothing cannot hold a test up, and `timeout` is what tells people where to look."""
        self.import_ahead()
        with silent_server() as far_end:
            outcome = self.check_far_end(far_end, deadline=self.short_deadline)
            expect_connection(far_end)
        expect_none(failure_complaints(outcome.report, {FailureCode.TIMEOUT}))
        limit = self.short_deadline + GRACE
        assert outcome.seconds <= limit, f"The test took {outcome.seconds:.1f} s; it had {limit:g} s."

    @rule(fix="Map what the driver raises at the end of a stream to protocol_mismatch.", needs="secrets_for_server")
    def test_a_server_that_hangs_up_is_a_failure(self) -> None:
        """A server that closes the connection at once is told apart from a defect of the driver."""
        with closing_server() as far_end:
            outcome = self.check_far_end(far_end)
            expect_connection(far_end)
        expect_none(failure_complaints(outcome.report, set(FailureCode) - OUR_FAULT))

    @rule(
        fix="Connect with context.open, context.http or context.connect, and let their CheckFailed pass.",
        needs="secrets_for_server",
    )
    def test_a_port_that_refuses_is_connect_refused(self) -> None:
        """Where nothing listens, the code says so, and not that the secrets are wrong."""
        with refused_port() as far_end:
            expect_none(failure_complaints(self.check_far_end(far_end).report, {FailureCode.CONNECT_REFUSED}))

    @rule(fix="Resolve with the context, and let its CheckFailed pass.", needs="secrets_for_server")
    def test_an_unknown_host_is_dns_failed(self) -> None:
        """A name that no resolver knows is told apart from a server that is down. With no resolver, `dns_timeout` will do."""
        outcome = self.check_far_end(FarEnd(UNKNOWN_HOST, 443))
        expect_none(failure_complaints(outcome.report, {FailureCode.DNS_FAILED, FailureCode.DNS_TIMEOUT}))

    @rule(
        fix="Connect only to what the context resolved or connected, and let its CheckFailed pass.",
        needs="secrets_for_server",
    )
    def test_an_address_that_the_policy_denies_is_not_connected_to(self) -> None:
        """The connector goes only where `context.resolve` and `context.connect` let it."""
        with silent_server() as far_end:
            outcome = self.check_far_end(far_end, allow_loopback=False)
            assert far_end.connections == 0, "The test connected to an address that the egress policy denies."
        expect_none(failure_complaints(outcome.report, {FailureCode.ADDRESS_NOT_ALLOWED}))

"""What hostile servers can make of a test, and where secrets may show."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict
from functools import partial

import pytest

from connectory.checks.report import CheckReport
from connectory.contract.check import FailureCode
from connectory.testing import destinations
from connectory.testing.exposure import appearances
from connectory.testing.far_ends import (
    FarEnd,
    black_hole,
    bombing_server,
    closing_server,
    dripping_server,
    flooding_server,
    redirecting_server,
    reflecting_server,
    silent_server,
)
from connectory.testing.payloads import Payload, with_markers
from connectory.testing.rules.complaints import OUR_FAULT, expect_none, failure_complaints
from connectory.testing.rules.facts import GRACE, Facts
from connectory.testing.rules.rule import rule
from connectory.testing.running import Outcome, Trial, load_connector


class SecrecyRules(Facts):
    """Whether secrets stay where they belong, whatever the far end does."""

    @rule(
        fix="Bound what is read, follow no redirect, and put nothing that the server or the secrets hold into a remedy or a log.",
        needs="secrets_for_server",
    )
    def test_hostile_servers_cost_one_test_and_no_secret(
        self, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Servers that swallow, drip, flood, bomb, reflect or redirect end in time as a failure of theirs, and nothing shows."""
        self.import_ahead()
        with caplog.at_level(logging.DEBUG), silent_server() as elsewhere, ExitStack() as running:
            servers = {name: running.enter_context(start()) for name, start in self._hostile_servers(elsewhere).items()}
            marked = [self._marked(self.secrets_for_server(end.host, end.port), end) for end in servers.values()]
            trials, secrets = [trial for trial, _ in marked], _merged(fields for _, fields in marked)
            outcomes = self.workbench.test_trials(trials, deadline=self.short_deadline, at_once=len(trials))
            # Many tests at the same time can be late together on a busy machine: what is late is asked again, alone.
            outcomes = [
                outcome
                if self._in_time(outcome)
                else self.workbench.test_trials([trial], deadline=self.short_deadline)[0]
                for trial, outcome in zip(trials, outcomes, strict=True)
            ]
        complaints = []
        for name, outcome in zip(servers, outcomes, strict=True):
            complaints += [f"{name}: {problem}" for problem in self._hostile_complaints(name, outcome)]
        if elsewhere.connections:
            complaints.append("redirecting: the test followed it; a secret may have gone along.")
        expect_none(complaints + appearances(secrets, _texts([out.report for out in outcomes], caplog, capfd)))

    @rule(
        fix="Hand the fields of TLS to context.open or to the driver, before anything is sent.",
        needs="secrets_for_server, and a field of the type SslModeField or SslModes",
    )
    def test_nothing_sensitive_leaves_before_the_server_is_verified(self) -> None:
        """With `verify-full`, a server that does not prove who it is learns no secret: fields of TLS must be read."""
        connector = load_connector(self.identifier, self.distribution, self._settings_for(FarEnd("127.0.0.1", 1)))
        if destinations.verifying(connector.secrets_model, self.any_secrets()) is None:
            return  # no field of the secrets asks for it
        self.import_ahead()
        with silent_server(self.greeting) as silent, reflecting_server(self.greeting) as reflecting:
            far_ends = {"a silent server": silent, "a reflecting server": reflecting}
            marked = [self._marked(self.secrets_for_server(end.host, end.port), end) for end in far_ends.values()]
            trials = [
                trial._replace(
                    payload=destinations.verifying(trial.connector.secrets_model, trial.payload) or trial.payload
                )
                for trial, _ in marked
            ]
            self.workbench.test_trials(trials, deadline=self.short_deadline)
            received = {f"what {name} got in clear": end.received.decode("latin-1") for name, end in far_ends.items()}
        expect_none(appearances(_merged(fields for _, fields in marked), received))

    def _hostile_servers(self, elsewhere: FarEnd) -> dict[str, Callable[[], AbstractContextManager[FarEnd]]]:
        return {
            "black hole": black_hole,
            "closing": closing_server,
            "dripping": partial(dripping_server, self.greeting),
            "flooding": partial(flooding_server, self.greeting),
            "bombing": partial(bombing_server, self.greeting),
            "reflecting": partial(reflecting_server, self.greeting),
            "redirecting": partial(redirecting_server, elsewhere),
        }

    def _in_time(self, outcome: Outcome) -> bool:
        return outcome.seconds <= self.short_deadline + GRACE

    def _hostile_complaints(self, name: str, outcome: Outcome) -> list[str]:
        # Native code that gets no more memory may have nothing left but to abort.
        ours = OUR_FAULT - ({FailureCode.CRASHED} if name in {"flooding", "bombing"} else set())
        complaints = failure_complaints(outcome.report, set(FailureCode) - ours)
        if not self._in_time(outcome):
            complaints.append(f"The test took {outcome.seconds:.1f} s; it had {self.short_deadline:g} s.")
        return complaints

    @rule(
        fix="Keep secrets out of remedies, exceptions, logs and output, and start servers in a process of their own.",
        needs="good_secrets",
    )
    def test_secrets_never_show(
        self, good_secrets: Payload, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Not in the report, a log, the output or an exception, in no usual spelling."""
        trial, secrets = self._marked(good_secrets, None)
        with caplog.at_level(logging.DEBUG):
            [outcome] = self.workbench.test_trials([trial], deadline=self.deadline)
        expect_none(appearances(secrets, _texts([outcome.report], caplog, capfd)))

    def _marked(self, payload: Payload, far_end: FarEnd | None) -> tuple[Trial, dict[str, str]]:
        """The test of these secrets with a marker in each that takes one, and all that must not show, with its field."""
        # Which secrets are accepted may depend on the deployer's settings.
        connector = load_connector(self.identifier, self.distribution, self._settings_for(far_end))
        marked, secrets = with_markers(connector.secrets_model, connector.schema, payload)
        assert secrets or self.has_no_secrets, "The secrets hold no sensitive field to look for."
        return Trial(connector, marked, self.stored_tokens()), secrets


def _merged(secrets: Iterable[dict[str, str]]) -> dict[str, str]:
    return {text: field for fields in secrets for text, field in fields.items()}


def _texts(
    reports: Iterable[CheckReport], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> dict[str, str]:
    """Where a secret may have shown."""
    written = capfd.readouterr()
    shown = "\n".join(repr(report) + json.dumps(asdict(report), default=repr) for report in reports)
    texts = {"the report": shown, "standard output": written.out, "standard error": written.err}
    for record in caplog.records:
        logged = (
            f"the log of {record.name} (start servers in a process of their own: it may be one's that runs in a thread)"
        )
        texts[logged] = f"{texts.get(logged, '')}{caplog.handler.format(record)}\n"
    return texts

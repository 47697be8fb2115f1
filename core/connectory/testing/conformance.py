"""What every connector must do, as one test class to derive from.

A plugin's whole test file is a subclass with a few facts and fixtures:

    class TestLedgerConformance(ConnectorConformance):
        identifier = "ledger"
        distribution = "connectory-ledger"
        golden_schema = Path(__file__).with_name("secret_schema.json")

        @pytest.fixture
        def good_secrets(self, ledger):
            return {"host": ledger.host, "port": ledger.port, "token": "the right one"}

        @pytest.fixture
        def bad_secrets(self, good_secrets):
            return {FailureCode.AUTH_FAILED: good_secrets | {"token": "another one"}}

        def secrets_for_server(self, host, port):
            return {"host": host, "port": port, "token": "any"}

The plugin must be installed, editable or not. Its tests run through the same runner as in the service: in a process of
their own, with a deadline and an egress policy.
"""

from __future__ import annotations

import difflib
import json
import logging
import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings

from connectory.catalog.loaded import LoadedConnector
from connectory.catalog.loading import PluginBroken
from connectory.checks.report import CheckReport
from connectory.contract.check import FailureCode
from connectory.documents.masking import mask_document, merge_documents
from connectory.documents.sensitivity import MASK
from connectory.documents.validation import SecretsInvalid, parse_secrets, secrets_document
from connectory.testing import declaration, destinations, schema_rules
from connectory.testing import fresh_import as imports
from connectory.testing.exposure import appearances
from connectory.testing.far_ends import (
    UNKNOWN_HOST,
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
from connectory.testing.payloads import (
    Payload,
    as_parts,
    is_accepted,
    submissions,
    text_places,
    value_at,
    with_markers,
    with_value,
)
from connectory.testing.running import Outcome, Trial, Workbench, load_connector

UPDATE_GOLDEN = "CONNECTORY_UPDATE_GOLDEN"
"""Environment variable that makes the golden schema file be written instead of compared."""

GRACE = 1.0
"""Seconds after its deadline by which a test must have ended."""

NOISE = 2.0
"""Seconds besides, for several tests at the same time on a busy machine."""

_OUR_FAULT = {FailureCode.INTERNAL_DRIVER_ERROR, FailureCode.CRASHED}


class ConnectorConformance:
    """Derive a class named `Test…` from this one, and give it the facts and fixtures below.

    Attributes:
        identifier: the connector's identifier.
        distribution: the distribution that ships it.
        golden_schema: the file that holds the JSON Schema of its secrets, for comparison: consumers build forms on it, so
            that a change is a decision. `CONNECTORY_UPDATE_GOLDEN=1` writes it.
        has_no_secrets: whether the connector really has no sensitive field.
        deadline: seconds that a test against a healthy server may take.
        greeting: what a server of the connector's protocol says before the client does, so that the kit's hostile servers get
            further. Default: nothing.
        short_deadline: seconds after which a test against a silent one is ended.
        exceptions: for each check of this class that the subclass replaces or removes, the reason.
    """

    identifier: ClassVar[str]
    distribution: ClassVar[str]
    golden_schema: ClassVar[Path]
    has_no_secrets: ClassVar[bool] = False
    deadline: ClassVar[float] = 10.0
    short_deadline: ClassVar[float] = 2.0
    greeting: ClassVar[bytes] = b""
    exceptions: ClassVar[Mapping[str, str]] = {}
    workbench: ClassVar[Workbench]

    @pytest.fixture
    def good_secrets(self) -> Payload:
        """Secrets whose test succeeds, against a real server."""
        pytest.fail(f"{type(self).__name__} needs a fixture good_secrets: secrets whose test succeeds.")

    @pytest.fixture
    def bad_secrets(self) -> dict[FailureCode, Payload]:
        """For each kind of failure that the connector can tell apart, secrets whose test fails with that code.

        `auth_failed` must be there, unless `has_no_secrets`.
        """
        pytest.fail(
            f"{type(self).__name__} needs a fixture bad_secrets: a failure code for each kind of wrong secrets."
        )

    def secrets_for_server(self, host: str, port: int) -> Payload:
        """Valid secrets that make the connector connect to `host` and `port`, whatever listens there."""
        raise NotImplementedError(f"{type(self).__name__} needs a method secrets_for_server(host, port).")

    def settings_for_server(self, host: str, port: int) -> dict[str, str]:
        """Environment variables of the deployer's settings that are needed for it, where secrets alone cannot do it."""
        del host, port
        return {}

    def stored_tokens(self) -> Mapping[str, Any] | None:
        """What an earlier test or consent handed to `context.store_tokens`, where the connector works with such tokens."""
        return None

    # What the plugin declares

    @pytest.fixture
    def connector(self) -> LoadedConnector:
        """The connector, as the service loads it."""
        return self._load()

    def _load(self) -> LoadedConnector:
        try:
            return load_connector(self.identifier, self.distribution)
        except LookupError:
            pytest.fail(self._not_installed(), pytrace=False)
        except PluginBroken as problem:
            pytest.fail(_with_traceback(f"The connector does not load: {problem}", problem), pytrace=False)

    def _not_installed(self) -> str:
        return (
            f"No installed distribution '{self.distribution}' has an entry point '{self.identifier}' in the group "
            "connectory.connectors; run: pip install -e ."
        )

    def test_the_entry_point_is_declared(self) -> None:
        """The connector is found by its metadata, before anything is imported."""
        assert declaration.find_entry_point(self.identifier, self.distribution) is not None, self._not_installed()

    def test_the_distribution_says_which_core_it_needs(self) -> None:
        """A service of another version refuses it with a reason, instead of failing in the middle."""
        _expect_none(declaration.requirement_complaints(self.distribution))

    def test_the_catalogue_loads_it(self) -> None:
        """The service takes the connector, within its time for loading: hooks, identifier, type and schema are right."""
        assert self._load().identifier == self.identifier

    def test_no_function_only_looks_like_a_hook(self, connector: LoadedConnector) -> None:
        """Each function named like a hook is one: a misspelt or undecorated hook would never be called."""
        _expect_none(declaration.stray_hooks(connector))

    def test_the_description_can_be_shown(self, connector: LoadedConnector) -> None:
        """It has a name, a small and harmless icon, and is there at once: lists of connectors show it."""
        _expect_none(declaration.description_complaints(connector))

    @pytest.fixture(scope="class")
    @classmethod
    def fresh_import(cls) -> imports.Observed:
        """What an interpreter of its own saw when it imported the connector."""
        return imports.observe(cls.identifier, cls.distribution)

    def test_nothing_heavy_is_imported_early(self, connector: LoadedConnector, fresh_import: imports.Observed) -> None:
        """Drawing the list of connectors and their forms imports no driver, and nothing of a running service."""
        _expect_none(imports.early_imports(fresh_import, connector.description.drivers))

    def test_importing_it_is_quiet(self, fresh_import: imports.Observed) -> None:
        """It writes and warns of nothing, and leaves logging and the rest of the process as they are: all share it."""
        _expect_none(imports.noise(fresh_import))

    def test_importing_it_is_quick(self, fresh_import: imports.Observed) -> None:
        """At most a second, in which a person still waits for the list of connectors. Of three tries the best counts."""
        observed = fresh_import
        for _ in range(2):
            if imports.slowness(observed):
                observed = imports.observe(self.identifier, self.distribution)
        _expect_none(imports.slowness(observed))

    # The schema of its secrets

    def test_the_schema_has_the_usual_frame(self, connector: LoadedConnector) -> None:
        """Title, description, type, required fields, and no unknown ones: what consumers rely on to draw a form."""
        _expect_none(schema_rules.frame_complaints(connector.schema, self.identifier))

    def test_the_schema_follows_the_standard(self, connector: LoadedConnector) -> None:
        """It is valid JSON Schema 2020-12."""
        _expect_none(schema_rules.standard_complaints(connector.schema))

    def test_a_form_can_be_drawn_from_every_property(self, connector: LoadedConnector) -> None:
        """Each has a title, none is null, and nested objects refuse unknown fields too."""
        _expect_none(schema_rules.property_complaints(connector.schema))

    def test_what_is_sensitive_is_marked(
        self,
        connector: LoadedConnector,
        request: pytest.FixtureRequest,
        record_property: Callable[[str, object], None],
    ) -> None:
        """Sensitive fields have sensitive types; a url shows none of them but its password."""
        for place, reason in schema_rules.public_fields(connector.secrets_model).items():
            _note(f"{place} is public: {reason}", request, record_property)
        _expect_none(
            schema_rules.sensitivity_complaints(
                connector.schema, connector.secrets_model, has_no_secrets=self.has_no_secrets
            )
        )

    def test_patterns_are_short_and_work_in_browsers(self, connector: LoadedConnector) -> None:
        """Each has at most 200 characters, and ECMAScript takes it with the flag `u` and with the flag `v`."""
        _expect_none(schema_rules.pattern_complaints(connector.schema))

    def test_defaults_fit_and_give_nothing_away(self, connector: LoadedConnector) -> None:
        """Each default is JSON that its own schema accepts, as forms fill it in, and none looks like somebody's credential."""
        missing = schema_rules.missing_defaults(connector.schema, connector.secrets_model)
        _expect_none(missing + schema_rules.default_complaints(connector.schema))

    def test_the_schema_is_the_golden_one(self, connector: LoadedConnector) -> None:
        """A change of the schema is a decision that shows in a diff."""
        rendered = json.dumps(connector.schema, indent=2, ensure_ascii=False) + "\n"
        if os.environ.get(UPDATE_GOLDEN) == "1":
            self.golden_schema.write_text(rendered, encoding="utf-8")
        remedy = f"to accept it, run: {UPDATE_GOLDEN}=1 python -m pytest -k golden"
        if not self.golden_schema.exists():
            pytest.fail(f"There is no {self.golden_schema}; {remedy}", pytrace=False)
        golden = self.golden_schema.read_text(encoding="utf-8")
        changed = "".join(difflib.unified_diff(golden.splitlines(True), rendered.splitlines(True), "golden", "now"))
        if changed:
            pytest.fail(f"The schema differs from {self.golden_schema}; {remedy}\n{changed}", pytrace=False)

    def test_the_schema_says_what_is_accepted(self, connector: LoadedConnector) -> None:
        """It accepts all that the service accepts; what the service checks besides, a field's description says in words."""
        model, validator = connector.secrets_model, jsonschema_rs.validator_for(connector.schema)
        parts = self.secrets_for_server("server.example", 443)
        marked, _ = with_markers(model, connector.schema, parts)

        @settings(
            max_examples=200,
            database=None,
            derandomize=True,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(submissions(connector.schema, [parts, marked, *self._as_url(model, parts)]))
        def agree(payload: Payload) -> None:
            refused, problems = [error.message for error in validator.iter_errors(payload)], _problems(model, payload)
            if refused:
                assert problems, f"The schema refuses and the service accepts {_short(payload)}: {_short(refused)}"
                return
            unsaid = [problem for problem in problems if not schema_rules.is_said(connector.schema, problem, payload)]
            assert not unsaid, (
                f"The schema accepts and the service refuses {_short(payload)}: {_short(unsaid)}; say it in the schema, or "
                "name the field in the problem and repeat its message in the description of that field."
            )

        agree()

    def _as_url(self, model: Any, parts: Payload) -> list[Payload]:
        """The same secrets as a url, where the connector takes one."""
        grammar = model.connectory_url
        if grammar is None or "url" in parts:
            return []
        inside = grammar.fields | grammar.query_keys.keys()
        beside = {name: value for name, value in parts.items() if name not in inside}
        given = parse_secrets(model, parts).model_dump(include=set(parts))
        shown = {name: value for name, value in given.items() if name in inside and name != grammar.password}
        return [beside | {"url": grammar.render(shown)}]

    # What it refuses

    def test_control_characters_are_refused_at_their_field(self, connector: LoadedConnector) -> None:
        """NUL ends texts early in C code, and the others forge lines and headers."""
        model, parts = connector.secrets_model, self.secrets_for_server("server.example", 443)
        complaints = []
        for place in text_places(connector.schema):
            value = value_at(parts, place) or "text"
            for control in ("\0", "\x1b", "\x7f"):
                for text in (f"{value}{control}", f"{value[:1]}{control}{value[1:]}"):
                    problems = _problems(model, with_value(model, parts, place, text))
                    path = place.split(".")
                    if not any(loc and loc == path[: len(loc)] for loc in (problem["loc"] for problem in problems)):
                        complaints.append(f"{place} does not refuse the control character {control!r}, or not by name.")
        _expect_none(sorted(set(complaints)))

    def test_all_problems_come_in_one_answer(self, connector: LoadedConnector) -> None:
        """Whoever fills in a form learns of a wrong field and of a missing one at once."""
        model, parts = connector.secrets_model, as_parts(connector.secrets_model, self._any_secrets())
        needed = [name for name in parts if not is_accepted(model, {key: parts[key] for key in parts if key != name})]
        texts = [place for place in text_places(connector.schema) if isinstance(parts.get(place), str)]
        texts = [place for place in texts if not is_accepted(model, parts | {place: "\0"})]
        complaints = []
        for missing in needed:
            wrong = [place for place in texts if place != missing]
            broken = {name: value for name, value in parts.items() if name != missing}
            named = {
                problem["loc"][0] for problem in _problems(model, broken | dict.fromkeys(wrong, "\0")) if problem["loc"]
            }
            unnamed = sorted({*wrong, missing} - named)
            if unnamed:
                complaints.append(
                    f"With {missing} missing and {', '.join(wrong)} wrong, these are not named: {unnamed}."
                )
        _expect_none(complaints)

    def test_an_unknown_field_is_refused_and_not_repeated(self, connector: LoadedConnector) -> None:
        """A secret sent under a wrong name, or as a name, does not come back."""
        marker = "ZqUnknownMarker"
        problems = _problems(connector.secrets_model, self._any_secrets() | {marker: marker})
        assert problems, "A field that the schema does not know is accepted; keep extra='forbid'."
        assert marker not in json.dumps(problems), "The refusal of an unknown field repeats its name or value."

    def test_a_refusal_never_repeats_a_value(self, connector: LoadedConnector) -> None:
        """Whatever is wrong with a value, the answer says what was expected and not what was sent."""
        model = connector.secrets_model
        marker = "ZqRefusedMarker"
        complaints = []
        for place in text_places(connector.schema):
            for value in (f"{marker}\0", f"{marker}@/?#", [marker], {marker: marker}, marker * 10_000):
                problems = _problems(model, with_value(model, self._any_secrets(), place, value))
                if marker in json.dumps(problems):
                    complaints.append(f"A refusal of {place} repeats what was sent; write constant messages.")
        _expect_none(sorted(set(complaints)))

    def test_sensitive_values_read_back_masked(self, connector: LoadedConnector) -> None:
        """What is stored shows none of them, and can be sent back to mean unchanged."""
        model = connector.secrets_model
        marked, markers = with_markers(model, connector.schema, self._any_secrets())
        stored = secrets_document(model, marked)
        shown = mask_document(model, stored)
        _expect_none(appearances(markers, {"the masked secrets": json.dumps(shown)}))
        assert self.has_no_secrets or MASK in json.dumps(shown), "secrets_for_server() fills in no sensitive field."
        assert merge_documents(model, shown, stored, replace=True) == stored

    def _any_secrets(self) -> Payload:
        return self.secrets_for_server("server.example", 443)

    def test_what_decides_the_server_is_marked(self, connector: LoadedConnector) -> None:
        """Whoever changes where the secrets are sent has to send them again: nobody may lead a stored password elsewhere."""
        here = [self.secrets_for_server("server.example", 443) for _ in range(2)]
        elsewhere = self.secrets_for_server("elsewhere.example", 444)
        _expect_none(destinations.unmarked_destinations(connector.secrets_model, here, elsewhere))

    # What its test answers

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _open_workbench(cls) -> Iterator[None]:
        with Workbench() as cls.workbench:
            yield

    def check(
        self,
        payload: Payload,
        *,
        far_end: FarEnd | None = None,
        deadline: float | None = None,
        allow_loopback: bool = True,
    ) -> Outcome:
        """Run the connector's test, with the settings that lead it to `far_end`. Default deadline: the class's."""
        return self.workbench.test(
            self.identifier,
            self.distribution,
            payload,
            settings=self._settings_for(far_end),
            tokens=self.stored_tokens(),
            deadline=self.deadline if deadline is None else deadline,
            allow_loopback=allow_loopback,
        )

    def check_far_end(self, far_end: FarEnd, *, deadline: float | None = None, allow_loopback: bool = True) -> Outcome:
        """Run the connector's test against one of the kit's own far ends."""
        payload = self.secrets_for_server(far_end.host, far_end.port)
        return self.check(payload, far_end=far_end, deadline=deadline, allow_loopback=allow_loopback)

    def _settings_for(self, far_end: FarEnd | None) -> dict[str, str]:
        return self.settings_for_server(far_end.host, far_end.port) if far_end is not None else {}

    def import_ahead(self) -> None:
        """Have the driver imported before a test with the short deadline."""
        with refused_port() as far_end:
            self.workbench.import_ahead(
                self.identifier,
                self.distribution,
                self.secrets_for_server(far_end.host, far_end.port),
                settings=self._settings_for(far_end),
                tokens=self.stored_tokens(),
                deadline=self.short_deadline,
            )

    def test_good_secrets_succeed(self, good_secrets: Payload) -> None:
        """Secrets that work end with ordered steps that all passed: a person sees how far a connection got."""
        report = self.check(good_secrets).report
        if report.status != "succeeded":
            _expect_none([f"The test ended with {_ended_with(report)}: {report.reason}{_raised(report)}"])
        assert (report.code, report.reason) == (None, None)
        assert report.steps, "The test reports no step; use context.connect() and context.step()."
        _expect_none(_steps_reported_twice(report))
        assert {step.status for step in report.steps} <= {"passed", "skipped"}
        assert "passed" in {step.status for step in report.steps}

    def test_each_kind_of_bad_secrets_gets_its_code(self, bad_secrets: dict[FailureCode, Payload]) -> None:
        """Each ends with its own code, the step that failed, and a sentence that says what to do: people act on these."""
        assert bad_secrets, "The fixture bad_secrets is empty."
        assert self.has_no_secrets or FailureCode.AUTH_FAILED in bad_secrets, (
            "bad_secrets lacks FailureCode.AUTH_FAILED."
        )
        complaints = []
        for code, payload in bad_secrets.items():
            report = self.check(payload).report
            complaints += [f"{code}: {problem}" for problem in _failure_complaints(report, {code})]
        _expect_none(complaints)

    def test_a_silent_server_is_given_up_in_time(self) -> None:
        """A server that accepts and says nothing cannot hold a test up, and `timeout` is what tells people where to look."""
        self.import_ahead()
        with silent_server() as far_end:
            outcome = self.check_far_end(far_end, deadline=self.short_deadline)
            _expect_connection(far_end)
        _expect_none(_failure_complaints(outcome.report, {FailureCode.TIMEOUT}))
        limit = self.short_deadline + GRACE
        assert outcome.seconds <= limit, f"The test took {outcome.seconds:.1f} s; it had {limit:g} s."

    def test_a_server_that_hangs_up_is_a_failure(self) -> None:
        """A server that closes the connection at once is told apart from a defect of the driver."""
        with closing_server() as far_end:
            outcome = self.check_far_end(far_end)
            _expect_connection(far_end)
        _expect_none(_failure_complaints(outcome.report, set(FailureCode) - _OUR_FAULT))

    def test_a_port_that_refuses_is_connect_refused(self) -> None:
        """Where nothing listens, the code says so, and not that the secrets are wrong."""
        with refused_port() as far_end:
            _expect_none(_failure_complaints(self.check_far_end(far_end).report, {FailureCode.CONNECT_REFUSED}))

    def test_an_unknown_host_is_dns_failed(self) -> None:
        """A name that no resolver knows is told apart from a server that is down. With no resolver, `dns_timeout` will do."""
        outcome = self.check_far_end(FarEnd(UNKNOWN_HOST, 443))
        _expect_none(_failure_complaints(outcome.report, {FailureCode.DNS_FAILED, FailureCode.DNS_TIMEOUT}))

    def test_an_address_that_the_policy_denies_is_not_connected_to(self) -> None:
        """The connector goes only where `context.resolve` and `context.connect` let it."""
        with silent_server() as far_end:
            outcome = self.check_far_end(far_end, allow_loopback=False)
            assert far_end.connections == 0, "The test connected to an address that the egress policy denies."
        _expect_none(_failure_complaints(outcome.report, {FailureCode.ADDRESS_NOT_ALLOWED}))

    def test_hostile_servers_cost_one_test_and_no_secret(
        self, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Servers that swallow, drip, flood, bomb, reflect or redirect end in time as a failure of theirs, and nothing shows."""
        self.import_ahead()
        with caplog.at_level(logging.DEBUG), silent_server() as elsewhere, ExitStack() as running:
            servers = {name: running.enter_context(start()) for name, start in self._hostile_servers(elsewhere).items()}
            marked = [self._marked(self.secrets_for_server(end.host, end.port), end) for end in servers.values()]
            trials, markers = [trial for trial, _ in marked], [text for _, texts in marked for text in texts]
            outcomes = self.workbench.test_trials(trials, deadline=self.short_deadline, at_once=len(trials))
        complaints = []
        for name, outcome in zip(servers, outcomes, strict=True):
            complaints += [f"{name}: {problem}" for problem in self._hostile_complaints(name, outcome)]
        if elsewhere.connections:
            complaints.append("redirecting: the test followed it; a secret may have gone along.")
        _expect_none(complaints + appearances(markers, _texts([out.report for out in outcomes], caplog, capfd)))

    def test_nothing_sensitive_leaves_before_the_server_is_verified(self) -> None:
        """With `verify-full`, a server that does not prove who it is learns no secret: fields of TLS must be read."""
        connector = load_connector(self.identifier, self.distribution, self._settings_for(FarEnd("127.0.0.1", 1)))
        if destinations.verifying(connector.secrets_model, self._any_secrets()) is None:
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
        _expect_none(appearances([text for _, texts in marked for text in texts], received))

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

    def _hostile_complaints(self, name: str, outcome: Outcome) -> list[str]:
        # Native code that gets no more memory may have nothing left but to abort.
        ours = _OUR_FAULT - ({FailureCode.CRASHED} if name in {"flooding", "bombing"} else set())
        complaints = _failure_complaints(outcome.report, set(FailureCode) - ours)
        if outcome.seconds > self.short_deadline + GRACE + NOISE:
            complaints.append(f"The test took {outcome.seconds:.1f} s; it had {self.short_deadline:g} s.")
        return complaints

    def test_secrets_never_show(
        self, good_secrets: Payload, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Not in the report, a log, the output or an exception, in no usual spelling."""
        trial, markers = self._marked(good_secrets, None)
        with caplog.at_level(logging.DEBUG):
            [outcome] = self.workbench.test_trials([trial], deadline=self.deadline)
        _expect_none(appearances(markers, _texts([outcome.report], caplog, capfd)))

    def _marked(self, payload: Payload, far_end: FarEnd | None) -> tuple[Trial, list[str]]:
        """The test of these secrets with a marker in each that takes one, and all that must not show."""
        # Which secrets are accepted may depend on the deployer's settings.
        connector = load_connector(self.identifier, self.distribution, self._settings_for(far_end))
        marked, markers = with_markers(connector.secrets_model, connector.schema, payload)
        assert markers or self.has_no_secrets, "The secrets hold no sensitive field to look for."
        return Trial(connector, marked, self.stored_tokens()), markers

    # The kit itself

    def test_no_check_is_left_out_without_a_reason(
        self, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
    ) -> None:
        """A connector that cannot do something says so in `exceptions`, and the report of the run says it too."""
        for rule, reason in self.exceptions.items():
            _note(f"{rule} is replaced: {reason}", request, record_property)
        _expect_none(weakened_checks(type(self)))


def weakened_checks(tested: type[ConnectorConformance]) -> list[str]:
    """Complaints about checks that `tested` replaces, removes or skips without a reason, or with one that is not needed."""
    standard = {name: check for name, check in vars(ConnectorConformance).items() if name.startswith("test_")}
    replaced = {name for name, check in standard.items() if getattr(tested, name, None) is not check}
    excused = {name for name, reason in tested.exceptions.items() if reason.strip()}
    complaints = [
        f"{name} is replaced without a reason; add exceptions = {{'{name}': 'why'}}."
        for name in sorted(replaced - excused)
    ]
    complaints += [f"exceptions names {name}, which is not replaced." for name in sorted(excused - replaced)]
    marks = [mark.name for mark in getattr(tested, "pytestmark", [])]
    return complaints + [f"The whole class is marked {name}." for name in marks if name in {"skip", "skipif", "xfail"}]


NOTE = "note"
"""The name of the properties of a test that hold what its report should say, though it passed: in JUnit's XML too."""


def _note(text: str, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """Have the report of the run say `text`."""
    record_property(NOTE, text)
    terminal = request.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:  # there is none in the workers of pytest-xdist
        terminal.write_line(f"{request.node.nodeid}: {text}")


def _texts(
    reports: Iterable[CheckReport], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> dict[str, str]:
    """Where a secret may have shown."""
    written = capfd.readouterr()
    shown = "\n".join(repr(report) + json.dumps(asdict(report), default=repr) for report in reports)
    return {"the report": shown, "a log": caplog.text, "standard output": written.out, "standard error": written.err}


def _with_traceback(message: str, problem: BaseException) -> str:
    """`message`, and where in the plugin's code it went wrong. The service keeps that to itself; its author needs it."""
    cause = problem.__cause__
    return message if cause is None else message + "\n\n" + "".join(traceback.format_exception(cause))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 600 else f"{text[:300]} … {text[-300:]}"


def _problems(model: Any, payload: Any) -> list[Any]:
    try:
        parse_secrets(model, payload)
    except SecretsInvalid as refused:
        return list(refused.problems)
    return []


def _failure_complaints(report: CheckReport, codes: Iterable[FailureCode]) -> list[str]:
    """What is wrong with `report` as the answer of a test that must have failed with one of `codes`."""
    if report.status != "failed":
        return [f"The test ended as {report.status}; it should have failed."]
    complaints = _steps_reported_twice(report)
    expected = sorted(codes)
    if report.code not in expected:
        wanted = " or ".join(expected) if len(expected) <= 3 else "a code that says what the far end did"
        complaints.append(f"The test answered {_ended_with(report)}; expected {wanted}.{_raised(report)}")
    if not (report.reason or "").strip():
        complaints.append("The report has no reason.")
    if [step.status for step in report.steps].count("failed") != 1:
        complaints.append(
            f"Exactly one step must have failed; reported: {[(step.name, step.status) for step in report.steps]}."
        )
    return complaints


def _steps_reported_twice(report: CheckReport) -> list[str]:
    names = [step.name for step in report.steps]
    return [f"The test reports a step twice: {names}"] if len(names) > len(set(names)) else []


def _ended_with(report: CheckReport) -> str:
    return f"{report.code} (the connector raised {report.error_type})" if report.error_type else str(report.code)


def _raised(report: CheckReport) -> str:
    """Where in the plugin's code it went wrong, without its secrets. The service keeps that to itself; its author needs it."""
    unexpected = report.code is FailureCode.INTERNAL_DRIVER_ERROR and report.traceback is not None
    return f"\n{report.traceback}" if unexpected else ""


def _expect_connection(far_end: FarEnd) -> None:
    assert far_end.connections, "The test connected to nothing; does secrets_for_server() use host and port?"


def _expect_none(complaints: list[str]) -> None:
    __tracebackhide__ = True
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)

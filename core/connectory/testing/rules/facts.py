"""What the author of a connector gives to the kit, and what the rules make of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest

from connectory.catalog.loaded import LoadedConnector
from connectory.catalog.loading import PluginBroken
from connectory.checks.sessions.session import Session
from connectory.contract.check import FailureCode
from connectory.testing.far_ends import FarEnd, refused_port
from connectory.testing.payloads import Payload
from connectory.testing.rules.complaints import with_traceback
from connectory.testing.running import Outcome, Workbench, load_connector

GRACE = 1.0
"""Seconds after its deadline by which a test must have ended."""


_ResultT = TypeVar("_ResultT")
_WORKBENCH = pytest.StashKey[Workbench]()


def _workbench_of(config: pytest.Config) -> Workbench:
    """The workbench of this run of pytest: starting what tests are forked from takes longer than most of them."""
    found = config.stash.get(_WORKBENCH, None)
    if found is None:
        found = config.stash[_WORKBENCH] = Workbench()
        config.add_cleanup(partial(found.__exit__, None, None, None))
    return found


class Facts:
    """The attributes, fixtures and methods that `ConnectorConformance` documents, without rules."""

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

    def any_secrets(self) -> Payload:
        """Valid secrets, wherever they lead. Default: those for a server that is not there."""
        return self.secrets_for_server("server.example", 443)

    def stored_tokens(self) -> Mapping[str, Any] | None:
        """What an earlier test or consent handed to `context.store_tokens`, where the connector works with such tokens."""
        return None

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
            pytest.fail(with_traceback(f"The connector does not load: {problem}", problem), pytrace=False)

    def _not_installed(self) -> str:
        return (
            f"No installed distribution '{self.distribution}' has an entry point '{self.identifier}' in the group "
            "connectory.connectors; run: pip install -e ."
        )

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _share_workbench(cls, request: pytest.FixtureRequest) -> None:
        cls.workbench = _workbench_of(request.config)

    def check(
        self,
        payload: Payload,
        *,
        far_end: FarEnd | None = None,
        deadline: float | None = None,
        allow_loopback: bool = True,
    ) -> Outcome:
        """Run the connector's test as the service does.

        Args:
            payload: the secrets.
            far_end: one that `settings_for_server` shall lead the test to. Default: the settings are those of this process.
            deadline: seconds after which the test is killed. Default: the class's `deadline`.
            allow_loopback: whether the egress policy lets the test connect to this machine. Default: yes.

        Raises:
            SecretsInvalid: `payload` does not fit the connector's schema.
        """
        return self.workbench.test(
            self.identifier,
            self.distribution,
            payload,
            settings=self._settings_for(far_end),
            tokens=self.stored_tokens(),
            deadline=self.deadline if deadline is None else deadline,
            allow_loopback=allow_loopback,
        )

    def use(
        self,
        payload: Payload,
        what: Callable[[Session], Awaitable[_ResultT]],
        *,
        far_end: FarEnd | None = None,
        seconds: float | None = None,
    ) -> _ResultT:
        """Open a session as the service does, and return what came of using it.

        Args:
            payload: the secrets.
            what: is awaited with the open session.
            far_end: one that `settings_for_server` shall lead the session to. Default: the settings are those of this process.
            seconds: that the whole session may take. Default: the class's `deadline`.

        Raises:
            SecretsInvalid: `payload` does not fit the connector's schema.
            SessionNotOpened, OperationFailed: what came of it.
        """
        connector = load_connector(self.identifier, self.distribution, self._settings_for(far_end))
        return self.workbench.use(connector, payload, what, seconds=self.deadline if seconds is None else seconds)

    def check_far_end(self, far_end: FarEnd, *, deadline: float | None = None, allow_loopback: bool = True) -> Outcome:
        """Run the connector's test against one of the kit's own far ends. The other arguments are those of `check`."""
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

"""Run a connector's test as the service does: in a process of its own, with a deadline and an egress policy."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from connectory.catalog.catalog import find_connector
from connectory.checks.egress import EgressPolicy
from connectory.checks.report import CheckReport
from connectory.checks.runner import CheckRunner
from connectory.documents.validation import secrets_document


class Outcome(NamedTuple):
    """What a test answered, and how many seconds that took."""

    report: CheckReport
    seconds: float


class Workbench:
    """Runs connectors' tests one after the other, and keeps what they share. A context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.Runner()
        self._runners: dict[tuple[float, bool], CheckRunner] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for runner in self._runners.values():
                self._loop.run(runner.stop())
        finally:
            self._loop.close()

    def test(
        self,
        identifier: str,
        distribution: str,
        payload: Mapping[str, Any],
        *,
        settings: Mapping[str, str] | None = None,
        tokens: Mapping[str, Any] | None = None,
        deadline: float = 10.0,
        allow_loopback: bool = True,
    ) -> Outcome:
        """Validate `payload` and test a connection with it.

        Args:
            settings: environment variables of the deployer's settings, besides those of this process.
            tokens: what an earlier run handed to `context.store_tokens`. Default: nothing.
            deadline: seconds after which the test is killed.
            allow_loopback: whether the egress policy lets the test connect to this machine.

        Raises:
            SecretsInvalid: `payload` does not fit the connector's schema.
            PluginBroken: the connector does not load.
        """
        connector = find_connector(identifier, distribution, os.environ | dict(settings or {}))
        document = secrets_document(connector.secrets_model, dict(payload))

        async def run() -> Outcome:
            runner = await self._runner(deadline, allow_loopback=allow_loopback)
            started = time.monotonic()
            report = await runner.run("conformance", connector, lambda: document, lambda: tokens)
            return Outcome(report, time.monotonic() - started)

        return self._loop.run(run())

    async def _runner(self, deadline: float, *, allow_loopback: bool) -> CheckRunner:
        limits = (deadline, allow_loopback)
        if limits not in self._runners:
            runner = CheckRunner(policy=EgressPolicy(allow_loopback=allow_loopback), deadline=deadline)
            await runner.start()
            self._runners[limits] = runner
        return self._runners[limits]

"""What one test is of, and the job that its process is given."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from connectory.catalog.loaded import LoadedConnector
from connectory.checks.egress import EgressPolicy
from connectory.checks.native_ports import native_ports
from connectory.checks.protocol import Exchange, Job
from connectory.checks.token_turn import TokenTurn
from connectory.documents.validation import Document


@dataclass(frozen=True)
class Terms:
    """What holds for every test.

    Attributes:
        policy: where it may connect.
        memory: bytes of address space that it may use more than before it began.
        cleartext_unverified: whether a password may travel in clear through TLS whose certificate was not verified.
        traceback: whether the report tells the traceback of what the connector raised.
    """

    policy: EgressPolicy
    memory: int
    cleartext_unverified: bool
    traceback: bool


@dataclass(frozen=True)
class Subject:
    """What one test is of. Secrets and tokens are opened when it starts, and not kept while it waits.

    Attributes:
        connector: whose test to run.
        open_document: gives the secrets in plain text.
        turn: gives and takes tokens; `None` where there are none.
        exchange: the code to exchange for tokens instead of testing.
    """

    connector: LoadedConnector
    open_document: Callable[[], Document]
    turn: TokenTurn | None
    exchange: Exchange | None

    async def job(self, terms: Terms, killed_at: float) -> Job:
        """The job for its process, once it has its turn.

        Args:
            terms: what holds for every test.
            killed_at: when the process is killed, on the clock `time.monotonic`.
        """
        # Whoever is killed while a provider renews a token has lost it, so half of the time is kept for the test itself.
        patience = max(0.0, killed_at - time.monotonic()) / 2
        tokens = await self.turn.take(patience) if self.turn is not None else None
        document = self.open_document()
        return Job(
            document=document,
            settings=self.connector.settings_values or {},
            policy=terms.policy,
            killed_at=killed_at,
            memory=terms.memory,
            tokens=tokens,
            exchange=self.exchange,
            cleartext_unverified=terms.cleartext_unverified,
            traceback=terms.traceback,
            native_ports=native_ports(self.connector, document),
            datagrams=self.connector.description.asks_name_servers,
        )

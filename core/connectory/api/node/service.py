"""What a running service consists of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import cast

from fastapi import Request

from connectory.api.http.middleware import RequestCounts
from connectory.api.node.failed_logins import FailedLogins
from connectory.api.node.health_counts import HealthCounts
from connectory.api.node.heartbeat import Heartbeat
from connectory.api.node.host_lookups import HostLookups
from connectory.api.node.limits import TokenBuckets
from connectory.api.node.recordings import Recordings
from connectory.api.node.running_discoveries import Discoveries
from connectory.api.node.store_threads import StoreThreads
from connectory.api.node.token_cache import TokenCache
from connectory.api.node.token_turns import TokenTurns
from connectory.catalog.catalog import Catalog
from connectory.checks.runner import CheckRunner
from connectory.settings import Settings
from connectory.store.engine import Store
from connectory.vault import Vault


@dataclass(frozen=True)
class Service:
    """The parts that requests use.

    Attributes:
        test_limit: of connection tests and egress checks, by client id.
        login_limit: of failed logins, by address and client id; ids that no client has count as one.
        failed_logins: tells the audit trail of them.
        discoveries: those that run on this node.
        request_counts: finished requests by method, route and status.
        test_counts: finished connection tests by connection type and result (`succeeded`, `skipped`, or a failure code).
        health_counts: what was done by schedule, and told to webhooks.
    """

    settings: Settings
    store: Store
    vault: Vault
    catalog: Catalog
    runner: CheckRunner
    threads: StoreThreads
    recordings: Recordings
    token_turns: TokenTurns
    heartbeat: Heartbeat
    test_limit: TokenBuckets
    login_limit: TokenBuckets
    failed_logins: FailedLogins
    discoveries: Discoveries = field(default_factory=Discoveries)
    lookups: HostLookups = field(default_factory=HostLookups)
    tokens: TokenCache = field(default_factory=TokenCache)
    request_counts: RequestCounts = field(default_factory=Counter)
    test_counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    health_counts: HealthCounts = field(default_factory=HealthCounts)


def service_of(request: Request) -> Service:
    """The service that handles `request`."""
    return cast("Service", request.app.state.service)

"""The test runner that the settings ask for."""

from __future__ import annotations

from connectory.checks.runner import CheckRunner
from connectory.settings import Settings

_RESPITE = 0.01
"""Seconds: about twice what recording a verdict takes."""


def runner_of(settings: Settings) -> CheckRunner:
    """A runner, not yet started."""
    return CheckRunner(
        policy=settings.egress_policy,
        deadline=settings.probe_deadline,
        concurrency=settings.probe_concurrency,
        queue=settings.probe_queue,
        queue_wait=settings.probe_queue_wait,
        total_memory=settings.probe_memory * 2**20,
        closed=map(str, settings.own_paths),
        spares=settings.probe_spares,
        cleartext_unverified=settings.allow_cleartext_in_unverified_tls,
        respite=_RESPITE,
    )

"""What the egress policy says of a host and a port, without connecting there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeAlias

from connectory.checks.addresses import Found, look_up, name_of
from connectory.checks.egress import Decision, EgressPolicy
from connectory.contract.check import FailureCode

LOOKUP_TIME = 5.0
"""Seconds that a name may take to resolve: what resolvers wait for one answer of a name server (resolv.conf(5), `timeout`)."""

Answer: TypeAlias = Found | OSError
"""What a look-up comes to."""


@dataclass(frozen=True)
class EgressReport:
    """What a test that connects to a host would meet.

    Attributes:
        code: what it would end with: `address_not_allowed`, `dns_failed` or `dns_timeout`; `None` where it may connect.
        decision: what decides that; `None` where the host has no address.
        addresses: those of the host, each with the decision on it; none where the host itself is denied.
    """

    code: FailureCode | None
    decision: Decision | None = None
    addresses: tuple[tuple[str, Decision], ...] = ()


def check_name(policy: EgressPolicy, host: str, port: int | None) -> EgressReport | None:
    """The report on a host that a rule denies by its name, or that is not one; `None` where it has to be looked up.

    Args:
        port: TCP port; `None` for whatever port: rules for ports then deny nothing, and each may allow.
    """
    try:
        denial = policy.denial_of(name_of(host), port)
    except OSError:
        return EgressReport(FailureCode.DNS_FAILED)
    return EgressReport(FailureCode.ADDRESS_NOT_ALLOWED, denial) if denial is not None else None


def check_found(policy: EgressPolicy, host: str, port: int | None, answer: Answer | None) -> EgressReport:
    """The report on a host by what its look-up came to; `None`: by nothing in time."""
    if answer is None:
        return EgressReport(FailureCode.DNS_TIMEOUT)
    if isinstance(answer, OSError):
        return EgressReport(FailureCode.DNS_FAILED)
    alias = policy.denial_of(answer.canonical, port)
    decisions = [alias or policy.decide(ip, port, name_of(host)) for ip in answer.ips]
    deciding = next((decision for decision in decisions if not decision.allowed), decisions[0])
    code = None if deciding.allowed else FailureCode.ADDRESS_NOT_ALLOWED
    return EgressReport(code, deciding, tuple(zip(answer.ips, decisions, strict=True)))


def check_egress(policy: EgressPolicy, host: str, port: int | None) -> EgressReport:
    """The report on a host, which waits for the look-up."""
    told: SimpleQueue[Answer] = SimpleQueue()
    known = check_name(policy, host, port)
    if known is not None:
        return known
    start_lookup(host, told.put)
    try:
        return check_found(policy, host, port, told.get(timeout=LOOKUP_TIME))
    except Empty:
        return check_found(policy, host, port, None)


def start_lookup(host: str, tell: Callable[[Answer], object]) -> None:
    """Look `host` up in a thread of its own, and then call `tell` there. Nothing can interrupt it; no process waits for it."""

    def work() -> None:
        try:
            answer: Answer = look_up(host)
        except OSError as error:
            answer = error
        tell(answer)

    Thread(target=work, name="lookup", daemon=True).start()

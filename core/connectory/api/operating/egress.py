"""`/egress/check`: whether connection tests may connect to a host, and which rule says so."""

from typing import Annotated, Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from connectory.api.access.bearer import actor, needs
from connectory.api.access.routes import Router
from connectory.api.http.answers import Answer
from connectory.api.http.bodies import JsonBody, parse_body
from connectory.api.http.errors import PROTECTED, Refused, errors
from connectory.api.node.host_lookups import LookupsFull
from connectory.api.node.service import Service, service_of
from connectory.checks.egress import Decision
from connectory.checks.egress_check import LOOKUP_TIME, EgressReport, check_found, check_name
from connectory.contract.check import FailureCode
from connectory.store import audit
from connectory.store.audit import Actor

router = Router(prefix="/api/v1", tags=["Tests"], responses=PROTECTED)

# Wider than the grammar of hosts in secrets: what it takes besides is not a host either, and has no address.
_HOST = r"^[A-Za-z0-9_.:\[\]\-]{1,255}$"
_ALLOWED = Field(examples=[True])
_RULE = Field(description="The deciding rule, as its setting has it, or in words.", examples=["10.0.0.0/8:5432"])
_FROM = Field(description="The setting that it is from, or `built in`.", examples=["CONNECTORY_EGRESS_ALLOW"])


class EgressTarget(BaseModel):
    """A host and a port to ask about."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    host: Annotated[str, Field(pattern=_HOST, description="A host name or an address.")]
    port: Annotated[
        Annotated[int, Field(ge=1, le=65535)] | None,
        Field(description="TCP port. Without one, rules for ports deny nothing, and each may allow."),
    ] = None


class EgressAddress(Answer):
    """One address of the host, and whether a test may connect to it."""

    address: Annotated[str, Field(examples=["10.0.0.7"])]
    allowed: Annotated[bool, _ALLOWED]
    rule: Annotated[str, _RULE]
    rule_from: Annotated[str, _FROM]


class EgressVerdict(Answer):
    """Whether a test may connect to the host: where one of its addresses is refused, it may not connect to any."""

    host: Annotated[str, Field(examples=["db.example.com"])]
    port: Annotated[int | None, Field(examples=[5432])]
    allowed: Annotated[bool, _ALLOWED]
    failure_code: Annotated[
        FailureCode | None,
        Field(description="What a test would end with: `address_not_allowed`, `dns_failed` or `dns_timeout`."),
    ]
    rule: Annotated[str | None, _RULE]
    rule_from: Annotated[str | None, _FROM]
    addresses: list[EgressAddress]


def egress_item(host: str, port: int | None, report: EgressReport) -> EgressVerdict:
    """A report, as it is shown here and by `connectory egress check --json`."""
    found = [
        EgressAddress(address=ip, allowed=decision.allowed, **_deciding(decision)) for ip, decision in report.addresses
    ]
    return EgressVerdict(
        host=host,
        port=port,
        allowed=report.code is None,
        failure_code=report.code,
        addresses=found,
        **_deciding(report.decision),
    )


def _deciding(decision: Decision | None) -> dict[str, Any]:
    return {"rule": decision and decision.rule, "rule_from": decision and decision.origin}


@router.post(
    "/egress/check",
    operation_id="checkEgress",
    summary="Ask whether tests may connect to a host, and which rule says so",
    responses=errors(413, 415, 429),
)
async def check(
    request: Request,
    body: Annotated[
        bytes,
        needs(
            "connection:read",
            JsonBody(
                EgressTarget,
                {"Host and port": {"host": "db.example.com", "port": 5432}, "Address": {"host": "10.0.0.7"}},
            ),
        ),
    ],
) -> EgressVerdict:
    """Resolves the host, for at most five seconds, and connects to nothing. Counts as one connection test of the client."""
    service, who = service_of(request), actor(request)
    target = parse_body(body, EgressTarget)
    if wait := service.test_limit.take(who.id):
        message = "This client tests and asks too often; try again later (CONNECTORY_TEST_RATE, CONNECTORY_TEST_BURST)."
        raise Refused(429, message, {"Retry-After": str(wait)})
    report = await report_on(service, target.host, target.port, who.id)
    await service.threads.write(_record, service, target, report, who)
    return egress_item(target.host, target.port, report)


async def report_on(service: Service, host: str, port: int | None, client: str) -> EgressReport:
    """What the egress policy says of a host, which is resolved for it.

    Args:
        client: whose share of the look-ups this takes.

    Raises:
        Refused: 429, where too many names are looked up.
    """
    policy = service.settings.egress_policy
    known = check_name(policy, host, port)
    if known is not None:
        return known
    try:
        answer = await service.lookups.find(client, host)
    except LookupsFull:
        message = "Too many host names are being looked up; try again later."
        raise Refused(429, message, {"Retry-After": str(int(LOOKUP_TIME))}) from None
    return check_found(policy, host, port, answer)


def _record(service: Service, target: EgressTarget, report: EgressReport, who: Actor) -> None:
    details = {"host": target.host} | ({} if target.port is None else {"port": target.port})
    with service.store.write() as database:
        audit.append(database, who.did("egress_checked", result_code=report.code or "allowed", details=details))

"""`connectory egress`: check."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated

import typer

from connectory.commands.shared import JSON, settings_now

if TYPE_CHECKING:
    from connectory.checks.egress import Decision
    from connectory.checks.egress_check import EgressReport

app = typer.Typer(help="Where connection tests may connect.", no_args_is_help=True, rich_markup_mode=None)

_TARGET = re.compile(r"(?P<host>[A-Za-z0-9_.\-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]{2,45}")


@app.command("check")
def check(
    target: Annotated[
        str, typer.Argument(metavar="HOST[:PORT]", help="Like db.example.com:5432, 10.0.0.7, [2001:db8::1]:443.")
    ],
    as_json: JSON = False,
) -> None:
    """Say whether tests may connect there, and which rule decides. Resolves the host, and connects to nothing.

    Goes by the settings, and needs neither a database nor a running service; `connectory serve --host` is not known to it.
    Exit code 0 where it is allowed, 1 where it is not or the host does not resolve, 2 where this is not a host and a port.
    """
    from connectory.checks.egress_check import check_egress

    host, port = _parts(target)
    report = check_egress(settings_now().egress_policy, host, port)
    if as_json:
        from connectory.api.operating.egress import egress_item

        print(json.dumps(egress_item(host, port, report).model_dump(mode="json"), indent=2))
    else:
        print("\n".join(_lines(target, port, report)))
    if report.code is not None:
        raise typer.Exit(1)


def _parts(target: str) -> tuple[str, int | None]:
    match = _TARGET.fullmatch(target)
    if match is None:
        if target.count(":") < 2 or not _IPV6.fullmatch(target):
            raise typer.BadParameter(
                "give a host or an address, and perhaps a port: db.example.com:5432, [2001:db8::1]:443"
            )
        return target, None
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 1 <= port <= 65535:
        raise typer.BadParameter("a port is a number from 1 to 65535")
    return match["host"].strip("[]"), port


def _lines(target: str, port: int | None, report: EgressReport) -> list[str]:
    if report.decision is None:
        reason = report.code.reason if report.code is not None else ""
        return [f"{target} is not reached: {reason}"]
    lines = [
        f"{target} is {_said(report.decision)}",
        *(f"  {ip} is {_said(decision)}" for ip, decision in report.addresses),
    ]
    if port is None:
        lines.append("No port was given: rules for ports denied nothing, and each could allow.")
    return lines


def _said(decision: Decision) -> str:
    return f"{'allowed' if decision.allowed else 'refused'}: {decision.rule} ({decision.origin})"

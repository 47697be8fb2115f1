"""`connectory audit`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from connectory.commands.shared import settings_now

if TYPE_CHECKING:
    from connectory.store.audit import AuditEntry


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            "Must be a date or a time in ISO 8601, like 2026-11-23 or 2026-11-23T12:30:00+01:00."
        ) from None


_TIME = {"parser": _moment, "metavar": "TIME"}


def show_audit(
    actor: Annotated[str | None, typer.Option(help='Only of this client (its id) or command, like "keys add".')] = None,
    action: Annotated[
        str | None, typer.Option(help='Only of this action, like "updated", or of those that begin so, like "key*".')
    ] = None,
    connection: Annotated[str | None, typer.Option(help="Only of the connection that has, or had, this key.")] = None,
    object_id: Annotated[
        str | None, typer.Option("--object", help="Only of the client, or the key, of this id, that it was done to.")
    ] = None,
    result: Annotated[
        str | None, typer.Option(help='Only of this result, like "401", "auth_failed" or "succeeded".')
    ] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Only from this time on; UTC if it says nothing.", **_TIME)
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(help="Only before this time; UTC if it says nothing.", **_TIME)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000_000, help="Entries to show.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each entry.")] = False,
) -> None:
    """Show the audit trail, newest first: who did what to what. It names fields and never holds a value of one."""
    import orjson

    from connectory.startup import open_database
    from connectory.store.audit_search import Wanted, newest_entries

    wanted = Wanted(actor, _actions(action), connection, object_id, result, since, until)
    with open_database(settings_now()) as store, store.read() as database:
        entries = newest_entries(database, wanted, limit)
        if as_json:
            for entry in entries:
                print(orjson.dumps(asdict(entry)).decode())
        else:
            _print_table(list(entries))


def _actions(name: str | None) -> tuple[str, ...] | None:
    from connectory.store.audit import ACTIONS
    from connectory.store.audit_search import matching_actions

    if name is None:
        return None
    found = matching_actions(name)
    if not found:
        raise typer.BadParameter(f"There is no such action; known are: {' '.join(ACTIONS)}.", param_hint="--action")
    return found


def _print_table(entries: Sequence[AuditEntry]) -> None:
    rows = [
        (f"{entry.at:%Y-%m-%d %H:%M:%S}Z", entry.actor, entry.action, entry.connection_key or entry.object or "-")
        for entry in entries
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, entry in zip(rows, entries, strict=True):
        columns = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        print("  ".join([*columns, *_details(entry)]).rstrip())


def _details(entry: AuditEntry) -> list[str]:
    found = {
        "result": entry.result_code,
        "fields": ",".join(entry.changed_fields),
        "kid": entry.kid,
        "request": entry.request_id,
        "client_request": entry.client_request_id,
        **entry.details,
    }
    return [f"{name}={value}" for name, value in found.items() if value]

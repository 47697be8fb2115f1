"""What a connection has one of or none, a schedule or a webhook: that there is none, and its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from sqlalchemy.engine import Connection

from connectory.api.http.errors import Refused
from connectory.api.node.means import Holdings
from connectory.api.stored.lookup import find_connection
from connectory.store import audit
from connectory.store.audit import Action, Actor

Belonging = Literal["schedule", "webhook"]
_ENDS: dict[Belonging, Action] = {"schedule": "schedule_deleted", "webhook": "webhook_deleted"}


def has_none(key: str, what: Belonging) -> Refused:
    """The refusal where the connection of that key has none."""
    return Refused(404, f"The connection '{key}' has no {what}.")


def end_belonging(
    service: Holdings, key: str, who: Actor, what: Belonging, delete: Callable[[Connection, str], bool]
) -> None:
    """Delete what a connection has, and tell it in the audit trail.

    Args:
        key: of the connection.
        delete: deletes it, by the id of the connection; false where there was none.

    Raises:
        Refused: there is no such connection, or it has none.
    """
    with service.store.write() as database:
        connection = find_connection(database, key)
        if not delete(database, connection.id):
            raise has_none(key, what)
        audit.append(database, who.did(_ENDS[what], connection, result_code="204"))

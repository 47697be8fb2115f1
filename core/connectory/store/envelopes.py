"""The stored envelopes of connections' secrets. Only this module, `tokens` and `rotation` read or write them."""

from collections.abc import Mapping

from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.engine import Connection as DatabaseConnection

from connectory.store.sealed import Sealed
from connectory.store.tables import connection_secrets, connections

_LOAD = (
    select(
        connection_secrets.c.secrets_sealed,
        connection_secrets.c.masked_sealed,
        connections.c.secrets_version,
    )
    .join_from(connection_secrets, connections)
    .where(connections.c.id == bindparam("connection_id"))
)
_FORGET = delete(connection_secrets).where(connection_secrets.c.connection_id.in_(bindparam("ids", expanding=True)))


def load_envelopes(database: DatabaseConnection, connection_id: str) -> tuple[str | None, str | None, int]:
    """The envelope of the secrets, that of the masked document, and the secrets' version.

    (None, None, 0) where no secrets are stored, or no such connection is.
    """
    row = database.execute(_LOAD, {"connection_id": connection_id}).one_or_none()
    return (None, None, 0) if row is None else (row[0], row[1], row[2])


def put_envelopes(database: DatabaseConnection, sealed: Mapping[str, Sealed], *, replace: bool) -> None:
    """Store envelopes by connection id, for connections that this transaction inserted or has locked.

    Tokens that were obtained with the secrets before are forgotten.

    Args:
        replace: there may be envelopes of them already.
    """
    if not sealed:
        return
    if replace:
        database.execute(_FORGET, {"ids": list(sealed)})
    rows = [
        {"connection_id": connection_id, "secrets_sealed": both.secrets, "masked_sealed": both.masked}
        for connection_id, both in sealed.items()
    ]
    database.execute(insert(connection_secrets), rows)

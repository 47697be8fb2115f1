"""The tokens that a connection's test, or a person's consent, has obtained: one envelope, which goes with the secrets."""

from sqlalchemy import bindparam, select, update
from sqlalchemy.engine import Connection as DatabaseConnection

from connectory.store.sealed import SealedTokens
from connectory.store.tables import connection_secrets, connections

_LOAD = select(connection_secrets.c.tokens_sealed).where(
    connection_secrets.c.connection_id == bindparam("connection_id")
)
# The connection first, as every other writer of envelopes does: two transactions wait and do not deadlock.
_LOCK = select(connections.c.secrets_version).where(connections.c.id == bindparam("connection_id")).with_for_update()
_STORE = update(connection_secrets).where(connection_secrets.c.connection_id == bindparam("row_id"))


def load_tokens(database: DatabaseConnection, connection_id: str) -> str | None:
    """The envelope of a connection's tokens; None where there are none."""
    envelope: str | None = database.execute(_LOAD, {"connection_id": connection_id}).scalar()
    return envelope


def store_tokens(
    database: DatabaseConnection, connection_id: str, sealed: SealedTokens, *, secrets_version: int
) -> bool:
    """Replace a connection's tokens, if the secrets they were obtained with are still the ones stored.

    Neither the connection's version nor its last test changes.

    Args:
        secrets_version: of the secrets that the tokens were obtained with.

    Returns:
        False if other secrets were stored since, or none are, or the connection was deleted; then nothing is stored.
    """
    if database.execute(_LOCK, {"connection_id": connection_id}).scalar() != secrets_version:
        return False
    values = {"row_id": connection_id, "tokens_sealed": sealed.tokens, "tokens_kid": sealed.kid}
    return database.execute(_STORE, values).rowcount == 1

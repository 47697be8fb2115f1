"""What the database knows of keys: the fingerprint of each key id, and how many rows need it.

Two different keys under one id, on two nodes or after a file was restored, are noticed by it.
"""

from collections import Counter
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, or_, select, update
from sqlalchemy.engine import Connection

from connectory.store.inserting import insert_unless_taken
from connectory.store.nodes import running_nodes
from connectory.store.tables import authorizations, connection_secrets, connections, key_ids, webhooks
from connectory.vault import KeyMismatch, KeyRing


class KeyRecord(NamedTuple):
    """What is known of a key id: the fingerprint of its key, and when a node had this key first."""

    fingerprint: str
    first_used_at: datetime


def record_keys(database: Connection, ring: KeyRing, *, now: datetime) -> tuple[str, ...]:
    """Note the fingerprint of each key when it is first seen. Call it before anything is sealed with a key ring.

    A fingerprint that nothing needs any more, no row and no running node, is replaced.

    Returns:
        Ids of keys, not the primary, whose recorded fingerprint is another and still needed.

    Raises:
        KeyMismatch: that is so for the primary key: sealing more would mix the two.
    """
    given = ring.fingerprints()
    rows = [{"kid": kid, "fingerprint": given[kid], "first_used_at": now} for kid in given]
    insert_unless_taken(database, key_ids.c.kid, rows)
    recorded = recorded_fingerprints(database)
    conflicts = []
    for kid in given:
        if recorded[kid] == given[kid]:
            continue
        if not _is_needed(database, kid, recorded[kid]):
            values = {"fingerprint": given[kid], "first_used_at": now}
            database.execute(update(key_ids).where(key_ids.c.kid == kid).values(values))
        elif kid == ring.primary:
            raise KeyMismatch(kid)
        else:
            conflicts.append(kid)
    return tuple(conflicts)


def recorded_keys(database: Connection) -> dict[str, KeyRecord]:
    """What is known of each key id that was ever used."""
    rows = database.execute(select(key_ids.c.kid, key_ids.c.fingerprint, key_ids.c.first_used_at))
    return {row.kid: KeyRecord(row.fingerprint, row.first_used_at) for row in rows}


def recorded_fingerprints(database: Connection) -> dict[str, str]:
    """The fingerprint under which each key id is known."""
    return {kid: known.fingerprint for kid, known in recorded_keys(database).items()}


def count_by_kid(database: Connection, only: str | None = None) -> dict[str, int]:
    """How many connections each key has sealed something of. Answered from two indexes, as few
    tokens and webhooks have another key than the secrets of their connection."""
    secrets_kid, tokens_kid = connections.c.secrets_kid, connection_secrets.c.tokens_kid
    of_secrets = select(secrets_kid, func.count()).where(secrets_kid.is_not(None)).group_by(secrets_kid)
    of_tokens = (
        select(tokens_kid, func.count())
        .join_from(connection_secrets, connections)
        .where(tokens_kid.is_not(None), tokens_kid != secrets_kid)
        .group_by(tokens_kid)
    )
    webhook_kid = webhooks.c.secret_kid
    of_webhooks = (
        select(webhook_kid, func.count())
        .join_from(webhooks, connections)
        .where(webhook_kid.is_distinct_from(secrets_kid))
        .group_by(webhook_kid)
    )
    if only is not None:
        of_secrets, of_tokens = of_secrets.where(secrets_kid == only), of_tokens.where(tokens_kid == only)
        of_webhooks = of_webhooks.where(webhook_kid == only)
    counts = Counter[str]()
    for statement in (of_secrets, of_tokens, of_webhooks):
        for kid, count in database.execute(statement):
            counts[kid] += count
    return dict(counts)


def count_pending_consents(database: Connection, kid: str, *, now: datetime) -> int:
    """How many consents that persons were asked for, and can still give or have confirmed, need a key."""
    columns = authorizations.c.verifier_sealed, authorizations.c.code_sealed
    sealed = or_(*(column.startswith(f"cs1.{kid}.", autoescape=True) for column in columns))
    pending = select(func.count()).where(sealed, authorizations.c.expires_at > now)
    return database.execute(pending).scalar_one()


def _is_needed(database: Connection, kid: str, fingerprint: str) -> bool:
    if count_by_kid(database, kid):
        return True
    return any(node.fingerprints.get(kid) == fingerprint for node in running_nodes(database))

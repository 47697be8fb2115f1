"""Key rotation over stored secrets, and which of them can be read with the keys at hand.

To rotate: add a key to every process, make it the primary of every process, then run `rotate`, as often as needed. Remove
the old key when `status` counts no rows for it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.engine import Connection

from connectory.store.audit import AuditEntry, append
from connectory.store.engine import Store
from connectory.store.envelopes import (
    Sealed,
    SealedTokens,
    open_masked,
    open_secrets,
    open_tokens,
    seal,
    seal_tokens,
)
from connectory.store.inserting import insert_unless_taken
from connectory.store.tables import connection_secrets, connections, key_ids
from connectory.store.timestamps import utc_now
from connectory.vault import EnvelopeUnreadable, KeyMismatch, KeyMissing, KeyRing, Vault

UnreadableReason = Literal["key_missing", "key_mismatch", "tampered"]


@dataclass(frozen=True, slots=True)
class RotationResult:
    """What a rotation did, in numbers of connections.

    Attributes:
        re_encrypted: now sealed with the primary key (or, in a dry run, would be).
        skipped: changed by somebody else meanwhile, and so sealed with the primary key by them, or deleted.
        failed: cannot be opened; left as they are. `unreadable_rows` tells why.
    """

    re_encrypted: int
    skipped: int
    failed: int


@dataclass(frozen=True, slots=True)
class SecretsStatus:
    """Which keys the stored secrets need.

    Attributes:
        rows_by_kid: number of connections whose secrets, or tokens, each key sealed.
        missing_kids: needed, and not in the key ring.
        mismatched_kids: in the key ring with other bytes than when they were first used.
        unreadable_rows: number of connections whose key is missing or mismatched.
    """

    rows_by_kid: Mapping[str, int]
    missing_kids: tuple[str, ...]
    mismatched_kids: tuple[str, ...]
    unreadable_rows: int


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A connection whose secrets or tokens do not open, and why."""

    connection_id: str
    key: str
    kid: str
    reason: UnreadableReason


def record_kid(database: Connection, ring: KeyRing, *, now: datetime) -> None:
    """Note the primary key's fingerprint when it is first used. Call it before anything is sealed with a key ring.

    Raises:
        KeyMismatch: stored secrets were sealed with other bytes under this id; sealing more would mix the two.
    """
    kid, fingerprint = ring.primary, ring.fingerprint(ring.primary)
    insert_unless_taken(database, key_ids.c.kid, [{"kid": kid, "fingerprint": fingerprint, "first_used_at": now}])
    recorded = database.execute(select(key_ids.c.fingerprint).where(key_ids.c.kid == kid)).scalar_one()
    if recorded == fingerprint:
        return
    if _count_by_kid(database, kid):
        raise KeyMismatch(kid)
    database.execute(update(key_ids).where(key_ids.c.kid == kid).values(fingerprint=fingerprint, first_used_at=now))


def status(store: Store, vault: Vault) -> SecretsStatus:
    """Which keys the stored secrets need, and whether the key ring has them. Opens no envelope; cheap at any size."""
    with store.read() as database:
        rows_by_kid = _count_by_kid(database)
        recorded = {row[0]: row[1] for row in database.execute(select(key_ids.c.kid, key_ids.c.fingerprint))}
    configured = vault.ring.kids()
    missing = sorted(kid for kid in rows_by_kid if kid not in configured)
    mismatched = sorted(
        kid
        for kid in rows_by_kid
        if kid in configured and kid in recorded and recorded[kid] != vault.ring.fingerprint(kid)
    )
    unreadable = sum(rows_by_kid[kid] for kid in (*missing, *mismatched))
    return SecretsStatus(dict(sorted(rows_by_kid.items())), tuple(missing), tuple(mismatched), unreadable)


def _count_by_kid(database: Connection, only: str | None = None) -> dict[str, int]:
    """How many connections each key has sealed something of. Answered from two indexes, as few tokens have another key."""
    secrets_kid, tokens_kid = connections.c.secrets_kid, connection_secrets.c.tokens_kid
    of_secrets = select(secrets_kid, func.count()).where(secrets_kid.is_not(None)).group_by(secrets_kid)
    of_tokens = (
        select(tokens_kid, func.count())
        .join_from(connection_secrets, connections)
        .where(tokens_kid.is_not(None), tokens_kid != secrets_kid)
        .group_by(tokens_kid)
    )
    if only is not None:
        of_secrets, of_tokens = of_secrets.where(secrets_kid == only), of_tokens.where(tokens_kid == only)
    counts = Counter[str]()
    for statement in (of_secrets, of_tokens):
        for kid, count in database.execute(statement):
            counts[kid] += count
    return dict(counts)


def unreadable_rows(store: Store, vault: Vault, *, batch: int = 100) -> list[UnreadableRow]:
    """Open the secrets and tokens of every connection and report those that do not open. About 0.1 ms for each envelope.

    Args:
        batch: rows that are read at once.
    """
    found = []
    for rows in _batches(store, batch, connections.c.secrets_kid.is_not(None)):
        for row in rows:
            kid = row.kid
            try:
                open_secrets(vault, row.id, row.secrets)
                open_masked(vault, row.id, row.masked)
                if row.tokens is not None:
                    kid = row.tokens_kid or kid
                    open_tokens(vault, row.id, row.tokens)
            except EnvelopeUnreadable as error:
                found.append(UnreadableRow(row.id, row.key, kid, _reason(error)))
    return found


def rotate(
    store: Store, vault: Vault, batch: int = 100, dry_run: bool = False, *, actor: str = "secrets rotate"
) -> RotationResult:
    """Seal again, with the primary key, all secrets and tokens that other keys sealed.

    Can be stopped, repeated, and run while serving.

    Each row is written only if it is still what was read, so a change made meanwhile wins. Each batch is one transaction,
    with an audit entry "rotated" for each of its rows. Test results stay: the secrets are the same.

    Args:
        batch: rows to a transaction.
        dry_run: only open the rows that other keys sealed; write none.
        actor: for the audit trail.
    """
    if not dry_run:
        with store.write() as database:
            record_kid(database, vault.ring, now=utc_now())
    re_encrypted = skipped = failed = 0
    outdated = or_(
        connections.c.secrets_kid != vault.ring.primary, connection_secrets.c.tokens_kid != vault.ring.primary
    )
    for rows in _batches(store, batch, outdated):
        # Opened and sealed outside the transaction: nobody waits for cryptography.
        sealed = {}
        for row in rows:
            try:
                sealed[row.id] = _seal_again(vault, row)
            except EnvelopeUnreadable:
                failed += 1
        written = len(sealed) if dry_run else _write(store, rows, sealed, actor)
        re_encrypted += written
        skipped += len(sealed) - written
    return RotationResult(re_encrypted, skipped, failed)


@dataclass(frozen=True, slots=True)
class _Stored:
    id: str
    key: str
    kid: str
    secrets: str = field(repr=False)
    masked: str = field(repr=False)
    tokens: str | None = field(repr=False)
    tokens_kid: str | None


@dataclass(frozen=True, slots=True)
class _Again:
    """What a row's envelopes are sealed as again."""

    secrets: Sealed
    tokens: SealedTokens | None


_ROWS = (
    select(
        connections.c.id,
        connections.c.key,
        connections.c.secrets_kid,
        connection_secrets.c.secrets_sealed,
        connection_secrets.c.masked_sealed,
        connection_secrets.c.tokens_sealed,
        connection_secrets.c.tokens_kid,
    )
    .join_from(connections, connection_secrets)
    .order_by(connections.c.id)
)


def _batches(store: Store, size: int, condition: ColumnElement[bool]) -> Iterator[list[_Stored]]:
    last = ""
    while True:
        with store.read() as database:
            found = database.execute(_ROWS.where(condition, connections.c.id > last).limit(size))
            rows = [_Stored(*row) for row in found]
        if not rows:
            return
        yield rows
        last = rows[-1].id


def _seal_again(vault: Vault, row: _Stored) -> _Again:
    secrets, masked = open_secrets(vault, row.id, row.secrets), open_masked(vault, row.id, row.masked)
    tokens = None if row.tokens is None else open_tokens(vault, row.id, row.tokens)
    return _Again(
        seal(vault, row.id, secrets=secrets, masked=masked),
        None if tokens is None else seal_tokens(vault, row.id, tokens),
    )


def _write(store: Store, rows: Sequence[_Stored], sealed: Mapping[str, _Again], actor: str) -> int:
    with store.write() as database:
        # Connections first and in order, as every other writer does: two transactions wait and do not deadlock.
        lock = select(connections.c.id).where(connections.c.id.in_(list(sealed))).order_by(connections.c.id)
        database.execute(lock.with_for_update())
        written = [row for row in rows if row.id in sealed and _swap(database, row, sealed[row.id])]
        kid = {row.id: sealed[row.id].secrets.kid for row in written}
        for row in written:
            database.execute(update(connections).where(connections.c.id == row.id).values(secrets_kid=kid[row.id]))
        append(
            database,
            *(
                AuditEntry(utc_now(), actor, "rotated", row.id, row.key, changed_fields=("secrets",), kid=kid[row.id])
                for row in written
            ),
        )
    return len(written)


def _swap(database: Connection, old: _Stored, new: _Again) -> bool:
    """Replace the envelopes if all are still the old ones."""
    statement = update(connection_secrets).where(
        connection_secrets.c.connection_id == old.id,
        connection_secrets.c.secrets_sealed == old.secrets,
        connection_secrets.c.masked_sealed == old.masked,
        connection_secrets.c.tokens_sealed.is_not_distinct_from(old.tokens),
    )
    values = {"secrets_sealed": new.secrets.secrets, "masked_sealed": new.secrets.masked}
    if new.tokens is not None:
        values |= {"tokens_sealed": new.tokens.tokens, "tokens_kid": new.tokens.kid}
    return database.execute(statement.values(values)).rowcount == 1


def _reason(error: EnvelopeUnreadable) -> UnreadableReason:
    match error:
        case KeyMissing():
            return "key_missing"
        case KeyMismatch():
            return "key_mismatch"
        case _:
            return "tampered"

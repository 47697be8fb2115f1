"""Key rotation over stored secrets, and which of them can be read with the keys at hand.

To rotate: add a key to every process, make it the primary of every process, then run `rotate`, as often as needed. Remove
the old key when `status` counts no rows for it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy import func, select, update
from sqlalchemy.engine import Connection

from connectory.store.audit import Actor, append
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
from connectory.store.key_records import count_by_kid, record_keys, recorded_fingerprints
from connectory.store.tables import connection_secrets, connections
from connectory.store.timestamps import utc_now
from connectory.vault import EnvelopeUnreadable, KeyMismatch, KeyMissing, Vault

UnreadableReason = Literal["key_missing", "key_mismatch", "tampered"]
SealedField = Literal["secrets", "masked", "tokens"]

MOST_NAMED = 100
"""Connections that a rotation names at most; it counts all."""


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A connection of which something that is sealed does not open.

    Attributes:
        field: which part: the secrets, the same with sensitive values masked, or the tokens obtained with them.
        kid: of the key that sealed it.
    """

    connection_id: str
    key: str
    field: SealedField
    kid: str
    reason: UnreadableReason


@dataclass(frozen=True, slots=True)
class RotationResult:
    """What a rotation did, in numbers of connections.

    Attributes:
        re_encrypted: now sealed with the primary key (or, in a dry run, would be).
        skipped: changed by somebody else meanwhile, and so sealed with the primary key by them, or deleted.
        failed: cannot be opened, whichever key sealed them; left as they are.
        failures: the first `MOST_NAMED` of those, by key.
    """

    re_encrypted: int
    skipped: int
    failed: int
    failures: tuple[UnreadableRow, ...] = ()


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


def status(store: Store, vault: Vault) -> SecretsStatus:
    """Which keys the stored secrets need, and whether the key ring has them. Opens no envelope; cheap at any size."""
    with store.read() as database:
        rows_by_kid, recorded = count_by_kid(database), recorded_fingerprints(database)
    configured = vault.ring.kids()
    missing = sorted(kid for kid in rows_by_kid if kid not in configured)
    mismatched = sorted(
        kid
        for kid in rows_by_kid
        if kid in configured and kid in recorded and recorded[kid] != vault.ring.fingerprint(kid)
    )
    unreadable = sum(rows_by_kid[kid] for kid in (*missing, *mismatched))
    return SecretsStatus(dict(sorted(rows_by_kid.items())), tuple(missing), tuple(mismatched), unreadable)


def unreadable_rows(store: Store, vault: Vault, *, batch: int = 100) -> list[UnreadableRow]:
    """Open the secrets and tokens of every connection and report those that do not open. About 0.1 ms for each envelope.

    Args:
        batch: rows that are read at once.
    """
    opened = (_open(vault, row) for rows in _batches(store, batch) for row in rows)
    return [result for result in opened if isinstance(result, UnreadableRow)]


def rotate(
    store: Store,
    vault: Vault,
    batch: int = 100,
    dry_run: bool = False,
    *,
    actor: Actor = Actor("secrets rotate"),  # noqa: B008 — it is immutable
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> RotationResult:
    """Seal again, with the primary key, all secrets and tokens that other keys sealed. Every row is opened, so that a
    damaged one is found whichever key sealed it.

    Can be stopped, repeated, and run while serving.

    Each row is written only if it is still what was read, so a change made meanwhile wins. Each batch is one transaction,
    with an audit entry "rotated" for each of its rows. Test results stay: the secrets are the same.

    Args:
        batch: rows to a transaction.
        dry_run: open every row and write none.
        actor: for the audit trail.
        progress: is told after each batch how many connections are done, of how many that had secrets at the start.
    """
    vault = vault.pinned()
    if not dry_run:
        with store.write() as database:
            record_keys(database, vault.ring, now=utc_now())
    total = _count(store)
    re_encrypted = skipped = failed = done = 0
    failures: list[UnreadableRow] = []
    for rows in _batches(store, batch):
        # Opened and sealed outside the transaction: nobody waits for cryptography.
        opened = [(row, _open(vault, row)) for row in rows]
        unreadable = [result for _, result in opened if isinstance(result, UnreadableRow)]
        sealed = {
            row.id: _seal_again(vault, row, result)
            for row, result in opened
            if isinstance(result, _Opened) and row.is_outdated(vault.ring.primary)
        }
        written = len(sealed) if dry_run else _write(store, rows, sealed, actor)
        re_encrypted += written
        skipped += len(sealed) - written
        failed += len(unreadable)
        failures += unreadable[: MOST_NAMED - len(failures)]
        done += len(rows)
        progress(done, total)
    return RotationResult(re_encrypted, skipped, failed, tuple(failures))


@dataclass(frozen=True, slots=True)
class _Stored:
    id: str
    key: str
    kid: str
    secrets: str = field(repr=False)
    masked: str = field(repr=False)
    tokens: str | None = field(repr=False)
    tokens_kid: str | None

    def is_outdated(self, primary: str) -> bool:
        return self.kid != primary or self.tokens_kid not in (None, primary)


@dataclass(frozen=True, slots=True)
class _Opened:
    """What a row's envelopes hold."""

    secrets: bytes = field(repr=False)
    masked: bytes = field(repr=False)
    tokens: bytes | None = field(repr=False)


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
    .order_by(connections.c.key)
)


def _count(store: Store) -> int:
    with store.read() as database:
        return database.execute(select(func.count()).select_from(connection_secrets)).scalar_one()


def _batches(store: Store, size: int) -> Iterator[list[_Stored]]:
    """All connections that have secrets, in the order of their keys."""
    last = ""
    while True:
        with store.read() as database:
            found = database.execute(_ROWS.where(connections.c.key > last).limit(size))
            rows = [_Stored(*row) for row in found]
        if not rows:
            return
        yield rows
        last = rows[-1].key


def _open(vault: Vault, row: _Stored) -> _Opened | UnreadableRow:
    kid = row.kid
    part: SealedField = "secrets"
    try:
        secrets = open_secrets(vault, row.id, row.secrets)
        part = "masked"
        masked = open_masked(vault, row.id, row.masked)
        part, kid = "tokens", row.tokens_kid or kid
        tokens = None if row.tokens is None else open_tokens(vault, row.id, row.tokens)
    except EnvelopeUnreadable as error:
        return UnreadableRow(row.id, row.key, part, kid, _reason(error))
    return _Opened(secrets, masked, tokens)


def _seal_again(vault: Vault, row: _Stored, opened: _Opened) -> _Again:
    return _Again(
        seal(vault, row.id, secrets=opened.secrets, masked=opened.masked),
        None if opened.tokens is None else seal_tokens(vault, row.id, opened.tokens),
    )


def _write(store: Store, rows: Sequence[_Stored], sealed: Mapping[str, _Again], actor: Actor) -> int:
    """Write what is still as it was read; returns how many rows that are."""
    if not sealed:
        return 0

    def write(database: Connection) -> int:
        # In the order of keys, as every other writer locks: two transactions wait and do not deadlock.
        lock = select(connections.c.id).where(connections.c.id.in_(list(sealed))).order_by(connections.c.key)
        database.execute(lock.with_for_update())
        written = [row for row in rows if row.id in sealed and _swap(database, row, sealed[row.id])]
        kid = {row.id: sealed[row.id].secrets.kid for row in written}
        for row in written:
            database.execute(update(connections).where(connections.c.id == row.id).values(secrets_kid=kid[row.id]))
        append(database, *(actor.did("rotated", row, ("secrets",), kid=kid[row.id]) for row in written))
        return len(written)

    return store.write_again(write)


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

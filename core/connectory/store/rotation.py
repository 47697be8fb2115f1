"""Key rotation over stored secrets, and which of them can be read with the keys at hand.

To rotate: add a key to every process, make it the primary of every process, then run `rotate`, as often as needed. Remove
the old key when `status` counts no rows for it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.engine import Connection

from connectory.store.audit import Actor, append
from connectory.store.engine import Store
from connectory.store.key_records import count_by_kid, record_keys, recorded_fingerprints
from connectory.store.sealed_rows import (
    OpenedRow,
    ResealedRow,
    SealedRow,
    UnreadableRow,
    batches,
    count_rows,
    open_row,
    seal_row,
    swap_rows,
)
from connectory.store.tables import connections
from connectory.store.timestamps import utc_now
from connectory.vault import Vault

MOST_NAMED = 100
"""Connections that a rotation names at most; it counts all."""


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
        rows_by_kid: number of connections whose secrets, tokens, or webhook each key sealed.
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
    """Open all that is sealed of every connection and report those that do not open. About 0.1 ms for each envelope.

    Args:
        batch: rows that are read at once.
    """
    opened = (open_row(vault, row) for rows in batches(store, batch) for row in rows)
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
    """Seal again, with the primary key, all secrets, tokens and secrets of webhooks that other keys sealed. Every row is opened,
    so that a damaged one is found whichever key sealed it.

    Can be stopped, repeated, and run while serving.

    Each row is written only if it is still what was read, so a change made meanwhile wins. Each batch is one transaction,
    with an audit entry "rotated" for each of its rows. Test results stay: the secrets are the same.

    Args:
        batch: rows to a transaction.
        dry_run: open every row and write none.
        actor: for the audit trail.
        progress: is told after each batch how many connections are done, of how many that had anything sealed at the start.
    """
    vault = vault.pinned()
    if not dry_run:
        with store.write() as database:
            record_keys(database, vault.ring, now=utc_now())
    total = count_rows(store)
    re_encrypted = skipped = failed = done = 0
    failures: list[UnreadableRow] = []
    for rows in batches(store, batch):
        # Opened and sealed outside the transaction: nobody waits for cryptography.
        opened = [(row, open_row(vault, row)) for row in rows]
        unreadable = [result for _, result in opened if isinstance(result, UnreadableRow)]
        sealed = {
            row.id: seal_row(vault, row, result)
            for row, result in opened
            if isinstance(result, OpenedRow) and row.is_outdated(vault.ring.primary)
        }
        written = len(sealed) if dry_run else _write(store, rows, sealed, vault, actor)
        re_encrypted += written
        skipped += len(sealed) - written
        failed += len(unreadable)
        failures += unreadable[: MOST_NAMED - len(failures)]
        done += len(rows)
        progress(done, total)
    return RotationResult(re_encrypted, skipped, failed, tuple(failures))


def _write(
    store: Store, rows: Sequence[SealedRow], sealed: Mapping[str, ResealedRow], vault: Vault, actor: Actor
) -> int:
    """Write what is still as it was read; returns how many rows that are."""
    if not sealed:
        return 0

    def write(database: Connection) -> int:
        # In the order of keys, as every other writer locks: two transactions wait and do not deadlock.
        lock = select(connections.c.id).where(connections.c.id.in_(list(sealed))).order_by(connections.c.key)
        database.execute(lock.with_for_update())
        written = swap_rows(database, rows, sealed)
        kid = vault.ring.primary
        append(database, *(actor.did("rotated", row, sealed[row.id].fields, kid=kid) for row in written))
        return len(written)

    return store.write_again(write)

"""All that is sealed of one connection, as rotation reads and writes it: its secrets, their tokens, and that of its webhook."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy import func, or_, select, update
from sqlalchemy.engine import Connection

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
from connectory.store.tables import connection_secrets, connections, webhooks
from connectory.store.webhooks import SealedSecret, open_secret, seal_secret
from connectory.vault import EnvelopeUnreadable, KeyMismatch, KeyMissing, Vault

UnreadableReason = Literal["key_missing", "key_mismatch", "tampered"]
SealedField = Literal["secrets", "masked", "tokens", "webhook"]


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A connection of which something that is sealed does not open.

    Attributes:
        field: which part: the secrets, the same with sensitive values masked, the tokens obtained with them, or the secret of
            the webhook.
        kid: of the key that sealed it.
    """

    connection_id: str
    key: str
    field: SealedField
    kid: str
    reason: UnreadableReason


@dataclass(frozen=True, slots=True)
class SealedRow:
    """The envelopes of one connection; `None` for what it does not have."""

    id: str
    key: str
    secrets_kid: str | None
    secrets: str | None = field(repr=False)
    masked: str | None = field(repr=False)
    tokens: str | None = field(repr=False)
    tokens_kid: str | None
    webhook: str | None = field(repr=False)
    webhook_kid: str | None

    def is_outdated(self, primary: str) -> bool:
        """Whether another key than `primary` sealed something of it."""
        return any(kid not in (None, primary) for kid in (self.secrets_kid, self.tokens_kid, self.webhook_kid))


@dataclass(frozen=True, slots=True)
class OpenedRow:
    """What the envelopes of a row hold."""

    documents: tuple[bytes, bytes] | None = field(repr=False)  # the secrets, and the same masked
    tokens: bytes | None = field(repr=False)
    webhook: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class ResealedRow:
    """What a row's envelopes are sealed as again."""

    documents: Sealed | None
    tokens: SealedTokens | None
    webhook: SealedSecret | None

    @property
    def fields(self) -> tuple[str, ...]:
        """What it is, for the audit trail."""
        return (*(("secrets",) if self.documents else ()), *(("webhook",) if self.webhook else ()))


_ALL = connections.outerjoin(connection_secrets).outerjoin(webhooks, webhooks.c.connection_id == connections.c.id)
_SEALED = or_(connection_secrets.c.connection_id.is_not(None), webhooks.c.connection_id.is_not(None))
_ROWS = (
    select(
        connections.c.id,
        connections.c.key,
        connections.c.secrets_kid,
        connection_secrets.c.secrets_sealed,
        connection_secrets.c.masked_sealed,
        connection_secrets.c.tokens_sealed,
        connection_secrets.c.tokens_kid,
        webhooks.c.secret_sealed,
        webhooks.c.secret_kid,
    )
    .select_from(_ALL)
    .where(_SEALED)
    .order_by(connections.c.key)
)
_COUNT = select(func.count()).select_from(_ALL).where(_SEALED)


def count_rows(store: Store) -> int:
    """How many connections have something that is sealed."""
    with store.read() as database:
        return database.execute(_COUNT).scalar_one()


def batches(store: Store, size: int) -> Iterator[list[SealedRow]]:
    """All connections that have something that is sealed, in the order of their keys."""
    last = ""
    while True:
        with store.read() as database:
            found = database.execute(_ROWS.where(connections.c.key > last).limit(size))
            rows = [SealedRow(*row) for row in found]
        if not rows:
            return
        yield rows
        last = rows[-1].key


def open_row(vault: Vault, row: SealedRow) -> OpenedRow | UnreadableRow:
    """What a row holds, or the first part of it that does not open."""
    kid = row.secrets_kid
    part: SealedField = "secrets"
    documents = tokens = webhook = None
    try:
        if row.secrets is not None and row.masked is not None:
            secrets = open_secrets(vault, row.id, row.secrets)
            part = "masked"
            documents = secrets, open_masked(vault, row.id, row.masked)
        if row.tokens is not None:
            part, kid = "tokens", row.tokens_kid or kid
            tokens = open_tokens(vault, row.id, row.tokens)
        if row.webhook is not None:
            part, kid = "webhook", row.webhook_kid
            webhook = open_secret(vault, row.id, row.webhook)
    except EnvelopeUnreadable as error:
        return UnreadableRow(row.id, row.key, part, kid or "", _reason(error))
    return OpenedRow(documents, tokens, webhook)


def seal_row(vault: Vault, row: SealedRow, opened: OpenedRow) -> ResealedRow:
    """All of a row, sealed with the primary key."""
    documents, tokens, webhook = opened.documents, opened.tokens, opened.webhook
    return ResealedRow(
        None if documents is None else seal(vault, row.id, secrets=documents[0], masked=documents[1]),
        None if tokens is None else seal_tokens(vault, row.id, tokens),
        None if webhook is None else seal_secret(vault, row.id, webhook),
    )


def swap_rows(database: Connection, rows: Sequence[SealedRow], sealed: Mapping[str, ResealedRow]) -> list[SealedRow]:
    """Replace the envelopes of connections that this transaction has locked; returns those of which all were the old ones.

    Args:
        sealed: what becomes of the rows, by id; the others stay.
    """
    # All writers of envelopes lock the connection first, so what is found now stays until the transaction ends.
    current = {row.id: SealedRow(*row) for row in database.execute(_ROWS.where(connections.c.id.in_(list(sealed))))}
    unchanged = [row for row in rows if row.id in sealed and current.get(row.id) == row]
    for row in unchanged:
        _replace(database, row.id, sealed[row.id])
    return unchanged


def _replace(database: Connection, row_id: str, new: ResealedRow) -> None:
    if new.documents is not None:
        values = {"secrets_sealed": new.documents.secrets, "masked_sealed": new.documents.masked}
        if new.tokens is not None:
            values |= {"tokens_sealed": new.tokens.tokens, "tokens_kid": new.tokens.kid}
        database.execute(update(connection_secrets).where(connection_secrets.c.connection_id == row_id).values(values))
        database.execute(update(connections).where(connections.c.id == row_id).values(secrets_kid=new.documents.kid))
    if new.webhook is not None:
        sealed = {"secret_sealed": new.webhook.envelope, "secret_kid": new.webhook.kid}
        database.execute(update(webhooks).where(webhooks.c.connection_id == row_id).values(sealed))


def _reason(error: EnvelopeUnreadable) -> UnreadableReason:
    match error:
        case KeyMissing():
            return "key_missing"
        case KeyMismatch():
            return "key_mismatch"
        case _:
            return "tampered"

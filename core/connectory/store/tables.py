"""The tables. `migrations/` creates exactly these; a test compares the two on both databases."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    text,
)

from connectory.store.timestamps import UtcDateTime

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

# Byte order everywhere: SQLite's default, and the same on every PostgreSQL server whatever its locale.
_Sorted = Text().with_variant(Text(collation="C"), "postgresql")
# SQLite numbers rows by itself only where the type is exactly INTEGER.
_RowNumber = BigInteger().with_variant(Integer, "sqlite")

connections = Table(
    "connections",
    metadata,
    # `id`, a UUID that never changes, is a connection's identity. `number` only numbers rows for SQLite's full-text
    # index, which needs an INTEGER PRIMARY KEY: without one, VACUUM renumbers the rows under the index.
    Column("number", _RowNumber, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("key", _Sorted, nullable=False, unique=True),
    Column("name", _Sorted, nullable=False),
    Column("connection_type", Text, nullable=False),
    # Of the connector when the connection was created: they stay known after its plugin is uninstalled.
    Column("system_type", Text, nullable=False),
    Column("distribution", Text, nullable=False),
    Column("access", Text, CheckConstraint("access IN ('read', 'write')", name="access"), nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("description", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("version", Integer, nullable=False),  # 1, and one more for every change
    Column("secrets_version", Integer, nullable=False),  # 0 until secrets are stored
    Column("secrets_kid", Text, index=True),  # the key that sealed the secrets
    Column("secrets_updated_at", UtcDateTime),
    Column("last_test_timestamp", UtcDateTime),
    Column("last_test_succeeded", Boolean),
    Column("last_test_report", Text),  # JSON
    Column("search_text", Text, nullable=False),  # see search.py
    Column("last_failure_code", Text),  # that of the report; None unless the last test failed
    # The order of a listing, and most filters beside it: pages and counts are answered from the index alone.
    Index(
        "ix_connections_listing",
        "name",
        "key",
        "connection_type",
        "system_type",
        "disabled",
        "last_test_succeeded",
    ),
    # Every filter, for the other orders, and what a summary counts; see listing.py.
    Index(
        "ix_connections_filters",
        "connection_type",
        "system_type",
        "disabled",
        "last_test_succeeded",
        "last_failure_code",
        "secrets_kid",
    ),
    Index("ix_connections_created_at", "created_at", "key"),
    Index("ix_connections_updated_at", "updated_at", "key"),
    Index("ix_connections_last_test_timestamp", "last_test_timestamp", "key"),
)

# Apart from `connections`, so that rows stay small and no query meets an envelope that it did not ask for.
connection_secrets = Table(
    "connection_secrets",
    metadata,
    Column("connection_id", Text, ForeignKey("connections.id", ondelete="CASCADE"), primary_key=True),
    Column("secrets_sealed", Text, nullable=False),  # envelope of the secret document
    Column("masked_sealed", Text, nullable=False),  # envelope of the same document, sensitive values masked
    # Of the tokens that were obtained with these secrets. Their key may be another than that of the secrets: a process
    # that has not read a new key file yet may store them.
    Column("tokens_sealed", Text),
    Column("tokens_kid", Text, index=True),
)

authorizations = Table(
    "authorizations",
    metadata,
    Column("state_hash", Text, primary_key=True),  # SHA-256, hexadecimal
    Column("connection_id", Text, ForeignKey("connections.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("secrets_version", Integer, nullable=False),  # that consent was asked for
    Column("verifier_sealed", Text),  # envelope of the PKCE code verifier
    Column("asked_by", Text),  # id of the client; without a foreign key, because the consent outlives it
    Column("browser_hash", Text),  # SHA-256 of the cookie that the browser which asked was given
    # Of a consent that came from another browser and is held.
    Column("confirmation_hash", Text, index=True),  # SHA-256 of what it is confirmed by
    Column("code_sealed", Text),  # envelope of the authorization code
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

# The queue for a connection's tokens: whose number is the lowest may use them.
token_turns = Table(
    "token_turns",
    metadata,
    Column("id", Text, primary_key=True),  # random: of one test, for once
    Column("connection_id", Text, ForeignKey("connections.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False),  # by the clock of the database
)

# What became of the last tests of a connection, those of earlier secrets too.
connection_tests = Table(
    "connection_tests",
    metadata,
    Column("connection_id", Text, ForeignKey("connections.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),  # counts the tests of this connection
    Column("at", UtcDateTime, nullable=False),
    Column("actor", Text, nullable=False),
    Column("secrets_version", Integer, nullable=False),
    Column("succeeded", Boolean, nullable=False),
    Column("report", Text, nullable=False),  # JSON
    # The rows of a connection are together, in order: to add one and to drop the oldest touches one page.
    sqlite_with_rowid=False,
)

datasets = Table(
    "datasets",
    metadata,
    Column("id", Text, primary_key=True),  # UUID
    Column("connection_id", Text, ForeignKey("connections.id", ondelete="CASCADE"), nullable=False),
    Column("fides_key", _Sorted, nullable=False, unique=True),
    Column("dataset", Text, nullable=False),  # JSON
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Index("ix_datasets_listing", "connection_id", "created_at"),
)

clients = Table(
    "clients",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("secret_hash", Text, nullable=False),  # SHA-256, hexadecimal
    Column("scopes", Text, nullable=False),  # separated by spaces
    Column("created_at", UtcDateTime, nullable=False),
)

client_tokens = Table(
    "client_tokens",
    metadata,
    Column("token_hash", Text, primary_key=True),  # SHA-256, hexadecimal
    Column("client_id", Text, ForeignKey("clients.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("scopes", Text, nullable=False),  # separated by spaces
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

# What a person signs in to the console with, once.
console_codes = Table(
    "console_codes",
    metadata,
    Column("code_hash", Text, primary_key=True),  # SHA-256, hexadecimal
    Column("client_id", Text, ForeignKey("clients.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("scopes", Text, nullable=False),  # separated by spaces
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

discoveries = Table(
    "discoveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("connection_id", Text, ForeignKey("connections.id", ondelete="CASCADE"), nullable=False),
    Column("secrets_version", Integer, nullable=False),
    Column("actor", Text, nullable=False),  # the id of a client
    Column("started_at", UtcDateTime, nullable=False),
    Column("report", Text),  # JSON object; NULL while it is looked for
    Index("ix_discoveries_connection_id", "connection_id", "started_at"),
)

# What is done of a connection again and again. Each kind is claimed by one node at a time, and is due again once it has run.
schedules = Table(
    "schedules",
    metadata,
    Column("id", Text, primary_key=True),  # random
    Column("connection_id", Text, ForeignKey("connections.id", ondelete="CASCADE"), nullable=False),
    Column("kind", Text, CheckConstraint("kind IN ('test', 'check')", name="kind"), nullable=False),
    Column("every", Integer, nullable=False),  # seconds
    Column("since", UtcDateTime, nullable=False),  # whole intervals are counted from here
    Column("due_at", UtcDateTime, nullable=False, index=True),
    Column("ran_at", UtcDateTime),
    Column("holder", Text),  # random: of one run, for once
    Column("held_until", UtcDateTime),  # by the clock of the database
    Index("ix_schedules_connection_id", "connection_id", "kind", unique=True),
)

# One line for each verdict on a connection, of tests and of checks: what `connection_tests` tells at length of the last tests.
verdicts = Table(
    "verdicts",
    metadata,
    Column("connection_id", Text, ForeignKey("connections.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),  # counts the verdicts on this connection
    Column("kind", Text, CheckConstraint("kind IN ('test', 'check')", name="kind"), nullable=False),
    Column("dataset", Text, nullable=False),  # fides_key; empty for a test
    Column("at", UtcDateTime, nullable=False, index=True),
    Column("actor", Text),  # NULL: by schedule
    Column("secrets_version", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("failure_code", Text),
    Column("elapsed_ms", Float),
    Column("coverage", Integer),
    Column("findings", Integer),
    Index("ix_verdicts_subject", "connection_id", "kind", "dataset", "number"),
    sqlite_with_rowid=False,
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("connection_id", Text, ForeignKey("connections.id", ondelete="CASCADE"), primary_key=True),
    Column("url", Text, nullable=False),
    Column("secret_sealed", Text, nullable=False),  # envelope
    Column("secret_kid", Text, nullable=False, index=True),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("last_delivery", Text),  # JSON object: of the last attempt
)

# What a webhook has still to be told.
webhook_events = Table(
    "webhook_events",
    metadata,
    Column("id", Text, primary_key=True),
    Column("connection_id", Text, ForeignKey("webhooks.connection_id", ondelete="CASCADE"), nullable=False, index=True),
    Column("body", Text, nullable=False),  # JSON object, as it is sent
    Column("attempts", Integer, nullable=False),  # that failed
    Column("due_at", UtcDateTime, nullable=False, index=True),
    Column("holder", Text),  # random: of one attempt, for once
    Column("held_until", UtcDateTime),  # by the clock of the database
)

audit = Table(
    "audit",
    metadata,
    Column("id", _RowNumber, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    # No foreign key: the trail outlives the connection.
    Column("connection_id", Text),
    Column("connection_key", Text),
    Column("changed_fields", Text, nullable=False),  # JSON list of names, never values
    Column("kid", Text),
    Column("result_code", Text),
    Column("request_id", Text),  # made by the service
    Column("client_request_id", Text),  # sent by the caller
    Column("object", Text),  # what it was done to, where that is not a connection
    Column("details", Text),  # JSON object of texts and numbers
    # One for each filter, in the order of a listing.
    Index("ix_audit_at", "at"),
    Index("ix_audit_actor", "actor", "at"),
    Index("ix_audit_action", "action", "at"),
    Index("ix_audit_connection_key", "connection_key", "at"),
    Index(
        "ix_audit_object",
        "object",
        "at",
        # On PostgreSQL too; to say so here would import all of its dialect, with every driver's, where the store is SQLite.
        sqlite_where=text("object IS NOT NULL"),
    ),
    Index("ix_audit_result_code", "result_code", "at"),
)

key_ids = Table(
    "key_ids",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("first_used_at", UtcDateTime, nullable=False),
)

nodes = Table(
    "nodes",
    metadata,
    Column("id", Text, primary_key=True),  # UUID of one run of one process
    Column("name", Text, nullable=False),
    Column("primary_kid", Text, nullable=False),
    Column("fingerprints", Text, nullable=False),  # JSON: of each key that the node holds, by key id
    Column("started_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
)

schema_compatibility = Table(
    "schema_compatibility",
    metadata,
    Column(
        "compatible_since", Text, primary_key=True
    ),  # one row: the earliest release's revision that these tables suit
)

"""The first tables, and the search index of each database."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import DBAPIError

from connectory.store.timestamps import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create everything."""
    _create_tables()
    if op.get_bind().dialect.name == "sqlite":
        _create_full_text_index()
    else:
        _create_trigram_index()


def _create_tables() -> None:
    sorted_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    row_number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "connections",
        sa.Column("number", row_number, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("key", sorted_text, nullable=False),
        sa.Column("name", sorted_text, nullable=False),
        sa.Column("connection_type", sa.Text, nullable=False),
        sa.Column("system_type", sa.Text, nullable=False),
        sa.Column("distribution", sa.Text, nullable=False),
        sa.Column("access", sa.Text, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("secrets_version", sa.Integer, nullable=False),
        sa.Column("secrets_kid", sa.Text),
        sa.Column("secrets_updated_at", UtcDateTime),
        sa.Column("last_test_timestamp", UtcDateTime),
        sa.Column("last_test_succeeded", sa.Boolean),
        sa.Column("last_test_report", sa.Text),
        sa.Column("search_text", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_connections"),
        sa.UniqueConstraint("id", name="uq_connections_id"),
        sa.UniqueConstraint("key", name="uq_connections_key"),
        sa.CheckConstraint("access IN ('read', 'write')", name=op.f("ck_connections_access")),
    )
    op.create_index(
        "ix_connections_listing",
        "connections",
        ["name", "key", "connection_type", "system_type", "disabled", "last_test_succeeded"],
    )
    op.create_index("ix_connections_secrets_kid", "connections", ["secrets_kid"])
    op.create_table(
        "connection_secrets",
        sa.Column("connection_id", sa.Text, nullable=False),
        sa.Column("secrets_sealed", sa.Text, nullable=False),
        sa.Column("masked_sealed", sa.Text, nullable=False),
        sa.Column("tokens_sealed", sa.Text),
        sa.Column("tokens_kid", sa.Text),
        sa.PrimaryKeyConstraint("connection_id", name="pk_connection_secrets"),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name="fk_connection_secrets_connection_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_connection_secrets_tokens_kid", "connection_secrets", ["tokens_kid"])
    op.create_table(
        "authorizations",
        sa.Column("state_hash", sa.Text, nullable=False),
        sa.Column("connection_id", sa.Text, nullable=False),
        sa.Column("secrets_version", sa.Integer, nullable=False),
        sa.Column("verifier_sealed", sa.Text),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("state_hash", name="pk_authorizations"),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name="fk_authorizations_connection_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_authorizations_connection_id", "authorizations", ["connection_id"])
    op.create_index("ix_authorizations_expires_at", "authorizations", ["expires_at"])
    op.create_table(
        "datasets",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("connection_id", sa.Text, nullable=False),
        sa.Column("fides_key", sorted_text, nullable=False),
        sa.Column("dataset", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_datasets"),
        sa.UniqueConstraint("fides_key", name="uq_datasets_fides_key"),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name="fk_datasets_connection_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_datasets_listing", "datasets", ["connection_id", "created_at"])
    op.create_table(
        "clients",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("secret_hash", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_clients"),
    )
    op.create_table(
        "tokens",
        sa.Column("token_hash", sa.Text, nullable=False),
        sa.Column("client_id", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name="pk_tokens"),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name="fk_tokens_client_id", ondelete="CASCADE"),
    )
    op.create_index("ix_tokens_client_id", "tokens", ["client_id"])
    op.create_index("ix_tokens_expires_at", "tokens", ["expires_at"])
    op.create_table(
        "audit",
        sa.Column("id", row_number, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("connection_id", sa.Text),
        sa.Column("connection_key", sa.Text),
        sa.Column("changed_fields", sa.Text, nullable=False),
        sa.Column("kid", sa.Text),
        sa.Column("result_code", sa.Text),
        sa.Column("request_id", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_connection_id", "audit", ["connection_id"])
    op.create_table(
        "key_ids",
        sa.Column("kid", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("first_used_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("kid", name="pk_key_ids"),
    )


def _create_full_text_index() -> None:
    # An index over the table's own column, so FTS5 keeps no copy of the text. case_sensitive, because search_text is
    # already case-folded. No triggers keep it: connections with trusted_schema=OFF may not run one that writes to FTS5.
    op.execute(
        "CREATE VIRTUAL TABLE connections_search USING fts5(search_text, content='connections', "
        "content_rowid='number', tokenize='trigram case_sensitive 1')"
    )


def _create_trigram_index() -> None:
    # Search is right without this index and only slower, so a server that does not offer pg_trgm, or an account that
    # may not create it, is not a reason to stop. The savepoint keeps a refusal from undoing the tables.
    try:
        with op.get_bind().begin_nested():
            op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
            op.execute("CREATE INDEX ix_connections_search ON connections USING gin (search_text gin_trgm_ops)")
    except DBAPIError as refusal:
        if refusal.connection_invalidated:
            raise

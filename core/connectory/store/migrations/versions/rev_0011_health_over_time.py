"""Schedules, every verdict in a line, and webhooks."""

import sqlalchemy as sa
from alembic import op

from connectory.store.timestamps import UtcDateTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
# Earlier releases do not look at the new tables, and what they test has no line in `verdicts`.
compatible_since = "0007"

_MEMBERS = {
    "sqlite": ("json_extract(report, '$.code')", "json_extract(report, '$.elapsed_ms')"),
    "postgresql": (
        "CAST(report AS json) ->> 'code'",
        "CAST(CAST(report AS json) ->> 'elapsed_ms' AS double precision)",
    ),
}


def upgrade() -> None:
    """Add tables; the tests that are kept have their lines."""
    _schedules()
    _verdicts()
    _webhooks()
    code, elapsed = _MEMBERS[op.get_bind().dialect.name]
    op.get_bind().exec_driver_sql(
        "INSERT INTO verdicts (connection_id, number, kind, dataset, at, actor, secrets_version, outcome, failure_code, "  # noqa: S608
        "elapsed_ms) SELECT connection_id, number, 'test', '', at, actor, secrets_version, "
        f"CASE WHEN succeeded THEN 'succeeded' ELSE 'failed' END, {code}, {elapsed} FROM connection_tests"
    )


def _schedules() -> None:
    op.create_table(
        "schedules",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("connection_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("every", sa.Integer, nullable=False),
        sa.Column("since", UtcDateTime, nullable=False),
        sa.Column("due_at", UtcDateTime, nullable=False),
        sa.Column("ran_at", UtcDateTime),
        sa.Column("holder", sa.Text),
        sa.Column("held_until", UtcDateTime),
        sa.PrimaryKeyConstraint("id", name="pk_schedules"),
        _of_connection("schedules"),
        sa.CheckConstraint("kind IN ('test', 'check')", name=op.f("ck_schedules_kind")),
    )
    op.create_index("ix_schedules_connection_id", "schedules", ["connection_id", "kind"], unique=True)
    op.create_index("ix_schedules_due_at", "schedules", ["due_at"])


def _verdicts() -> None:
    op.create_table(
        "verdicts",
        sa.Column("connection_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("dataset", sa.Text, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("actor", sa.Text),
        sa.Column("secrets_version", sa.Integer, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("failure_code", sa.Text),
        sa.Column("elapsed_ms", sa.Float),
        sa.Column("coverage", sa.Integer),
        sa.Column("findings", sa.Integer),
        sa.PrimaryKeyConstraint("connection_id", "number", name="pk_verdicts"),
        _of_connection("verdicts"),
        sa.CheckConstraint("kind IN ('test', 'check')", name=op.f("ck_verdicts_kind")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_verdicts_subject", "verdicts", ["connection_id", "kind", "dataset", "number"])
    op.create_index("ix_verdicts_at", "verdicts", ["at"])


def _webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("connection_id", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("secret_sealed", sa.Text, nullable=False),
        sa.Column("secret_kid", sa.Text, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("last_delivery", sa.Text),
        sa.PrimaryKeyConstraint("connection_id", name="pk_webhooks"),
        _of_connection("webhooks"),
    )
    op.create_index("ix_webhooks_secret_kid", "webhooks", ["secret_kid"])
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("connection_id", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", UtcDateTime, nullable=False),
        sa.Column("holder", sa.Text),
        sa.Column("held_until", UtcDateTime),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_events"),
        sa.ForeignKeyConstraint(
            ["connection_id"],
            ["webhooks.connection_id"],
            name="fk_webhook_events_connection_id",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_webhook_events_connection_id", "webhook_events", ["connection_id"])
    op.create_index("ix_webhook_events_due_at", "webhook_events", ["due_at"])


def _of_connection(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["connection_id"], ["connections.id"], name=f"fk_{table}_connection_id", ondelete="CASCADE"
    )

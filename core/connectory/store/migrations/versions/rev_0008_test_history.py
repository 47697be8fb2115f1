"""What became of earlier tests; the code of the last failure as a column; an index for every filter and order of a listing."""

import sqlalchemy as sa
from alembic import op

from connectory.store.timestamps import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
# Nothing that was there is changed. A release that does not know the column leaves it as it is: whoever reads it looks first
# whether the last test failed. The next test puts it right.
compatible_since = "0007"

_CODE = {
    "sqlite": "json_extract(last_test_report, '$.code')",
    "postgresql": "CAST(last_test_report AS json) ->> 'code'",
}


def upgrade() -> None:
    """Add a table, a column with what the reports say, and indexes."""
    op.create_table(
        "connection_tests",
        sa.Column("connection_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("secrets_version", sa.Integer, nullable=False),
        sa.Column("succeeded", sa.Boolean, nullable=False),
        sa.Column("report", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("connection_id", "number", name="pk_connection_tests"),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name="fk_connection_tests_connection_id", ondelete="CASCADE"
        ),
        sqlite_with_rowid=False,
    )
    op.add_column("connections", sa.Column("last_failure_code", sa.Text))
    dialect = op.get_bind().dialect.name
    op.get_bind().exec_driver_sql(
        f"UPDATE connections SET last_failure_code = {_CODE[dialect]} WHERE last_test_succeeded = false"  # noqa: S608
    )
    op.create_index(
        "ix_connections_filters",
        "connections",
        [
            "connection_type",
            "system_type",
            "disabled",
            "last_test_succeeded",
            "last_failure_code",
            "secrets_kid",
        ],
    )
    for name in ("created_at", "updated_at", "last_test_timestamp"):
        op.create_index(f"ix_connections_{name}", "connections", [name, "key"])
    if dialect == "sqlite":
        # For searches too short for the trigrams of the other index.
        op.create_index("ix_connections_search_text", "connections", ["search_text"])

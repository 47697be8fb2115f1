"""What was found behind connections."""

import sqlalchemy as sa
from alembic import op

from connectory.store.timestamps import UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
compatible_since = "0007"


def upgrade() -> None:
    """Add a table; earlier releases do not look at it."""
    op.create_table(
        "discoveries",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("connection_id", sa.Text, nullable=False),
        sa.Column("secrets_version", sa.Integer, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("report", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_discoveries"),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name="fk_discoveries_connection_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_discoveries_connection_id", "discoveries", ["connection_id", "started_at"])

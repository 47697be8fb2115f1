"""Whose turn it is to use a connection's tokens, and in which browser a consent was asked for."""

import sqlalchemy as sa
from alembic import op

from connectory.store.timestamps import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a table and columns; older releases do not look at them. What was asked for before has no browser: it is confirmed."""
    op.create_table(
        "token_turns",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("connection_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("ends_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_token_turns"),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name="fk_token_turns_connection_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_token_turns_connection_id", "token_turns", ["connection_id"])
    for name in ("browser_hash", "confirmation_hash", "code_sealed"):
        op.add_column("authorizations", sa.Column(name, sa.Text))
    op.create_index("ix_authorizations_confirmation_hash", "authorizations", ["confirmation_hash"])

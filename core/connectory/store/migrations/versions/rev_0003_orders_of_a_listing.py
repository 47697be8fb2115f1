"""Indexes for the orders in which connections can be listed."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them."""
    for column in ("created_at", "updated_at", "last_test_timestamp"):
        op.create_index(f"ix_connections_{column}", "connections", [column, "key"])

"""An index that finds a key that differs only by case, `-` or `_`, so that a key that is not stored costs no scan."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """SQLite and PostgreSQL take the same statement."""
    op.execute("CREATE INDEX ix_connections_key_form ON connections (replace(replace(lower(key), '-', ''), '_', ''))")

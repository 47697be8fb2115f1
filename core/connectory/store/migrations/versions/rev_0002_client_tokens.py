"""The tokens of clients are in `client_tokens`: connections have tokens too."""

import sqlalchemy as sa
from alembic import op

from connectory.store.timestamps import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_COLUMNS = "token_hash, client_id, scopes, created_at, expires_at"


def upgrade() -> None:
    """Move the rows to a table of the new name. SQLite could rename the table, but neither its constraints nor its indexes."""
    op.create_table(
        "client_tokens",
        sa.Column("token_hash", sa.Text, nullable=False),
        sa.Column("client_id", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name="pk_client_tokens"),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name="fk_client_tokens_client_id", ondelete="CASCADE"),
    )
    op.execute(f"INSERT INTO client_tokens ({_COLUMNS}) SELECT {_COLUMNS} FROM tokens")  # noqa: S608
    op.drop_table("tokens")
    op.create_index("ix_client_tokens_client_id", "client_tokens", ["client_id"])
    op.create_index("ix_client_tokens_expires_at", "client_tokens", ["expires_at"])

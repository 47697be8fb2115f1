"""One-time codes to sign in to the console with."""

import sqlalchemy as sa
from alembic import op

from connectory.store.timestamps import UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
compatible_since = "0007"

_EVERY_SCOPE = (
    "audit:read connection:authorize connection:create_or_update connection:delete connection:read connection_type:read "
    "dataset:create_or_update dataset:delete dataset:read"
)


def upgrade() -> None:
    """Add a table; earlier releases do not look at it. A root client that has every scope keeps having every scope."""
    op.create_table(
        "console_codes",
        sa.Column("code_hash", sa.Text, nullable=False),
        sa.Column("client_id", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("code_hash", name="pk_console_codes"),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name="fk_console_codes_client_id", ondelete="CASCADE"),
    )
    op.create_index("ix_console_codes_client_id", "console_codes", ["client_id"])
    op.create_index("ix_console_codes_expires_at", "console_codes", ["expires_at"])
    op.execute(
        sa.text(
            "UPDATE clients SET scopes = 'client:manage key:read ' || scopes WHERE name = 'root' AND scopes = :every"
        ).bindparams(every=_EVERY_SCOPE)
    )

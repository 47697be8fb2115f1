"""Which earlier releases go on working with the tables as they are."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
compatible_since = "0007"  # earlier releases want their own revision, and ask no further


def upgrade() -> None:
    """Add a table with one row, which `schema.upgrade` writes."""
    op.create_table(
        "schema_compatibility",
        sa.Column("compatible_since", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("compatible_since", name="pk_schema_compatibility"),
    )

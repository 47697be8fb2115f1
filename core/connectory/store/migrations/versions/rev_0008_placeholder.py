"""Nothing: it keeps the place of a revision that is made elsewhere."""

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
compatible_since = "0007"


def upgrade() -> None:
    """Change nothing."""

"""The audit trail tells of more, can be searched, and refuses to be changed; a consent knows which client asked for it."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_YOUNG = "30 days"
_REFUSAL = f"The audit trail is append-only; entries younger than {_YOUNG} cannot be deleted."

_SQLITE = (
    f"CREATE TRIGGER audit_refuses_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END",
    # The beginning of the text of `at`, which sorts as time does.
    (
        "CREATE TRIGGER audit_refuses_delete BEFORE DELETE ON audit "
        f"WHEN OLD.at > strftime('%Y-%m-%d %H:%M:%f', 'now', '-{_YOUNG}') "
        f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
    ),
)
_POSTGRESQL = (
    f"""
    CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' THEN
            IF OLD.at < now() - interval '{_YOUNG}' THEN
                RETURN OLD;
            END IF;
        END IF;
        RAISE EXCEPTION '{_REFUSAL}';
    END $$
    """,
    "CREATE TRIGGER audit_refuses_changes BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER audit_refuses_truncate BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()",
)

_EVERY_SCOPE = (
    "connection:authorize connection:create_or_update connection:delete connection:read connection_type:read "
    "dataset:create_or_update dataset:delete dataset:read"
)


def upgrade() -> None:
    """Add columns, indexes and triggers. A root client that has every scope keeps having every scope."""
    for name in ("client_request_id", "object", "details"):
        op.add_column("audit", sa.Column(name, sa.Text))
    op.add_column("authorizations", sa.Column("asked_by", sa.Text))
    op.drop_index("ix_audit_connection_id", "audit")
    op.create_index("ix_audit_at", "audit", ["at"])
    for name in ("actor", "action", "connection_key", "result_code"):
        op.create_index(f"ix_audit_{name}", "audit", [name, "at"])
    given = sa.text("object IS NOT NULL")
    op.create_index("ix_audit_object", "audit", ["object", "at"], sqlite_where=given, postgresql_where=given)
    for statement in _POSTGRESQL if op.get_bind().dialect.name == "postgresql" else _SQLITE:
        op.get_bind().exec_driver_sql(statement)
    op.execute(
        sa.text(
            "UPDATE clients SET scopes = 'audit:read ' || scopes WHERE name = 'root' AND scopes = :every"
        ).bindparams(every=_EVERY_SCOPE)
    )

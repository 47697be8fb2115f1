"""What a client may be allowed to do."""

SCOPES = {
    "connection_type:read": "List connection types, their secret schemas, and installed plugins",
    "connection:read": "Read connections and test them",
    "connection:create_or_update": "Create and change connections, and set their secrets",
    "connection:delete": "Delete connections",
    "connection:authorize": "Ask a person to consent to a connection",
    "dataset:read": "Read the datasets of connections",
    "dataset:create_or_update": "Attach datasets to connections",
    "dataset:delete": "Delete datasets of connections",
    "audit:read": "Read the audit trail",
    "client:manage": "Create, list and delete clients, and revoke tokens",
    "key:read": "Read which keys there are, and which nodes hold them",
}
"""Every scope that a client can have, and what it allows."""

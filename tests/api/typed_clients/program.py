"""Reads a secret schema and saves a connection with secrets, by the client that openapi-python-client made.

Arguments: the service's address, and a client's id and secret.
"""

import json
import sys

from connectory_client import AuthenticatedClient, Client
from connectory_client.api.authentication import create_token
from connectory_client.api.connection_types import get_secret_schema
from connectory_client.api.connections import get_connection, save_connections
from connectory_client.models import (
    ConnectionDetail,
    ConnectionItem,
    ConnectionItemAccess,
    ConnectionItemConnectionType,
    ConnectionsSaved,
    Secrets,
    SecretSchema,
    Token,
    TokenRequest,
)


def main(url: str, client_id: str, client_secret: str) -> None:
    """Print what the schema says of the password, and the connection that was saved."""
    request = TokenRequest(grant_type="client_credentials", client_id=client_id, client_secret=client_secret)
    token = create_token.sync(client=Client(base_url=url), body=request)
    assert isinstance(token, Token), token
    client = AuthenticatedClient(base_url=url, token=token.access_token)

    schema = get_secret_schema.sync("postgres", client=client)
    assert isinstance(schema, SecretSchema), schema
    password = schema.properties["password"]
    hidden: bool | None = password.sensitive or None

    item = ConnectionItem(
        name="Typed",
        connection_type=ConnectionItemConnectionType.POSTGRES,
        access=ConnectionItemAccess.READ,
        secrets=Secrets.from_dict(
            {"host": "db.example.com", "dbname": "app", "username": "reader", "password": "tiger"}
        ),
    )
    saved = save_connections.sync(client=client, body=[item])
    assert isinstance(saved, ConnectionsSaved), saved
    [connection] = saved.succeeded
    key: str = connection.key

    shown = get_connection.sync(key, client=client)
    assert isinstance(shown, ConnectionDetail), shown
    print(json.dumps({"title": password.title, "sensitive": hidden, "connection": shown.to_dict()}))


main(*sys.argv[1:])

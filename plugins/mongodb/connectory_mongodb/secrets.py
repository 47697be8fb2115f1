"""The secrets of a MongoDB connection."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, SecretStr

from connectory import Endpoint, Host, Name, Port, Secrets, SslCaField, SslMode, SslModeField, Text, UrlGrammar
from connectory.toolkit import QueryKey, Role

_DATABASE_NAME = Text('a database name, without spaces and / \\ . " $', max_length=63, without='/\\. "$')
_DatabaseName = Annotated[str, _DATABASE_NAME]
_Password = Annotated[
    SecretStr,
    Text(
        "text without control characters and without characters beyond U+FFFF, such as emoji: "
        "SCRAM-SHA-256 (RFC 4013) does not allow them",
        max_length=4096,
        pattern=r"[ -~\u0080-\uffff]*",
    ),
]
_TLS_QUERY_KEY = QueryKey("ssl_mode", {"true": SslMode.VERIFY_FULL, "false": SslMode.DISABLED})
_FLAG = {"true": None, "false": None}


class MongoDBSecrets(Secrets):
    """How to reach a MongoDB database."""

    connectory_url = UrlGrammar(
        schemes={"mongodb": {"use_srv": False}, "mongodb+srv": {"use_srv": True}},
        path=("defaultauthdb",),
        query={
            "authSource": "auth_source",
            "replicaSet": "replica_set",
            "ssl_mode": "ssl_mode",
            "tls": _TLS_QUERY_KEY,
            "ssl": _TLS_QUERY_KEY,
            # What a url copied from elsewhere holds, and a test does not need.
            "appName": QueryKey(None),
            "authMechanism": QueryKey(None, {"SCRAM-SHA-256": None, "SCRAM-SHA-1": None}),
            "directConnection": QueryKey(None, _FLAG),
            "retryReads": QueryKey(None, _FLAG),
            "retryWrites": QueryKey(None, _FLAG),
            "w": QueryKey(None, {"majority": None, "1": None}),
        },
        required_parts=frozenset({"username", "password", "defaultauthdb"}),
        without_port=frozenset({"mongodb+srv"}),
    )

    host: Host = Field(
        title="Host", description="Name or address of the server, or of the service record with use_srv."
    )
    port: Port = Field(default=27017, title="Port", description="TCP port of the server; not used with use_srv.")
    username: Name | None = Field(default=None, title="Username", description="User to log in as.")
    password: _Password | None = Field(default=None, title="Password", description="Password of the user.")
    defaultauthdb: _DatabaseName | None = Field(
        default=None,
        title="Default auth DB",
        description="Database to open, which also holds the user unless auth_source is given.",
    )
    auth_source: Annotated[_DatabaseName | None, Role("credential")] = Field(
        default=None, title="Auth source", description="Database that holds the user, where it is another one."
    )
    replica_set: Name | None = Field(
        default=None, title="Replica set", description="Replica set that the server must be a member of."
    )
    use_srv: Annotated[bool, Endpoint()] = Field(
        default=False, title="Use SRV", description="Find the server through DNS service records (mongodb+srv)."
    )
    ssl_mode: SslModeField | None = Field(
        default=None,
        title="SSL Mode",
        description="How much TLS to ask for, and what to verify. Default: preferred, or with use_srv verify-full.",
    )
    ssl_ca: SslCaField = None

    @property
    def tls_mode(self) -> SslMode:
        """How much TLS to ask for."""
        return self.ssl_mode or (SslMode.VERIFY_FULL if self.use_srv else SslMode.PREFERRED)

    @property
    def user_source(self) -> str:
        """The database that holds the user."""
        return self.auth_source or self.defaultauthdb or "admin"


def is_database_name(text: str) -> bool:
    """Whether `text` can name a database."""
    return 0 < len(text) <= _DATABASE_NAME.max_length and re.fullmatch(_DATABASE_NAME.whole_pattern, text) is not None

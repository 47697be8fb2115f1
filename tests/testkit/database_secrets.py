"""A secret schema with every kind of field, like PostgreSQL's."""

from pydantic import Field

from connectory import (
    Host,
    Name,
    Port,
    Secrets,
    SecretText,
    SslCaField,
    SslMode,
    SslModeField,
    UrlGrammar,
)


class DatabaseSecrets(Secrets):
    """How to reach a database."""

    connectory_url = UrlGrammar(
        schemes={"postgresql": {}, "postgres": {}, "postgresql+psycopg2": {}},
        query={"sslmode": "ssl_mode", "application_name": "application"},
    )

    host: Host
    port: Port = 5432
    username: Name
    password: SecretText | None = None
    dbname: Name | None = None
    db_schema: Name | None = Field(default=None, title="Schema")
    application: Name | None = None
    ssl_mode: SslModeField = SslMode.PREFERRED
    ssl_ca: SslCaField = None

"""A connector for Quarry, an imaginary database that speaks PostgreSQL's protocol, as it was written against version 0.1."""

from contextlib import closing, nullcontext
from typing import Annotated

from connectory import (
    SSL_MODE_QUERY_KEY,
    CheckContext,
    CheckFailed,
    Description,
    FailureCode,
    Grammar,
    Host,
    Integer,
    Name,
    Port,
    QueryKey,
    Secrets,
    SecretText,
    SslCaField,
    SslMode,
    SslModeField,
    UrlGrammar,
    UrlText,
    hookimpl,
    path_of,
    request_tls,
    system_certificates,
    text,
    tls_context,
)


class QuarrySecrets(Secrets):
    connectory_url = UrlGrammar(
        schemes={"quarry": {}},
        query={"sslmode": SSL_MODE_QUERY_KEY, "app": QueryKey(None)},
        required=frozenset({"host", "username", "dbname"}),
        texts={"dbname": UrlText(63, without=";")},
    )
    host: Host
    port: Port = 5432
    username: Name
    password: SecretText | None = None
    dbname: Annotated[str, text("a database name", max_length=63, pattern=r"[^\x00-\x1f\x7f;]*")]
    zone: Annotated[str, Grammar(pattern=r"[a-z]+", expected="lower-case letters", max_length=10)] | None = None
    retries: Integer = 0
    ssl_mode: SslModeField = SslMode.PREFERRED
    ssl_ca: SslCaField = None


class Quarry:
    connectory_identifier = hookimpl(lambda self: "quarry", specname="connectory_identifier")
    connectory_type = hookimpl(lambda self: "database", specname="connectory_type")
    connectory_secret_schema = hookimpl(lambda self: QuarrySecrets, specname="connectory_secret_schema")

    @hookimpl
    def connectory_describe(self) -> Description:
        return Description(human_readable="Quarry", category="DATABASE", drivers=("psycopg2",))

    @hookimpl
    def connectory_test_connection(self, secrets: QuarrySecrets, context: CheckContext) -> None:
        import psycopg2

        connection, address = context.connect(secrets.host, secrets.port)
        verifies = secrets.ssl_mode.verifies
        with connection:  # the protocol's question whether TLS is offered; the login below is held to the answer
            encrypted = request_tls(
                context,
                connection,
                secrets.ssl_mode,
                secrets.host,
                request=b"\0\0\0\x08\x04\xd2\x16\x2f",
                accepted=b"S",
                declined=b"N",
                settings=lambda: tls_context(secrets.ssl_mode, secrets.ssl_ca),
            )
        trusted = (
            path_of(secrets.ssl_ca or system_certificates()) if encrypted and verifies else nullcontext("/nonexistent")
        )
        sslmode = (secrets.ssl_mode.value if verifies else "require") if encrypted else "disable"
        with context.step("authenticate"), trusted as sslrootcert:
            try:
                session = psycopg2.connect(
                    host=secrets.host,
                    hostaddr=address.ip,
                    port=address.port,
                    user=secrets.username,
                    dbname=secrets.dbname,
                    password=secrets.password.get_secret_value() if secrets.password else "",
                    passfile="/dev/null",
                    sslmode=sslmode,
                    sslrootcert=sslrootcert,
                    gssencmode="disable",
                    connect_timeout=int(context.timeout) + 1,
                    **({} if encrypted else {"require_auth": "!password"}),  # no password in clear
                )
            except psycopg2.OperationalError as error:
                raise CheckFailed(FailureCode.AUTH_FAILED) from error
        with closing(session), context.step("query"):
            session.cursor().execute("SELECT 1")


quarry = Quarry()

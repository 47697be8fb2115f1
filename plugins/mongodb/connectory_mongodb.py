"""The MongoDB connector: pymongo, held to one vetted address, and the first message of the wire protocol for typed answers.

Facts are from the MongoDB documentation: "MongoDB Wire Protocol" (OP_MSG), "Connection Strings" and the server's
`error_codes.yml`; the rules for `mongodb+srv` are from the driver specification "Initial DNS Seedlist Discovery".
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qsl

from pydantic import Field, SecretStr

from connectory import (
    CheckContext,
    CheckFailed,
    Connector,
    Description,
    Endpoint,
    FailureCode,
    Host,
    Name,
    Port,
    Secrets,
    SslCaField,
    SslMode,
    SslModeField,
    Text,
    UrlGrammar,
)
from connectory.toolkit import (
    Address,
    Failures,
    Link,
    QueryKey,
    Role,
    is_verified,
    path_of,
    system_certificates,
    tls_context,
    tls_failure,
)

if TYPE_CHECKING:
    from pymongo import MongoClient

_OP_MSG = 2013
_MOST_SEEDS = 10
_PATIENCE = 2.0  # seconds for a server to show that it offers TLS, where that is only preferred
_HELLO_LIMIT = 1024 * 1024  # bytes; an answer to `hello` has a few hundred

_BY_CODE = {
    11: FailureCode.AUTH_FAILED,  # UserNotFound
    13: FailureCode.PERMISSION_DENIED,  # Unauthorized
    18: FailureCode.AUTH_FAILED,  # AuthenticationFailed
    50: FailureCode.TIMEOUT,  # MaxTimeMSExpired
    73: FailureCode.DATABASE_NOT_FOUND,  # InvalidNamespace
    334: FailureCode.AUTH_FAILED,  # MechanismUnavailable
    8000: FailureCode.AUTH_FAILED,  # AtlasError, which Atlas answers to a wrong login
}
_REMEDIES = {
    FailureCode.AUTH_FAILED: (
        "The server rejected the credentials; check user name, password, and the database that holds the user: "
        "auth_source, or without it defaultauthdb."
    ),
    FailureCode.DATABASE_NOT_FOUND: (
        "The login was accepted, but the database of defaultauthdb does not exist; MongoDB creates one with its first collection."
    ),
}
_NO_USER = "The server wants a login; set username and password, or write them into the url."
_NO_PASSWORD = "A user name needs its password; write both into the url."
_NOT_SASL = (
    "The password holds a character that MongoDB's login does not allow (RFC 4013), so it cannot be this user's."
)
_WANTS_TLS = "The server only takes encrypted connections; set ssl_mode to preferred or stricter."
_TOO_OLD = "The server's version is older than the driver supports; upgrade it to MongoDB 4.4 or later."
_OTHER_SET = "The server is not a member of the replica set that replica_set names."
_NO_SRV = "The DNS holds no usable service record for the host (_mongodb._tcp); check it, or set use_srv to false."
# A server that hung up on TLS, and then takes no other connection.
_WILL_NOT_TALK: Failures = {TimeoutError: FailureCode.TIMEOUT, OSError: FailureCode.PROTOCOL_MISMATCH}
# An answer without its parts.
_LACKS_PARTS: Failures = {LookupError: FailureCode.PROTOCOL_MISMATCH, TypeError: FailureCode.PROTOCOL_MISMATCH}

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


class MongoDB(Connector[MongoDBSecrets]):
    """MongoDB."""

    identifier = "mongodb"
    type = "database"
    description = Description(
        human_readable="MongoDB",
        user_guide="https://www.mongodb.com/docs/manual/reference/connection-string/",
        category="DATABASE",
        drivers=("pymongo", "dns.resolver"),
    )

    def test(self, secrets: MongoDBSecrets, context: CheckContext) -> None:
        """Log in, and check that the database is there and may be used."""
        seeds = [(secrets.host, secrets.port)]
        if secrets.use_srv:
            secrets, seeds = _discover(secrets, context)
        mode = secrets.ssl_mode or (SslMode.VERIFY_FULL if secrets.use_srv else SslMode.PREFERRED)
        with ExitStack() as opened:
            link = _secure(_connect(seeds, context), mode, secrets.ssl_ca, context)
            opened.enter_context(link.socket)
            trusted = opened.enter_context(path_of(link.ca or ""))
            not_sasl = CheckFailed(FailureCode.AUTH_FAILED, remedy=_NOT_SASL)
            with context.step("authenticate", {ValueError: not_sasl}), _driver_errors(secrets):
                _greet(link, secrets, context)
                client = opened.enter_context(_client(link, mode, trusted, secrets, context))
                client.admin.command("ping")
            with context.step("query", _LACKS_PARTS), _driver_errors(secrets):
                _check_database(client, secrets)


def _discover(secrets: MongoDBSecrets, context: CheckContext) -> tuple[MongoDBSecrets, list[tuple[str, int]]]:
    """Ask the DNS which servers `mongodb+srv://host` means, and for the two options that its TXT record may give."""
    from dns import exception, resolver

    no_record = CheckFailed(FailureCode.DNS_FAILED, remedy=_NO_SRV)
    with context.step("discover", {exception.Timeout: FailureCode.DNS_TIMEOUT, exception.DNSException: no_record}):
        context.vet(secrets.host)  # a rule for the record's name is one for the servers that it leads to
        texts = None
        answer = resolver.resolve(f"_mongodb._tcp.{secrets.host}.", "SRV", lifetime=context.timeout, search=False)
        with suppress(resolver.NoAnswer, resolver.NXDOMAIN):
            texts = resolver.resolve(f"{secrets.host}.", "TXT", lifetime=context.timeout, search=False)
        # A service record may only name servers of its own domain, or whoever answers for the DNS would choose.
        labels = secrets.host.lower().split(".")
        domain = ".".join(["", *(labels[1:] if len(labels) > 2 else labels)])
        records = sorted(answer, key=lambda record: (record.priority, -record.weight))[:_MOST_SEEDS]
        seeds = [(record.target.to_text(omit_final_dot=True).lower(), record.port) for record in records]
        if not all(name.endswith(domain) and re.fullmatch(r"[a-z0-9_.-]+", name) for name, _ in seeds):
            raise CheckFailed(FailureCode.DNS_FAILED, remedy=_NO_SRV)
        for _, port in seeds:
            context.vet(secrets.host, port)
    options = dict(parse_qsl(b"".join(texts[0].strings).decode("ascii", "replace"))) if texts else {}
    source = options.get("authSource", "")
    found = {
        "auth_source": secrets.auth_source or (source if _is_database_name(source) else None),
        "replica_set": secrets.replica_set or options.get("replicaSet"),
    }
    return secrets.model_copy(update=found), seeds


def _is_database_name(text: str) -> bool:
    return 0 < len(text) <= _DATABASE_NAME.max_length and re.fullmatch(_DATABASE_NAME.whole_pattern, text) is not None


def _connect(seeds: list[tuple[str, int]], context: CheckContext) -> Link:
    """A connection to the first of `seeds` that accepts one."""
    failure: CheckFailed
    for name, port in seeds:
        try:
            connection, address = context.connect(name, port)
        except CheckFailed as refusal:
            if refusal.code not in {FailureCode.CONNECT_REFUSED, FailureCode.CONNECT_TIMEOUT}:
                raise
            failure = refusal
        else:
            return Link(name, address, connection, None, None)
    raise failure


def _secure(link: Link, mode: SslMode, ca: str | None, context: CheckContext) -> Link:
    """The connection through TLS; where that is preferred but not offered, a new one without, since the first is spoilt."""
    if mode is SslMode.DISABLED:
        context.skip_step("tls")
        return link
    with link.socket, context.step("tls", _WILL_NOT_TALK):
        # A server that takes TLS answers at once. One that does not may hang up, or wait for the rest of a long message.
        link.socket.settimeout(context.timeout / 2 if mode.needs_tls else min(context.timeout / 2, _PATIENCE))
        settings = tls_context(mode, ca)
        try:
            encrypted = settings.wrap_socket(link.socket, server_hostname=link.host)
        except OSError as error:
            if mode.needs_tls:
                offers_none = isinstance(error, TimeoutError) and _speaks_plainly(link.address, context)
                raise CheckFailed(FailureCode.TLS_FAILED if offers_none else tls_failure(error)) from error
            plain = replace(link, socket=socket.create_connection(link.address, timeout=context.timeout))
            context.skip_step("tls")
            return plain
        context.report_tls(verified=is_verified(encrypted))
        verifying = (ca or system_certificates()) if mode.verifies else None
        return replace(link, socket=encrypted, ssl_context=settings, ca=verifying)


def _greet(link: Link, secrets: MongoDBSecrets, context: CheckContext) -> None:
    """Say `hello` as the driver will, whose own report of what goes wrong here is only text, and comes late."""
    from pymongo import common

    try:
        hello = _first_answer(link.socket, context)
    except TimeoutError:
        raise
    except (OSError, EOFError) as error:
        if not link.encrypted and _speaks_tls(link.address, context):
            raise CheckFailed(FailureCode.TLS_FAILED, remedy=_WANTS_TLS) from error
        raise CheckFailed(FailureCode.TLS_FAILED if link.encrypted else FailureCode.PROTOCOL_MISMATCH) from error
    version = hello.get("maxWireVersion")
    if not isinstance(version, int) or version < common.MIN_SUPPORTED_WIRE_VERSION:
        raise CheckFailed(FailureCode.PROTOCOL_MISMATCH, remedy=_TOO_OLD)
    if secrets.replica_set is not None and hello.get("setName") != secrets.replica_set:
        raise CheckFailed(FailureCode.PROTOCOL_MISMATCH, remedy=_OTHER_SET)


def _first_answer(connection: socket.socket, context: CheckContext) -> Mapping[str, Any]:
    import bson

    document = bson.encode({"hello": 1, "$db": "admin"})
    connection.settimeout(context.timeout)
    # Length, request, response to, OP_MSG; flags; one section of kind 0, which is one document.
    connection.sendall(struct.pack("<iiiiIB", 21 + len(document), 1, 0, _OP_MSG, 0, 0) + document)
    with connection.makefile("rb") as answers:
        head = answers.read(21)
        if len(head) < 21:
            raise EOFError
        length, _, _, operation, _, kind = struct.unpack("<iiiiIB", head)
        if operation != _OP_MSG or kind != 0 or not 21 < length <= _HELLO_LIMIT:
            raise CheckFailed(FailureCode.PROTOCOL_MISMATCH)
        answer: Mapping[str, Any] = bson.decode(answers.read(length - 21))
    return answer


def _speaks_plainly(address: Address, context: CheckContext) -> bool:
    from bson.errors import BSONError

    try:
        with socket.create_connection(address, timeout=context.timeout) as connection:
            return bool(_first_answer(connection, context))
    except (OSError, EOFError, CheckFailed, BSONError):
        return False


def _speaks_tls(address: Address, context: CheckContext) -> bool:
    try:
        with socket.create_connection(address, timeout=context.timeout) as connection:
            tls_context(SslMode.REQUIRED, None).wrap_socket(connection).close()
    except OSError:
        return False
    return True


def _client(
    link: Link, mode: SslMode, trusted: str, secrets: MongoDBSecrets, context: CheckContext
) -> MongoClient[dict[str, Any]]:
    """The driver. It is told the vetted address or, for TLS, the name that resolves to it.

    Args:
        trusted: a path to the certificates that verify the server.
    """
    from pymongo import MongoClient

    ip, port = link.address
    options: dict[str, Any] = {"host": f"[{ip}]" if ":" in ip else ip}
    if link.encrypted:
        options |= _tls_options(mode, trusted)
        # A name that ends in ".sock" is a path to pymongo.
        options |= {"host": link.host} if not link.host.endswith(".sock") and ":" not in link.host else {}
    if secrets.username is not None:
        if secrets.password is None:
            raise CheckFailed(FailureCode.AUTH_FAILED, remedy=_NO_PASSWORD)
        # No mechanism: the server's own choice of SCRAM-SHA-256 or SCRAM-SHA-1, neither of which shows the password.
        options |= {"username": secrets.username, "password": secrets.password.get_secret_value()}
        options["authSource"] = _source(secrets)
    limit = int(context.timeout * 1000)
    return MongoClient(
        port=port,
        # The answers of a server must not make the driver connect to other servers.
        directConnection=True,
        timeoutMS=limit,
        serverSelectionTimeoutMS=limit,
        connectTimeoutMS=limit,
        serverMonitoringMode="poll",
        retryReads=False,
        appname="connectory",
        **options,
    )


def _tls_options(mode: SslMode, authorities: str) -> dict[str, Any]:
    if not mode.verifies:
        return {"tls": True, "tlsAllowInvalidCertificates": True}
    return {
        "tls": True,
        "tlsCAFile": authorities,
        "tlsAllowInvalidHostnames": mode is SslMode.VERIFY_CA,
        # Otherwise the server's certificate names a web server to ask, and PyOpenSSL, where installed, would ask it.
        "tlsDisableOCSPEndpointCheck": True,
    }


def _source(secrets: MongoDBSecrets) -> str:
    return secrets.auth_source or secrets.defaultauthdb or "admin"


@contextmanager
def _driver_errors(secrets: MongoDBSecrets) -> Iterator[None]:
    """What the driver's exceptions mean; those of the server's answers by their numbers."""
    from bson.errors import BSONError
    from pymongo.errors import OperationFailure, PyMongoError

    try:
        yield
    except OperationFailure as error:
        code = FailureCode.TIMEOUT if error.timeout else _BY_CODE.get(error.code or 0, FailureCode.QUERY_FAILED)
        if code is FailureCode.PERMISSION_DENIED and secrets.username is None:
            raise CheckFailed(FailureCode.AUTH_FAILED, remedy=_NO_USER) from error
        raise CheckFailed(code, remedy=_REMEDIES.get(code)) from error
    except (PyMongoError, BSONError) as error:
        timed_out = isinstance(error, PyMongoError) and error.timeout
        raise CheckFailed(FailureCode.TIMEOUT if timed_out else FailureCode.PROTOCOL_MISMATCH) from error


def _check_database(client: MongoClient[dict[str, Any]], secrets: MongoDBSecrets) -> None:
    """MongoDB has no notion of a database without collections, but a user's database is one, and may hold only users."""
    from pymongo.errors import OperationFailure

    database = secrets.defaultauthdb
    holds_the_user = secrets.username is not None and database in {_source(secrets), None}
    visible: dict[str, Any] = {"nameOnly": True, "authorizedDatabases": True}
    try:
        if database is not None:
            found = client[database].command("listCollections", nameOnly=True, authorizedCollections=True)
            if found["cursor"]["firstBatch"] or holds_the_user:
                return
            visible["filter"] = {"name": database}
    except OperationFailure as error:
        if _BY_CODE.get(error.code or 0) is not FailureCode.PERMISSION_DENIED or not holds_the_user:
            raise
    # What remains: is there the database, or (for a user of `admin`, say) any database that the user has rights in?
    if not client.admin.command("listDatabases", **visible)["databases"]:
        code = FailureCode.PERMISSION_DENIED if holds_the_user else FailureCode.DATABASE_NOT_FOUND
        raise CheckFailed(code, remedy=_REMEDIES.get(code))

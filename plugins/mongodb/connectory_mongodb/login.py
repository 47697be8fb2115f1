"""Logging in: pymongo, held to one vetted address, and the first message of the wire protocol for typed answers.

Facts are from the MongoDB documentation: "MongoDB Wire Protocol" (OP_MSG) and "Connection Strings"; the rules for `mongodb+srv`
are from the driver specification "Initial DNS Seedlist Discovery".
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from connectory import CheckContext, CheckFailed, FailureCode, SslMode
from connectory.toolkit import (
    Address,
    Failures,
    Link,
    is_verified,
    path_of,
    system_certificates,
    tls_context,
    tls_failure,
)
from connectory_mongodb.failures import driver_errors
from connectory_mongodb.secrets import MongoDBSecrets, is_database_name

if TYPE_CHECKING:
    from pymongo import MongoClient

_OP_MSG = 2013
_MOST_SEEDS = 10
_PATIENCE = 2.0  # seconds for a server to show that it offers TLS, where that is only preferred
_HELLO_LIMIT = 1024 * 1024  # bytes; an answer to `hello` has a few hundred

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


def log_in(
    secrets: MongoDBSecrets, context: CheckContext, opened: ExitStack
) -> tuple[MongoClient[dict[str, Any]], MongoDBSecrets]:
    """The driver, logged in; and the secrets with what the DNS says besides.

    Args:
        opened: closes what stays open.
    """
    seeds = [(secrets.host, secrets.port)]
    if secrets.use_srv:
        secrets, seeds = _discover(secrets, context)
    link = _secure(_connect(seeds, context), secrets.tls_mode, secrets.ssl_ca, context)
    opened.enter_context(link.socket)
    trusted = opened.enter_context(path_of(link.ca or ""))
    not_sasl = CheckFailed(FailureCode.AUTH_FAILED, remedy=_NOT_SASL)
    with context.step("authenticate", {ValueError: not_sasl}), driver_errors(secrets):
        _greet(link, secrets, context)
        client = opened.enter_context(_client(link, secrets.tls_mode, trusted, secrets, context))
        client.admin.command("ping")
    return client, secrets


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
        "auth_source": secrets.auth_source or (source if is_database_name(source) else None),
        "replica_set": secrets.replica_set or options.get("replicaSet"),
    }
    return secrets.model_copy(update=found), seeds


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
        options["authSource"] = secrets.user_source
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

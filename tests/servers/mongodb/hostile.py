"""Far ends that speak MongoDB's wire protocol up to the point where they stop following it.

    with mongodb_hostile.names_other_members([("127.0.0.1", 4000)]) as server:
        ...  # test a connection to server.host, server.port
    assert b"the password" not in server.received

Message layouts are those of the MongoDB documentation, "MongoDB Wire Protocol": the driver's first `hello` is an OP_QUERY,
which is answered with an OP_REPLY; everything else is an OP_MSG.
"""

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import bson

from testkit.loopback import LoopbackServer, Peer

_OP_REPLY, _OP_QUERY, _OP_COMPRESSED, _OP_MSG = 1, 2004, 2012, 2013
_ZLIB = 2
BOMB_BYTES = 400 * 1024 * 1024

_HELLO = {
    "isWritablePrimary": True,
    "ismaster": True,
    "maxBsonObjectSize": 16777216,
    "maxMessageSizeBytes": 48000000,
    "maxWriteBatchSize": 100000,
    "minWireVersion": 0,
    "maxWireVersion": 21,
    "ok": 1.0,
}


def names_other_members(members: Sequence[tuple[str, int]], *, set_name: str = "rs0") -> LoopbackServer:
    """Says in its `hello` that the replica set has other members, and then takes any login for wrong."""
    hosts = [f"{host}:{port}" for host, port in members]
    hello = {"setName": set_name, "hosts": hosts, "primary": hosts[0], "me": hosts[0], "setVersion": 1}
    return _server("names other members", hello)


def never_answers_a_ping() -> LoopbackServer:
    """Answers `hello`, and nothing else."""
    return _server("never answers a ping", silent=True)


def knows_plain_logins_only() -> LoopbackServer:
    """Offers only the mechanism that sends the password as it is."""
    return _server("knows plain logins only", {"saslSupportedMechs": ["PLAIN"]})


def is_old() -> LoopbackServer:
    """Says that it is of version 3.6."""
    return _server("is old", {"maxWireVersion": 6})


def rejects(code: int, text: str) -> LoopbackServer:
    """Answers every command but `hello` with an error of this number and text."""
    return _server(f"rejects with {code}", error={"code": code, "errmsg": text})


def answers_nothing_useful() -> LoopbackServer:
    """Answers every command with success, and with nothing of what was asked for."""
    return _server("answers nothing useful", error={"ok": 1.0})


def never_ends(*, lists: bool = False, value: str = "x") -> LoopbackServer:
    """Takes anybody without a login, has one collection, and more documents whenever it is asked for more.

    Args:
        lists: whether its collections never end either.
        value: of each document's only field.
    """
    document = {"_id": 1, "text": value}
    collections = [{"name": f"c{number}", "type": "collection", "options": {}} for number in range(1000)]

    def answer(command: Mapping[str, Any]) -> dict[str, Any]:
        name = next(iter(command))
        asked = command.get("collection", command[name])
        if name == "listCollections" or (name == "getMore" and asked == "$cmd.listCollections"):
            found, left = (collections, 1) if lists else (collections[:1], 0)
            return _cursor("$cmd.listCollections", found, left)
        if name == "listIndexes":
            return _cursor(f"{asked}", [], 0)
        return _cursor(str(asked), [document] * 100, 1) if name in {"find", "aggregate", "getMore"} else {"n": 1}

    return _server("never ends", answers=answer)


def _cursor(collection: str, documents: Sequence[Mapping[str, Any]], left: int) -> dict[str, Any]:
    return {"cursor": {"id": left, "ns": f"shop.{collection}", "firstBatch": documents, "nextBatch": documents}}


def sends_a_bomb(claimed: int = BOMB_BYTES) -> LoopbackServer:
    """Answers with a compressed message of 400 MiB that says to have `claimed`, though nobody asked for compression."""

    def handle(peer: Peer) -> None:
        for request, _operation, command in _requests(peer):
            if "hello" in command or "ismaster" in command:
                peer.send(_answer(request, _operation, _HELLO))
                continue
            packer = zlib.compressobj(1)
            packed = b"".join(packer.compress(bytes(2**20)) for _ in range(BOMB_BYTES // 2**20)) + packer.flush()
            body = struct.pack("<iiB", _OP_MSG, claimed, _ZLIB) + packed
            peer.send(struct.pack("<iiii", 16 + len(body), 1, request, _OP_COMPRESSED) + body)

    return LoopbackServer(handle, name="MongoDB, sends a bomb")


def _server(
    behaviour: str,
    hello: Mapping[str, Any] | None = None,
    *,
    error: Mapping[str, Any] | None = None,
    silent: bool = False,
    answers: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None,
) -> LoopbackServer:
    failure = {"ok": 0.0} | dict(error or {"code": 18, "codeName": "AuthenticationFailed", "errmsg": "no"})

    def handle(peer: Peer) -> None:
        for request, operation, command in _requests(peer):
            if "hello" in command or "ismaster" in command:
                peer.send(_answer(request, operation, {**_HELLO, **(hello or {})}))
            elif answers is not None:
                peer.send(_answer(request, operation, {"ok": 1.0} | answers(command)))
            elif not silent:
                peer.send(_answer(request, operation, failure))

    return LoopbackServer(handle, name=f"MongoDB, {behaviour}")


def _requests(peer: Peer) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """The number, kind and command of each message, until the other side leaves."""
    while True:
        length, request, _, operation = struct.unpack("<iiii", peer.read(16))
        body = peer.read(length - 16)
        if operation == _OP_QUERY:
            start = body.index(b"\0", 4) + 9
        elif operation == _OP_MSG:
            start = 5
        else:
            return
        size = struct.unpack_from("<i", body, start)[0]
        yield request, operation, bson.decode(body[start : start + size])


def _answer(request: int, operation: int, document: Mapping[str, Any]) -> bytes:
    data = bson.encode(document)
    kind = _OP_REPLY if operation == _OP_QUERY else _OP_MSG
    head = struct.pack("<iqii", 8, 0, 0, 1) if kind == _OP_REPLY else struct.pack("<IB", 0, 0)
    return struct.pack("<iiii", 16 + len(head) + len(data), 1, request, kind) + head + data

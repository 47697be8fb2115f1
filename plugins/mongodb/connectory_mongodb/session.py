"""A session of MongoDB: collections whose fields are found in samples, and documents as rows."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import islice
from typing import Any, TypeVar, cast

import bson
import pymongo
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from connectory import CheckFailed, FailureCode
from connectory.data import (
    Batch,
    CollectionInfo,
    CollectionRef,
    DataFailure,
    DataSession,
    Kind,
    Privileges,
    Read,
    SessionContext,
    SessionFailed,
)
from connectory_mongodb.failures import driver_errors
from connectory_mongodb.fields import Sample
from connectory_mongodb.privileges import Account
from connectory_mongodb.reading import Once, projection, questions
from connectory_mongodb.secrets import MongoDBSecrets
from connectory_mongodb.values import OPTIONS, value_at

_NEWEST = 100
"""Documents that are looked at besides the sample, because new fields are in new documents."""
_OF_THE_SERVER = frozenset({"admin", "config", "local"})
_AT_ONCE = 500
"""Documents, at most, that the server sends at once; it sends no more than 16 MiB of them."""
_WEIGHT = 2**20
"""Bytes of documents from which on a batch is full."""
_MOST_LISTED = 10_000
"""Collections of a database; the service takes as many of a connection. Also indexes of a collection, of which there are 64."""
_T = TypeVar("_T")
_UNAUTHORIZED, _NAMESPACE_NOT_FOUND, _LOCK_TIMEOUT = 13, 26, 24
_RAW = cast("CodecOptions[RawBSONDocument]", OPTIONS.with_options(document_class=RawBSONDocument))
"""Documents as bytes, so that of many only one is spread out in memory."""


class MongoDBSession(DataSession):
    """One login at a server.

    Args:
        client: logged in.
        secrets: with what the DNS says besides.
        context: of the session.
        opened: closes the client, and what it needs.
    """

    def __init__(
        self, client: MongoClient[dict[str, Any]], secrets: MongoDBSecrets, context: SessionContext, opened: ExitStack
    ) -> None:
        self._client = client
        self._secrets = secrets
        self._context = context
        self._opened = opened

    def close(self) -> None:
        """Log out."""
        self._opened.close()

    def discover(self, namespace: Mapping[str, str] | None = None, sample: int = 1000) -> Iterator[CollectionInfo]:
        """The collections of a database by name. Of each, `sample` documents at random and the newest ones are looked at."""
        database = _named(namespace or {})
        with self._told():
            for name in self._databases() if database is None else [database]:
                for listed in self._listed(name):
                    found = self._info(name, listed, sample)
                    if found is not None:
                        yield found

    def privileges(self, refs: Sequence[CollectionRef]) -> Iterator[Privileges]:
        """What the account may do, as the server says of its roles. Nothing is written."""
        with self._told(), self._in_time():
            account = Account.of(self._client)
        for ref in refs:
            yield account.privileges(ref, self._database_of(ref))

    def read(self, query: Read, batch: int) -> Iterator[Batch]:
        """The documents as rows, of any kind from row to row, because nothing states what they hold."""
        database = self._database_of(query.ref)
        with self._told():
            asked = list(questions(query.any_of))
            once = Once() if len(asked) > 1 else None
            kinds, rows, weight, empty = (Kind.ANY,) * len(query.fields), [], 0, True
            for question in asked:
                for raw in self._found(self._collection(database, query.ref.name), question, query, batch):
                    document = _decoded(raw)
                    if once is not None and not once.is_new(document):
                        continue
                    rows.append(tuple(value_at(document, path) for path in query.fields))
                    weight += len(raw.raw)
                    if len(rows) >= batch or weight >= _WEIGHT:
                        yield Batch(kinds, rows)
                        rows, weight, empty = [], 0, False
            if rows:
                yield Batch(kinds, rows)
            elif empty and not any(listed["name"] == query.ref.name for listed in self._listed(database)):
                raise SessionFailed(DataFailure.COLLECTION_MISSING)

    def _database_of(self, ref: CollectionRef) -> str:
        return _named(ref.namespace) or self._secrets.defaultauthdb or self._secrets.user_source

    def _databases(self) -> list[str]:
        """The database that the connection is for; where that is only where users live, all that the account may use."""
        database = self._secrets.defaultauthdb
        if database is not None and database not in _OF_THE_SERVER:
            return [database]
        with self._in_time():
            listed = self._client.admin.command("listDatabases", nameOnly=True, authorizedDatabases=True)["databases"]
        return sorted({found["name"] for found in listed} - _OF_THE_SERVER)

    def _listed(self, database: str) -> list[Mapping[str, Any]]:
        """What there is in a database, by name; where not everything may be listed, what the account may use."""
        with self._in_time():
            try:
                listed = _few(self._client[database].list_collections())
            except OperationFailure as error:
                if error.code != _UNAUTHORIZED:
                    raise
                listed = _few(self._client[database].list_collections(nameOnly=True, authorizedCollections=True))
            return sorted(listed, key=lambda found: str.encode(found["name"]))

    def _info(self, database: str, listed: Mapping[str, Any], sample: int) -> CollectionInfo | None:
        """What is known of one collection; `None` where it is gone meanwhile."""
        ref, options = CollectionRef(listed["name"], {"database": database}), listed.get("options", {})
        kind = "timeseries" if "timeseries" in options else listed.get("type", "collection")
        reason = _reason_against(ref.name, kind, options)
        if reason is not None:
            return CollectionInfo(ref, (), kind=kind, left_out=reason)
        try:
            return self._sampled(ref, self._collection(database, ref.name), kind, sample)
        except OperationFailure as error:
            if error.code == _NAMESPACE_NOT_FOUND:
                return None
            if error.code != _UNAUTHORIZED:
                raise
        return CollectionInfo(ref, (), kind=kind, left_out="the account may not read it")

    def _sampled(
        self, ref: CollectionRef, collection: Collection[RawBSONDocument], kind: str, sample: int
    ) -> CollectionInfo:
        seen, once = Sample(), Once()
        at_random = self._documents(collection.aggregate, [{"$sample": {"size": sample}}])
        newest = self._documents(collection.find, {}, sort=[("_id", pymongo.DESCENDING)], limit=_NEWEST)
        for documents, most in ((at_random, sample), (newest, _NEWEST)):
            with closing(documents):
                for raw in islice(documents, most):
                    document = _decoded(raw)
                    if once.is_new(document):  # a sample may have a document twice
                        seen.add(document)
        if not seen.documents:
            return CollectionInfo(ref, (), kind=kind, left_out="it has no documents to look at")
        fields = seen.fields(self._indexes(collection), keyed=kind != "timeseries")
        return CollectionInfo(
            ref,
            fields,
            primary_key=tuple(one.path for one in fields if one.path == ("_id",) and one.unique),
            rows=self._counted(collection),
            kind=kind,
            inferred=True,
            fields_left_out=seen.left_out,
        )

    def _indexes(self, collection: Collection[RawBSONDocument]) -> list[Mapping[str, Any]] | None:
        """The indexes of a collection; `None` where the account may not see them."""
        try:
            with self._in_time():
                return [dict(index) for index in _few(collection.with_options(OPTIONS).list_indexes())]
        except OperationFailure as error:
            if error.code != _UNAUTHORIZED:
                raise
            return None

    def _counted(self, collection: Collection[RawBSONDocument]) -> int | None:
        """How many documents the collection says that it has."""
        with suppress(OperationFailure), self._in_time():
            return collection.estimated_document_count()
        return None

    def _collection(self, database: str, name: str) -> Collection[RawBSONDocument]:
        return cast("Collection[RawBSONDocument]", self._client[database].get_collection(name, codec_options=_RAW))

    def _found(
        self, collection: Collection[RawBSONDocument], question: dict[str, Any], query: Read, batch: int
    ) -> Iterator[RawBSONDocument]:
        size = min(batch, _AT_ONCE)
        yield from self._documents(collection.find, question, projection(query.fields), batch_size=size)

    def _documents(
        self, ask: Callable[..., Any], *question: Any, **options: Any
    ) -> Generator[RawBSONDocument, None, None]:
        """What the server finds, as it comes in. It stops by itself when the time is over, whether anybody still asks or not."""
        with self._in_time():
            cursor = ask(*question, **options)
        with closing(cursor):
            while True:
                with self._in_time():
                    found = next(cursor, None)
                if found is None:
                    return
                yield found

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        """What is asked inside has the time that is left: the driver gives the server `maxTimeMS`, and waits no longer."""
        try:
            with pymongo.timeout(self._context.timeout):
                yield
        except (LookupError, TypeError, AttributeError) as error:  # an answer without its parts, or with others
            raise CheckFailed(FailureCode.PROTOCOL_MISMATCH) from error

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell what the driver's errors mean."""
        with driver_errors(self._secrets):
            try:
                yield
            except OperationFailure as error:
                if error.code != _LOCK_TIMEOUT:
                    raise
                raise SessionFailed(DataFailure.LOCK_TIMEOUT) from error


def _named(namespace: Mapping[str, str]) -> str | None:
    """The database that a namespace names. Those who ask of systems of all kinds call it a schema."""
    return namespace.get("database", namespace.get("schema"))


def _few(cursor: Iterable[_T]) -> list[_T]:
    """What a server lists, unless it lists too much."""
    found = list(islice(cursor, _MOST_LISTED + 1))
    if len(found) > _MOST_LISTED:
        raise SessionFailed(FailureCode.RESOURCE_LIMIT)
    return found


def _reason_against(name: str, kind: str, options: Mapping[str, Any]) -> str | None:
    """Why a collection is not for use."""
    if kind == "view":
        return f"view of {options['viewOn']}" if "viewOn" in options else "view"
    return "system collection" if name.startswith("system.") else None


def _decoded(raw: RawBSONDocument) -> dict[str, Any]:
    return bson.decode(raw.raw, codec_options=OPTIONS)

"""Open a deployment's database, and make its first client. Shared by the service and the commands; `keys` opens its keys."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from connectory.scopes import SCOPES
from connectory.settings import Settings, listens_on_loopback
from connectory.store.audit import Actor, append
from connectory.store.clients import create_client, list_clients
from connectory.store.engine import Store, open_store
from connectory.store.errors import SchemaUnknown, StoreFailed, StoreUnavailable, StoreUrlInvalid
from connectory.store.schema import is_usable, upgrade
from connectory.store.timestamps import utc_now

_log = logging.getLogger(__name__)
START = Actor("start")
"""Whom the audit trail names for what the first start makes, be it of the service or of a command."""


class CannotStart(Exception):
    """The deployment is not usable as configured; the message is one line that says what to do."""


def open_database(settings: Settings) -> Store:
    """Open the store, with the schema of this release or of a later one that suits it.

    The embedded default is created and migrated; a shared database must have been migrated by `connectory db upgrade`.

    Raises:
        CannotStart: with the reason.
    """
    store = open_store_of(settings)
    try:
        if settings.embedded:
            upgrade(store, START)
        elif not is_usable(store):
            raise CannotStart("The database does not have this release's tables; run: connectory db upgrade")
    except BaseException as error:
        store.close()
        if isinstance(error, StoreUnavailable | StoreFailed | SchemaUnknown):
            raise CannotStart(_database_problem(settings, error)) from None
        raise
    return store


def open_store_of(settings: Settings) -> Store:
    """Open the store as it is, whatever its schema.

    Raises:
        CannotStart: with the reason.
    """
    if settings.embedded:
        if not (settings.allow_embedded or listens_on_loopback(settings.host)):
            raise CannotStart(
                f"CONNECTORY_DATABASE_URL is not set, and the service would listen on {settings.host}: set it; or, to keep "
                f"everything in {settings.home}, set CONNECTORY_ALLOW_EMBEDDED=true."
            )
        make_home(settings.home)
    try:
        return open_store(settings.store_url, settings.database_pool_size)
    except (StoreUrlInvalid, StoreUnavailable) as error:
        raise CannotStart(_database_problem(settings, error)) from None


def _database_problem(settings: Settings, error: Exception) -> str:
    return str(error) if settings.embedded else f"CONNECTORY_DATABASE_URL: {error}"


def make_home(home: Path) -> None:
    """Create the home folder, closed to others.

    Raises:
        CannotStart: it cannot be created.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise CannotStart(f"CONNECTORY_HOME: the folder {home} cannot be created ({reason}).") from None


def ensure_root_client(settings: Settings, store: Store) -> None:
    """On the first start of the embedded default, create a client with every scope and write its credentials, 0600.

    Of several processes that start at once, one does.
    """
    if not settings.embedded:
        return
    with store.read() as database:
        if list_clients(database):
            return
    with store.write() as database:
        if list_clients(database):  # another process was first: on SQLite, a transaction that writes is the only one
            return
        client, secret = create_client(database, name="root", scopes=SCOPES, now=utc_now())
        details = {"name": client.name, "scopes": " ".join(sorted(SCOPES))}
        append(database, START.did("client_created", object=client.id, details=details))
        descriptor = os.open(settings.root_client_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            json.dump({"client_id": client.id, "client_secret": secret}, file, indent=2)
            file.write("\n")


def root_client_id(settings: Settings) -> str | None:
    """The id of the root client; None where the file of its credentials is not there, or names none."""
    try:
        return str(json.loads(settings.root_client_path.read_text())["client_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None

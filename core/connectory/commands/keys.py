"""`connectory keys`: generate, list, add, promote, remove, rewrap."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from connectory.commands.shared import JSON, CommandFailed, acting, settings_now, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connectory.store.audit import Action
    from connectory.store.engine import Store
    from connectory.store.nodes import Node
    from connectory.vault import KeyRing

app = typer.Typer(help="The keys that secrets are sealed with.", no_args_is_help=True, rich_markup_mode=None)

_Kid = Annotated[str, typer.Argument(metavar="KEY", help="Id of the key, as `connectory keys list` shows it.")]
_Path = Annotated[Path | None, typer.Argument(help="The key file. [default: the one of the settings]")]
_ForcePromotion = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Promote without asking the database which nodes lack the key. Those answer `secrets_unreadable` for what is "
        "sealed with it, until they have read it.",
    ),
]


@app.command("generate")
def generate_keys(path: Annotated[Path, typer.Argument(help="The file to create, with mode 0600.")]) -> None:
    """Create a key file with one random key. An existing file is never replaced."""
    from connectory.keys import provider_of

    ring = provider_of(settings_now(), path).create()
    _note("keys generate", "key_created", ring.primary, ring)
    print(
        f"Created {path} with the key {ring.primary}. Set CONNECTORY_KEYS_FILE to it, and keep a copy where backups are not."
    )


@app.command("list")
def list_keys(as_json: JSON = False) -> None:
    """List the keys: fingerprint, when they were made, how many connections need each, and the running nodes that lack it."""
    from connectory.keys import provider_of
    from connectory.startup import open_database
    from connectory.store.key_records import count_by_kid, recorded_fingerprints
    from connectory.store.nodes import running_nodes

    settings = settings_now()
    ring = provider_of(settings).load()
    with open_database(settings) as store, store.read() as database:
        rows, recorded, nodes = count_by_kid(database), recorded_fingerprints(database), running_nodes(database)
    items = [_item(ring, kid, rows, recorded, nodes) for kid in sorted({*ring.kids(), *rows})]
    if as_json:
        print(json.dumps(items, indent=2))
        return
    for item in items:
        print(_line(item))


def _item(
    ring: KeyRing, kid: str, rows: dict[str, int], recorded: dict[str, str], nodes: Sequence[Node]
) -> dict[str, Any]:
    """One key: of the ring, or one that rows need and the ring lacks."""
    held = kid in ring.kids()
    fingerprint = ring.fingerprint(kid) if held else None
    created = ring.created.get(kid)
    return {
        "kid": kid,
        "fingerprint": fingerprint,
        "primary": kid == ring.primary,
        "created": created.isoformat() if created is not None else None,
        "rows": rows.get(kid, 0),
        "recorded_fingerprint": recorded.get(kid),
        "nodes_without": [node.name for node in nodes if not _holds(node, kid, fingerprint)],
    }


def _holds(node: Node, kid: str, fingerprint: str | None) -> bool:
    """Whether a node has the key of this fingerprint, or any of this id where we have none to compare."""
    return kid in node.fingerprints and fingerprint in (None, node.fingerprints[kid])


def _line(item: dict[str, Any]) -> str:
    parts = [item["kid"], item["fingerprint"] or "missing", f"rows={item['rows']}"]
    parts += ["primary"] if item["primary"] else []
    parts += [f"created={item['created']}"] if item["created"] else []
    if item["recorded_fingerprint"] not in (None, item["fingerprint"]):
        parts.append(f"recorded as {item['recorded_fingerprint']}")
    parts += [f"not held by {name}" for name in item["nodes_without"]]
    return "  ".join(parts)


@app.command("add")
def add_keys(
    promote: Annotated[bool, typer.Option("--promote", help="Make the new key the primary at once.")] = False,
    force: _ForcePromotion = False,
    path: _Path = None,
    as_json: JSON = False,
) -> None:
    """Add a random key to the key file. With --promote only while no node runs: none can hold the new key yet."""
    from connectory.keys import provider_of

    added: list[str] = []

    def with_new_key(current: KeyRing) -> KeyRing:
        if promote and not force and (nodes := _running()):
            raise CommandFailed(
                f"{_named(nodes)} cannot hold a key that is made now. Run `connectory keys add`, let every node read it "
                "(SIGHUP), then run `connectory keys promote`; --force promotes all the same."
            )
        ring = current.with_new_key(promote=promote)
        added.extend(set(ring.kids()) - set(current.kids()))
        return ring

    ring = provider_of(settings_now(), path).change(with_new_key)
    _note("keys add", "key_added", added[0], ring)
    if promote:
        _note("keys add", "key_promoted", added[0], ring)
    _print_ring(ring, as_json, added=added[0])


@app.command("promote")
def promote_key(kid: _Kid, force: _ForcePromotion = False, path: _Path = None, as_json: JSON = False) -> None:
    """Let a key seal from now on. Refused while a running node does not hold it."""
    from connectory.keys import provider_of

    def with_primary(current: KeyRing) -> KeyRing:
        ring = current.with_primary(kid)
        if not force:
            _refuse_lacking(kid, ring.fingerprint(kid))
        return ring

    ring = provider_of(settings_now(), path).change(with_primary)
    _note("keys promote", "key_promoted", kid, ring)
    _print_ring(ring, as_json)


@app.command("remove")
def remove_key(
    kid: _Kid,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Remove without asking the database who needs the key. What it sealed can then be read no more, for good "
            "if there is no copy of the key.",
        ),
    ] = False,
    path: _Path = None,
    as_json: JSON = False,
) -> None:
    """Remove a key. Refused while stored secrets need it, while a running node seals with it, and for the primary."""
    from connectory.keys import provider_of

    def without(current: KeyRing) -> KeyRing:
        ring = current.without(kid)
        if not force:
            _refuse_needed(kid)
        return ring

    ring = provider_of(settings_now(), path).change(without)
    _note("keys remove", "key_removed", kid, ring)
    _print_ring(ring, as_json)


@app.command("rewrap")
def rewrap_keys(path: _Path = None, as_json: JSON = False) -> None:
    """Wrap every key again with the newest version of the transit key; keys that are not wrapped yet, too."""
    from connectory.keys import provider_of
    from connectory.vault import TransitWrappedKeys

    provider = provider_of(settings_now(), path)
    if not isinstance(provider, TransitWrappedKeys):
        raise CommandFailed("Keys are wrapped only where CONNECTORY_KEYS_PROVIDER is `transit`.")
    ring = provider.rewrap()
    _note("keys rewrap", "keys_rewrapped", None, ring)
    _print_ring(ring, as_json)


def _note(command: str, action: Action, kid: str | None, ring: KeyRing) -> None:
    """Tell the audit trail, where there is one: a key file is often made before the database is."""
    from connectory.startup import CannotStart, open_store_of
    from connectory.store.audit import append
    from connectory.store.errors import SchemaUnknown, StoreFailed, StoreUnavailable
    from connectory.store.schema import is_usable

    settings = settings_now()
    if settings.embedded and not settings.database_path.exists():
        return
    try:
        with closing(open_store_of(settings)) as store:
            if is_usable(store):
                with store.write() as database:
                    append(database, acting(command).did(action, object=kid, details={"primary": ring.primary}))
                return
        problem = "the database does not have this release's tables."
    except (CannotStart, SchemaUnknown, StoreUnavailable, StoreFailed) as error:
        problem = str(error)
    warn(f"The audit trail does not tell of this: {problem}")


def _open_store() -> Store:
    from connectory.startup import CannotStart, open_database

    try:
        return open_database(settings_now())
    except CannotStart as problem:
        raise CommandFailed(
            f"{problem} Which nodes and rows need a key is known there; --force does without."
        ) from None


def _running() -> list[Node]:
    from connectory.store.nodes import running_nodes

    with closing(_open_store()) as store, store.read() as database:
        return running_nodes(database)


def _named(nodes: Sequence[Node]) -> str:
    first = nodes[0]
    more = f" (and {len(nodes) - 1} more)" if len(nodes) > 1 else ""
    return f"The node {first.name}, seen {first.age.total_seconds():.0f} s ago,{more}"


def _refuse_lacking(kid: str, fingerprint: str) -> None:
    lacking = [node for node in _running() if node.fingerprints.get(kid) != fingerprint]
    if not lacking:
        return
    state = (
        "holds another key under the id"
        if any(kid in node.fingerprints for node in lacking)
        else "does not hold the key"
    )
    raise CommandFailed(
        f"{_named(lacking)} {state} {kid!r}. Give every node the key file and let it read it (SIGHUP), then try again; "
        "--force promotes all the same."
    )


def _refuse_needed(kid: str) -> None:
    from connectory.store.key_records import count_by_kid, count_pending_consents
    from connectory.store.nodes import running_nodes
    from connectory.store.timestamps import utc_now

    with closing(_open_store()) as store, store.read() as database:
        rows = count_by_kid(database, kid).get(kid, 0)
        consents = count_pending_consents(database, kid, now=utc_now())
        sealing = [node for node in running_nodes(database) if node.primary == kid]
    if rows:
        raise CommandFailed(
            f"Stored secrets need the key {kid!r} (connections: {rows}); run `connectory secrets rotate` first. --force removes "
            "it all the same."
        )
    if consents:
        raise CommandFailed(
            f"Consents that persons were asked for need the key {kid!r} ({consents}); wait ten minutes. --force removes it all "
            "the same."
        )
    if sealing:
        raise CommandFailed(
            f"{_named(sealing)} still seals with the key {kid!r}; let it read the key file (SIGHUP) first. --force removes it "
            "all the same."
        )


def _print_ring(ring: KeyRing, as_json: bool, **more: str) -> None:
    if as_json:
        keys = [{"kid": kid, "fingerprint": ring.fingerprint(kid)} for kid in ring.kids()]
        print(json.dumps({"primary": ring.primary, "keys": keys} | more, indent=2))
        return
    print(
        f"The keys are now {', '.join(ring.kids())}; new secrets are sealed with {ring.primary}. A running service reads them "
        "on SIGHUP."
    )

"""`connectory schedule` and `connectory webhook`: show, set, delete; and `connectory history`. As the service does it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

import typer

from connectory.commands.shared import JSON, acting, catalog_now, settings_now, warn

if TYPE_CHECKING:
    from connectory.catalog.catalog import Catalog
    from connectory.settings import Settings
    from connectory.store.engine import Store
    from connectory.vault import Vault

schedule = typer.Typer(
    help="Schedules: a connection tested, and its datasets checked, again and again by the running service.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
webhook = typer.Typer(
    help="Webhooks: where it is told that a connection or a dataset has changed for better or worse.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Key = Annotated[str, typer.Argument(metavar="KEY", help="Key of the connection.")]
_UNABLE = 1
_SECRET_LIMIT = 4096
"""Characters that are read of a secret; more than one may have."""


@schedule.command("show")
def schedule_show(key: _Key, as_json: JSON = False) -> None:
    """Show what is done of a connection again and again, when it is due, and when it last ran."""
    with _at_hand() as holdings:
        from connectory.api.watching.schedules import read_schedule

        _print_schedule(read_schedule(holdings, key), as_json)


@schedule.command("set")
def schedule_set(
    key: _Key,
    test_every: Annotated[
        str, typer.Option(metavar="INTERVAL", help="How often to test it, like 15m, 6h or 1d. Default: never.")
    ] = "",
    check_every: Annotated[
        str, typer.Option(metavar="INTERVAL", help="How often to check each of its datasets. Default: never.")
    ] = "",
    as_json: JSON = False,
) -> None:
    """Replace the schedule of a connection. What keeps its interval is due when it was.

    Exit code 0 where it is done, 2 where something was asked for wrongly.
    """
    with _at_hand() as holdings:
        import orjson

        from connectory.api.watching.schedules import set_schedule

        every = {"test_every": test_every, "check_every": check_every}
        body = orjson.dumps({name: interval for name, interval in every.items() if interval})
        _print_schedule(set_schedule(holdings, key, body, acting("schedule set")), as_json)


@schedule.command("delete")
def schedule_delete(key: _Key) -> None:
    """End the schedule of a connection. What runs by it goes on to its end."""
    with _at_hand() as holdings:
        from connectory.api.watching.schedules import end_schedule

        end_schedule(holdings, key, acting("schedule delete"))


@webhook.command("show")
def webhook_show(key: _Key, as_json: JSON = False) -> None:
    """Show where changes of a connection are told, and how the last call went. Never the secret."""
    with _at_hand() as holdings:
        from connectory.api.watching.webhooks import read_webhook

        _print_webhook(read_webhook(holdings, key), as_json)


@webhook.command("set")
def webhook_set(
    key: _Key,
    url: Annotated[str, typer.Argument(metavar="URL", help="https; or http, where it is on loopback.")],
    as_json: JSON = False,
) -> None:
    """Replace the webhook of a connection. The secret that calls are signed with is read from standard input.

    The egress policy of the settings has to allow the address; the host is resolved, and nothing is called.
    Exit code 0 where it is done, 2 where something was asked for wrongly.
    """
    with _at_hand() as holdings:
        import orjson

        from connectory.api.http.bodies import parse_body
        from connectory.api.stored.lookup import find_connection
        from connectory.api.watching.webhooks import WebhookToSet, refuse_address, set_webhook, wanted_target
        from connectory.checks.egress_check import check_egress

        with holdings.store.read() as database:
            find_connection(database, key)
        body = {"url": url, "secret": _secret()}
        wanted = parse_body(orjson.dumps(body), WebhookToSet)
        target = wanted_target(wanted)
        refuse_address(target, check_egress(holdings.settings.egress_policy, target.host, target.port))
        _print_webhook(set_webhook(holdings, key, wanted, acting("webhook set")), as_json)


@webhook.command("delete")
def webhook_delete(key: _Key) -> None:
    """Have changes of a connection told no more. What has still to be told is not told."""
    with _at_hand() as holdings:
        from connectory.api.watching.webhooks import end_webhook

        end_webhook(holdings, key, acting("webhook delete"))


def history(
    key: _Key,
    size: Annotated[int, typer.Option(min=1, max=100, help="Verdicts to show, the newest first.")] = 50,
    as_json: JSON = False,
) -> None:
    """List how a connection and its datasets were over time: tests and checks, by schedule and by hand."""
    with _at_hand() as holdings:
        from connectory.api.watching.history import read_history

        page = read_history(holdings, key, 1, size)
    if as_json:
        _print_json(page)
        return
    for one in page["items"]:
        what = f"check {one['dataset']}" if one["dataset"] else one["kind"]
        found = f" coverage={one['coverage']} findings={one['findings']}" if one["coverage"] is not None else ""
        failed = f" {one['failure_code']}" if one["failure_code"] else ""
        print(f"{_at(one['at'])}  {what}  {one['outcome']}{failed}{found}  by {one['by']}")


@dataclass(frozen=True)
class _Holdings:
    """See `connectory.api.node.means.Holdings`. Keys and connectors are loaded where they are needed."""

    settings: Settings
    store: Store

    @cached_property
    def vault(self) -> Vault:
        from connectory.keys import open_vault

        return open_vault(self.settings, self.store, warn=warn)

    @property
    def catalog(self) -> Catalog:
        return catalog_now()


@contextmanager
def _at_hand() -> Iterator[_Holdings]:
    """The local store; what is refused is told, with exit code 2."""
    from connectory.commands.discovering import telling
    from connectory.startup import open_database

    settings = settings_now()
    with telling(_UNABLE), open_database(settings) as store:
        yield _Holdings(settings, store)


def _secret() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("Secret", hide_input=True, err=True))
    return sys.stdin.read(_SECRET_LIMIT).rstrip("\r\n")


def _print_schedule(shown: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _print_json(shown)
        return
    for kind in ("test", "check"):
        if shown[f"{kind}_every"] is not None:
            due, ran = _at(shown[f"{kind}_due_at"]), _at(shown[f"{kind}_ran_at"])
            print(f"{kind} every={shown[f'{kind}_every']} due={due} ran={ran}")
    if shown["paused"]:
        print("paused: the connection is disabled")


def _print_webhook(shown: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _print_json(shown)
        return
    import orjson

    print(f"url={shown['url']} pending={shown['pending']}")
    last = shown["last_delivery"]
    if last is not None:
        one = orjson.loads(orjson.dumps(last))
        answer = one["status"] or one["failure_code"]
        print(f"last call: {one['state']} at={one['at']} attempts={one['attempts']} answer={answer}")


def _at(moment: Any) -> str:
    return "-" if moment is None else moment.isoformat()


def _print_json(value: Any) -> None:
    import orjson

    print(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())

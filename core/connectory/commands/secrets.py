"""`connectory secrets`: rotate, status."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from connectory.commands.shared import JSON, acting, settings_now, warn

if TYPE_CHECKING:
    from connectory.store.sealed_rows import UnreadableRow

app = typer.Typer(help="The stored secrets and the keys they need.", no_args_is_help=True, rich_markup_mode=None)


@app.command("rotate")
def rotate_secrets(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Open every row and write none.")] = False,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Rows to a transaction.")] = 100,
    as_json: JSON = False,
) -> None:
    """Seal with the primary key what other keys sealed. Can be stopped, repeated, and run while the service runs.

    Prints how many connections it has sealed again, how many it skipped because they were changed or deleted meanwhile,
    and how many failed because their secrets cannot be opened, whichever key sealed them; then the first 100 of those.
    Exit code 1 where some failed. At a terminal a bar shows how far it is.
    """
    from connectory.keys import open_vault
    from connectory.startup import open_database
    from connectory.store.rotation import rotate

    settings = settings_now()
    with open_database(settings) as store, _bar() as progress:
        vault = open_vault(settings, store, warn=warn)
        result = rotate(store, vault, batch, dry_run, actor=acting("secrets rotate"), progress=progress)
    counts = {"re_encrypted": result.re_encrypted, "skipped": result.skipped, "failed": result.failed}
    if as_json:
        print(json.dumps(counts | {"failures": [_item(row) for row in result.failures]}, indent=2))
    else:
        print(" ".join(f"{name}={count}" for name, count in counts.items()))
        for row in result.failures:
            print(f"failed {_line(row)}")
        if unnamed := result.failed - len(result.failures):
            print(f"and {unnamed} more; `connectory secrets status` names all.")
    if result.failed:
        raise typer.Exit(1)


@app.command("status")
def secrets_status(as_json: JSON = False) -> None:
    """Show how many connections each key has sealed, and which cannot be read. Exit code 1 where some cannot."""
    from connectory.keys import open_vault
    from connectory.startup import open_database
    from connectory.store.rotation import status, unreadable_rows

    settings = settings_now()
    with open_database(settings) as store:
        vault = open_vault(settings, store, warn=warn)
        found, unreadable = status(store, vault), unreadable_rows(store, vault)
    if as_json:
        answer = {
            "primary": vault.ring.primary,
            "rows_by_kid": dict(found.rows_by_kid),
            "missing_kids": sorted({*found.missing_kids, *found.mismatched_kids}),
            "unreadable": [_item(row) for row in unreadable],
        }
        print(json.dumps(answer, indent=2))
    else:
        print(f"primary={vault.ring.primary}")
        for kid, count in found.rows_by_kid.items():
            print(f"kid={kid} rows={count}")
        for row in unreadable:
            print(f"unreadable {_line(row)}")
    if unreadable:
        raise typer.Exit(1)


def _item(row: UnreadableRow) -> dict[str, Any]:
    return {"key": row.key, "field": row.field, "kid": row.kid, "reason": row.reason}


def _line(row: UnreadableRow) -> str:
    return " ".join(f"{name}={value}" for name, value in _item(row).items())


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """What is told how far the work is: a bar at a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("Connections", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("rotate", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=max(done, total))

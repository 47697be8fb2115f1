"""What the commands of `connectory dataset` do: the same as the service's, in this process, without a request."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import typer
from pydantic import ValidationError

from connectory.api.datasets.check_runs import run_check
from connectory.api.datasets.datasets import no_dataset
from connectory.api.datasets.discovery import begin, connector_of, load_connection, new_id
from connectory.api.datasets.discovery_runs import Subject, run_discovery
from connectory.api.datasets.discovery_shapes import DiscoveryRequest, Scope
from connectory.api.http.errors import Refused
from connectory.api.node.check_runner import runner_of
from connectory.api.node.store_threads import StoreThreads
from connectory.catalog.catalog import Catalog
from connectory.checks.runner import CheckRunner
from connectory.commands.shared import CommandFailed, acting, catalog_now, lines_of, settings_now, told, warn
from connectory.keys import open_vault
from connectory.settings import Settings
from connectory.startup import open_database
from connectory.store.connections import StoredConnection
from connectory.store.datasets import get, list_datasets
from connectory.store.engine import Store
from connectory.store.timestamps import utc_now
from connectory.vault import Vault

_EVERY = 500
"""Where there is no terminal, a line of progress appears each time this many more collections have been read."""
_PAGE = 50


class AskedWrongly(CommandFailed):
    """What was asked for cannot be, whatever the connection does."""


@contextmanager
def telling(unable: int) -> Iterator[None]:
    """What cannot be done is one line on standard error: exit code 2 where it was asked for wrongly, else `unable`."""
    try:
        yield
    except Refused as problem:
        typer.echo("\n".join(_lines_of(problem)), err=True)
        raise typer.Exit(2) from None
    except AskedWrongly as problem:
        typer.echo(str(problem), err=True)
        raise typer.Exit(2) from None
    except told() as problem:
        typer.echo(lines_of(problem), err=True)
        raise typer.Exit(unable) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None  # as a shell has it; click's own is 1, which means something else here


def _lines_of(problem: Refused) -> Iterator[str]:
    if isinstance(problem.detail, str):
        yield problem.detail
        return
    for one in problem.detail:
        place = ".".join(map(str, one["loc"][1:]))  # without `body`, which a command has none of
        yield f"{place}: {one['msg']}" if place else one["msg"]


def discover(key: str, schemas: list[str], merge: str, sample: int) -> dict[str, Any]:
    """The members of `Discovery`, also where it failed. It is kept as any other, and can be read by its id.

    Raises:
        AskedWrongly, Refused: something was asked for wrongly.
    """
    try:
        wanted = DiscoveryRequest(scope=Scope(schemas=schemas) if schemas else None, sample=sample)
    except ValidationError:
        raise AskedWrongly("--schema takes up to 100 names, of 1 to 1024 characters each.") from None
    return asyncio.run(_discover(key, merge, wanted, catalog_now()))


def check_datasets(key: str, fides_key: str) -> list[dict[str, Any]]:
    """For each dataset of the connection, or for one, its `fides_key` and the members of `DatasetCheck`.

    Where one fails, the rest is not tried: it is the connection that does not work.

    Raises:
        AskedWrongly, Refused: something was asked for wrongly.
    """
    return asyncio.run(_check(key, fides_key, catalog_now()))


async def _discover(key: str, merge: str, wanted: DiscoveryRequest, catalog: Catalog) -> dict[str, Any]:
    async with _at_work(catalog) as means:
        connection, envelope, stored = await means.threads.read(load_connection, means, key, merge)
        connector, who = connector_of(means, connection), acting("dataset generate")
        await means.runner.start()
        with _progress(key) as seen:
            subject = Subject(new_id(), utc_now(), connection, connector, envelope, wanted, who, stored, seen)
            await means.threads.write(begin, means, subject)
            answer: dict[str, Any] = orjson.loads(await run_discovery(means, subject))
            return answer


async def _check(key: str, fides_key: str, catalog: Catalog) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    async with _at_work(catalog) as means:
        connection, envelope, _ = await means.threads.read(load_connection, means, key)
        datasets = await means.threads.read(_datasets, means, connection, fides_key)
        connector, who = connector_of(means, connection), acting("dataset check")
        await means.runner.start()
        for name, dataset in datasets:
            with _progress(name) as seen:
                wanted = DiscoveryRequest()
                subject = Subject("", utc_now(), connection, connector, envelope, wanted, who, seen=seen)
                answers.append({"fides_key": name, **(await run_check(means, subject, name, dataset)).answer})
            if answers[-1]["status"] == "failed":
                break
    return answers


@dataclass(frozen=True)
class _Means:
    """See `connectory.api.datasets.discovery_runs.Means`."""

    settings: Settings
    store: Store
    vault: Vault
    catalog: Catalog
    runner: CheckRunner
    threads: StoreThreads


@asynccontextmanager
async def _at_work(catalog: Catalog) -> AsyncIterator[_Means]:
    """The parts of a service; its runner has to be started, which is not done for what is refused."""
    settings = settings_now()
    with open_database(settings) as store:
        vault = open_vault(settings, store, warn=warn)
        means = _Means(settings, store, vault, catalog, runner_of(settings), StoreThreads(store))
        try:
            yield means
        finally:
            await means.runner.stop()
            means.threads.close()


def _datasets(means: _Means, connection: StoredConnection, fides_key: str) -> list[tuple[str, str]]:
    """Keys and texts of the datasets to check, by key."""
    with means.store.read() as database:
        if fides_key:
            found = get(database, connection.id, fides_key)
            if found is None:
                raise no_dataset(connection, fides_key, "connection key")
            return [(found.fides_key, found.dataset)]
        rows, total = list_datasets(database, connection.id, size=_PAGE)
        for page in range(2, -(-total // _PAGE) + 1):
            rows += list_datasets(database, connection.id, page=page, size=_PAGE)[0]
    if not rows:
        raise AskedWrongly(
            f"The connection '{connection.key}' has no datasets; `connectory dataset generate` makes them."
        )
    return sorted((row.fides_key, row.dataset) for row in rows)


@contextmanager
def _progress(what: str) -> Iterator[Callable[[], None]]:
    """What is told of each collection that was seen: a line that counts at a terminal, now and then a line elsewhere."""
    if not sys.stderr.isatty():
        count = 0

        def seen() -> None:
            nonlocal count
            count += 1
            if count % _EVERY == 0:
                typer.echo(f"{what}: {count} collections so far", err=True)

        typer.echo(f"{what}: looking", err=True)
        yield seen
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.completed} collections so far"), TimeElapsedColumn()
    with Progress(what, *columns, console=Console(stderr=True, markup=False), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda: progress.advance(task)


def writable(path: Path) -> Path:
    """The file that a path names, where it can be written as a whole.

    Raises:
        AskedWrongly: it cannot.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise AskedWrongly(f"{path} is not a file; leave --out away to print.")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise AskedWrongly(f"{path} cannot be written: its folder is not there, or you may not write to it.")
    return target


def write_whole(path: Path, text: str) -> None:
    """Write a file at once: whoever reads it meanwhile, or after a crash, has the old one or this one. It keeps its mode.

    Raises:
        CommandFailed: it could not be written.
    """
    draft = path.with_name(f".connectory-{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if path.exists():
                os.fchmod(descriptor, path.stat().st_mode & 0o777)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except OSError as error:
        raise CommandFailed(f"{path} cannot be written ({os.strerror(error.errno or 0)}).") from None
    finally:
        draft.unlink(missing_ok=True)

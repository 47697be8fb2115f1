"""`connectory dataset`: generate, check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from connectory.commands.shared import JSON

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(
    help="Datasets: what a connection holds, and whether they still fit.", no_args_is_help=True, rich_markup_mode=None
)

FINDINGS, UNREACHABLE = 1, 3
"""Exit codes of `check`; the second of `generate` too. 2 is for what was asked for wrongly."""

_Key = Annotated[str, typer.Argument(metavar="KEY", help="Key of the connection.")]


@app.command("generate")
def generate(
    key: _Key,
    schema: Annotated[
        list[str] | None, typer.Option(help="Only this schema; repeatable. Default: all that the connection is for.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write. Default: standard output.")] = None,
    merge: Annotated[
        str,
        typer.Option(metavar="FIDES_KEY", help="Add what is new to this dataset of the connection, and print that."),
    ] = "",
    sample: Annotated[
        int, typer.Option(min=1, max=10_000, help="Documents to look at where nothing states the fields.")
    ] = 1000,
    as_json: JSON = False,
) -> None:
    """Look at what a connection holds, and print it as datasets: YAML, with the same bytes each time.

    Stores no dataset, and changes nothing behind the connection. The file is written as a whole or not at all. Where the
    connection is for reading and its account can write, that is said with the statements that take it away. With --json the
    answer of `POST /connection/{key}/discovery` is printed, with suggestions and the report on the account's rights.
    Exit code 0 where it is done, 2 where something was asked for wrongly, 3 where the connection could not be looked at.
    """
    from connectory.commands.discovering import discover, telling, writable, write_whole
    from connectory.discovery.dataset_file import dataset_file

    with telling(UNREACHABLE):
        target = None if out is None else writable(out)
        answer = discover(key, schema or [], merge, sample)
        if as_json:
            print(_rendered(answer))
        if answer["status"] == "failed":
            typer.echo(_failure(key, answer), err=True)
            raise typer.Exit(UNREACHABLE)
        if target is not None:
            write_whole(target, dataset_file(answer["datasets"]))
        elif not as_json:
            print(dataset_file(answer["datasets"]), end="")
    typer.echo("\n".join([_found(answer), *_excess(answer["access_report"])]), err=True)


@app.command("check")
def check(
    key: _Key,
    dataset: Annotated[str, typer.Argument(help="fides_key of a dataset. Default: all of the connection's.")] = "",
    coverage_threshold: Annotated[
        int, typer.Option(min=0, max=100, help="Percent of the fields that a dataset has to have.")
    ] = 100,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(help="Codes of findings, with commas between them, that count; repeatable. Default: all."),
    ] = None,
    as_json: JSON = False,
) -> None:
    """Compare datasets with what their connection holds. Changes neither.

    Exit code 0 where nothing was found, 1 where there are findings that count or the coverage is below the threshold, 2 where
    something was asked for wrongly, 3 where the connection could not be looked at.
    """
    from connectory.commands.discovering import check_datasets, telling

    counting = _codes(fail_on)
    with telling(UNREACHABLE):
        answers = check_datasets(key, dataset)
    if as_json:
        print(_rendered(answers))
    for answer in answers:
        if answer["status"] == "failed":
            typer.echo(_failure(answer["fides_key"], answer), err=True)
        elif not as_json:
            print("\n".join(_lines(answer)))
    if any(answer["status"] == "failed" for answer in answers):
        raise typer.Exit(UNREACHABLE)
    if any(answer["coverage"] < coverage_threshold or counting & answer["counts"].keys() for answer in answers):
        raise typer.Exit(FINDINGS)


def _codes(given: list[str] | None) -> frozenset[str]:
    from connectory.drift.codes import Code

    known = [code.value for code in Code]
    if given is None:
        return frozenset(known)
    words = [word.strip() for text in given for word in text.split(",")]
    if unknown := [word for word in words if word not in known]:
        raise typer.BadParameter(f"{unknown[0]!r} is none of: {', '.join(known)}", param_hint="'--fail-on'")
    return frozenset(words)


def _rendered(answer: Any) -> str:
    import orjson

    return orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode()


def _failure(name: str, answer: dict[str, Any]) -> str:
    fields = f" Fields: {', '.join(answer['failure_fields'])}." if answer["failure_fields"] else ""
    return _shown(f"{name}: {answer['failure_code']}: {answer['failure_reason']}{fields}")


def _found(answer: dict[str, Any]) -> str:
    collections = sum(len(dataset["collections"]) for dataset in answer["datasets"])
    datasets, collections_told = _told(len(answer["datasets"]), "dataset"), _told(collections, "collection")
    said = f"{datasets} with {collections_told}; {len(answer['left_out'])} left out"
    suggested = len(answer["suggestions"])
    looks = f"{_told(suggested, 'field')} look{'s' if suggested == 1 else ''} like personal data (--json lists them)"
    return f"{said}; {looks}." if suggested else f"{said}."


def _told(number: int, thing: str) -> str:
    """`1 dataset`, `2 datasets`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _excess(report: dict[str, Any] | None) -> Iterator[str]:
    """What the account can do that the connection is not for, and what takes that away."""
    if report is None or report["finding"] != "can_write":
        return
    number = len(report["excess"])
    yield f"The connection is for reading, and its account can write to {_told(number, 'collection')}; what takes that away:"
    yield from (_shown(f"  {statement}") for statement in report["remedy"][:_MOST_REMEDIES])
    if more := len(report["remedy"][_MOST_REMEDIES:]):
        yield f"  and {more} more (--json lists them)."


_MOST_REMEDIES = 10


def _lines(answer: dict[str, Any]) -> Iterator[str]:
    found = sum(answer["counts"].values())
    yield _shown(f"{answer['fides_key']}  coverage={answer['coverage']} findings={found}")
    for finding in answer["findings"]:
        field = finding.get("field", ())
        place = ".".join([finding["collection"], *([field] if isinstance(field, str) else field)])
        yield _shown(f"  {finding['severity']}  {finding['code']}  {place}  {finding['message']} {finding['remedy']}")
    if answer["findings_left_out"]:
        yield f"  and {answer['findings_left_out']} more."


def _shown(text: str) -> str:
    """The text as one line: names are of whoever runs the database, and a terminal obeys some characters."""
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)

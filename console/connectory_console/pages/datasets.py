"""The datasets of a connection: list, edit as YAML or JSON, compare, save.

A large one takes seconds to read and to compare: that is done in threads, so that nobody else waits for it.
"""

from __future__ import annotations

import asyncio
import difflib
import json
from typing import Any

from starlette.responses import Response

from connectory_console.api import ApiFailed, segment
from connectory_console.languages import gettext as _
from connectory_console.members import PARTS
from connectory_console.pages.connection import path_of
from connectory_console.types import names_of_types
from connectory_console.web import Visit, problems_as_data
from connectory_console.yaml_text import Read, YamlInvalid, read_yaml, write_yaml

_SIZE = 50
_SHOWN_CATEGORIES = 30
_MOST_DIFFERENCES = 4000
_SAMPLE = """fides_key: my_dataset
name: My dataset
collections:
  - name: customer
    fields:
      - name: id
        data_categories: [system.operations]
      - name: email
        data_categories: [user.contact.email]
"""


async def show(visit: Visit) -> Response:
    """Those that are stored."""
    return await _list(visit)


async def _list(visit: Visit, problem: str = "", status: int = 200) -> Response:
    path = path_of(visit)
    connection, types = await asyncio.gather(visit.api.get(path), names_of_types(visit))
    about = types.get(connection["connection_type"], {})
    number = visit.page_number()
    size, listed = _SIZE, None
    while listed is None:
        try:
            listed = await visit.api.get(f"{path}/dataset", page=number, size=size)
        except ApiFailed as failed:
            if failed.status != 422 or size == 1:  # their texts together take more than one answer holds
                raise
            size = max(1, size // 4)
    return visit.page(
        "datasets.html",
        status,
        connection=connection,
        listed=listed,
        number=number,
        discovers="discovery" in about.get("supported_actions", ()),
        problem=problem,
    )


async def edit(visit: Visit) -> Response:
    """The editor: of the stored dataset that the address names, or of a new one."""
    fides_key = visit.query("dataset")
    text = _SAMPLE
    if fides_key:
        dataset = await visit.api.get(f"{path_of(visit)}/dataset/{segment(fides_key)}")
        text = await asyncio.to_thread(_as_text, dataset, visit.query("format"))
    return await _editor(visit, text)


async def act(visit: Visit) -> Response:
    """Check what was entered, and show what would change; or save it."""
    form = await visit.form()
    text, action = form.get("text", ""), form.get("do", "check")
    if action == "words":
        return await _editor(visit, text, asked=form.get("category", "").strip()[:200])
    if action in {"yaml", "json"}:
        return await _converted(visit, text, action)
    try:
        read = await asyncio.to_thread(read_yaml, text)
    except YamlInvalid as problem:
        return await _editor(visit, text, [(problem.line, str(problem))])
    path = f"{path_of(visit)}/dataset"
    try:
        query = None if action == "save" else {"dry_run": "true"}
        saved = (await visit.api.send("PATCH", path, json=read.datasets, query=query)).json()
    except ApiFailed as failed:
        if failed.status != 422 or not failed.problems:
            raise
        return await _editor(visit, text, _at_lines(read, failed))
    if saved["failed"]:
        told = [(read.line_of((_index(read, found), "fides_key")), _reason(read, found)) for found in saved["failed"]]
        return await _editor(visit, text, told)
    if action == "save":
        return visit.go(f"/connections/{segment(visit.request.path_params['key'])}/datasets", "dataset-saved")
    ignored = [place for found in saved["succeeded"] for place in found.get("ignored", [])]
    return await _editor(visit, text, changes=await _changes(visit, saved["succeeded"]), ignored=ignored)


async def delete(visit: Visit) -> Response:
    """Delete one dataset, given that its key was typed."""
    form = await visit.form()
    fides_key = form.get("dataset", "")
    if form.get("typed", "").strip() != fides_key:
        told = {"typed": _("Type the key, %(key)s, to delete the dataset.", key=fides_key)}
        if visit.wants_data:
            return problems_as_data(told, _("Nothing is deleted."))
        raise ApiFailed(422, told["typed"])
    await visit.api.send("DELETE", f"{path_of(visit)}/dataset/{segment(fides_key)}")
    return visit.go(f"/connections/{segment(visit.request.path_params['key'])}/datasets", "dataset-deleted")


async def discover(visit: Visit) -> Response:
    """Look at what the connection holds, and open the editor with it: all of it, or a stored dataset with what is new."""
    merge = (await visit.form()).get("dataset", "")
    answer = await visit.api.send(
        "POST",
        f"{path_of(visit)}/discovery",
        query={"merge": merge},
        headers={"Prefer": "wait"},
        patient=True,
    )
    found = answer.json()
    if found["status"] != "complete":
        return await _list(visit, found.get("failure_reason") or _("Looking takes long. Try again in a minute."), 422)
    datasets = found["datasets"]
    if not any(dataset["collections"] for dataset in datasets):
        return await _list(visit, _("It holds nothing that these secrets may see."), 422)
    text = await asyncio.to_thread(_as_text, datasets[0] if len(datasets) == 1 else datasets, "yaml")
    return await _editor(visit, text, found=found)


async def _converted(visit: Visit, text: str, form: str) -> Response:
    try:
        found = (await asyncio.to_thread(read_yaml, text)).datasets
    except YamlInvalid as problem:
        return await _editor(visit, text, [(problem.line, str(problem))])
    return await _editor(visit, await asyncio.to_thread(_as_text, found[0] if len(found) == 1 else found, form))


def _as_text(dataset: Any, form: str) -> str:
    return json.dumps(dataset, indent=2, ensure_ascii=False) + "\n" if form == "json" else write_yaml(dataset)


def _at_lines(read: Read, failed: ApiFailed) -> list[tuple[int, str]]:
    told = []
    for problem in failed.problems:
        inside = tuple(part for part in problem.path if part != "body")
        place = ".".join(map(str, inside[1:])) if inside and isinstance(inside[0], int) else ".".join(map(str, inside))
        told.append((read.line_of(inside), f"{place}: {problem.message}" if place else problem.message))
    return sorted(told)


def _reason(read: Read, failed: dict[str, Any]) -> str:
    key = failed["data"].get("fides_key")
    if sum(isinstance(found, dict) and found.get("fides_key") == key for found in read.datasets) > 1:
        return str(failed["message"])
    return _(
        "%(message)s It belongs to another connection: change it there, or give this one another key.",
        message=failed["message"],
    )


def _index(read: Read, failed: dict[str, Any]) -> int:
    key = failed["data"].get("fides_key")
    places = [n for n, found in enumerate(read.datasets) if isinstance(found, dict) and found.get("fides_key") == key]
    return places[-1] if places else 0


async def _changes(visit: Visit, datasets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What saving would change, for each dataset: the lines of a comparison, and whether it is new."""
    changes = []
    for dataset in datasets:
        fresh = {name: value for name, value in dataset.items() if name != "ignored"}
        try:
            stored = await visit.api.get(f"{path_of(visit)}/dataset/{segment(dataset['fides_key'])}")
        except ApiFailed as failed:
            if failed.status != 404:
                raise
            stored = None
        lines = await asyncio.to_thread(_compared, stored, fresh)
        changes.append({"fides_key": dataset["fides_key"], "new": stored is None, "lines": lines})
    return changes


def _compared(stored: dict[str, Any] | None, fresh: dict[str, Any]) -> list[str]:
    before = [] if stored is None else write_yaml(stored).splitlines()
    return list(difflib.unified_diff(before, write_yaml(fresh).splitlines(), lineterm="", n=3))[2:][:_MOST_DIFFERENCES]


async def _editor(
    visit: Visit,
    text: str,
    problems: list[tuple[int, str]] | None = None,
    *,
    changes: list[dict[str, Any]] | None = None,
    ignored: list[str] | None = None,
    found: dict[str, Any] | None = None,
    asked: str | None = None,
) -> Response:
    """The page, with the data categories that have what was `asked` for."""
    connection = await visit.api.get(path_of(visit))
    categories = None if asked is None else await visit.attempt("/data_category", search=asked, size=_SHOWN_CATEGORIES)
    lines = text.splitlines()
    marked = [
        {"line": line, "message": message, "text": lines[line - 1] if 0 < line <= len(lines) else ""}
        for line, message in problems or []
    ]
    return visit.page(
        "dataset_edit.html",
        422 if marked else 200,
        connection=connection,
        text=text,
        problems=marked,
        changes=changes,
        ignored=ignored or [],
        found=found,
        fides_key=visit.query("dataset"),
        parts=PARTS,
        categories=categories,
        asked=asked or "",
    )

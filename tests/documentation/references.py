"""The pages under `docs/reference`, made from the code."""

import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from connectory import FailureCode
from connectory.contract import hookspecs
from connectory.settings import Settings
from connectory.testing import LoadedConnector, build_catalog
from connectory.testing.conformance import RULES
from documentation.pages import ROOT

MADE = "<!-- Made from the code: CONNECTORY_UPDATE_GOLDEN=1 .venv/bin/python -m pytest tests/documentation/test_references.py -->"


_OURS = {"connectory", *(f"connectory-{path.parent.name}" for path in ROOT.glob("plugins/*/pyproject.toml"))}
"""The distributions of this repository; other tests install others beside them."""


def table(*rows: tuple[str, ...]) -> Iterator[str]:
    """A table, whose first row is its head."""
    head, *rest = rows
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    yield from ("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rest)


def wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 130)


def paragraph(text: str) -> str:
    return " ".join(text.split())


def hooks() -> Iterator[str]:
    yield "# Hooks"
    yield ""
    yield from wrapped(
        "What the service calls (pluggy). A class derived from `Connector` answers them from its attributes and methods; a "
        "module or an object with functions marked `@hookimpl` works as well. A function takes those of the arguments that "
        "it names."
    )
    for name in (*hookspecs.REQUIRED_HOOKS, *hookspecs.OPTIONAL_HOOKS):
        hook: Any = getattr(hookspecs, name)
        signature = str(inspect.signature(hook)).replace("'", "")
        yield ""
        yield f"## `{name}`"
        yield ""
        yield f"{'Required' if name in hookspecs.REQUIRED_HOOKS else 'Optional'}."
        yield ""
        yield f"```text\n{name}{signature}\n```"
        yield ""
        yield f"```text\n{inspect.getdoc(hook)}\n```"


def failure_codes() -> Iterator[str]:
    yield "# Failure codes"
    yield ""
    yield from wrapped(
        "Why a connection test failed: `failure_code` in REST, `FailureCode` in Python. Decide by the code; the sentence is for "
        "people, and a connector may say a more fitting one. `{key}` is the connection's key."
    )
    yield ""
    yield from table(
        ("code", "in Python", "sentence"), *((f"`{one.value}`", f"`{one.name}`", one.reason) for one in FailureCode)
    )


def settings() -> Iterator[str]:
    yield "# Settings of the service"
    yield ""
    yield "Environment variables. `connectory settings` shows them with their values, and those that installed plugins declare."
    yield ""
    prefix = Settings.model_config.get("env_prefix", "")
    rows = []
    for name, field in sorted(Settings.model_fields.items()):
        default = field.get_default(call_default_factory=False)
        shown = (
            ""
            if default is None or default == () or default == {}
            else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        )
        rows.append((f"`{prefix}{name.upper()}`", shown, paragraph(field.description or "")))
    yield from table(("variable", "default", "what it is for"), *rows)


def conformance() -> Iterator[str]:
    yield "# Rules of the conformance kit"
    yield ""
    yield "What `ConnectorConformance` asks of every connector, and why. `connectory check-plugin` reports each."
    yield ""
    yield from table(
        ("rule", "what it asks, and why", "to fix it", "what it needs"),
        *((rule.name, rule.why, rule.fix, rule.needs or "") for rule in RULES),
    )


def connectors() -> Iterator[str]:
    yield "# Connectors and their fields"
    yield ""
    yield from wrapped(
        "What the connectors of this repository ask for. `GET /api/v1/connection_type` lists others too, and what deployers "
        "define in files."
    )
    for connector in build_catalog().connectors.values():
        if connector.record.distribution in _OURS:
            yield ""
            yield from _connector(connector)


def _connector(connector: LoadedConnector) -> Iterator[str]:
    yield f"## {connector.description.human_readable}"
    yield ""
    yield f"`{connector.identifier}`, type `{connector.system_type}`, from `{connector.record.distribution}`."
    yield ""
    required = connector.schema["required"]
    rows = [
        (
            f"`{name}`",
            ", ".join([_type(field), *(["sensitive"] if field.get("sensitive") else [])]),
            "required" if name in required else (f"`{field['default']}`" if "default" in field else ""),
            paragraph(field.get("description", field["title"])),
        )
        for name, field in connector.schema["properties"].items()
    ]
    yield from table(("field", "type", "default", "what it is"), *rows) if rows else ["It asks for nothing."]


def _type(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_type(one) for one in field["anyOf"])
    return str(field.get("type", "any JSON value"))


PAGES: dict[str, Callable[[], Iterator[str]]] = {
    "hooks": hooks,
    "failure-codes": failure_codes,
    "settings": settings,
    "conformance": conformance,
    "connectors": connectors,
}
"""What makes each page, by its name."""


def rendered(page: str) -> str:
    """The text of a page."""
    return "\n".join([MADE, "", *PAGES[page]()]) + "\n"

"""The web console, where one is installed: found by its entry point, mounted at `/console`, and otherwise not there at all."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from connectory.console_link import GROUP
from connectory.settings import Settings
from connectory.startup import CannotStart

PATH = "/console"


def open_console(settings: Settings, own_address: str) -> Any | None:
    """The console as a Starlette application, which has a lifespan of its own; `None` where none is installed.

    It is a consumer of the REST API like any other, and gets nothing but addresses.

    Args:
        own_address: where this process listens, as `http://127.0.0.1:8000`.

    Raises:
        CannotStart: it is installed and does not open.
    """
    # The first by name where there are several.
    entry = min(entry_points(group=GROUP), key=lambda found: (found.name, found.value), default=None)
    if entry is None:
        return None
    try:
        return entry.load()(api_url=own_address, public_url=settings.public_url, home=settings.home)
    except Exception as problem:  # it is another distribution's code
        said = f"{type(problem).__name__}: {problem}"
        raise CannotStart(
            f"The console ({entry.value}) does not start ({said}); correct that, or run: pip uninstall connectory-console"
        ) from None

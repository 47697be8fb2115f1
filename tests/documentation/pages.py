"""The commands and the JSON that a page shows."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)")


@dataclass(frozen=True)
class Example:
    """One command of a page, and the JSON that stands right after it, if any."""

    command: str
    answer: str | None


def blocks(page: Path | str) -> list[tuple[str, str]]:
    """The fenced blocks of a page, or of the text of one: language and text."""
    return _FENCE.findall(page.read_text() if isinstance(page, Path) else page)


def examples(page: Path) -> list[Example]:
    """Every `sh` block, with the `json` block that follows it directly in the list of blocks."""
    found: list[Example] = []
    previous = ""
    for language, text in blocks(page):
        if language == "sh":
            found.append(Example(text, None))
        elif language == "json" and previous == "sh":
            found[-1] = Example(found[-1].command, text)
        previous = language
    return found


def differences(shown: object, answered: object, place: str = "") -> list[str]:
    """Where an answer is not what the page shows.

    Timestamps, and the times that steps take, are compared by their form. `"…"` stands for any value, and as the last
    item of a list for any further items.
    """
    if shown == "…" or (place.endswith(("elapsed_ms", "expires_in")) and isinstance(answered, int | float)):
        return []
    if (
        isinstance(shown, str)
        and isinstance(answered, str)
        and _TIMESTAMP.fullmatch(shown)
        and _TIMESTAMP.fullmatch(answered)
    ):
        return []
    if isinstance(shown, dict) and isinstance(answered, dict):
        problems = [f"{place}: {name} is missing" for name in shown.keys() - answered.keys()]
        problems += [f"{place}: {name} is not on the page" for name in answered.keys() - shown.keys()]
        for name in shown.keys() & answered.keys():
            problems += differences(shown[name], answered[name], f"{place}.{name}")
        return problems
    if isinstance(shown, list) and isinstance(answered, list):
        if shown and shown[-1] == "…":
            shown, answered = shown[:-1], answered[: len(shown) - 1]
        if len(shown) != len(answered):
            return [f"{place}: {len(shown)} items on the page, {len(answered)} answered"]
        return [
            problem
            for number, pair in enumerate(zip(shown, answered, strict=True))
            for problem in differences(*pair, f"{place}[{number}]")
        ]
    return [] if shown == answered else [f"{place}: the page shows {shown!r}, the answer is {answered!r}"]

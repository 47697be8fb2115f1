"""Secrets from a file or from standard input: an argument would show in the list of processes, and in the shell's history."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from connectory.authoring.refusal import Refused

Payload = dict[str, Any]


def read_secrets(source: str | None) -> Payload:
    """The JSON object in the file `source`, or on standard input where that is `-`; none where it is `None`.

    Raises:
        Refused: there is no such object. Neither its text nor the name of the file is repeated: it may be the secret itself.
    """
    if source is None:
        return {}
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
        found = json.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise Refused(f"The file of --secrets cannot be read ({reason}).") from None
    except json.JSONDecodeError as error:
        raise Refused(f"The secrets are not JSON, from line {error.lineno}, column {error.colno} on.") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, a thousand brackets
        raise Refused("The secrets are not JSON that can be read.") from None
    if not isinstance(found, dict):
        raise Refused('The secrets must be a JSON object, like {"host": "db.example", "password": "…"}.')
    return found

"""What an answer means: by its status, by what the definition says of it, and never by its wording."""

from __future__ import annotations

import time
from typing import Any

import httpx

from connectory import CheckFailed, FailureCode
from connectory.toolkit import bounded_wait, failure_of_status, number_in, wait_in
from connectory_saas.definition import Answer, Expected, RateLimit, Request

_NOTHING: Any = object()


def judge(answer: httpx.Response, request: Request, rate_limit: RateLimit | None) -> None:
    """Return if `answer` proves the credentials.

    Raises:
        CheckFailed: the code says what is wrong.
    """
    content = read_json(answer)
    for rule in request.answers:
        if _fits(rule, answer.status_code, content):
            if rule.code == "ok":
                return
            raise _failure(FailureCode(rule.code), answer, rate_limit, rule.remedy)
    raise_for_class(answer, rate_limit)
    if not _is_expected(content, request.expect):
        raise CheckFailed(FailureCode.PROTOCOL_MISMATCH)


def raise_for_class(answer: httpx.Response, rate_limit: RateLimit | None = None) -> None:
    """Raise what a status means by its class, for all but successes.

    Raises:
        CheckFailed: see `connectory.toolkit.failure_of_status`.
    """
    code = failure_of_status(answer.status_code)
    if code is not None:
        raise _failure(code, answer, rate_limit, None)


def _failure(
    code: FailureCode, answer: httpx.Response, rate_limit: RateLimit | None, remedy: str | None
) -> CheckFailed:
    wait = wait_asked_for(answer, rate_limit) if code is FailureCode.RATE_LIMITED else None
    return CheckFailed(code, remedy=remedy, retry_after=wait)


def wait_asked_for(answer: httpx.Response, rate_limit: RateLimit | None) -> int | None:
    """The seconds that an answer asks to wait: `Retry-After` (RFC 9110 §10.2.3), else the vendor's own header."""
    given = answer.headers.get("Retry-After")
    if given is not None:
        return wait_in(given)
    if rate_limit is None or rate_limit.reset_header is None:
        return None
    reset = number_in(answer.headers.get(rate_limit.reset_header, ""))
    if reset is not None and rate_limit.reset == "unix":
        reset -= time.time()
    return bounded_wait(reset)


def read_json(answer: httpx.Response) -> Any:
    """The JSON of an answer; something that is nothing where it is none."""
    try:
        return answer.json()
    except (ValueError, RecursionError):
        return _NOTHING


def _fits(rule: Answer, status: int, content: Any) -> bool:
    return rule.status == status and all(str(_member(content, name)) == value for name, value in rule.body.items())


def _is_expected(content: Any, expected: Expected) -> bool:
    if not isinstance(content, dict if expected.type == "object" else list):
        return False
    return all(_member(content, name) is not _NOTHING for name in expected.members)


def _member(content: Any, name: str) -> Any:
    """The value at a dotted name; numbers count in lists."""
    for part in name.split("."):
        if isinstance(content, dict) and part in content:
            content = content[part]
        elif isinstance(content, list) and part.isdecimal() and int(part) < len(content):
            content = content[int(part)]
        else:
            return _NOTHING
    return content

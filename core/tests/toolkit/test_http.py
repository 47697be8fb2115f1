"""What HTTP answers mean, for connectors with and without a client of ours."""

import math
import subprocess
import sys
import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectory.contract.check import WAIT_LIMIT, FailureCode
from connectory.toolkit.http import bounded_wait, failure_of_status, wait_in


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (200, None),
        (299, None),
        (302, FailureCode.UNEXPECTED_REDIRECT),
        (401, FailureCode.AUTH_FAILED),
        (403, FailureCode.PERMISSION_DENIED),
        (404, FailureCode.HTTP_4XX),
        (429, FailureCode.RATE_LIMITED),
        (502, FailureCode.HTTP_5XX),
    ],
)
def test_a_status_has_its_code(status, code):
    assert failure_of_status(status) is code


@pytest.mark.parametrize("status", [-1, 0, 100, 199, 600, 999])
def test_what_is_no_final_status_is_another_protocol(status):
    assert failure_of_status(status) is FailureCode.PROTOCOL_MISMATCH


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("30", 30),
        ("0.2", 1),
        ("-5", 0),
        ("1e300", 86_400),
        ("99999999999", 86_400),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2999 07:28:00 GMT", 86_400),
        ("Wed, 99 Oct 99999 07:28:00 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0),
        ("Wed, 21 Oct 2015 07:28:00 +99999999", None),
        ("9" * 5000, None),
        ("30 seconds", None),
        ("\x00", None),
    ],
)
def test_the_wait_is_a_whole_number_within_a_day(header, seconds):
    assert wait_in(header) == seconds


def test_the_wait_may_be_a_date():
    assert wait_in(formatdate(time.time() + 60, usegmt=True)) in {59, 60}


@pytest.mark.parametrize("form", ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"], ids=["RFC 850", "asctime"])
def test_the_wait_may_be_a_date_of_an_older_form_whatever_the_time_zone_here(form, monkeypatch):
    """RFC 9110 §5.6.7."""
    monkeypatch.setenv("TZ", "Etc/GMT-7")
    time.tzset()
    try:
        assert wait_in(time.strftime(form, time.gmtime(time.time() + 60))) in {59, 60}
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.from_regex(r"\A[A-Z][a-z]{2}, .{1,30}\Z"))
def test_whatever_the_header_holds_is_a_wait_or_nothing(header):
    wait = wait_in(header)
    assert wait is None or (type(wait) is int and 0 <= wait <= WAIT_LIMIT)


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf, None])
def test_a_wait_that_is_not_a_number_is_none(seconds):
    assert bounded_wait(seconds) is None


def test_reading_a_status_needs_no_http_library():
    program = (
        "import sys\nfrom connectory.toolkit.http import failure_of_status\n"
        "assert failure_of_status(404) == 'http_4xx'\nassert not {'httpx', 'httpcore'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)

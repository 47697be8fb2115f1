"""Which requests a cookie counts for, and what the cookie is called."""

import pytest
from starlette.requests import Request

from connectory_console.origin import comes_from_elsewhere, cookie_name, is_ours, is_trustworthy

PUBLIC = "https://connect.example"


def request(method: str = "GET", host: str = "127.0.0.1:8000", **headers: str) -> Request:
    named = {"host": host} | {name.replace("_", "-"): value for name, value in headers.items()}
    raw = [(name.encode(), value.encode()) for name, value in named.items()]
    return Request(
        {"type": "http", "method": method, "scheme": "http", "path": "/", "query_string": b"", "headers": raw}
    )


@pytest.mark.parametrize(
    ("method", "headers", "ours"),
    [
        ("GET", {"sec_fetch_site": "same-origin"}, True),
        ("POST", {"sec_fetch_site": "same-origin"}, True),
        ("GET", {"sec_fetch_site": "none"}, True),
        ("POST", {"sec_fetch_site": "none"}, False),
        ("GET", {"sec_fetch_site": "same-site"}, False),
        ("GET", {"sec_fetch_site": "cross-site", "origin": "http://127.0.0.1:8000"}, False),
        ("POST", {"origin": "http://127.0.0.1:8000"}, True),
        ("POST", {"origin": "http://127.0.0.1:8001"}, False),
        ("POST", {"origin": "null"}, False),
        ("GET", {}, False),
    ],
)
def test_which_requests_are_ours(method: str, headers: dict[str, str], ours: bool) -> None:
    assert is_ours(request(method, **headers), None) is ours


def test_behind_a_proxy_the_public_address_is_ours() -> None:
    asked = request("POST", host="connect.example", origin=PUBLIC)
    assert is_ours(asked, PUBLIC)
    assert not is_ours(asked, None)  # it came to us by http


@pytest.mark.parametrize(
    ("headers", "link"),
    [
        ({"sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}, True),
        ({"sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"}, False),
        ({"sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"}, False),
    ],
)
def test_a_link_of_another_site_is_told_from_what_its_page_loads(headers: dict[str, str], link: bool) -> None:
    assert comes_from_elsewhere(request(**headers)) is link
    assert not comes_from_elsewhere(request("POST", **headers))


@pytest.mark.parametrize(
    ("host", "public", "name", "trustworthy"),
    [
        ("127.0.0.1:8000", None, "connectory_8000", True),
        ("[::1]:8001", None, "connectory_8001", True),
        ("localhost", None, "connectory_80", True),
        ("10.0.0.7:8000", None, "connectory_8000", False),
        ("127.0.0.1.evil.example:8000", None, "connectory_8000", False),
        ("connect.example", PUBLIC, "__Host-connectory", True),
    ],
)
def test_the_cookie_and_whether_one_may_sign_in(host: str, public: str | None, name: str, trustworthy: bool) -> None:
    asked = request(host=host)
    assert (cookie_name(asked, public), is_trustworthy(asked, public)) == (name, trustworthy)

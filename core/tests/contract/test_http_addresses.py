"""Fields that hold the address of a service."""

import pytest

from connectory import Secrets
from connectory.documents.sensitivity import is_endpoint
from connectory.testing import is_accepted
from connectory.toolkit import HttpAddress


class Store(Secrets):
    address: HttpAddress


@pytest.mark.parametrize(
    "address",
    [
        *("https://s3.example.com", "http://127.0.0.1:9000", "https://[::1]:8443/", "https://a_b.example/base/path"),
        *("http://localhost", "https://example.com:65535", "https://xn--bcher-kva.example/~user/a%20b"),
    ],
)
def test_an_address_of_http_is_accepted(address):
    assert is_accepted(Store, {"address": address})


@pytest.mark.parametrize(
    "address",
    [
        *("example.com", "ftp://example.com", "https://", "https:///path", "//example.com", "HTTPS://example.com"),
        *(
            "https://user:pass@example.com",
            "https://example.com?key=1",
            "https://example.com#top",
            "https://a b.example",
        ),
        *("https://example.com:0", "https://example.com:65536", "https://example.com:port", "https://0x7f.1/"),
        *("https://127.1", "https://::1/", "https://[::1", "https://example.com/\x7f", "https://example.com\\@evil"),
    ],
)
def test_what_is_not_quite_one_is_refused(address):
    assert not is_accepted(Store, {"address": address})


def test_it_decides_where_the_secrets_go():
    assert is_endpoint(Store, "address")

"""What all stand-ins for vendors have: secrets that work, secrets that do not, and the hosts that they stand for."""

from typing import Any, ClassVar

from connectory.testing.certificates import ServerCertificate
from servers.saas.web import Answer, Asked, WebServer, as_json


class Vendor(WebServer):
    """A vendor's service as far as a connection test sees it. Subclasses write `answer_to`.

    Attributes:
        identifier: the connector's.
        hosts: the hosts that the good secrets lead to, all of which this server stands for.
        secrets: they work.
        wrong: what does not, by the failure's code: changes to `secrets`.
        limited: whether requests are answered with 429 now; set by tests.
        wait: seconds that it then asks to wait.
    """

    identifier: ClassVar[str]
    hosts: ClassVar[tuple[str, ...]]
    secrets: ClassVar[dict[str, str]]
    wrong: ClassVar[dict[str, dict[str, str]]]
    wait: ClassVar[int] = 17

    def __init__(self, *, certificate: ServerCertificate | None = None) -> None:
        self.limited = False
        super().__init__(self._answer_or_limit, certificate=certificate)

    @property
    def endpoints(self) -> dict[str, str]:
        """What leads the connector here instead of to the vendor's hosts."""
        return dict.fromkeys(self.hosts, self.url)

    def answer_to(self, asked: Asked) -> Answer:
        """The vendor's answer."""
        raise NotImplementedError

    def limit(self) -> Answer:
        """The vendor's answer to too many requests."""
        return as_json(429, {"message": "Too many requests"}, {"Retry-After": str(self.wait)})

    def _answer_or_limit(self, asked: Asked) -> Answer:
        return self.limit() if self.limited else self.answer_to(asked)

    def api_requests(self) -> list[Asked]:
        """The requests so far, less those for tokens."""
        return [asked for asked in self.asked if not asked.path.endswith(("/token", "/token/v3"))]


def only_get(asked: Asked, path: str) -> Answer | None:
    """A refusal of everything but `GET path`."""
    if asked.path != path:
        return as_json(404, {"error": "not_found"})
    return None if asked.method == "GET" else as_json(405, {"error": "method_not_allowed"}, {"Allow": "GET"})


def query_is(asked: Asked, **expected: Any) -> bool:
    """Whether the query has exactly these members. For names that are no Python names pass a dictionary as `exactly`."""
    wanted = expected.get("exactly", expected)
    return asked.query == {name: [value] for name, value in wanted.items()}

"""The conformance kit: what every connector must do, as tests that a plugin author runs against their own.

Install it with `pip install "connectory[testing]"`; the class to derive from is `ConnectorConformance`.
"""

try:
    import pytest
except ModuleNotFoundError as error:
    raise ModuleNotFoundError('connectory.testing needs pytest; run: pip install "connectory[testing]"') from error

pytest.register_assert_rewrite("connectory.testing.conformance")

from connectory.testing.conformance import ConnectorConformance  # noqa: E402 - its asserts are rewritten from here on
from connectory.testing.far_ends import FarEnd, closing_server, refused_port, silent_server  # noqa: E402
from connectory.testing.payloads import Payload  # noqa: E402
from connectory.testing.running import Outcome, Workbench  # noqa: E402

__all__ = [
    "ConnectorConformance",
    "FarEnd",
    "Outcome",
    "Payload",
    "Workbench",
    "closing_server",
    "refused_port",
    "silent_server",
]

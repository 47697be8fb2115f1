"""What the tests of this connector share."""

from collections.abc import Iterator

import pytest

from testkit.checking import Check, checks


@pytest.fixture(scope="session")
def check() -> Iterator[Check]:
    """Test a PostgreSQL connection with these secrets, in a process of its own, and return the report."""
    with checks("postgres", "connectory-postgres") as check:
        yield check

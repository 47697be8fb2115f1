"""What the tests of this connector share."""

import pytest

from connectory.testing import Workbench
from testkit.checking import Check, check_of


@pytest.fixture(scope="session")
def check(workbench: Workbench) -> Check:
    """Test a PostgreSQL connection with these secrets, in a process of its own, and return the report."""
    return check_of(workbench, "postgres", "connectory-postgres")

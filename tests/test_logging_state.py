"""The guard around every test: logging is as it was before."""

import logging

import pytest

from testkit.logging_state import logging_unchanged

OURS = "connectory.checks.forkservers"
CHANGES = {
    "logging.disable()": lambda: logging.disable(logging.CRITICAL),
    "root": lambda: logging.getLogger().setLevel(logging.CRITICAL),
    OURS: lambda: setattr(logging.getLogger(OURS), "propagate", False),
    "connectory.made.in.this.test": lambda: logging.getLogger("connectory.made.in.this.test").setLevel("ERROR"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_test_leaves_changed_is_named_and_put_back(name, caplog):
    with pytest.raises(AssertionError, match=rf": {name.replace('()', '..')}\."), logging_unchanged():
        CHANGES[name]()
    logging.getLogger(OURS).warning("heard")
    assert "heard" in caplog.text


def test_what_a_test_does_to_other_loggers_or_undoes_is_not_told():
    with logging_unchanged():
        logging.getLogger("somebody.else").setLevel("ERROR")
        logging.disable(logging.CRITICAL)
        logging.disable(logging.NOTSET)

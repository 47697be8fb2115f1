"""Values on their way through a session's pipe: they arrive as they were, or not at all."""

import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from connectory.checks.sessions.values import decoded_column, encoded_column
from connectory.checks.wire import ProtocolViolation
from connectory.contract.data import Kind
from connectory.contract.session import DataFailure, SessionFailed

VALUES = {
    Kind.STRING: ["", "José \u0000 😀", None],
    Kind.OBJECT_ID: ["507f1f77bcf86cd799439011"],
    Kind.INTEGER: [0, -(2**70), None],
    Kind.DECIMAL: [Decimal("1.10"), Decimal("-0"), Decimal("1E+30"), None],
    Kind.FLOAT: [0.1, math.inf, None],
    Kind.BOOLEAN: [True, False, None],
    Kind.BYTES: [b"", bytes(range(256)), None],
    Kind.DATE: [date(1, 1, 1), date(9999, 12, 31), None],
    Kind.TIMESTAMP: [datetime.fromisoformat("2026-11-27T09:55:00.000001"), datetime(2026, 1, 1, tzinfo=UTC), None],
    Kind.UUID: [UUID(int=7), None],
    Kind.OBJECT: [{"object": {"decimal": Decimal("0.5")}, "": [b"x", None, date(2026, 1, 2)]}, None],
}
VALUES[Kind.ANY] = [value for values in VALUES.values() for value in values]
PATH = ("field",)


def through_the_pipe(kind, values):
    return list(decoded_column(kind, json.loads(json.dumps(list(encoded_column(kind, values, PATH))))))


@pytest.mark.parametrize("kind", Kind)
def test_values_arrive_as_they_were(kind):
    values = VALUES[kind]
    arrived = through_the_pipe(kind, values)
    assert arrived == values
    assert [type(value) for value in arrived] == [type(value) for value in values]
    assert [str(value) for value in arrived] == [str(value) for value in values]  # -0 is 0


@pytest.mark.parametrize("kind", Kind)
def test_the_values_of_an_array_arrive_as_a_list(kind):
    assert through_the_pipe(kind, [VALUES[kind], [], None]) == [VALUES[kind], [], None]


WRONG = [
    *((Kind.INTEGER, value) for value in (True, 1.0, "1")),
    *((Kind.STRING, value) for value in (1, b"x", {})),
    *((Kind.DATE, value) for value in (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01")),
    *((Kind.OBJECT, value) for value in ("{}", {1: 2})),
    *((Kind.ANY, value) for value in (Ellipsis, {1, 2})),
    (Kind.BOOLEAN, 1),
    (Kind.UUID, "7"),
]


@pytest.mark.parametrize(("kind", "value"), WRONG, ids=str)
def test_a_value_of_another_kind_does_not_leave(kind, value):
    with pytest.raises(TypeError):
        encoded_column(kind, [value], PATH)


FORGED = [
    (Kind.INTEGER, True),
    (Kind.STRING, 5),
    (Kind.STRING, {"decimal": "1"}),
    (Kind.DECIMAL, "one"),
    (Kind.DECIMAL, 1),
    (Kind.BYTES, "*"),
    (Kind.DATE, "2026-13-01"),
    (Kind.UUID, "x"),
    (Kind.OBJECT, {"decimal": "1"}),
    (Kind.OBJECT, {"object": []}),
    (Kind.ANY, {"object": {}, "decimal": "1"}),
    (Kind.ANY, {"system": "rm"}),
    (Kind.ANY, {"decimal": ["1"] * 2}),
]


@pytest.mark.parametrize(("kind", "value"), FORGED, ids=str)
def test_what_no_session_writes_is_refused(kind, value):
    with pytest.raises(ProtocolViolation):
        decoded_column(kind, [value])


def test_values_nest_sixty_levels():
    nested = deeper = 1
    for _ in range(59):
        nested = {"in": nested}
    assert through_the_pipe(Kind.ANY, [nested]) == [nested]
    for _ in range(61):
        deeper = [deeper]
    with pytest.raises(SessionFailed) as failed:
        encoded_column(Kind.ANY, [deeper], PATH)
    assert (failed.value.code, failed.value.field) == (DataFailure.TOO_LARGE, PATH)
    with pytest.raises(ProtocolViolation):
        decoded_column(Kind.ANY, [deeper])

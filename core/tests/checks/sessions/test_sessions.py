"""Sessions: several operations in one process, each with its time, and far ends and drivers that are believed nothing."""

import asyncio
import resource
import time

import pytest

from connectory.checks.egress import EgressPolicy
from connectory.checks.refusals import ShuttingDown
from connectory.checks.runner import CheckRunner
from connectory.checks.sessions import session as service_side
from connectory.checks.sessions.runner import SessionNotOpened
from connectory.checks.sessions.session import OperationFailed
from connectory.contract.check import FailureCode
from connectory.contract.data import CollectionInfo, CollectionRef, FieldInfo, Kind, Privileges, Read, Rows
from connectory.contract.session import DataFailure

from .conftest import NUMBERS, every

ANY = Read(CollectionRef("numbers"), (("n",),))
TWO = Read(CollectionRef("numbers"), (("a",), ("b",)))


def test_one_process_does_one_operation_after_another(use):
    script = (
        NUMBERS
        + """
def discover(self, namespace, sample):
    yield CollectionInfo(CollectionRef("numbers", {"pid": str(os.getpid())}),
                         (FieldInfo(("n",), Kind.INTEGER, "int", nullable=False),), primary_key=(("n",),))
    yield CollectionInfo(CollectionRef(str(sample), namespace or {}), (), left_out="asked for")

def privileges(self, refs):
    for ref in refs:
        yield Privileges(ref, True, None, False, remedy="REVOKE it;")
"""
    )

    async def scenario(session):
        first = await every(session.discover())
        scoped = await every(session.discover({"schema": "s"}, 5))
        rights = await every(session.privileges([info.ref for info in first]))
        rows = [row for batch in await every(session.read(ANY, 300)) for row in batch.rows]
        again = await every(session.discover())
        return first, scoped, rights, rows, again

    first, scoped, rights, rows, again = use(script, scenario)
    assert first == again
    numbers, asked = first
    assert numbers == CollectionInfo(
        numbers.ref, (FieldInfo(("n",), Kind.INTEGER, "int", nullable=False),), primary_key=(("n",),)
    )
    assert (asked.ref.name, asked.left_out) == ("1000", "asked for")
    assert scoped[1].ref == CollectionRef("5", {"schema": "s"})
    assert rights == [Privileges(info.ref, True, None, False, "REVOKE it;") for info in first]
    assert rows == [(number,) for number in range(10_000)]


def test_a_session_may_be_of_the_reading_kind_and_knows_its_time(use):
    script = """
def read(self, query, batch):
    yield Batch((Kind.ANY,), [(context.read_only,), (context.timeout,), (query.any_of[0].values[1][0],)])
"""
    query = Read(ANY.ref, ANY.fields, (Rows((("n",),), [(None,), ("a'b",)]),))

    async def scenario(session):
        [batch] = await every(session.read(query))
        return [value for (value,) in batch.rows]

    read_only, left, given = use(script, scenario, read_only=False, patience=9)
    assert (read_only, given) == (False, "a'b")
    assert 5 < left <= 8  # a second before it is killed


def test_an_operation_that_fails_leaves_the_session_open(use):
    script = NUMBERS + "def discover(self, namespace, sample): raise SessionFailed(FailureCode.PERMISSION_DENIED)"

    async def scenario(session):
        with pytest.raises(OperationFailed) as failed:
            await every(session.discover())
        return failed.value.code, len(await every(session.read(ANY, 5000)))

    assert use(script, scenario) == (FailureCode.PERMISSION_DENIED, 2)


def failure_of(use, script, asked=None, **terms):
    """How an operation fails, and how many seconds that takes."""

    async def scenario(session):
        started = time.monotonic()
        with pytest.raises(OperationFailed) as failed:
            async for _ in (asked or (lambda session: session.read(TWO)))(session):
                pass
        return failed.value, time.monotonic() - started

    return use(script, scenario, **terms)


READS = {
    "nothing that reads": ("pass", DataFailure.UNSUPPORTED, None),
    "a code of its own": (
        "def read(self, query, batch): raise SessionFailed(DataFailure.FIELD_MISSING, field=('a',))",
        DataFailure.FIELD_MISSING,
        None,
    ),
    "a limit": (
        "def read(self, query, batch): raise SessionFailed(FailureCode.RATE_LIMITED, retry_after=2.5)",
        FailureCode.RATE_LIMITED,
        None,
    ),
    "a broken connection": (
        "def read(self, query, batch): raise ConnectionResetError",
        FailureCode.PROTOCOL_MISMATCH,
        None,
    ),
    "an address that is denied": (
        "def read(self, query, batch): socket.create_connection(('192.0.2.1', 1))",
        FailureCode.ADDRESS_NOT_ALLOWED,
        None,
    ),
    "wrong types": (
        "def read(self, query, batch): yield Batch((Kind.INTEGER, Kind.STRING), [(1, 'x'), ('1', 'x')])",
        FailureCode.INTERNAL_DRIVER_ERROR,
        "TypeError",
    ),
    "fewer columns than asked for": (
        "def read(self, query, batch): yield Batch((Kind.INTEGER,), [(1,)])",
        FailureCode.INTERNAL_DRIVER_ERROR,
        "TypeError",
    ),
    "rows of two lengths": (
        "def read(self, query, batch): yield Batch((Kind.INTEGER,) * 2, [(1, 2), (1, 2, 3)])",
        FailureCode.INTERNAL_DRIVER_ERROR,
        "ValueError",
    ),
    "kinds that change": (
        """
        def read(self, query, batch):
            yield Batch((Kind.INTEGER,) * 2, [(1, 2)])
            yield Batch((Kind.STRING,) * 2, [("1", "2")])
        """,
        FailureCode.INTERNAL_DRIVER_ERROR,
        "TypeError",
    ),
    "a value of two mebibytes": (
        "def read(self, query, batch): yield Batch((Kind.STRING,) * 2, [('', 'x' * 2**21)])",
        DataFailure.TOO_LARGE,
        None,
    ),
    "values that are too large together": (
        "def read(self, query, batch): yield Batch((Kind.STRING,) * 2, [('x' * 600_000, 'y' * 700_000)])",
        DataFailure.TOO_LARGE,
        None,
    ),
    "a value of a gibibyte": (
        "def read(self, query, batch): yield Batch((Kind.STRING,) * 2, [('', 'x' * 2**30)])",
        FailureCode.RESOURCE_LIMIT,
        None,
    ),
    "more rows at once than there is room for": (
        "def read(self, query, batch): yield Batch((Kind.INTEGER,) * 2, [(str(n) * 2**20, n) for n in range(2**20)])",
        FailureCode.RESOURCE_LIMIT,
        None,
    ),
    "a crash": ("def read(self, query, batch): os.abort()", FailureCode.CRASHED, None),
    "an end": ("def read(self, query, batch): os._exit(0)", FailureCode.CRASHED, None),
}


@pytest.mark.parametrize(("script", "code", "error_type"), READS.values(), ids=READS)
def test_what_can_go_wrong_with_a_read_has_its_code(use, script, code, error_type):
    failure, _ = failure_of(use, script)
    assert (failure.code, failure.error_type) == (code, error_type)
    assert failure.field == {
        DataFailure.FIELD_MISSING: ("a",),
        DataFailure.TOO_LARGE: ("b",),
    }.get(code)
    assert failure.retry_after == (3 if code is FailureCode.RATE_LIMITED else None)


ENDLESS = {
    "rows": "def read(self, query, batch):\n    while True: yield Batch((Kind.INTEGER,) * 2, [(1, 2)] * batch)",
    "a drip": """
        def read(self, query, batch):
            while True:
                time.sleep(0.1)
                yield Batch((Kind.INTEGER,) * 2, [(1, 2)])
        """,
    "silence": "def read(self, query, batch): time.sleep(60)",
}


@pytest.mark.parametrize("script", ENDLESS.values(), ids=ENDLESS)
def test_what_never_ends_is_ended(use, script):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    failure, seconds = failure_of(use, script, seconds=1)
    assert failure.code is FailureCode.TIMEOUT
    assert seconds < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024, "KiB"


def test_silence_is_ended_before_the_session_is_over(use):
    failure, seconds = failure_of(use, ENDLESS["silence"], patience=0.5)
    assert failure.code is FailureCode.TIMEOUT
    assert seconds < 5


def discovery(session):
    return session.discover()


DISCOVERIES = {
    "collections that are too much together": (
        """
        def discover(self, namespace, sample):
            fields = tuple(FieldInfo((str(number),), Kind.STRING, "😀" * 500) for number in range(150))
            while True:
                yield CollectionInfo(CollectionRef("again"), fields)
        """,
        FailureCode.RESOURCE_LIMIT,
    ),
    "a field that stands twice": (
        """
        def discover(self, namespace, sample):
            yield CollectionInfo(CollectionRef("c"), (FieldInfo(("n",), Kind.ANY, ""),) * 2)
        """,
        FailureCode.INTERNAL_DRIVER_ERROR,
    ),
    "a number for a name": (
        "def discover(self, namespace, sample): yield CollectionInfo(CollectionRef(5), ())",
        FailureCode.INTERNAL_DRIVER_ERROR,
    ),
    "something else": ("def discover(self, namespace, sample): yield 'c'", FailureCode.INTERNAL_DRIVER_ERROR),
}


@pytest.mark.parametrize(("script", "code"), DISCOVERIES.values(), ids=DISCOVERIES)
def test_what_can_go_wrong_with_a_discovery_has_its_code(use, script, code):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    failure, _ = failure_of(use, script, discovery)
    assert failure.code is code
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024, "KiB"


def test_collections_are_counted(use, monkeypatch):
    monkeypatch.setattr(service_side, "COLLECTIONS_LIMIT", 100)
    endless = """
    def discover(self, namespace, sample):
        while True:
            yield CollectionInfo(CollectionRef("again"), ())
    """
    failure, _ = failure_of(use, endless, discovery)
    assert failure.code is FailureCode.RESOURCE_LIMIT


LEFT_OUT = {
    "too many fields": (
        "tuple(FieldInfo((str(n),), Kind.ANY, '') for n in range(5000))",
        "more than 4096 fields",
    ),
    "an empty name": ("(FieldInfo(('',), Kind.ANY, ''),)", "a field without a name of 1 to 1024 characters"),
    "a long name": ("(FieldInfo(('x' * 1025,), Kind.ANY, ''),)", "a field without a name of 1 to 1024 characters"),
    "long names": (
        "tuple(FieldInfo((str(n) + 'x' * 1000,), Kind.ANY, '') for n in range(200))",
        "names of more than 131072 characters in all",
    ),
}


@pytest.mark.parametrize(("fields", "reason"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_a_collection_beyond_the_limits_is_left_out_with_the_reason(use, fields, reason):
    script = f"""
    def discover(self, namespace, sample):
        yield CollectionInfo(CollectionRef("c"), {fields})
        yield CollectionInfo(CollectionRef("d"), (FieldInfo(("n",), Kind.ANY, "x" * 501),))
    """
    left_out, other = use(script, lambda session: every(session.discover()))
    assert (left_out.fields, left_out.left_out) == ((), reason)
    assert (other.fields[0].native, other.left_out) == ("x" * 500, None)


def test_what_nests_over_60_levels_is_left_out_and_said_of_what_it_is_in(use):
    script = """
    def discover(self, namespace, sample):
        fields = tuple(FieldInfo(("n",) * depth, Kind.OBJECT, "object") for depth in range(1, 70))
        yield CollectionInfo(CollectionRef("c"), fields, fields_left_out=((("n",) * 65, "its own reason"),))
    """
    [info] = use(script, lambda session: every(session.discover()))
    assert [len(field.path) for field in info.fields] == list(range(1, 61))
    deepest = ("n",) * 60
    assert info.fields_left_out == (
        (deepest, "its own reason"),
        (deepest, "its members nest over 60 levels deep"),
    )


FORGED = {
    "no frame": "b'\\xff' * 100",
    "no JSON": "b'\\0\\0\\0\\1x'",
    "another answer": """framed(b'{"say":"done","say":"rows"}')""",
    "a collection": ("""framed(b'{"say":"rows","kinds":["integer"],"rows":[[1]]}')"""),
    "rows that are none": """framed(b'{"say":"rows","kinds":["integer","integer"],"rows":["12"]}')""",
}


@pytest.mark.parametrize("data", FORGED.values(), ids=FORGED)
def test_a_process_that_writes_what_no_session_writes_has_crashed(use, data):
    script = f"""
    def read(self, query, batch):
        from connectory.checks.sessions.frames import framed
        for descriptor in range(3, 20):
            try: os.write(descriptor, {data})
            except OSError: pass
        time.sleep(60)
    """
    failure, seconds = failure_of(use, script)
    assert failure.code is FailureCode.CRASHED
    assert seconds < 5


def opening_of(use, script, **terms):
    async def scenario(session):
        pytest.fail("it is open")

    with pytest.raises(SessionNotOpened) as failed:
        use(script, scenario, **terms)
    return failed.value.report


def test_a_session_that_cannot_be_opened_is_reported_like_a_test(use):
    report = opening_of(
        use,
        """
        with context.step("authenticate"):
            raise CheckFailed(FailureCode.AUTH_FAILED, remedy="Renew the password open-sesame-4711.")
        """,
    )
    assert (report.status, report.code) == ("failed", FailureCode.AUTH_FAILED)
    assert [(step.name, step.status) for step in report.steps] == [("authenticate", "failed")]
    assert report.reason == FailureCode.AUTH_FAILED.reason  # not the plugin's own, which tells a secret
    assert report.failure_fields == ("token",)


@pytest.mark.parametrize(
    ("script", "code"),
    {
        "time.sleep(60)": FailureCode.TIMEOUT,
        "os.abort()": FailureCode.CRASHED,
        "'x' * 2**30": FailureCode.RESOURCE_LIMIT,
        "raise SessionFailed(DataFailure.COLLECTION_MISSING)": FailureCode.QUERY_FAILED,
        "raise SessionFailed(FailureCode.DATABASE_NOT_FOUND)": FailureCode.DATABASE_NOT_FOUND,
    }.items(),
)
def test_what_can_go_wrong_with_opening_has_its_code(use, script, code):
    assert opening_of(use, script, seconds=1).code is code


def test_what_only_sessions_need_is_imported_ahead_and_apart_from_tests(connector_of):
    described = "@hookimpl\ndef connectory_describe():\n    return Description(session_modules=('wave',))\n"
    opening = """
@hookimpl
def connectory_open_session(secrets, context):
    import sys
    from connectory.data import DataSession
    assert "wave" in sys.modules
    return type("Session", (DataSession,), {"close": lambda self: None})()
"""
    connector = connector_of("import sys\nassert 'wave' not in sys.modules", hooks=described + opening)

    async def scenario():
        runner = CheckRunner(policy=EgressPolicy())
        await runner.start()
        async with runner.sessions.open_session(connector, lambda: {"token": "t"}) as session:
            assert session.opening.status == "succeeded"
        tested = await runner.run("one", connector, lambda: {"token": "t"})
        await runner.stop()
        return tested.status

    assert asyncio.run(scenario()) == "succeeded"


def test_a_connector_must_return_a_session(use, connector_of):
    hook = "@hookimpl\ndef connectory_open_session(secrets, context):\n    return 5\n"
    with pytest.raises(SessionNotOpened) as failed:
        use("", every, connector_of(hooks=hook))
    assert failed.value.report.error_type in {"TypeError", None}


def test_a_slow_reader_holds_the_connector_back(use):
    """At most two frames, what the pipe holds, and the one that is being written."""
    script = """
count = 0
def read(self, query, batch):
    global count
    for _ in range(40):
        count += 1
        yield Batch((Kind.STRING,), [("x" * 200_000,)])

def discover(self, namespace, sample):
    yield CollectionInfo(CollectionRef(str(count)), ())
"""

    async def scenario(session):
        answers = session.read(ANY)
        await anext(answers)
        await asyncio.sleep(0.2)
        return len(await every(answers))

    assert use(script, scenario) == 39


def test_an_answer_that_is_not_read_to_its_end_ends_the_session(use):
    async def scenario(session):
        async for _ in session.read(ANY, 10):
            break
        with pytest.raises(RuntimeError):
            await every(session.read(ANY))

    use(NUMBERS, scenario)


def test_sessions_end_with_the_service(scripted):
    document = {"token": "t", "script": ENDLESS["silence"].strip()}

    async def scenario():
        runner = CheckRunner(policy=EgressPolicy())
        await runner.start()

        async def read():
            async with runner.sessions.open_session(scripted, lambda: document) as session:
                opened.set()
                await every(session.read(TWO))

        opened = asyncio.Event()
        reading = asyncio.create_task(read())
        await opened.wait()
        await runner.stop()
        with pytest.raises(ShuttingDown):
            await reading
        with pytest.raises(ShuttingDown):
            await read()

    asyncio.run(scenario())

"""Opening a database: what each URL gives, what a transaction guarantees, what a failure shows."""

import logging
import os
import socket
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from connectory.store.engine import Store, open_store
from connectory.store.errors import StoreFailed, StoreUnavailable, StoreUrlInvalid
from connectory.store.patience import patient_until
from connectory.store.schema import upgrade

PASSWORD = "pa55-marker"


def pragma(store: Store, name: str, *, write: bool = False) -> object:
    with store.write() if write else store.read() as database:
        return database.exec_driver_sql(f"PRAGMA {name}").scalar_one()


def test_a_new_sqlite_file_is_private_and_so_are_the_files_beside_it(tmp_path):
    with open_store(f"sqlite:///{tmp_path}/new.db") as store:
        with store.write() as database:
            database.exec_driver_sql("CREATE TABLE t (x)")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"new.db": 0o600, "new.db-wal": 0o600, "new.db-shm": 0o600}


@pytest.mark.parametrize("write", [False, True])
def test_every_sqlite_connection_is_durable_and_guarded(sqlite_url, write):
    with open_store(sqlite_url) as store:
        assert pragma(store, "journal_mode", write=write) == "wal"
        assert pragma(store, "synchronous", write=write) == 2  # FULL
        assert 4000 < pragma(store, "busy_timeout", write=write) <= 4500
        assert pragma(store, "foreign_keys", write=write) == 1
        assert pragma(store, "secure_delete", write=write) == 1
        assert pragma(store, "trusted_schema", write=write) == 0
        assert pragma(store, "journal_size_limit", write=write) == 16 * 1024 * 1024
        assert pragma(store, "query_only", write=write) == (0 if write else 1)


def test_what_need_not_wait_for_the_disk_is_committed_all_the_same(store, store_url):
    on_sqlite = store.dialect == "sqlite"
    setting = "PRAGMA synchronous" if on_sqlite else "SHOW synchronous_commit"
    waiting = "" if on_sqlite else "?options=-c%20synchronous_commit%3Don"  # the tests' server does not wait by itself
    found = []
    with open_store(store_url + waiting) as writing:
        for kid, synchronous in enumerate((True, False, True)):
            with writing.write(synchronous=synchronous) as database:
                found.append(database.exec_driver_sql(setting).scalar_one())
                entry = text("INSERT INTO key_ids VALUES (:kid, 'x', '2026-01-01 00:00:00')")
                database.execute(entry, {"kid": str(kid)})
    assert found == ([2, 1, 2] if on_sqlite else ["on", "off", "on"])
    with store.read() as database:
        assert database.execute(text("SELECT count(*) FROM key_ids")).scalar_one() == 3


def test_a_relative_sqlite_path_is_relative_to_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    open_store("sqlite:///here.db").close()
    assert (tmp_path / "here.db").exists()


def test_a_postgresql_session_has_limits_and_utc(postgres_url):
    with open_store(postgres_url) as store, store.write() as database:
        settings = {
            name: database.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("statement_timeout", "lock_timeout", "TimeZone", "transaction_isolation")
        }
    assert settings == {
        "statement_timeout": "10s",
        "lock_timeout": "4500ms",
        "TimeZone": "UTC",
        "transaction_isolation": "read committed",
    }


def test_a_deployers_own_options_win(postgres_url):
    with open_store(f"{postgres_url}?options=-c%20statement_timeout%3D3s") as store, store.read() as database:
        assert database.execute(text("SHOW statement_timeout")).scalar_one() == "3s"
        assert database.execute(text("SHOW lock_timeout")).scalar_one() == "4500ms"


def test_a_read_transaction_cannot_write(store):
    with store.write() as database:
        database.execute(text("INSERT INTO key_ids VALUES ('a', 'x', '2026-01-01 00:00:00')"))
    with pytest.raises((StoreFailed, StoreUnavailable)), store.read() as database:
        database.execute(text("DELETE FROM key_ids"))
    with store.read() as database:
        assert database.execute(text("SELECT count(*) FROM key_ids")).scalar_one() == 1


def test_a_read_transaction_sees_one_state_throughout(store):
    with store.write() as database:
        database.execute(text("INSERT INTO key_ids VALUES ('a', 'x', '2026-01-01 00:00:00')"))
    count = text("SELECT count(*) FROM key_ids")
    with store.read() as reading:
        before = reading.execute(count).scalar_one()
        with store.write() as writing:
            writing.execute(text("INSERT INTO key_ids VALUES ('b', 'x', '2026-01-01 00:00:00')"))
        assert reading.execute(count).scalar_one() == before == 1
    with store.read() as reading:
        assert reading.execute(count).scalar_one() == 2


def test_a_block_that_raises_changes_nothing(store):
    def write_and_fail() -> None:
        with store.write() as database:
            database.execute(text("INSERT INTO key_ids VALUES ('a', 'x', '2026-01-01 00:00:00')"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    with store.read() as database:
        assert database.execute(text("SELECT count(*) FROM key_ids")).scalar_one() == 0


def test_no_update_of_many_threads_that_read_and_then_write_is_lost(sqlite_url):
    with open_store(sqlite_url) as store:
        with store.write() as database:
            database.execute(text("INSERT INTO key_ids VALUES ('counter', '0', '2026-01-01 00:00:00')"))

        def increment(_: int) -> None:
            with store.write() as database:
                value = int(database.execute(text("SELECT fingerprint FROM key_ids")).scalar_one())
                database.execute(text("UPDATE key_ids SET fingerprint = :value"), {"value": str(value + 1)})

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(increment, range(320)))
        with store.read() as database:
            assert database.execute(text("SELECT fingerprint FROM key_ids")).scalar_one() == "320"


def test_reading_goes_on_while_another_thread_writes(store):
    writing, done = threading.Event(), threading.Event()

    def write() -> None:
        with store.write() as database:
            database.execute(text("INSERT INTO key_ids VALUES ('a', 'x', '2026-01-01 00:00:00')"))
            writing.set()
            done.wait(10)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert writing.wait(10)
        with store.read() as database:
            assert database.execute(text("SELECT count(*) FROM key_ids")).scalar_one() == 0
    finally:
        done.set()
        thread.join()


def test_a_write_lock_held_by_another_process_ends_as_unavailable(sqlite_url, monkeypatch):
    monkeypatch.setattr("connectory.store.patience.PATIENCE", 0.05)
    with (
        open_store(sqlite_url) as one,
        open_store(sqlite_url) as other,
        one.write(),
        pytest.raises(StoreUnavailable, match="SQLITE_BUSY"),
        other.write(),
    ):
        pytest.fail("two write transactions at once")


def test_a_postgresql_that_does_not_answer_is_unavailable_and_shows_no_password():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        port = reserved.getsockname()[1]
        with (
            open_store(f"postgresql://user:{PASSWORD}@127.0.0.1:{port}/name") as store,
            pytest.raises(StoreUnavailable, match="does not answer") as refusal,
            store.read(),
        ):
            pytest.fail("connected to nothing")
    assert_hidden(refusal.value)


def test_a_wrong_password_is_unavailable_and_shows_no_password(postgres, caplog):
    caplog.set_level(logging.DEBUG)
    url = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{postgres.port}/postgres"
    with open_store(url) as store:
        with pytest.raises(StoreUnavailable, match="account") as refusal, store.write():
            pytest.fail("the password was accepted")
        assert PASSWORD not in repr(store)
        assert PASSWORD not in caplog.text
    assert_hidden(refusal.value)


def test_a_statement_that_takes_too_long_is_stopped_and_unavailable(postgres_url):
    url = f"{postgres_url}?options=-c%20statement_timeout%3D50ms"
    with open_store(url) as store, pytest.raises(StoreUnavailable, match="57014"), store.write() as database:
        database.execute(text("SELECT pg_sleep(30)"))


def test_a_connection_that_the_server_ended_while_it_was_idle_is_replaced(postgres_url, postgres, monkeypatch):
    monkeypatch.setattr("connectory.store.postgresql._IDLE", 0)
    with open_store(postgres_url) as store:
        with store.read() as database:
            backend = database.execute(text("SELECT pg_backend_pid()")).scalar_one()
        postgres.execute("SELECT pg_terminate_backend(%s)", backend)
        with store.read() as database:
            assert database.execute(text("SELECT pg_backend_pid()")).scalar_one() != backend


def test_a_connection_that_the_server_ended_in_use_is_unavailable_once(postgres_url, postgres):
    with open_store(postgres_url) as store:
        with store.read() as database:
            backend = database.execute(text("SELECT pg_backend_pid()")).scalar_one()
        postgres.execute("SELECT pg_terminate_backend(%s)", backend)
        with pytest.raises(StoreUnavailable, match="does not answer"), store.read() as database:
            database.execute(text("SELECT 1"))
        with store.read() as database:
            assert database.execute(text("SELECT pg_backend_pid()")).scalar_one() != backend


def test_a_single_look_on_postgresql_needs_no_transaction_and_cannot_write(postgres_url):
    with open_store(postgres_url) as store:
        with store.look() as database:
            state = text("SELECT xact_start = query_start FROM pg_stat_activity WHERE pid = pg_backend_pid()")
            database.execute(text("SELECT 1"))
            assert database.execute(state).scalar_one()
        with pytest.raises(StoreUnavailable, match="25006"), store.look() as database:
            database.execute(text("CREATE TABLE t (x int)"))


def test_a_writer_that_waited_in_line_waits_no_longer_than_its_deadline(store, store_url):
    with open_store(store_url) as other, store.write() as first:
        first.execute(text("INSERT INTO key_ids VALUES ('a', 'x', '2026-01-01 00:00:00')"))
        started = time.monotonic()
        with (
            patient_until(started + 0.3),
            pytest.raises(StoreUnavailable),
            other.write() as second,
        ):
            second.execute(text("INSERT INTO key_ids VALUES ('a', 'y', '2026-01-01 00:00:00')"))
    assert 0.2 < time.monotonic() - started < 2


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO no_such_table VALUES (:value)",
        "INSERT INTO key_ids VALUES (:value, 'x', NULL)",
        "INSERT INTO datasets SELECT :value, :value, :value, :value, first_used_at, first_used_at FROM key_ids",
    ],
)
def test_a_refused_statement_is_named_without_the_values_it_carried(store, statement):
    with store.write() as database:
        database.execute(text("INSERT INTO key_ids VALUES ('a', 'x', '2026-01-01 00:00:00')"))
    with pytest.raises(StoreFailed, match="INSERT INTO") as error, store.write() as database:
        database.execute(text(statement), {"value": PASSWORD})
    assert_hidden(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        f"user:{PASSWORD}",
        f"mysql://user:{PASSWORD}@host/name",
        f"postgresql+asyncpg://user:{PASSWORD}@host/name",
        f"postgresql://user:{PASSWORD}@host",
        f"postgresql://user:{PASSWORD}@{PASSWORD}@host/name",
        f"postgresql://user:{PASSWORD}@host:{PASSWORD}/name",
        f"postgresql://user:a@{PASSWORD}:x@host/name",
        f"postgresql://user:{PASSWORD}@[::1/name",
        f"postgresql://user:{PASSWORD}@host/name?options=a&options=b",
        f"sqlite://{PASSWORD}/path.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///file.db?mode=ro",
        "sqlite+aiosqlite:///file.db",
    ],
)
def test_an_unusable_url_is_refused_with_a_sentence_that_does_not_quote_it(url):
    with pytest.raises(StoreUrlInvalid) as refusal:
        open_store(url)
    assert str(refusal.value).endswith(("percent-encoded.", "%2F).", "%40.", "once."))
    assert_hidden(refusal.value)


def test_a_password_may_hold_any_character_percent_encoded(postgres):
    postgres.execute("DROP ROLE IF EXISTS odd")
    postgres.create_role("odd", "a@b:c/d?e#f%g h'\\")
    url = f"postgresql://odd:a%40b%3Ac%2Fd%3Fe%23f%25g%20h%27%5C@127.0.0.1:{postgres.port}/postgres"
    with open_store(url) as store, store.read() as database:
        assert database.execute(text("SELECT current_user")).scalar_one() == "odd"


def test_a_damaged_file_is_told_to_be_replaced_by_a_backup(tmp_path):
    path = tmp_path / "torn.db"
    with open_store(f"sqlite:///{path}") as store:
        upgrade(store)
    pages = bytearray(path.read_bytes())
    pages[100:400] = b"\xff" * 300  # the root of the schema; its file header is whole
    path.write_bytes(pages)
    with pytest.raises(StoreUnavailable, match=r"torn\.db cannot be opened \(SQLITE_CORRUPT\); restore a backup"):
        open_store(f"sqlite:///{path}")


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(StoreUnavailable, match=r"nowhere/x\.db cannot be opened \(No such file or directory\)"):
        open_store(f"sqlite:///{tmp_path}/nowhere/x.db")


def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path):
    path = Path(tmp_path / "notes.txt")
    path.write_bytes(b"not a database, but long enough to be looked at " * 100)
    with pytest.raises(StoreUnavailable, match=r"notes\.txt cannot be opened \(SQLITE_NOTADB\)"):
        open_store(f"sqlite:///{path}")
    assert path.read_bytes().startswith(b"not a database")


def assert_hidden(error: BaseException) -> None:
    seen: BaseException | None = error
    while seen is not None:
        assert PASSWORD not in f"{seen} {seen!r} {seen.args}"
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def test_opening_a_database_again_in_one_process_takes_no_lock_away(tmp_path: Path) -> None:
    """Closing any file of a database takes all of the process's locks on it away, and another process could spoil it."""
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    with open_store(url) as store:
        upgrade(store)
        with store.write():
            held = _locks_on(tmp_path)
            open_store(url).close()
            assert held
            assert held <= _locks_on(tmp_path)


def _locks_on(folder: Path) -> set[tuple[str, str]]:
    """The inode and the range of each lock that this process has on the files there (proc(5), /proc/locks)."""
    inodes = {str(path.stat().st_ino) for path in folder.iterdir()}
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return {
        (words[5].rpartition(":")[2], words[6])
        for words in lines
        if words[4] == str(os.getpid()) and words[5].rpartition(":")[2] in inodes
    }

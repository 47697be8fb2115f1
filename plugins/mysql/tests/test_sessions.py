"""A data session with MySQL's login; what is behind it is MariaDB, whose own connector's tests say more."""

import secrets as random
from collections.abc import Callable
from typing import Any

import pytest

from connectory import CheckFailed, FailureCode
from connectory.data import CollectionRef, Read
from connectory.testing import Workbench, load_connector
from connectory_mysql import MySQL
from servers.mysql.server import MySQL8Front
from testkit.held_tables import Held, backquoted
from testkit.sessions import among, found, opened, read_and_kill, rows


def test_a_table_is_found_read_and_told_who_may_write(
    mysql: MySQL8Front, account: Callable[..., dict[str, Any]]
) -> None:
    mysql.execute("CREATE TABLE app.`we``ird %s` (`Id x` int PRIMARY KEY, note varchar(20))")
    mysql.execute("INSERT INTO app.`we``ird %s` VALUES (1, '100% :y'), (2, NULL)")
    with opened(MySQL(), account(mysql)) as session:
        [table] = found(session).values()
        assert table.ref == CollectionRef("we`ird %s", {"schema": "app"})
        assert [field.native for field in table.fields] == ["int(11)", "varchar(20)"]
        mine = among("note", values=[("100% :y",)])
        assert rows(session, table.ref, "Id x", "note", any_of=(mine,)) == [(1, "100% :y")]
        [known] = session.privileges([table.ref])
        assert (known.read, known.update, known.delete) == (True, True, True)
        assert known.remedy.startswith("REVOKE INSERT, UPDATE, DELETE, DROP ON `app`.* FROM ")
    assert mysql.logins[-1].encrypted


def test_nothing_is_left_running_where_the_process_was_killed(
    mysql: MySQL8Front, account: Callable[..., dict[str, Any]], workbench: Workbench
) -> None:
    mysql.execute(
        "CREATE VIEW app.silent AS SELECT sum(a.seq & b.seq) AS s FROM seq_1_to_100000 a, seq_1_to_100000 b",
        database="app",
    )
    running = "SELECT count(*) FROM information_schema.processlist WHERE db = 'app' AND info LIKE '%silent%'"
    query = Read(CollectionRef("silent", {"schema": "app"}), (("s",),))
    connector = load_connector("mysql", "connectory-mysql")
    try:
        read_and_kill(workbench, connector, account(mysql), query, lambda: mysql.execute(running) != [(0,)])
    finally:
        mysql.execute("DROP VIEW app.silent")


def test_a_login_that_fails_says_why(mysql: MySQL8Front, account: Callable[..., dict[str, Any]]) -> None:
    for change, code in (
        ({"password": "wrong"}, FailureCode.AUTH_FAILED),
        ({"dbname": "nowhere"}, FailureCode.PERMISSION_DENIED),
    ):
        with pytest.raises(CheckFailed) as failed, opened(MySQL(), account(mysql) | change):
            pass
        assert failed.value.code is code


def test_the_same_tables_make_the_same_datasets_as_elsewhere(
    mysql: MySQL8Front, account: Callable[..., dict[str, Any]]
) -> None:
    held = Held(backquoted, f"Same é {random.token_hex(4)}", f"TWO {random.token_hex(4)}")
    secrets = account(mysql)
    for name in (held.one, held.two):
        mysql.create_database(name)
        mysql.execute(f"GRANT ALL ON `{name}`.* TO {secrets['username']}")
    for statement in held.statements():
        mysql.execute(statement, database=held.one)
    with opened(MySQL(), secrets | {"dbname": held.one}) as session:
        held.require_found(session)

"""Who may write, as a server says it: against a real one, and by answers in the form of MongoDB's manual."""

import json
import re
import secrets as random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from pymongo.errors import OperationFailure

from connectory.data import CollectionRef, Privileges
from connectory_mongodb import MongoDB
from connectory_mongodb.privileges import Account
from servers.mongodb.server import MongoDBServer
from testkit.sessions import opened

CUSTOMER = CollectionRef("customer", {"database": "shop"})
Known = Callable[..., Privileges]


def answers(known: Privileges) -> tuple[bool | None, bool | None, bool | None]:
    return known.read, known.update, known.delete


class TestAgainstAServer:
    @pytest.fixture
    def user(self, mongodb: MongoDBServer) -> Iterator[str]:
        """A user of `shop` without any role, and its name."""
        name = f"app_{random.token_hex(4)}"
        mongodb.create_user(name, "pw", database="shop", roles=[])
        yield name
        with mongodb.client() as client:
            client["shop"].command("dropUser", name)
            for role in client["shop"].command("rolesInfo", 1)["roles"]:
                client["shop"].command("dropRole", role["role"])

    @pytest.fixture
    def run(self, mongodb: MongoDBServer) -> Callable[..., None]:
        def run(command: str, value: Any, **options: Any) -> None:
            with mongodb.client() as client:
                client["shop"].command(command, value, **options)

        return run

    @pytest.fixture
    def of(self, mongodb: MongoDBServer, user: str) -> Known:
        """What the user may do with the collection `customer`."""

        def of(username: str = user, password: str = "pw", source: str = "shop") -> Privileges:
            secrets = {"host": mongodb.host, "port": mongodb.port, "ssl_mode": "disabled", "defaultauthdb": "shop"}
            login = {"username": username, "password": password, "auth_source": source}
            with opened(MongoDB(), secrets | login) as session:
                [known] = session.privileges([CUSTOMER])
            return known

        return of

    def test_the_superuser_may_everything(self, of: Known, mongodb: MongoDBServer) -> None:
        known = of(mongodb.superuser, mongodb.password, "admin")
        assert answers(known) == (True, True, True)
        assert 'revokeRolesFromUser("root", [{ role: "root", db: "admin" }]);' in known.remedy

    def test_a_reader_may_read(self, of: Known, run: Callable[..., None], user: str) -> None:
        run("grantRolesToUser", user, roles=["read"])
        assert of() == Privileges(CUSTOMER, read=True, update=False, delete=False)

    def test_the_remedy_takes_away_the_right_to_write_and_leaves_that_to_read(
        self, of: Known, run: Callable[..., None], user: str
    ) -> None:
        run("grantRolesToUser", user, roles=["readWrite"])
        known = of()
        assert answers(known) == (True, True, True)
        assert known.remedy == (
            f'db.getSiblingDB("shop").revokeRolesFromUser("{user}", [{{ role: "readWrite", db: "shop" }}]); '
            f'db.getSiblingDB("shop").grantRolesToUser("{user}", [{{ role: "read", db: "shop" }}]);'
        )
        for command, roles in re.findall(r'\.(\w+)\("[^"]*", (\[.*?\])\);', known.remedy):
            run(command, user, roles=json.loads(re.sub(r"(\w+): ", r'"\1": ', roles)))
        assert of() == Privileges(CUSTOMER, read=True, update=False, delete=False)

    def test_a_role_within_a_role_counts(self, of: Known, run: Callable[..., None], user: str) -> None:
        sees_roles = [{"resource": {"db": "shop", "collection": ""}, "actions": ["viewRole"]}]
        run("createRole", "inner", privileges=[], roles=["readWrite"])
        run("createRole", "outer", privileges=sees_roles, roles=["inner", "read"])
        run("grantRolesToUser", user, roles=["outer"])
        known = of()
        assert answers(known) == (True, True, True)
        assert known.remedy.startswith(
            f'db.getSiblingDB("shop").revokeRolesFromUser("{user}", [{{ role: "outer", db: "shop" }}]);'
        )

    @pytest.mark.parametrize("collection", ["customer", ""])
    def test_a_role_of_ones_own_loses_only_what_is_too_much(
        self, of: Known, run: Callable[..., None], user: str, collection: str
    ) -> None:
        granted = {"resource": {"db": "shop", "collection": collection}, "actions": ["find", "update"]}
        sees_roles = {"resource": {"db": "shop", "collection": ""}, "actions": ["viewRole"]}
        run("createRole", "helpers", privileges=[granted, sees_roles], roles=[])
        run("grantRolesToUser", user, roles=["helpers"])
        known = of()
        assert answers(known) == (True, True, False)
        shown = f'[{{"resource": {{"db": "shop", "collection": "{collection}"}}, "actions": ["update"]}}]'
        assert known.remedy == f'db.getSiblingDB("shop").revokePrivilegesFromRole("helpers", {shown});'
        run("revokePrivilegesFromRole", "helpers", privileges=json.loads(shown))
        assert answers(of()) == (True, False, False)

    def test_what_a_role_of_ones_own_allows_is_unknown_where_nobody_says_it(
        self, of: Known, run: Callable[..., None], user: str
    ) -> None:
        run("createRole", "secretive", privileges=[], roles=["readWrite"])
        run("grantRolesToUser", user, roles=["secretive", "read"])
        assert of() == Privileges(CUSTOMER, read=True, update=None, delete=None)


class Server:
    """Answers commands as MongoDB does where access is controlled."""

    def __init__(self, status: Mapping[str, Any], **known: Any) -> None:
        self._known = {"connectionStatus": {"authInfo": status}} | known

    def __getitem__(self, database: str) -> "Server":
        return self

    admin = property(lambda self: self)

    def command(self, name: str, value: Any = 1, **options: Any) -> Any:
        if name not in self._known:
            raise OperationFailure("not authorized", 13)
        return self._known[name]


def status(*privileges: Mapping[str, Any], roles: tuple[tuple[str, str], ...] = ()) -> dict[str, Any]:
    return {
        "authenticatedUsers": [{"user": "app", "db": "shop"}],
        "authenticatedUserRoles": [{"role": role, "db": database} for role, database in roles],
        "authenticatedUserPrivileges": list(privileges),
    }


def on(database: str, collection: str, *actions: str) -> dict[str, Any]:
    return {"resource": {"db": database, "collection": collection}, "actions": list(actions)}


def known(server: Server, name: str = "customer") -> Privileges:
    return Account.of(server).privileges(CollectionRef(name), "shop")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("privilege", "expected"),
    [
        (on("shop", "", "find"), (True, False, False)),
        (on("shop", "customer", "find", "insert"), (True, True, False)),
        (on("shop", "customer", "remove"), (False, False, True)),
        (on("shop", "another", "find", "update", "remove"), (False, False, False)),
        (on("another", "", "find", "update", "remove"), (False, False, False)),
        (on("", "", "find", "update", "remove"), (True, True, True)),
        (on("", "customer", "update"), (False, True, False)),
        (on("shop", "", "dropDatabase"), (False, False, True)),
        ({"resource": {"anyResource": True}, "actions": ["anyAction"]}, (True, True, True)),
        ({"resource": {"cluster": True}, "actions": ["anyAction", "dropDatabase"]}, (False, False, False)),
        ({"resource": {"system_buckets": "customer", "db": "shop"}, "actions": ["update"]}, (False, False, False)),
        (on("shop", "", "grantRole"), (False, True, True)),
        (on("admin", "", "grantRole"), (False, True, True)),
        (on("shop", "customer", "grantRole"), (False, False, False)),
        (on("vault", "", "grantRole"), (False, False, False)),
    ],
)
def test_what_the_server_tells_of_the_account_decides(
    privilege: Mapping[str, Any], expected: tuple[bool, bool, bool]
) -> None:
    assert answers(known(Server(status(privilege, on("shop", "", "listCollections"))))) == expected


def test_what_the_server_tells_goes_before_what_roles_are_called() -> None:
    server = Server(status(on("shop", "", "find"), roles=(("of_ones_own", "shop"),)))
    assert answers(known(server)) == (True, False, False)


def test_without_what_it_tells_built_in_roles_mean_what_the_manual_says() -> None:
    for role, expected in {
        ("read", "shop"): (True, False, False),
        ("readWrite", "shop"): (True, True, True),
        ("readWrite", "vault"): (False, False, False),
        ("dbAdmin", "shop"): (False, False, True),
        ("userAdmin", "shop"): (False, True, True),
        ("dbOwner", "shop"): (True, True, True),
        ("readAnyDatabase", "admin"): (True, False, False),
        ("readAnyDatabase", "shop"): (None, None, None),  # one of the deployer's own with that name
        ("userAdminAnyDatabase", "admin"): (False, True, True),
        ("clusterMonitor", "admin"): (False, False, False),
        ("backup", "admin"): (True, False, False),
        ("restore", "admin"): (False, True, True),
        ("root", "admin"): (True, True, True),
        ("__system", "admin"): (True, True, True),
    }.items():
        assert answers(known(Server(status(roles=(role,))))) == expected, role


def test_an_account_without_roles_may_nothing() -> None:
    assert answers(known(Server(status()))) == (False, False, False)


def test_a_server_that_controls_no_access_lets_anybody_write() -> None:
    nobody = {"authenticatedUsers": [], "authenticatedUserRoles": [], "authenticatedUserPrivileges": []}
    assert answers(known(Server(nobody, listDatabases={"databases": []}))) == (True, True, True)
    assert answers(known(Server(nobody))) == (None, None, None)


def test_names_are_quoted_in_the_remedy() -> None:
    told = status(on("shop", "", "update"), roles=(('he"lpers', "shop"),))
    role = {"role": 'he"lpers', "db": "shop", "privileges": [on("shop", "", "update")], "inheritedRoles": []}
    assert '.revokePrivilegesFromRole("he\\"lpers", [' in known(Server(told, rolesInfo={"roles": [role]})).remedy

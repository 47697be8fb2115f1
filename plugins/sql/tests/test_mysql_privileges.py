"""What grants say, in the forms in which MySQL and MariaDB show them."""

import pytest

from connectory.data import CollectionRef, Privileges
from connectory_sql.database import Database
from connectory_sql.mysql import MYSQL
from connectory_sql.mysql_privileges import privileges

VISIT = CollectionRef("visit", {"schema": "shop"})
ME = "`app`@`%`"


class Grants(Database):
    """A MySQL that has these grants, and more of them with roles."""

    def __init__(self, own: list[str], with_role: list[str]) -> None:
        super().__init__(MYSQL, None)
        self.facts["mariadb"] = False
        self._shown = {"SHOW GRANTS": own, f"SHOW GRANTS FOR CURRENT_USER() USING {ROLE}": [*own, *with_role]}

    def rows(self, statement: str, **_: object) -> list[tuple[str]]:
        return [(line,) for line in self._shown[statement]]


ROLE = "`writers`@`%`"


def of(*lines: str, with_role: tuple[str, ...] = ()) -> Privileges:
    [known] = privileges(Grants([f"GRANT USAGE ON *.* TO {ME}", *lines], list(with_role)), [VISIT])
    return known


@pytest.mark.parametrize(
    ("lines", "held"),
    [
        ([], (False, False, False)),
        ([f"GRANT SELECT ON `shop`.* TO {ME}"], (True, False, False)),
        ([f"GRANT SELECT (`id`, `a``, (b`) ON `shop`.`visit` TO {ME}"], (True, False, False)),
        ([f"GRANT SELECT, INSERT, DROP ON *.* TO {ME} WITH GRANT OPTION"], (True, True, True)),
        ([f"GRANT ALL PRIVILEGES ON `sh%`.* TO {ME}"], (True, True, True)),
        ([f"GRANT ALL PRIVILEGES ON `s_op`.* TO {ME}"], (True, True, True)),
        ([rf"GRANT ALL PRIVILEGES ON `s\_op`.* TO {ME}"], (False, False, False)),
        ([f"GRANT UPDATE ON `shop`.`visits` TO {ME}"], (False, False, False)),
        ([f"GRANT EXECUTE, ALTER ROUTINE ON PROCEDURE `shop`.`visit` TO {ME}"], (False, False, False)),
        ([f"GRANT BACKUP_ADMIN,XA_RECOVER_ADMIN ON *.* TO {ME}"], (False, False, False)),
        ([f"GRANT PROXY ON ``@`` TO {ME} WITH GRANT OPTION"], (False, False, False)),
        ([f"GRANT DELETE HISTORY ON *.* TO {ME} IDENTIFIED BY PASSWORD '*marker'"], (False, False, False)),
        (
            [f"GRANT SELECT, INSERT, DELETE ON *.* TO {ME}", f"REVOKE INSERT, DELETE ON `shop`.* FROM {ME}"],
            (True, False, False),
        ),
    ],
)
def test_each_form_of_a_grant_is_read(lines: list[str], held: tuple[bool, bool, bool]) -> None:
    known = of(*lines)
    assert (known.read, known.update, known.delete) == held


def test_the_remedy_names_what_was_granted_where_and_to_whom_and_nothing_else() -> None:
    known = of(
        f"GRANT SELECT, INSERT, UPDATE (`a`, `b`) ON `shop`.`visit` TO {ME}",
        "GRANT ALL PRIVILEGES ON *.* TO `app`@`%` IDENTIFIED BY PASSWORD '*marker' WITH GRANT OPTION",
    )
    assert known.remedy == (
        f"REVOKE INSERT, UPDATE (`a`, `b`) ON `shop`.`visit` FROM {ME}; REVOKE INSERT, UPDATE, DELETE, DROP ON *.* FROM {ME};"
    )


def test_a_role_counts_and_is_named() -> None:
    known = of(f"GRANT {ROLE} TO {ME}", with_role=(f"GRANT SELECT, DELETE ON `shop`.* TO {ME}",))
    assert (known.read, known.update, known.delete) == (True, False, True)
    assert known.remedy == f"REVOKE DELETE ON `shop`.* FROM {ROLE};"

"""Whether an account may do what its connection is for, and no more."""

import pytest

from connectory.contract.data import CollectionRef, Privileges
from connectory.discovery.access import access_report


def rights(*, read=True, update=False, delete=False, remedy="", name="customer"):
    return Privileges(CollectionRef(name, {"schema": "public"}), read, update, delete, remedy)


FINDINGS = {
    "as_declared": [("read", [rights()]), ("write", [rights(update=True, delete=True)])],
    "can_write": [
        ("read", [rights(), rights(update=True)]),
        ("read", [rights(update=None), rights(delete=True)]),
    ],
    "cannot_write": [("write", [rights(update=True, delete=True), rights()])],
    "unknown": [
        ("read", []),
        ("write", []),
        ("read", [rights(update=None)]),
        ("write", [rights(update=True, delete=None)]),
    ],
}


@pytest.mark.parametrize(
    ("finding", "declared", "found"),
    [(finding, *case) for finding, cases in FINDINGS.items() for case in cases],
)
def test_what_is_found(finding, declared, found):
    assert access_report(declared, found)["finding"] == finding


def test_an_account_that_can_write_is_told_how_to_lose_that():
    revoke = "REVOKE UPDATE ON public.customer FROM app;"
    found = [rights(update=True, remedy=revoke), rights(name="address"), rights(update=True, remedy=revoke, name="x")]
    assert access_report("read", found) == {
        "declared": "read",
        "account_can": ["select", "update"],
        "finding": "can_write",
        "excess": [
            {"collection": name, "namespace": {"schema": "public"}, "privileges": ["UPDATE"]}
            for name in ("customer", "x")
        ],
        "remedy": [revoke],
    }


def test_an_account_that_may_write_has_nothing_to_lose():
    report = access_report("write", [rights(update=True, delete=True, remedy="REVOKE it;")])
    assert (report["excess"], report["remedy"]) == ([], [])

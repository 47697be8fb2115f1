"""Discoveries of connections: what of them a later look at the same connection is told."""

from datetime import timedelta

from connectory.store.discoveries import begin_discovery, end_discovery, reports_of


def test_reports_of_the_same_secrets_are_told_newest_first(store, save_one, now):
    with store.write() as database:
        owner, other = save_one(database, "a").id, save_one(database, "b").id
        # The connection, the version of its secrets, and what was found: the third one still runs.
        for number, (of, version, report) in enumerate(
            [(owner, 1, "old"), (owner, 2, "first"), (owner, 2, None), (other, 2, "another's"), (owner, 2, "last")]
        ):
            at = now + timedelta(seconds=number)
            assert begin_discovery(database, of, f"d_{number}", secrets_version=version, actor="a", at=at)
            if report is not None:
                end_discovery(database, f"d_{number}", report)
    with store.read() as database:
        assert list(reports_of(database, owner, 2)) == ["last", "first"]
        assert list(reports_of(database, owner, 3)) == []

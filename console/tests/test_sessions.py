"""The session cookie: sealed, bound to its name, and over in time."""

import base64
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from connectory_console.sessions import KeyUnusable, Sessions, open_sessions
from connectory_console.settings import ConsoleSettings


class Clock:
    """Time that a test moves."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(b"k" * 32, idle=1800, longest=7200, clock=clock)


def test_a_session_comes_back_and_its_token_cannot_be_read(sessions: Sessions) -> None:
    session = sessions.start("marker-token", "root", "id", ("connection:read",))
    cookie = sessions.seal(session, "connectory_8000")
    assert sessions.open(cookie, "connectory_8000") == session
    assert b"marker" not in base64.urlsafe_b64decode(cookie + "==")
    assert "marker" not in repr(session)


def test_it_opens_under_its_name_and_key_only(sessions: Sessions, clock: Clock) -> None:
    cookie = sessions.seal(sessions.start("t", "root", "id", ()), "connectory_8000")
    assert sessions.open(cookie, "connectory_8001") is None
    assert Sessions(b"x" * 32, idle=1800, longest=7200, clock=clock).open(cookie, "connectory_8000") is None


@pytest.mark.parametrize("value", ["", "x", "****", "A" * 60, "é", "A" * 10_000])
def test_what_is_not_a_cookie_of_ours_is_nobody(sessions: Sessions, value: str) -> None:
    assert sessions.open(value, "connectory_8000") is None


def test_every_altered_byte_is_noticed(sessions: Sessions) -> None:
    sealed = bytearray(base64.urlsafe_b64decode(sessions.seal(sessions.start("t", "r", "i", ()), "c") + "=="))
    for place in range(len(sealed)):
        altered = sealed.copy()
        altered[place] ^= 1
        assert sessions.open(base64.urlsafe_b64encode(altered).decode(), "c") is None


def test_it_ends_after_idling_and_in_any_case(sessions: Sessions, clock: Clock) -> None:
    session = sessions.start("t", "root", "id", ())
    cookie = sessions.seal(session, "c")
    clock.now += 1800
    assert sessions.open(cookie, "c") is not None
    clock.now += 1
    assert sessions.open(cookie, "c") is None
    kept = sessions.seal(replace(session, seen=clock.now), "c")
    assert sessions.open(kept, "c") is not None
    clock.now = session.started + 7201
    assert sessions.open(sessions.seal(replace(session, seen=clock.now), "c"), "c") is None


def test_it_is_sealed_anew_once_a_minute(sessions: Sessions, clock: Clock) -> None:
    session = sessions.start("t", "root", "id", ())
    clock.now += 60
    assert sessions.renewed(session) is None
    clock.now += 1
    renewed = sessions.renewed(session)
    assert renewed is not None
    assert (renewed.seen, renewed.started) == (clock.now, session.started)


def test_a_key_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    settings = ConsoleSettings(home=tmp_path / "home")
    first, second = open_sessions(settings), open_sessions(settings)
    cookie = first.seal(first.start("t", "root", "id", ()), "c")
    assert second.open(cookie, "c") is not None
    [key] = (tmp_path / "home").iterdir()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


@pytest.mark.parametrize("key", ["short", "", "!" * 44])
def test_a_key_that_cannot_be_used_says_so_and_is_not_repeated(key: str, tmp_path: Path) -> None:
    if key:
        with pytest.raises(KeyUnusable, match="CONNECTORY_CONSOLE_KEY must hold 32 bytes") as raised:
            open_sessions(ConsoleSettings(key=key))
        assert key not in str(raised.value)
    (tmp_path / "console.key").write_text(key)
    with pytest.raises(KeyUnusable, match="32 bytes"):
        open_sessions(ConsoleSettings(home=tmp_path))

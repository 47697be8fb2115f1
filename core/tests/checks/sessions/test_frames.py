"""Frames: read as they come, in whatever pieces, and never more than two ahead."""

import asyncio
import os

import pytest

from connectory.checks.sessions.frame_reader import FrameReader
from connectory.checks.sessions.frames import FRAME_LIMIT, Unframing, framed, read_frame, write_frame
from connectory.checks.wire import ProtocolViolation

MESSAGES = [b"", b"one", b"x" * 100_000]


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_frames_are_found_in_whatever_pieces_they_come():
    data, found = memoryview(b"".join(map(framed, MESSAGES))), []
    unframing = Unframing()
    while data:
        size = min(unframing.wanted, 7)
        message = unframing.feed(bytes(data[:size]))
        data = data[size:]
        if message is not None:
            found.append(message)
    assert found == MESSAGES


def test_what_is_written_is_read(pipe):
    reader, writer = pipe
    write_frame(writer, b"one")
    write_frame(writer, b"")
    assert [read_frame(reader), read_frame(reader)] == [b"one", b""]


def test_a_frame_has_a_mebibyte():
    with pytest.raises(ProtocolViolation):
        framed(bytes(FRAME_LIMIT + 1))
    with pytest.raises(ProtocolViolation):
        Unframing().feed((FRAME_LIMIT + 1).to_bytes(4, "big"))


def test_two_frames_are_read_ahead_and_the_pipe_holds_the_rest(pipe, in_loop):
    reader, writer = pipe
    message = b"x" * 20_000

    async def scenario():
        os.set_blocking(reader, False)
        frames = FrameReader(reader)
        os.write(writer, framed(message) * 3)  # a pipe takes 64 KiB
        assert await frames.next() == message
        await asyncio.sleep(0.01)
        left = [await asyncio.to_thread(readable, reader)]
        assert await frames.next() == message
        assert await frames.next() == message
        frames.stop()
        assert await frames.next() is None
        return left

    def readable(descriptor):
        import array
        import fcntl
        import termios

        size = array.array("i", [0])
        fcntl.ioctl(descriptor, termios.FIONREAD, size)
        return size[0]

    assert in_loop(scenario()) == [0]


def test_nothing_is_read_ahead_of_a_frame_that_is_over_the_usual_limit(in_loop):
    large, written = bytes(FRAME_LIMIT + 1), []

    def write(descriptor):
        for number in range(3):
            write_frame(descriptor, large, 2 * FRAME_LIMIT)
            written.append(number)

    async def scenario():
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        frames = FrameReader(reader, limit=2 * FRAME_LIMIT)
        writing = asyncio.create_task(asyncio.to_thread(write, writer))
        received = [len(await frames.next())]
        await asyncio.sleep(0.05)
        ahead = len(written)  # the one that is read ahead of it is not followed by another
        received += [len(await frames.next()) for _ in range(2)]
        await writing
        frames.stop()
        os.close(reader)
        os.close(writer)
        return ahead, received

    assert in_loop(scenario()) == (2, [len(large)] * 3)


def test_who_waits_for_a_frame_is_told_of_the_end(in_loop):
    async def scenario():
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        frames = FrameReader(reader)
        waiting = asyncio.ensure_future(frames.next())
        await asyncio.sleep(0)
        os.close(writer)
        assert await waiting is None
        frames.stop()
        os.close(reader)

    in_loop(scenario())

"""The lock that writers of one SQLite file wait for."""

import threading
import time

from connectory.store.line import Line


def test_a_thread_that_works_without_a_pause_keeps_no_other_out():
    line, done = Line(), threading.Event()

    def work():
        while not done.is_set():
            assert line.acquire(timeout=10)
            time.sleep(0.002)
            line.release()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            began = time.monotonic()
            assert line.acquire(timeout=10)
            line.release()
            assert time.monotonic() - began < 1  # two others, of 2 ms
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_who_gives_up_takes_nothing():
    line = Line()
    assert line.acquire(timeout=1)
    assert not line.acquire(timeout=0.01)
    assert not line.acquire(timeout=0)
    line.release()
    assert line.acquire(timeout=0)
    line.release()

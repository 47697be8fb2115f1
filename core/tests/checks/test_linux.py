"""What is asked of the kernel about processes."""

from __future__ import annotations

import subprocess
import sys
from subprocess import PIPE

import pytest

from connectory.checks import linux
from connectory.checks.memory import usage

_CHILD = "import sys; held = b'x' * (80 * 2**20); print(flush=True); sys.stdin.read()"
_PARENT = """
import subprocess, sys, threading
def have_a_child():
    subprocess.run([sys.executable, "-c", sys.argv[1]])
threading.Thread(target=have_a_child).start()
"""
_TAKES = 80 * 2**20


@pytest.fixture
def parent():
    """A process with one child, which a thread of it started and which holds 80 MiB."""
    with subprocess.Popen([sys.executable, "-c", _PARENT, _CHILD], stdin=PIPE, stdout=PIPE) as started:
        started.stdout.readline()
        yield started.pid
        started.stdin.close()


@pytest.mark.parametrize("lists_children", [True, False], ids=["children listed", "by all processes"])
def test_memory_counts_what_any_thread_has_started(parent, monkeypatch, lists_children):
    monkeypatch.setattr(linux, "_LISTS_CHILDREN", lists_children and linux._LISTS_CHILDREN)
    [child] = [process for process, (above, _) in linux.processes().items() if above == parent]
    used = usage(parent, [], [child])
    assert (used.largest, used.total > _TAKES) == (child, True)


@pytest.mark.skipif(not linux._LISTS_CHILDREN, reason="this kernel does not list children (CONFIG_PROC_CHILDREN)")
def test_only_the_family_is_looked_at(parent):
    """The service looks several times a second, on its event loop; the machine may have thousands of processes."""
    found = linux.family(parent)
    assert len(found) == 2
    assert {above for process, (above, _) in found.items() if process != parent} == {parent}

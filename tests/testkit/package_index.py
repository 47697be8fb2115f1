"""A package index on loopback, for tests that publish: pypiserver, which has nothing but what was uploaded to it."""

from collections.abc import Iterator
from contextlib import contextmanager

from connectory.testing.ports import IPV4_LOOPBACK, free_port
from connectory.testing.processes import running_server
from testkit.side_environment import side_python


@contextmanager
def package_index() -> Iterator[str]:
    """An empty index; gives its address. Anybody may upload to it. `<address>/simple/` is what pip reads."""
    port = free_port()
    command = [
        side_python("index"),
        "-m",
        "pypiserver",
        "run",
        "--disable-fallback",
        "-i",
        IPV4_LOOPBACK,
        "-p",
        str(port),
    ]
    # Nobody has to log in: `.` stands for no action, and for no file of passwords.
    with running_server([*command, "-a", ".", "-P", ".", "."], port):
        yield f"http://{IPV4_LOOPBACK}:{port}"

"""The log goes on when nobody reads it, and keeps its lines."""

import json
import os
import subprocess
import sys

from connectory.api.http.log_lines import Lines

LINES = 5000
"""Some 400 KB, of which a pipe holds 64."""


def test_a_log_that_nobody_reads_holds_nothing_up_and_is_whole_in_the_end():
    """Also when the process ends."""
    code = (
        "from connectory.api.http.logs import configure_logs, log\n"
        "configure_logs('info')\n"
        f"for number in range({LINES}):\n"
        "    log.info('a line', number=number)\n"
        "print('done', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"done\n"
        lines = process.stderr.read().splitlines()
    assert [json.loads(line)["number"] for line in lines] == list(range(LINES))


def test_lines_beyond_what_may_wait_are_counted():
    reading, writing = os.pipe()
    lines = Lines(writing, most=2)
    while len(lines._waiting) < 2:
        lines.write(b"x" * 1000 + b"\n")
    for _ in range(3):
        lines.write(b"dropped\n")
    with os.fdopen(reading, "rb") as read:
        found = []
        while not found or b"dropped" not in found[-1]:
            found.append(read.readline())
        lines.finish()
        assert json.loads(found[-1]) == {"event": "log lines dropped", "level": "warning", "lines": 3}
        assert set(found[:-1]) == {b"x" * 1000 + b"\n"}
        lines.write(b"again\n")
        assert read.readline() == b"again\n"
    os.close(writing)

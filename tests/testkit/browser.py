"""A real browser without a screen: Debian's chromium-headless-shell, driven over the DevTools protocol by a pipe.

The protocol is JSON between NUL bytes (chromium: content/browser/devtools/devtools_pipe_handler.cc); the browser ends when the
pipe is closed, so also when its owner is killed.
"""

import json
import os
import selectors
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from connectory.testing.processes import ServerFailed
from testkit.debian import CHROMIUM_PACKAGES, libraries_in, unpacked
from testkit.processes import remove_folder, temporary_folder

Event = dict[str, Any]

_PATIENCE = 60
"""Seconds for anything that is waited for."""

# The pipe is on descriptors 3 and 4; a shell gives it its standard input and output as these.
_ON_3_AND_4 = 'exec "$@" 3<&0 4>&1 </dev/null >&2'


class Browser:
    """One browser with one empty page. Use it as a context.

    Attributes:
        events: what the page has told so far, oldest first: `{"method": ..., "params": ...}`.
    """

    def __init__(self) -> None:
        root = unpacked("chromium", CHROMIUM_PACKAGES)
        self._folder = temporary_folder("browser")
        self._log = self._folder / "browser.log"
        (self._folder / "fonts.conf").write_text(
            f"<fontconfig><dir>{root}/usr/share/fonts</dir><cachedir>{self._folder}/fonts</cachedir></fontconfig>"
        )
        environment = {
            "HOME": str(self._folder),
            "LD_LIBRARY_PATH": libraries_in(root),
            "FONTCONFIG_FILE": str(self._folder / "fonts.conf"),
            "PATH": os.environ["PATH"],
        }
        command = [
            root / "usr/lib/chromium/chromium-headless-shell",
            "--remote-debugging-pipe",
            "--no-sandbox",  # which root cannot have; the pages are our own
            "--disable-gpu",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--disable-dev-shm-usage",
            f"--user-data-dir={self._folder / 'profile'}",
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", _ON_3_AND_4, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        self.events: list[Event] = []
        self._received = b""
        self._commands = 0
        self._session: dict[str, str] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        try:
            target = self.ask("Target.createTarget", url="about:blank")["targetId"]
            self._session = {"sessionId": self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
            for domain in ("Page", "Network", "Runtime", "Log"):
                self.ask(f"{domain}.enable")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._selector.close()
        remove_folder(self._folder)

    def open(self, url: str) -> None:
        """Have the page load an address; it is loaded some time later."""
        self.ask("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise ServerFailed(f"The page raised: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """The value of a JavaScript expression once it is true; the page looks at every frame that it draws."""
        look = f"() => {{ const found = {expression}; found ? resolve(found) : requestAnimationFrame(look) }}"
        return self.evaluate(f"new Promise(resolve => {{ const look = {look}; look() }})")

    def wait_until_told(self, found: Callable[[], list[Any]]) -> list[Any]:
        """What `found` gives once it is not empty; it looks at what the page has told."""
        deadline = time.monotonic() + _PATIENCE
        while not (result := found()):
            self.events.append(self._receive(deadline))
        return result

    def told(self, method: str) -> list[Any]:
        """The parameters of every event of this name."""
        return [event["params"] for event in self.events if event["method"] == method]

    def ask(self, method: str, **parameters: Any) -> Any:
        """The answer to one command of the protocol."""
        self._commands += 1
        message = {"id": self._commands, "method": method, "params": parameters} | self._session
        with suppress(BrokenPipeError):  # the answer, which does not come, says why
            self._process.stdin.write(json.dumps(message).encode() + b"\0")
            self._process.stdin.flush()
        deadline = time.monotonic() + _PATIENCE
        while (answer := self._receive(deadline)).get("id") != self._commands:
            self.events.append(answer)
        if "error" in answer:
            raise ServerFailed(f"The browser refused {method}: {answer['error']}")
        return answer["result"]

    def _receive(self, deadline: float) -> Event:
        while b"\0" not in self._received:
            if not self._selector.select(max(0, deadline - time.monotonic())):
                raise ServerFailed(f"The browser said nothing in time.{self._log_tail()}")
            more = os.read(self._process.stdout.fileno(), 1 << 16)
            if not more:
                raise ServerFailed(f"The browser ended.{self._log_tail()}")
            self._received += more
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)

    def _log_tail(self) -> str:
        return f" The end of its log:\n{self._log.read_text(errors='replace')[-3000:]}"

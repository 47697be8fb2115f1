"""Debian's chromium-headless-shell, driven by Playwright: what a person does in a browser, written as a test."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from testkit.debian import CHROMIUM_PACKAGES, libraries_in, unpacked
from testkit.processes import remove_folder, temporary_folder

ARGUMENTS = (
    "--no-sandbox",  # which root cannot have; the pages are our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    # As DNS rebinding has it, a hostile name may lead to this machine; other names lead nowhere.
    "--host-resolver-rules=MAP rebound.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--font-render-hinting=none",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """One browser. Each test makes contexts of its own in it, which share nothing."""
    root = unpacked("chromium", CHROMIUM_PACKAGES)
    folder = temporary_folder("chromium")
    (folder / "fonts.conf").write_text(
        f"<fontconfig><dir>{root}/usr/share/fonts</dir><cachedir>{folder}/fonts</cachedir></fontconfig>"
    )
    environment: dict[str, str | float | bool] = {
        "HOME": str(folder),
        "LD_LIBRARY_PATH": libraries_in(root),
        "FONTCONFIG_FILE": str(folder / "fonts.conf"),
    }
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=root / "usr/lib/chromium/chromium-headless-shell", args=list(ARGUMENTS), env=environment
            )
            try:
                yield browser
            finally:
                browser.close()
    finally:
        remove_folder(folder)


class SharedChromium:
    """A browser that stays while other tests run, and is of use only `in_use`.

    Playwright has its event loop count as running from start to end, and beside it no test could run one of its own.
    """

    def __init__(self, browser: Browser, loop: asyncio.AbstractEventLoop) -> None:
        self._browser = browser
        self._loop = loop

    @contextmanager
    def in_use(self) -> Iterator[Browser]:
        asyncio._set_running_loop(self._loop)
        try:
            yield self._browser
        finally:
            asyncio._set_running_loop(None)


@contextmanager
def shared_chromium() -> Iterator[SharedChromium]:
    """One browser for several modules: starting it, with Playwright, takes more than a second of a processor."""
    with chromium() as browser:
        shared = SharedChromium(browser, asyncio.get_running_loop())
        asyncio._set_running_loop(None)
        try:
            yield shared
        finally:
            asyncio._set_running_loop(shared._loop)

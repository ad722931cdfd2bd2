"""A real browser on the real frontend. Where there is none the tests say so and are skipped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

CANDIDATES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
)


def find_chromium(own: str) -> str | None:
    """Return a browser that Playwright can drive: one of the system's, or the one it fetched itself (`own`)."""
    found = (shutil.which(name) for name in CANDIDATES)
    return next((path for path in found if path), own if Path(own).is_file() else None)


@pytest.fixture(scope="session")
def browser() -> Iterator:
    sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
    with sync_api.sync_playwright() as playwright:
        path = find_chromium(playwright.chromium.executable_path)
        if path is None:
            pytest.skip("no Chromium: apt-get install chromium, or python -m playwright install chromium")
        # As root, which containers run as, Chromium starts without its sandbox only.
        sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=path, args=sandbox)
        yield browser
        browser.close()


def new_page(browser, url: str, ready: str):
    """A page with the errors it has raised in `page.raised`, once `ready` holds in it."""
    page = browser.new_page(viewport={"width": 2000, "height": 1100})
    page.raised = []
    page.on("pageerror", lambda error: page.raised.append(str(error)))
    page.goto(url)
    page.wait_for_function(ready, timeout=120_000)
    return page


@pytest.fixture(scope="session")
def session_page(browser, host_server, run_script) -> Iterator:
    """A page as a new user sees it at the first start."""
    query = run_script.examples.offer_workflow(host_server.base, run_script.PACK)
    opened = "() => window.app?.graph?.nodes?.some(n => n.type === 'AMAdapterApply')"
    page = new_page(browser, host_server.url + query, opened)
    page.opened = page.evaluate("() => window.app.graph.nodes.map(n => n.type)")
    yield page
    page.close()


@pytest.fixture(scope="module")
def fresh_page(browser, host_server) -> Iterator:
    """One that no other file's tests have used: the frontend remembers values of widgets beyond a cleared canvas."""
    page = new_page(browser, host_server.url, "() => window.app?.graph?.nodes && window.app.extensionManager?.command")
    yield page
    page.close()


@pytest.fixture
def page(session_page):
    session_page.raised.clear()
    return session_page

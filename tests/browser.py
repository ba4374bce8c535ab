"""A real Chromium for tests: where it is, and how it is started."""

import os
import shutil
from contextlib import contextmanager

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]

# Where GMLP_NEED_BROWSER is set, its absence is a failure: see .ci/run.
needs_browser = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("GMLP_NEED_BROWSER"),
    reason="no Chromium found; on Debian: sudo apt install chromium",
)


@contextmanager
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()

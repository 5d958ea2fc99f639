"""Steps that journeys through the pages share."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

PATIENCE_MS = 180_000
"""For the first import of torch on a busy machine."""


def settle(page: Page) -> None:
    """Waits until the server has answered."""
    page.wait_for_timeout(300)
    expect(page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]')).to_be_attached(
        timeout=PATIENCE_MS
    )


def heading(page: Page, pattern: str) -> None:
    """Waits for a heading that the pattern finds."""
    expect(page.get_by_role("heading", name=re.compile(pattern)).first).to_be_visible(timeout=PATIENCE_MS)

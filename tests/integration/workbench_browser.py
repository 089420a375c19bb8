"""Debian's Chromium at the workbench's page, and what is asked of every view."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright
from workbench_review import PASSWORD, Served  # type: ignore[import-not-found]

# WebGL2 on the processor: nothing here has a graphics card.
FLAGS = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
SCAN_MS = 20_000
"""For the first scan: on a busy machine the shaders are compiled for seconds."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; none is a failure, for a test of the page that is skipped looks like one that passed."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.fail("there is no chromium; 'make system' installs it")
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visitor:
    """Somebody at a page, and all that the browser complained of meanwhile."""

    page: Page
    served: Served
    complaints: list[str] = field(default_factory=list)

    @classmethod
    def enter(cls, browser: Browser, served: Served, width: int = 960, height: int = 720, **options: Any) -> "Visitor":  # noqa: ANN401 - Playwright's
        """Open the page in a session of its own."""
        page = browser.new_context(viewport={"width": width, "height": height}, **options).new_page()
        visitor = cls(page, served)
        page.on("console", lambda said: visitor.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: visitor.complaints.append(str(error)))
        page.set_default_timeout(SCAN_MS)
        page.goto(served.address)
        page.wait_for_selector("#user")
        return visitor

    def login(self, name: str, password: str = PASSWORD) -> "Visitor":
        """Type name and password, as one does without a mouse."""
        self.page.locator("#user").focus()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(name)
        self.page.keyboard.press("Tab")
        self.page.keyboard.type(password)
        self.page.keyboard.press("Enter")
        return self

    def home(self) -> "Visitor":
        """Wait until the first view stands."""
        self.page.wait_for_selector(".page h1")
        return self

    def open_case(self, number: int) -> "Visitor":
        """From the list into a case, until its scan stands."""
        self.page.goto(f"{self.served.address}#/cases")
        self.page.get_by_role("link", name=f"Case {number}", exact=True).click()
        return self.scan(number)

    def scan(self, number: int) -> "Visitor":
        """Wait until a case's scan stands."""
        self.page.wait_for_selector(f"h1:text-is('Case {number}')")
        self.page.wait_for_selector(".layers")
        return self

    def check_accessible(self, view: str) -> None:
        """WCAG 2.1 AA and good practice, by axe."""
        found = Axe().run(self.page, options=RULES).response["violations"]
        said = [
            f"{one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0]['failureSummary'][:300]}" for one in found
        ]
        assert not said, f"{view}: {said}"

    def check_everywhere(self, view: str) -> None:
        """The same in light and dark; and on a tablet held either way nothing is beyond the screen's edge."""
        for scheme in ("dark", "light"):
            self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            self.check_accessible(f"{view}, {scheme}")
        before = self.page.viewport_size
        assert before is not None
        for width, height in ((768, 1024), (1024, 768)):
            self.page.set_viewport_size({"width": width, "height": height})
            beyond = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert beyond <= 0, f"{view} is {beyond} pixels wider than {width}"
        self.page.set_viewport_size(before)

    def leave(self, *expected: str) -> None:
        """Close; the browser may have complained of what was expected only, and never of the content policy."""
        usual = ("status of 401", *expected)  # asking who one is, before the login
        assert not [said for said in self.complaints if not any(part in said for part in usual)]
        self.page.context.close()

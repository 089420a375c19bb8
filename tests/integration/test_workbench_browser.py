"""The review workbench in a real browser, served as it is: readings, sign-off, keyboard, tablet, left and right."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from workbench_browser import Visitor, chromium  # type: ignore[import-not-found]
from workbench_review import PASSWORD, Served, serve  # type: ignore[import-not-found]

LEFT_COLOUR, RIGHT_COLOUR = (0x56, 0xB4, 0xE9), (0xE6, 0x9F, 0x00)
"""Of the structures at the patient's left and right."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("open"), cases=2, blinded=False) as served:
        yield served


def test_a_blinded_review_from_login_to_export(browser: Browser, tmp_path: Path) -> None:
    with serve(tmp_path, cases=5, blinded=True) as served:
        anna = Visitor.enter(browser, served).login("anna", "wrong password").page
        expect(anna.get_by_role("alert")).to_have_text("The name or the password is wrong.")
        reader = Visitor(anna, served).login("anna").home()
        _read_all(reader, minor=3)
        second = Visitor.enter(browser, served).login("bela").home()
        _read_all(second, minor=1)
        expect(second.page.locator(".progress")).to_contain_text("5 of 5 cases read.")  # and not who agrees

        lead = Visitor.enter(browser, served).login("lea").home()
        page = lead.page
        expect(page.locator(".progress")).to_contain_text("3 of 5 cases finished; 2 to adjudicate")
        page.get_by_role("link", name="Progress and sign-off").click()
        expect(page.locator(".card .notice")).to_contain_text("Not yet")
        expect(page.get_by_role("button", name="Sign off")).to_have_count(0)
        _adjudicate(lead)
        _sign(lead)
        _export(page, tmp_path)

        page.get_by_role("link", name="Audit").click()
        expect(page.locator(".notice.good")).to_contain_text("The chain holds")
        expect(page.locator("tbody")).to_contain_text("signoff")
        second.open_case(1)
        expect(second.page.locator(".side .notice")).to_contain_text("signed off")
        expect(second.page.get_by_role("button", name="Save")).to_have_count(0)
        second.leave()
        lead.leave()


def _read_all(reader: Visitor, minor: int) -> None:
    """Read every case with nothing but the keyboard; of one, A is not accepted."""
    page = reader.page
    expect(page.get_by_role("columnheader", name="Dice")).to_have_count(0)
    page.keyboard.press("j")
    for number in range(1, 6):
        reader.scan(number)
        expect(page.locator(".reading .hint")).to_contain_text("Others see A and B in another order")
        assert not re.search("prediction|reference|dice", page.locator("main").inner_text(), re.IGNORECASE)
        page.keyboard.press("2" if number == minor else "1")
        page.keyboard.press("1")
        page.keyboard.press("c")
        page.keyboard.type(f"1 seen {number}")  # digits in a comment are no verdicts
        page.keyboard.press("Escape")
        page.keyboard.press("s")
    expect(page.locator("h1")).to_have_text("Cases")
    expect(page.get_by_role("row").nth(minor)).to_contain_text("A: Minor edits, B: Accept")


def _adjudicate(lead: Visitor) -> None:
    page = lead.page
    page.get_by_role("link", name="Cases").first.click()
    page.get_by_role("link", name="Go on reading").click()
    for number in (1, 3):
        lead.scan(number)
        readings = page.get_by_role("table", name="Readings side by side")
        expect(readings).to_contain_text(f"1 seen {number}")
        expect(readings.locator(".differs")).to_have_count(2)
        lead.check_accessible("adjudication")
        page.keyboard.press("2")
        page.keyboard.press("1")
        page.keyboard.press("s")
    expect(page.locator(".progress")).to_contain_text("5 of 5 cases finished")


def _sign(lead: Visitor) -> None:
    page = lead.page
    page.get_by_role("link", name="Progress and sign-off").click()
    page.get_by_role("button", name="Sign off").click()
    lead.check_accessible("sign-off")
    page.get_by_label("Statement").fill("Read by two, and fit for the trial.")
    page.get_by_label("Your password, once more").fill("not the password")
    page.get_by_role("dialog").get_by_role("button", name="Sign off").click()
    expect(page.get_by_role("alert")).to_have_text("The name or the password is wrong.")
    page.get_by_label("Your password, once more").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator(".notice.good")).to_have_text("The review is signed off.")
    expect(page.locator(".chip")).to_have_count(0)  # blinded no more


def _export(page: Page, folder: Path) -> None:
    for name in ("signoff.json", "review-chain.jsonl", "report.pdf", "results.zip"):
        with page.expect_download(timeout=60_000) as download:  # the PDF is made now
            page.get_by_role("button", name=f"Download {name}").click()
        download.value.save_as(folder / name)
    assert "fit for the trial" in json.dumps(json.loads((folder / "signoff.json").read_text("utf-8")))
    chain = (folder / "review-chain.jsonl").read_text("utf-8")
    assert len(chain.splitlines()) >= 12
    assert "seen" not in chain, "the exported chain holds comments"
    assert "case-00" not in chain, "the exported chain holds names of cases"
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF")
    assert (folder / "results.zip").read_bytes().startswith(b"PK")


def test_left_is_left(browser: Browser, served: Served) -> None:
    reader = Visitor.enter(browser, served).login("anna").home().open_case(1)
    page = reader.page
    expect(page.locator("#convention")).to_contain_text("left (L) is at the right of the screen")
    page.get_by_label("Opacity of Reference, per cent").fill("100")
    for layer in ("p", "i", "x"):  # the reference alone, by colour
        page.keyboard.press(layer)
    for view, plane in (("Axial", "axial"), ("Coronal", "coronal")):
        page.locator("#planes").select_option(plane)
        picture = _picture(page)
        left, right = _middle(picture, LEFT_COLOUR), _middle(picture, RIGHT_COLOUR)
        assert left[0] > picture.shape[1] / 2 > right[0], f"{view}: the patient's left is not at the right"
        if plane == "axial":
            assert left[1] > right[1], "the structure that lies more anterior is not higher"
    page.locator("canvas").focus()
    before = _along(page, "[RL]")
    page.keyboard.press("ArrowRight")
    assert _along(page, "[RL]") < before, "the arrow to the right does not go to the patient's left"
    reader.leave()


def _picture(page: Page) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(page.locator("canvas").screenshot())).convert("RGB"))


def _middle(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> tuple[float, float]:
    """Where a colour is on average, in pixels from the left and from the top."""
    rows, columns = np.nonzero(np.abs(picture.astype(int) - colour).max(axis=-1) < 30)
    assert len(rows) > 200, f"the colour {colour} is not on the screen"
    return float(columns.mean()), float(rows.mean())


def _along(page: Page, sides: str) -> float:
    """Where the crosshair stands, in mm, positive to the patient's right."""
    found = re.search(rf"([\d.]+) mm ({sides})", page.locator("#location").inner_text())
    assert found is not None
    return float(found[1]) * (1 if found[2] == "R" else -1)


def test_every_view_is_accessible_and_fits(browser: Browser, served: Served) -> None:
    lead = Visitor.enter(browser, served)
    lead.check_everywhere("login")
    lead.login("lea").home().check_everywhere("cases")
    lead.open_case(1).check_everywhere("case")
    lead.page.keyboard.press("?")
    lead.check_everywhere("help")
    lead.page.keyboard.press("Escape")
    for place in ("Progress and sign-off", "Audit"):
        lead.page.get_by_role("link", name=place).click()
        expect(lead.page.locator("h1")).to_have_text(place)
        lead.check_everywhere(place)
    lead.leave()


def test_a_reading_on_a_tablet_by_touch(browser: Browser, served: Served) -> None:
    reader = Visitor.enter(browser, served, 768, 1024, has_touch=True).login("bela").home()
    page = reader.page
    page.get_by_role("link", name="Start reading").tap()
    reader.scan(1)
    before = page.locator("#location").inner_text()
    box = page.locator("canvas").bounding_box()
    assert box is not None
    finger = page.context.new_cdp_session(page)  # Playwright's own tap is shorter than any finger's
    point = {"x": box["x"] + box["width"] * 0.3, "y": box["y"] + box["height"] * 0.3}
    finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
    page.wait_for_timeout(150)
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(page.locator("#location")).not_to_have_text(before)
    page.get_by_role("checkbox", name="Reference").tap()
    page.get_by_role("radio", name="Major edits").tap()
    small = page.evaluate(
        "[...document.querySelectorAll('button, .choice, select')].filter((e) => e.getBoundingClientRect().height < 44)"
        ".map((e) => e.textContent)"
    )
    assert small == []
    page.get_by_role("button", name="Save and next").tap()
    reader.scan(2)
    page.get_by_role("link", name="All cases").tap()
    expect(page.get_by_role("row").nth(1)).to_contain_text("Major edits")
    reader.leave()


def test_keyboard_alone(browser: Browser, served: Served) -> None:
    reader = Visitor.enter(browser, served).login("anna").home()
    page = reader.page
    page.keyboard.press("j")
    reader.scan(1)
    stops = []
    for _ in range(60):
        page.keyboard.press("Tab")
        stop = page.evaluate(FOCUSED)
        if stop is None:
            break
        stops.append(stop)
    names = [stop["name"] for stop in stops]
    assert len(names) == len(set(names)), f"the focus goes in a circle: {names}"
    assert [stop for stop in stops if not stop["visible"]] == [], "the focus cannot be seen"
    expected = ["Next", "planes", "cross", "window", "Scan", "slice-2", "layer-image", "layer-reference",
                "verdict-prediction-accept", "comment", "Save and next"]  # fmt: skip
    order = [names.index(name) for name in expected]
    assert order == sorted(order), names

    page.get_by_role("button", name="Help").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Accept, Minor edits, Major edits, Reject")
    for _ in range(6):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('dialog')")
    page.get_by_label("Single keys work as shortcuts").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("button", name="Help")).to_be_focused()
    page.keyboard.press("1")
    expect(page.locator(".choice input:checked")).to_have_count(0)  # shortcuts are off
    reader.leave()


FOCUSED = """() => {
  const at = document.activeElement;
  if (at === document.body) return null; // past the last one
  const ring = (element) => { const { outlineStyle, outlineWidth } = getComputedStyle(element);
    return outlineStyle !== "none" && parseFloat(outlineWidth) >= 2; };
  const shown = [at, at.parentElement, at.nextElementSibling].filter(Boolean).some(ring);
  return { name: at.id || at.getAttribute("aria-label") || at.textContent, visible: shown };
}"""


def test_an_expired_session_keeps_what_was_typed(browser: Browser, served: Served) -> None:
    reader = Visitor.enter(browser, served).login("anna").home().open_case(2)
    page = reader.page
    page.keyboard.press("3")
    page.get_by_label("Comment").fill("The left part runs into the right one.")
    served.ahead += 31 * 60
    page.get_by_role("button", name="Save and next").click()
    expect(page.get_by_role("status").first).to_contain_text("What you typed is kept")
    reader.login("anna").scan(2)
    expect(page.get_by_label("Comment")).to_have_value("The left part runs into the right one.")
    expect(page.locator("#verdict-prediction-major")).to_be_checked()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("heading", name="Your reading")).to_be_visible()
    page.route("**/api/cases/*/review", lambda route: route.abort())
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
    page.route("**/api/logout", lambda route: route.abort())
    page.get_by_role("button", name="Log out").click()
    expect(page.locator("h1")).to_have_text("Something went wrong")  # the session lives: nobody is told otherwise
    page.unroute("**/api/logout")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("status").first).to_contain_text("You are logged out")
    reader.leave("net::ERR_FAILED")


def test_without_webgl_no_verdict_is_taken(browser: Browser, served: Served) -> None:
    reader = Visitor.enter(browser, served)
    page = reader.page
    page.evaluate("HTMLCanvasElement.prototype.getContext = () => null")
    reader.login("anna").home()
    page.get_by_role("link", name="Case 1", exact=True).click()
    expect(page.locator(".frame [role=alert]")).to_contain_text("WebGL2 is missing")
    expect(page.get_by_role("button", name="Save and next")).to_be_disabled()
    expect(page.get_by_role("table", name="Volumes in ml")).to_contain_text("left part")
    reader.leave()

"""What a page looks like to a browser's console and to axe, the accessibility checker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Page, ViewportSize

AXE = Path(__file__).parent.parent / "vendor" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WIDE: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

# Without preloading: it puts style sheets that import others into the page, against our policy. And
# without what it has to say of what is as it should be.
_RUN_AXE = """async (only) =>
(await axe.run({runOnly: only, preload: false, resultTypes: ['violations']})).violations"""
_EVERYTHING = {"type": "tag", "values": RULES}
# What the scheme of colours may change.
_COLOURS = {"type": "rule", "values": ["color-contrast"]}

# A status or a lost network that a test provokes is an error line of the console, too.
_STATUSES_ON_PURPOSE = ("401", "403", "404", "409", "422", "429", "ERR_INTERNET_DISCONNECTED")

_COLLECT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(["CSP:", event.violatedDirective, event.blockedURI, event.sourceFile].join(" "));
});
"""


# A request gave way to a newer one (hx-sync), which htmx tells of as of an error.
_OVERTAKEN = "htmx:error: signal is aborted without reason"


def watch(page: Page, complaints: list[str]) -> None:
    """Collect what the page complains about: console errors, script errors, policy violations."""
    page.add_init_script(_COLLECT_VIOLATIONS)
    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))

    def heard(message: Any) -> None:
        told = message.text
        is_status = "Failed to load resource" in told
        if message.type == "error" and not (
            (is_status and any(status in told for status in _STATUSES_ON_PURPOSE))
            or _OVERTAKEN in told
        ):
            complaints.append(f"{page.url}: {told}")

    page.on("console", heard)


def faults(page: Page, only: Mapping[str, Any] = _EVERYTHING) -> list[str]:
    """What axe finds wrong with the page as it stands, a line a fault."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE.read_text("utf-8"))
    result = page.evaluate(_RUN_AXE, only)
    return [
        f"{fault['id']} ({fault['impact']}): {fault['help']}: "
        + "; ".join(node["html"][:160] + " " + str(node["target"]) for node in fault["nodes"][:3])
        for fault in result
    ]


def faults_everywhere(page: Page) -> list[str]:
    """The same in light and dark, wide and on a phone, and whether anything sticks out sideways.

    What another language than English does to a page are other lengths: they show on a phone, and
    in no colour.
    """
    found = []
    is_english = page.evaluate("() => document.documentElement.lang.startsWith('en')")
    for scheme in SCHEMES if is_english else SCHEMES[:1]:
        for size in (WIDE, PHONE):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size(size)
            # What a sticky bar covers half of, once one has scrolled, is no smaller target for it.
            page.evaluate("() => scrollTo(0, 0)")
            where = f"{scheme} {size['width']} px"
            only = _EVERYTHING if scheme == SCHEMES[0] else _COLOURS
            if is_english or size == PHONE:
                found += [f"{where}: {fault}" for fault in faults(page, only)]
            wider = page.evaluate(
                "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            if wider > 0:
                found.append(f"{where}: the page is {wider} px wider than the window")
    return found

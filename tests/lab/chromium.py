"""Debian's Chromium without a window: what a person sees of a page, and does with it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

from axe_core_python.base import AXE_SCRIPT
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import staleness_of

from tests.lab import wait_until
from tests.lab.console import PASSWORD
from tests.lab.sshd import descendants

PROGRAMS: Final = ("chromium", "chromedriver")
PHONE, PAPER, DESK = 360, 673, 1600  # pixels wide
_HEIGHT: Final = 900
_OPTIONS: Final = (
    "--headless=new",
    "--disable-dev-shm-usage",  # containers may have 64 MiB of it
    "--disable-gpu",
    "--disable-background-networking",
    "--lang=en-GB",
    *(("--no-sandbox",) if os.geteuid() == 0 else ()),  # Chromium makes none for root
)


_COMPLAINTS: Final = (("SEVERE", "javascript"), ("SEVERE", "security"), ("SEVERE", "console-api"))


class Chromium:
    """One browser with one window, which looks at one console; closed when the context ends."""

    def __init__(self, folder: Path, address: str) -> None:
        self._folder = folder
        self._address = address
        self._driver: webdriver.Chrome | None = None
        self._before = set(descendants(os.getpid()))
        self.downloads = folder / "downloads"

    def __enter__(self) -> Self:
        self.downloads.mkdir()
        options = webdriver.ChromeOptions()
        options.binary_location = str(shutil.which("chromium"))
        for option in (*_OPTIONS, f"--user-data-dir={self._folder / 'profile'}"):
            options.add_argument(option)
        options.add_experimental_option("prefs", {"download.default_directory": str(self.downloads)})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self._driver = webdriver.Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))
        self.look()
        return self

    def __exit__(self, *_: object) -> None:
        self.driver.quit()
        wait_until(lambda: set(descendants(os.getpid())) <= self._before, "the browser to end")

    @property
    def driver(self) -> webdriver.Chrome:
        """Return what Selenium drives it by."""
        assert self._driver is not None
        return self._driver

    # What it is

    def forget(self) -> None:
        """Become a browser that nobody has used."""
        self.scripts(are_on=True)
        self.emulate("Network.clearBrowserCookies")
        self.driver.get("about:blank")
        self.problems()

    def scripts(self, *, are_on: bool) -> None:
        """Run the scripts of pages, or not."""
        self.emulate("Emulation.setScriptExecutionDisabled", value=not are_on)

    def look(self, width: int = DESK, scheme: str = "light") -> None:
        """Be as wide as a phone or a screen on a desk, and ask for pages that are light or dark."""
        metrics = {"width": width, "height": _HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        self.emulate("Emulation.setDeviceMetricsOverride", **metrics)
        self._show(scheme)

    def _show(self, scheme: str, media: str = "") -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.emulate("Emulation.setEmulatedMedia", media=media, features=features)

    @contextlib.contextmanager
    def looking(self, width: int, scheme: str) -> Iterator[None]:
        """Look otherwise meanwhile."""
        self.look(width, scheme)
        try:
            yield
        finally:
            self.look()

    @contextlib.contextmanager
    def printing(self, scheme: str) -> Iterator[None]:
        """Show meanwhile what would be on A4 paper, from a page that is light or dark."""
        self.look(PAPER, scheme)
        self._show(scheme, "print")
        try:
            yield
        finally:
            self.look()

    def emulate(self, command: str, **values: object) -> None:
        """Set something that other browsers, or other people's, have set."""
        self.driver.execute_cdp_cmd(command, values)

    # What a person does

    def open(self, path: str) -> None:
        """Type an address."""
        self.driver.get(self._address + path)

    def fill(self, **fields: str) -> None:
        """Type into fields, by their ids."""
        for name, text in fields.items():
            field = self.find(f"#{name}")
            field.clear()
            field.send_keys(text)

    def press(self, words: str) -> None:
        """Click the link or button that is called so, once there is one."""
        [target] = wait_until(lambda: self._called(words), f"a link or button {words!r}")
        target.click()

    def _called(self, words: str) -> list[WebElement]:
        try:
            return [each for each in self.all("a, button") if words == each.text.strip()]
        except StaleElementReferenceException:  # the page is being exchanged
            return []

    def keys(self, *keys: str) -> None:
        """Use the keyboard wherever the focus is."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def log_in(self, name: str, password: str = PASSWORD) -> None:
        """Fill in the form and send it, and wait for what is shown then."""
        self.open("/login")
        form = self.find("html")
        self.fill(name=name, password=password)
        self.press("Log in")
        wait_until(lambda: self._is_gone(form), "the answer to the login")

    def _is_gone(self, element: WebElement) -> bool:
        try:
            return bool(staleness_of(element)(self.driver))
        except WebDriverException:  # the page is being exchanged
            return False

    # What a person sees

    def all(self, selector: str) -> list[WebElement]:
        """Return the elements of a selector."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def find(self, selector: str) -> WebElement:
        """Return the first element of a selector."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    @property
    def heading(self) -> str:
        """Return the main heading."""
        return self.find("h1").text

    @property
    def path(self) -> str:
        """Return the address without the host."""
        return self.driver.current_url.removeprefix(self._address)

    @property
    def text(self) -> str:
        """Return what can be read."""
        return self.find("body").text

    def wait_for(self, words: str) -> None:
        """Wait until something can be read."""
        wait_until(lambda: self._shows(words), words)

    def wait_for_focus(self, name: str) -> None:
        """Wait until a field, by its id, takes what is typed."""
        focused = "return document.hasFocus() && document.activeElement && document.activeElement.id"
        wait_until(lambda: self.script(focused) == name, f"the focus on {name}")

    def _shows(self, words: str) -> bool:
        try:
            return words in self.text
        except WebDriverException:  # the page is being exchanged: there is no body, or it is another one by now
            return False

    def script(self, text: str, *values: object) -> Any:  # noqa: ANN401 - whatever the script returns
        """Run a script of ours in the page."""
        return self.driver.execute_script(text, *values)

    def tabbed(self, most: int) -> list[WebElement]:
        """Return what the tab key leads to, one after the other, from the top until the page is left; all is seen."""
        self.script("document.activeElement.blur(); document.body.tabIndex = 0; document.body.focus()")
        elements: list[WebElement] = []
        while len(elements) < most:
            self.keys(Keys.TAB)
            element = self.driver.switch_to.active_element
            if element.tag_name == "body" or element in elements:
                break
            assert self.script("return getComputedStyle(arguments[0]).outlineStyle", element) == "solid", element.text
            elements.append(element)
        return elements

    def problems(self) -> list[str]:
        """Return what the browser complained of since it was last asked: scripts, and what the policy forbids."""
        entries: list[dict[str, str]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]  # is not typed
        return [entry["message"] for entry in entries if (entry["level"], entry["source"]) in _COMPLAINTS]

    def barriers(self, *rules: str) -> list[str]:
        """Return what axe-core finds on this page, by all its rules or these: rule, and the elements."""
        if not self.script("return 'axe' in window"):
            self.script(AXE_SCRIPT)
        options = {"runOnly": [*rules]} if rules else {}
        found = self.driver.execute_async_script(
            f"const done = arguments[0]; axe.run({json.dumps(options)}).then(done, error => done(String(error)))"
        )
        assert isinstance(found, dict), found
        return [f"{each['id']}: {[node['html'] for node in each['nodes']]}" for each in found["violations"]]

"""The report in a real browser, opened from disk: needs Debian's `chromium` and `chromium-driver`.

Skipped where these or selenium are missing, except in continuous integration (the environment variable CI).
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from made_up import write_all

from unlearnbench import table
from unlearnbench.operations.report import report

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

BROWSER, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
AVAILABLE = BROWSER.exists() and DRIVER.exists() and find_spec("selenium") is not None
pytestmark = pytest.mark.skipif(not AVAILABLE and not os.environ.get("CI"), reason="chromium or selenium is missing")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
METHODS = {"laf": ("LAF", 0.05), "neggrad": ("NegGrad", 0.2), "scrub": ("<b>SCRUB</b>", 0.03)}
TABLE = "s-t1-1-clean"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of made-up records."""
    folder = tmp_path_factory.mktemp("browser")
    results = write_all(folder, METHODS)
    for record in results.rglob("class-removal/scrub/2.json"):
        record.unlink()  # so that a cell has no interval
    return report(str(folder / "mine.toml"), results, out=folder / "report.html")


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    """A browser without a network."""
    os.environ["SE_OFFLINE"] = "true"
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=ChromeService(str(DRIVER)))
    driver.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    yield driver
    driver.quit()


@pytest.fixture
def browser(chrome: Chrome, path: Path) -> Iterator[Chrome]:
    """The report, opened anew in a window of usual size; afterwards the browser has written no message."""
    size(chrome, 1200)
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    chrome.get("about:blank")
    chrome.get(path.as_uri())
    yield chrome
    assert chrome.get_log("browser") == []


def size(chrome: Chrome, width: int) -> None:
    shape = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)


def column(chrome: Chrome, place: int, table: str = TABLE) -> list[str]:
    """The texts of a column of a table, Retrain's first."""
    script = (
        "return [...document.querySelectorAll(`#${arguments[0]} tbody tr:not(.heading)`)]"
        ".map(row => row.cells[arguments[1]].textContent)"
    )
    texts: list[str] = chrome.execute_script(script, table, place)
    return texts


def visible(chrome: Chrome, selector: str) -> int:
    """How many elements of a selector are drawn."""
    script = "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility()).length"
    return int(chrome.execute_script(script, selector))


def click(chrome: Chrome, selector: str) -> None:
    chrome.execute_script("document.querySelector(arguments[0]).click()", selector)


def test_it_asks_for_nothing_but_itself(browser: Chrome, path: Path) -> None:
    names = browser.execute_script("return performance.getEntries().map(e => e.name).filter(n => n.includes(':'))")
    assert set(names) == {path.as_uri()}
    assert browser.title == "Unlearning report: mine"


def test_columns_sort_by_mouse_and_by_keyboard_within_their_group(browser: Chrome) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    assert column(browser, 0) == ["Retrain", "NegGrad", "<b>SCRUB</b>", "LAF", "Original", "Retrain again"]
    button = browser.find_element(By.CSS_SELECTOR, f"#{TABLE} thead th:nth-child(2) button")
    button.click()
    rising = [float(text.partition("±")[0]) for text in column(browser, 1)[1:4]]
    assert rising == sorted(rising)
    other = column(browser, 1, TABLE.replace("clean", "released"))
    assert other == column(browser, 1)  # their numbers are the same
    button.send_keys(Keys.ENTER)
    assert browser.find_element(By.CSS_SELECTOR, f"#{TABLE} [aria-sort]").get_attribute("aria-sort") == "descending"
    falling = [float(text.partition("±")[0]) for text in column(browser, 1)[1:4]]
    assert falling == rising[::-1]
    assert column(browser, 0)[0] == "Retrain"
    button.send_keys(Keys.SPACE)
    assert column(browser, 0)[1:4] == ["NegGrad", "<b>SCRUB</b>", "LAF"]


def test_a_table_as_text_appears_when_it_is_opened(browser: Chrome, path: Path) -> None:
    from selenium.webdriver.support.wait import WebDriverWait

    first = "document.querySelector('#t1 details.sources pre')"
    assert browser.execute_script(f"return {first}.textContent") == ""
    browser.execute_script(f"{first}.closest('.more').open = {first}.closest('.sources').open = true")
    WebDriverWait(browser, 10).until(lambda chrome: chrome.execute_script(f"return {first}.textContent"))
    shown = browser.execute_script(f"return {first}.textContent")
    assert shown == table("data-removal", str(path.with_name("mine.toml")), path.with_name("results"))


def test_what_is_no_number_comes_last(browser: Chrome) -> None:
    name = "s-t2-1"
    browser.execute_script(
        "document.querySelectorAll(`#${arguments[0]} tbody tr`)[0].cells[2].textContent = 'n/a'", name
    )
    for _ in range(2):
        click(browser, f"#{name} thead th:nth-child(3) button")
        assert column(browser, 2, name)[-1] == "n/a"


def test_a_hidden_method_is_gone_from_tables_and_charts_and_the_address_remembers(browser: Chrome, path: Path) -> None:
    number = browser.execute_script("return document.querySelector('input[value=laf]').id.slice(1)")
    for selector in (f"table .m{number}", f"svg .m{number}:not(.key)", f".cell.m{number}"):
        assert visible(browser, selector) > 0, selector
    click(browser, "input[value=laf]")
    assert browser.execute_script("return document.querySelector('.methods summary').innerText") == (
        "Show methods (1 hidden)"
    )
    assert visible(browser, ".warning") == 0
    click(browser, "#released")
    assert visible(browser, ".warning") > 0
    click(browser, f"#{TABLE.replace('clean', 'released')} thead th:nth-child(2) button")
    assert visible(browser, f".m{number}:not(.key)") == 0
    assert "&hide=laf&protocol=released&sort=s-t1-1-clean:1:1,s-t1-1-released:1:1" in browser.current_url
    address = browser.current_url
    browser.get("about:blank")
    browser.get(address)
    assert visible(browser, f".m{number}:not(.key)") == 0
    assert visible(browser, ".clean") == 0
    assert browser.current_url == address


def test_a_number_opens_its_record(browser: Chrome) -> None:
    assert visible(browser, ".record") == 0
    click(browser, f"#{TABLE} tbody tr:nth-child(3) a")
    assert visible(browser, ".record.target a[href$='.json']") == 3
    assert browser.execute_script("return document.activeElement.className").startswith("record")


def test_all_is_visible_without_a_script(chrome: Chrome, path: Path) -> None:
    chrome.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        chrome.get(path.as_uri())
        assert visible(chrome, "main table.sortable") > 3
        assert visible(chrome, "main figure svg") > 12
        assert visible(chrome, "th button") == 0
        assert visible(chrome, ".released") == 0
    finally:
        chrome.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_a_page_of_390_pixels_does_not_scroll_sideways(browser: Chrome) -> None:
    size(browser, 390)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    size(browser, 320)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 320


def test_the_dark_theme_is_dark(browser: Chrome) -> None:
    def brightness() -> int:
        script = (
            "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number).reduce((a, b) => a + b)"
        )
        return int(browser.execute_script(script))

    assert brightness() > 700
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": dark})
    assert brightness() < 100


def test_it_prints(browser: Chrome) -> None:
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert visible(browser, "nav, button.copy") == 0
    assert visible(browser, f"#{TABLE} thead th button") == 6
    assert visible(browser, ".more table") > 0


def test_titles_of_plugins_stay_texts(browser: Chrome) -> None:
    assert visible(browser, "tbody th b, .cell summary b") == 0
    assert "<b>SCRUB</b>" in column(browser, 0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(chrome: Chrome, path: Path, theme: str) -> None:
    spec = find_spec("axe_core_python")
    if spec is None and not os.environ.get("CI"):
        pytest.skip("axe-core-python is missing")
    assert spec is not None
    assert spec.submodule_search_locations
    script = Path(next(iter(spec.submodule_search_locations)), "axe.min.js").read_text(encoding="utf-8")
    features = [{"name": "prefers-color-scheme", "value": theme}]
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    chrome.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    chrome.get(path.as_uri())
    chrome.set_script_timeout(300)
    chrome.execute_script(script)
    found: dict[str, Any] = chrome.execute_async_script(
        "const done = arguments[arguments.length - 1]; axe.run({resultTypes: ['violations']}).then(done)"
    )
    chrome.execute_cdp_cmd("Page.setBypassCSP", {"enabled": False})
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"][:80] for node in one["nodes"][:3]]) for one in serious] == []


def test_of_a_thousand_cells_only_what_is_in_view_is_laid_out(chrome: Chrome, tmp_path: Path) -> None:
    """So a page of five thousand opens in two seconds: most of its elements wait until somebody looks at them."""
    methods = {f"method-{number}": (f"Method {number}", 0.01 * number) for number in range(1, 31)}
    results = write_all(tmp_path, methods, seeds=5, datasets=["digits-8x8", "mnist"])
    chrome.execute_cdp_cmd("Performance.enable", {})
    chrome.get(report(str(tmp_path / "mine.toml"), results).as_uri())
    metrics = {one["name"]: one["value"] for one in chrome.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]}
    assert metrics["Nodes"] > 10_000
    assert 0 < metrics["LayoutObjects"] < 0.2 * metrics["Nodes"]
    assert metrics["LayoutCount"] <= 10

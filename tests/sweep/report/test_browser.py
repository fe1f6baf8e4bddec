"""The page as its readers have it: opened from a file, without a network, by mouse, keyboard, phone and screen reader.

Debian: apt-get install chromium chromium-driver.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweep.cli import exit_code
from tests.sweep.report.datasets import VCPUS, seconds, write_report_dataset

pytest.importorskip("selenium", reason="selenium is not installed: pip install -e '.[test]'")

from selenium.webdriver import Chrome, ChromeOptions, ChromeService, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

DRIVER = shutil.which("chromedriver")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NOT_THERE = "no chromium and chromedriver here: apt-get install chromium chromium-driver"
CHARTS = ("scaling", "parts", "stalls", "dirty")

pytestmark = pytest.mark.skipif(DRIVER is None or BROWSER is None, reason=NOT_THERE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = str(BROWSER)
    for argument in (
        "--headless=new",
        "--no-sandbox",  # tests may run as root
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("browser")
    write_report_dataset(folder / "sweep")
    assert exit_code(["report", str(folder / "sweep"), "-o", str(folder / "report.html")]) == 0
    return Path(folder / "report.html").as_uri()


@pytest.fixture
def page(browser: Chrome, address: str) -> Chrome:
    """The page, freshly opened and drawn."""
    emulate(browser, width=1200)
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(address)
    drawn(browser)
    return browser


def emulate(browser: Chrome, width: int, scheme: str = "light") -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def times_drawn(browser: Chrome) -> int:
    return int(browser.execute_script("return document.documentElement.dataset.drawn || 0"))


def drawn(browser: Chrome, after: int = 0) -> None:
    """Wait until the charts have been drawn once more."""
    WebDriverWait(browser, 120).until(lambda found: times_drawn(found) > after)


def choose(browser: Chrome, name: str, text: str) -> None:
    before = times_drawn(browser)
    Select(browser.find_element(By.ID, name)).select_by_visible_text(text)
    drawn(browser, before)


def click(browser: Chrome, group: str, text: str) -> None:
    before = times_drawn(browser)
    browser.find_element(By.CSS_SELECTOR, f"input[name='{group}'][value='{text}']").click()
    drawn(browser, before)


def table(browser: Chrome, chart: str) -> list[list[str]]:
    """The lines of the table below a chart: what the chart draws."""
    script = """
        return [...document.querySelectorAll(`#${arguments[0]}-numbers tbody tr`)].map(
            (line) => [...line.cells].map((cell) => cell.textContent))
    """
    found: list[list[str]] = browser.execute_script(script, chart)
    return found


def times(browser: Chrome) -> dict[tuple[str, str], float]:
    return {(line[0], line[1]): float(line[2]) for line in table(browser, "scaling")}


def expected(mmu: str, *splits: str) -> dict[tuple[str, str], float]:
    return {(str(vcpus), split): pytest.approx(seconds(mmu, split, vcpus)) for split in splits for vcpus in VCPUS}


def test_every_chart_is_drawn_and_the_console_stays_empty(page: Chrome) -> None:
    for chart in CHARTS:
        assert page.find_elements(By.CSS_SELECTOR, f"#{chart} svg")
    assert page.get_log("browser") == []


def test_no_request_leaves_the_page(page: Chrome, address: str) -> None:
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked: list[Any] = [entry["params"] for entry in messages if entry["method"] == "Network.requestWillBeSent"]
    urls = {params["request"]["url"] for params in asked}
    assert urls == {address}


def test_it_opens_with_one_machine_and_a_line_for_each_strategy(page: Chrome) -> None:
    assert times(page) == expected("legacy_tdp", "lazy", "eager")
    assert page.find_element(By.ID, "said").text == (
        "6 configs: Iteration 1 dirty memory time, seconds over vCPUs, split lazy, eager"
    )


def test_a_filter_shows_another_machine(page: Chrome) -> None:
    click(page, "filter-mmu", "shadow")
    assert times(page) == expected("shadow", "lazy", "eager")


def test_a_choice_that_fits_no_config_moves_the_others(page: Chrome) -> None:
    click(page, "filter-write_percent", "20")
    assert page.find_element(By.CSS_SELECTOR, "input[name='filter-mmu'][value='shadow']").is_selected()
    assert times(page) == expected("shadow", "lazy", "eager")


def test_a_line_can_be_left_out(page: Chrome) -> None:
    click(page, "line", "lazy")
    assert times(page) == expected("legacy_tdp", "eager")
    click(page, "line", "lazy")
    assert times(page) == expected("legacy_tdp", "lazy", "eager")


def test_axes_are_chosen(page: Chrome) -> None:
    choose(page, "x", "mmu")
    assert {line[0] for line in table(page, "scaling")} == {"legacy_tdp", "shadow"}
    choose(page, "colour", "vCPUs")
    assert {line[1] for line in table(page, "scaling")} == {"2", "4", "8"}
    assert page.get_log("browser") == []


def test_the_same_field_on_both_axes_makes_them_change_places(page: Chrome) -> None:
    choose(page, "x", "split")
    assert Select(page.find_element(By.ID, "colour")).first_selected_option.text == "vCPUs"
    assert {line[0] for line in table(page, "scaling")} == {"lazy", "eager"}


def test_phase_and_number_are_chosen(page: Chrome) -> None:
    choose(page, "phase", "enable")
    assert times(page)["8", "lazy"] == pytest.approx(seconds("legacy_tdp", "lazy", 8) / 1000)
    assert "is an ioctl: no access waits in it" in page.find_element(By.ID, "stalls").text
    choose(page, "phase", "dirty 1")
    choose(page, "column", "faults")
    assert times(page)["8", "lazy"] == 8


def test_every_choice_draws_without_a_word_on_the_console(page: Chrome) -> None:
    for name in ("phase", "column", "scale"):
        for option in [option.text for option in Select(page.find_element(By.ID, name)).options][:5]:
            if Select(page.find_element(By.ID, name)).first_selected_option.text != option:
                choose(page, name, option)
    assert page.get_log("browser") == []


def test_what_takes_the_time_and_what_is_reported_are_told(page: Chrome) -> None:
    assert ["2", "lazy", "waiting for mmu_lock", "1.5"] in table(page, "parts")
    assert ["2", "lazy", "max", "2,000"] in table(page, "stalls")
    assert ["2", "lazy", "400", "2,000", "5.00"] in table(page, "dirty")


def test_the_keyboard_is_enough(page: Chrome) -> None:
    before = times_drawn(page)
    radio = page.find_element(By.CSS_SELECTOR, "input[name='filter-mmu'][value='legacy_tdp']")
    radio.send_keys(Keys.ARROW_RIGHT)
    drawn(page, before)
    assert times(page) == expected("shadow", "lazy", "eager")
    active = page.switch_to.active_element
    assert (active.get_attribute("name"), active.get_attribute("value")) == ("filter-mmu", "shadow")


def test_a_screen_reader_finds_names_for_everything(page: Chrome) -> None:
    nameless = """
        const ours = document.querySelectorAll("#controls, #controls select, #controls input, nav, section");
        const named = (one) => one.labels?.length || one.ariaLabel || one.hasAttribute("aria-labelledby");
        return [...ours].filter((one) => !named(one)).length
    """
    assert page.execute_script(nameless) == 0
    words = {
        chart: page.find_element(By.CSS_SELECTOR, f"#{chart} [role='graphics-document']").get_attribute("aria-label")
        for chart in CHARTS
    }
    assert str(words["scaling"]).startswith(
        "Iteration 1 dirty memory time: time (s) over vCPUs, a line for each split."
    )
    assert str(words["parts"]).endswith("split=lazy")
    assert all(word and "Vega" not in word for word in words.values())


def test_a_phone_needs_no_sideways_scrolling(browser: Chrome, address: str) -> None:
    emulate(browser, width=360)
    browser.get(address)
    drawn(browser)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360


def test_dark_readers_get_a_dark_page_at_once(page: Chrome) -> None:
    def colours() -> tuple[str, str]:
        background = page.execute_script("return getComputedStyle(document.body).backgroundColor")
        words = page.find_element(By.CSS_SELECTOR, "#scaling svg .role-axis-label text").get_attribute("fill")
        return str(background), str(words)

    assert colours() == ("rgb(255, 255, 255)", "#1b1f24")
    before = times_drawn(page)
    emulate(page, width=1200, scheme="dark")
    drawn(page, before)
    assert colours() == ("rgb(15, 19, 24)", "#e6e9ed")

"""The report in a real browser: nothing is cut off on a phone, and a chart says its values when it is touched."""

import pytest

from runners.report.run_report import write_report
from tests.runners.report.test_run_report import write_run
from tests.serving.server.playground.browser import CHROMIUM, chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (on Debian: apt-get install chromium)"),
]

TABLES = "[...document.querySelectorAll('.scroll')].filter(each => !each.closest('details'))"


@pytest.fixture(scope="module")
def browser():
    with chromium() as page:
        yield page


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    return write_report(write_run(tmp_path_factory.mktemp("root"), "one")).as_uri()


@pytest.mark.parametrize(("width", "phone", "dark"), [(390, True, False), (390, True, True), (1100, False, False)])
def test_the_page_never_scrolls_sideways_and_breaks_no_rule_of_its_policy(browser, url, width, phone, dark):
    browser.open(url, width=width, phone=phone, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run(f"{TABLES}.filter(each => each.scrollWidth > each.clientWidth + 1).length") == 0
    assert browser.messages == []
    assert browser.requests == [url]
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") is not dark


def test_it_fits_on_paper_in_light_colors(browser, url):
    browser.open(url, width=760, dark=True)
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert browser.run("document.documentElement.scrollWidth") <= 760
        assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")


def test_a_chart_says_its_values_where_it_is_touched(browser, url):
    browser.open(url, width=390, phone=True)
    middle = browser.run(
        "(() => { const chart = document.querySelectorAll('figure svg')[2]; chart.scrollIntoView({block: 'center'});"
        " const box = chart.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2] })()"
    )
    browser.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": middle[0], "y": middle[1]}])
    browser.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    shown = "[...document.querySelectorAll('.spot text')].filter(each => getComputedStyle(each).opacity === '1')"
    browser.wait(f"{shown}.length > 0")
    assert browser.run(f"{shown}.length") == 1
    assert browser.run(f"{shown}[0].textContent").startswith("step ")


def test_the_values_of_a_chart_open_by_keyboard(browser, url):
    browser.open(url)
    browser.run("document.querySelector('.values summary').focus()")
    assert browser.run("document.querySelector('.values table').checkVisibility()") is False
    browser.press("Enter")
    browser.wait("document.querySelector('.values table').checkVisibility()")

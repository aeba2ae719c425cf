"""The page in a real browser: it renders, loads nothing, logs nothing, fits, sorts, and prints."""

import re
from pathlib import Path

import pytest
from measured_world import build

from repro.report.html import page_of_sections
from repro.report.merge import Source, merge_sources
from repro.report.panel import LEAD, _describe_sample, _sections
from repro.report.write import write_report

from .browser import CHROMIUM, Browser
from .conftest import make_result
from .test_trap_conclusions import content as content_of_a_pair

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)")
WIDTHS = (400, 768, 1280)
EXAMPLE = Path(__file__).parents[2] / "examples" / "table2-toy" / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def content():
    return make_result()


@pytest.fixture(scope="module")
def page(tmp_path_factory, content):
    small = make_result(build(items=40, scale="small", rng=1))
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_report(merge_sources([Source("toy", content), Source("small", small)]), path)
    return path


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True])
def test_no_error_no_request_no_overflow(browser, page, width, dark):
    browser.open(page, width, dark=dark)
    assert browser.events_of("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded") == []
    requests = [event["request"]["url"] for event in browser.events_of("Network.requestWillBeSent")]
    assert requests == [page.resolve().as_uri()]
    browser.eval("document.querySelectorAll('details').forEach((element) => { element.open = true; })")
    assert browser.eval("document.documentElement.scrollWidth") == width
    assert browser.eval("document.title").startswith("Reproduction of Table 2 at toy scale")  # and was not overwritten
    assert browser.eval("getComputedStyle(document.body).backgroundColor") == (
        "rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)"
    )


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_has_enough_contrast(browser, page, dark):
    """WCAG 2: 4.5 to 1 for text, figures included."""
    browser.open(page, 1280, dark=dark)
    browser.eval("document.querySelectorAll('details').forEach((element) => { element.open = true; })")
    low = browser.eval(
        """(() => {
          const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
          const luminance = ([r, g, b]) => [r, g, b].map((x) => x / 255)
            .map((x) => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
            .reduce((sum, x, n) => sum + x * [0.2126, 0.7152, 0.0722][n], 0);
          const behind = (at) => { for (; at; at = at.parentElement) {
            const c = rgb(getComputedStyle(at).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } };
          const tooLow = [];
          for (const element of document.querySelectorAll('body *')) {
            const hasText = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
            if (!hasText || ['SCRIPT', 'STYLE', 'title', 'desc'].includes(element.tagName)) continue;
            const style = getComputedStyle(element), svg = element.namespaceURI.endsWith('svg');
            const a = luminance(rgb(svg ? style.fill : style.color)), b = luminance(behind(element));
            const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            if (ratio < 4.5) tooLow.push(`${element.tagName} ${element.textContent.slice(0, 30)} ${ratio.toFixed(2)}`);
          }
          return tooLow; })()"""
    )
    assert low == []


def test_every_claim_and_cell_is_shown_with_its_number(browser, page, content):
    browser.open(page, 1280)
    numbers = browser.eval(
        """Object.fromEntries([...document.querySelectorAll('#part1-every-0 tbody tr')].map((row) => [
             [...row.cells].slice(0, 3).map((c) => (c.querySelector('small') ?? c).textContent).join('|'),
             Number(row.cells[3].dataset.value)]))"""
    )
    cells = content["measured"][0]["cells"]
    assert numbers == {
        f"{c['row']}|{c['task']}|{c['metric']}": pytest.approx(
            sum(map(sum, c["values"])) / sum(map(len, c["values"])), abs=1e-12
        )
        for c in cells
    }
    rows = browser.eval(
        """[...document.querySelectorAll('#part1-verdicts > .scroll tbody tr')].map((row) =>
             [row.cells[0].textContent, row.cells[1].querySelector('small').textContent,
              Number(row.cells[2].dataset.value), row.cells[3].textContent])"""
    )
    claims = {v["claim"]: v for v in content["verdicts"]["claims"]}
    assert {row[1] for row in rows} == set(claims)
    for value, claim, difference, _ in rows:
        assert claims[claim]["value"] in value
        assert difference == pytest.approx(claims[claim]["estimate"], abs=1e-12)


def test_column_heads_sort_by_number_both_ways(browser, page):
    browser.open(page, 1280)
    column = """[...document.querySelectorAll('#part1-verdicts > .scroll table')][0]"""
    values = f"[...{column}.tBodies[0].rows].map((row) => Number(row.cells[2].dataset.value))"
    before = browser.eval(values)
    click = f"{column}.tHead.rows[0].cells[2].querySelector('button').click()"
    browser.eval(click)
    assert browser.eval(values) == sorted(before)
    assert browser.eval(f"{column}.tHead.rows[0].cells[2].getAttribute('aria-sort')") == "ascending"
    browser.eval(click)
    assert browser.eval(values) == sorted(before, reverse=True)


def test_a_link_to_evidence_opens_it(browser, page, content):
    browser.open(page, 1280)
    claim = content["verdicts"]["claims"][3]["claim"]
    target = f"document.getElementById('part1-claim-{claim}-qwen3')"
    assert browser.eval(f"{target}.open") is False
    browser.eval(f"document.querySelector('a[href=\"#part1-claim-{claim}-qwen3\"]').click()")
    assert browser.eval(f"new Promise((done) => setTimeout(() => done({target}.open), 100))") is True


def test_the_example_prints_six_sheets_at_most(browser, tmp_path):
    browser.open(EXAMPLE, 400)
    empty = (
        "[...document.querySelectorAll('section')].filter((s) => ![...s.children].slice(1).some((e) => e.offsetHeight))"
    )
    wide = "[...document.querySelectorAll('.scroll')].some((e) => getComputedStyle(e, '::before').content.includes('scroll'))"
    assert browser.eval(wide)
    browser.call("Emulation.setEmulatedMedia", media="print")
    hidden = browser.eval(f"{empty}.every((s) => getComputedStyle(s).display === 'none')")
    hint = "getComputedStyle(document.querySelector('.scroll[data-wide]'), '::before').display"
    assert (hidden, browser.eval(hint)) == (True, "none")
    browser.call("Emulation.setEmulatedMedia", media="")
    browser.open(EXAMPLE, 1280)
    browser.pdf(tmp_path / "example.pdf")
    sheets = len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "example.pdf").read_bytes()))
    assert 2 <= sheets <= 6  # folds closed


def test_it_prints_few_portrait_sheets_with_the_notice_on_each(browser, page, tmp_path):
    browser.open(page, 1280)
    browser.pdf(tmp_path / "page.pdf")
    sheets = len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "page.pdf").read_bytes()))
    assert 2 <= sheets <= 16  # of two studies: what is folded on the screen is not printed
    assert '@bottom-left { content: "scaled down: no verdict on the paper\'s numbers"' in page.read_text()


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_of_one_pair_fits_and_its_columns_can_be_read(browser, tmp_path, width):
    pair = content_of_a_pair(frequency=[], not_finite=[], gradient_variance=[], figures=[], teacher="T", student="S")
    path = tmp_path / "panel.html"
    path.write_text(
        page_of_sections("The traps of S under T", LEAD, _sections(pair), _describe_sample(pair), "repro traps")
    )
    browser.open(path, width)
    assert browser.events_of("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded") == []
    assert browser.eval("document.documentElement.scrollWidth") == width
    assert browser.eval("document.querySelector('h2').textContent") == (
        "csqa: 20 prompts and 320 completions by each model"
    )
    long = "[...document.querySelectorAll('td, tbody th')].filter((e) => e.textContent.length > 80)"
    assert browser.eval(f"{long}.length") >= 4  # the reasons of the thresholds
    assert browser.eval(f"{long}.every((e) => e.offsetWidth > 140)")  # more than a word a line, on a phone too

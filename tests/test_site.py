"""The published course, made for real and crawled in a real browser, without a network."""

import functools
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import nbformat
import publish
import pytest
import yaml
from browser import chromium, needs_browser
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[1]
LESSONS = publish.chapters()
ALL = bool(os.environ.get("GMLP_TEST_ALL"))
PAGES = ["index", "api/index", *(f"api/{name}" for name in publish.modules())]
PAGES += [f"{folder}/{name}" for folder in ("chapters", "exercises") for name in LESSONS]
PAGES += [path.relative_to(ROOT).as_posix()[:-3] for path in (ROOT / "docs").rglob("*.md")]
PAGES = [*(f"{name}.html" for name in sorted(PAGES)), "search.html?q=reversible"]
FEW = [  # a page of each kind; `course.py test --all` takes every page
    "index.html",
    "chapters/02_causal_masking.html",
    "exercises/02_causal_masking.html",
    "docs/glossary.html",
    "docs/lessons/07_local_windows.html",
    "api/spatial_gating.html",
    "search.html?q=reversible",
]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of a site that was just made; `-W` has made every warning of Sphinx an error."""
    out = tmp_path_factory.mktemp("site") / "html"
    before = os.times()
    command = [sys.executable, ROOT / "tools/publish.py", "--out", out]
    run = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stdout + run.stderr
    after = os.times()  # of the processor: how busy the machine is otherwise does not count
    assert sum(after[2:4]) - sum(before[2:4]) < 120
    assert f"Open {out / 'index.html'}" in run.stdout
    return out


@pytest.fixture(scope="module")
def soups(site):
    """Every page by its path, read."""
    pages = {path.relative_to(site).as_posix(): path for path in sorted(site.rglob("*.html"))}
    return {name: BeautifulSoup(path.read_bytes(), "html.parser") for name, path in pages.items()}


@pytest.fixture(scope="module")
def address(site):
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


def test_everything_has_its_page(soups):
    assert set(soups) == {name.partition("?")[0] for name in PAGES}
    assert set(FEW) <= set(PAGES)
    for name, soup in soups.items():
        assert len(soup.select("main h1:not(#jb-print-docs-body h1)")) == 1, name
        assert soup.html["lang"] == "en"
        if name.startswith("chapters/"):
            assert len(soup.select(".prev-next-area a")) == 2, name


def test_every_link_and_anchor_leads_somewhere(site, soups):
    """Also to the repository, on GitHub, Colab and Binder: those name files that are there."""
    anchors = {name: {tag["id"] for tag in soup.select("[id]")} for name, soup in soups.items()}
    outside = Counter()
    for name, soup in soups.items():
        for tag in soup.select("[href], [src]"):
            link = tag.get("href") or tag.get("src")
            if not link or link.startswith("data:"):
                continue
            if re.match(r"[a-z]+:|//", link):
                assert tag.name == "a", f"{name} loads {link}"
                found = re.search(r"/(?:blob|tree)/main/([^?#]+)|urlpath=lab/tree/(.+)", link)
                if found:
                    file = unquote(found[1] or found[2])
                    assert (ROOT / file).exists(), f"{name} links to {link}"
                    outside[re.sub(r"https://([^/]+).*", r"\1", link)] += 1
                continue
            target, anchor = urldefrag(urljoin(name, link))
            target = unquote(target.partition("?")[0])
            assert (site / target).is_file(), f"{name} links to {link}"
            if anchor and target in soups:
                assert unquote(anchor) in anchors[target], f"{name} links to {link}"
    # Each notebook says where it can be run.
    assert outside["mybinder.org"] == 2 * len(LESSONS)
    assert outside["colab.research.google.com"] >= 2 * 2 * len(LESSONS)


@pytest.mark.parametrize("name", LESSONS)
def test_a_solution_is_folded_below_each_exercise(soups, name):
    solved = nbformat.read(ROOT / f"solutions/{name}.ipynb", as_version=4)
    graded = [c for c in solved.cells if c.metadata.get("nbgrader", {}).get("grade")]
    folded = soups[f"exercises/{name}.html"].select("details.hide")
    assert len(folded) == len(graded) > 0
    assert not any(details.has_attr("open") for details in folded)
    text = "\n".join(details.get_text() for details in folded)
    for cell in solved.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            for line in cell.source.splitlines():
                assert "### " in line or line in text, line
    page = soups[f"exercises/{name}.html"]
    for details in page.select("details.hide"):
        details.extract()
    assert "SOLUTION" not in page.get_text()
    assert page.get_text().count("raise NotImplementedError") >= 1


def test_chapters_say_their_minutes_on_the_map_and_dead_panels_say_so(soups):
    rows = soups["index.html"].select("table tbody tr")
    assert len(rows) == len(LESSONS)
    for name, row in zip(LESSONS, rows, strict=True):
        lesson = (ROOT / f"lessons/{name}.py").read_text("utf-8")
        assert f"*{row.select('td')[2].get_text()} minutes." in lesson
        page = soups[f"chapters/{name}.html"].get_text()
        assert page.count("needs a running notebook") == lesson.count('"live"')
        assert "google.colab" not in page
    assert soups["index.html"].select_one("img[alt^='The course in three rows']")
    assert soups["index.html"].select_one(".gmlp-viz")


def test_a_table_that_a_cell_writes_is_a_table(soups):
    """The report of lesson 13."""
    (table,) = soups["chapters/13_capstone.html"].select("article .cell_output table")
    assert "seed 0" in table.get_text()


def test_the_site_is_light_and_complete_in_itself(site):
    files = [path for path in site.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 25_000_000
    for path in files:
        if path.suffix == ".css":
            asked = r"""(?:url\(|@import )['"]?((?:https?:)?//[^'")]+)"""
            assert re.findall(asked, path.read_text("utf-8")) == [], path


def visit(browser, address, name, theme="light"):
    """A page, what went wrong on it (a list that goes on growing), and the bytes it loaded."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    choice = f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')"
    context.add_init_script(choice)
    page = context.new_page()
    faults, weight = [], []
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on("console", lambda m: faults.append(m.text) if m.type in ("error", "warning") else None)
    page.on("requestfailed", lambda request: faults.append(f"failed: {request.url}"))
    page.on("response", lambda r: faults.append(r.url) if r.status >= 400 else None)
    page.on("requestfinished", lambda r: weight.append(r.sizes()["responseBodySize"]))
    page.route(
        lambda url: not url.startswith((address, "data:", "blob:")),
        lambda route: (faults.append(f"asked: {route.request.url}"), route.abort()),
    )
    page.goto(address + name, wait_until="networkidle")
    page.evaluate("document.fonts.ready")
    return page, faults, sum(weight)


def barriers(page, **options):
    """What axe-core calls serious or critical, with the first places."""
    from axe_playwright_python.sync_playwright import Axe

    # Without `preload`, axe does not fetch style sheets anew, from addresses that are not there.
    options |= {"resultTypes": ["violations"], "preload": False}
    return [
        (fault["id"], [node["target"] for node in fault["nodes"]][:3])
        for fault in Axe().run(page, options=options).response["violations"]
        if fault["impact"] in ("serious", "critical")
    ]


def check_math(page):
    """Every equation has a size and the font that came along; none was left as TeX."""
    boxes = "[...document.querySelectorAll('article math')].map(m => m.getBoundingClientRect())"
    sizes = page.evaluate(f"{boxes}.map(box => Math.min(box.width, box.height))")
    assert all(size > 3 for size in sizes)
    assert page.locator("merror").count() == 0
    left = page.evaluate(
        "(() => { const copy = document.querySelector('main').cloneNode(true);"
        "copy.querySelectorAll('pre, code, kbd, .gmlp-viz, math').forEach(e => e.remove());"
        "return copy.textContent; })()"
    )
    assert not re.search(r"\$[^$\n]+\$|\\[a-z]{3,}", left)
    if sizes:
        loaded = "[...document.fonts].some(f => /STIX/.test(f.family) && f.status == 'loaded')"
        assert page.evaluate(loaded)
    return len(sizes)


def check_figures(page):
    """A slider is moved to its other end, and some canvas changes."""
    figures = page.locator(".gmlp-viz").all()
    for figure in figures:
        figure.scroll_into_view_if_needed()
        figure.locator("canvas").first.wait_for()
        assert figure.locator("> img").is_hidden()
        look = "f => [...f.querySelectorAll('canvas')].map(c => c.toDataURL()).join()"
        before = figure.evaluate(look)
        slider = figure.locator("input[type=range]").first
        slider.press("Home" if slider.evaluate("s => s.value != s.min") else "End")
        page.wait_for_timeout(100)
        assert figure.evaluate(look) != before
    return len(figures)


@needs_browser
@pytest.mark.parametrize("name", PAGES if ALL else FEW)
def test_a_page_lives_without_a_network_and_can_be_read_by_all(browser, address, soups, name):
    page, faults, weight = visit(browser, address, name)
    assert faults == []
    assert weight < 2_000_000
    # No colour shall be on its way when it is measured.
    page.add_style_tag(content="* { transition: none !important; animation: none !important }")
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    soup = soups[name.partition("?")[0]]
    assert check_math(page) == len(soup.select("article math"))
    assert check_figures(page) == len(soup.select(".gmlp-viz"))
    assert barriers(page) == []
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert barriers(page, runOnly=["color-contrast"]) == []
    page.set_viewport_size({"width": 400, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert faults == []
    page.context.close()


@needs_browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_who_wants_it_dark_gets_it_dark_figures_included(browser, address, theme):
    page, _, _ = visit(browser, address, "chapters/02_causal_masking.html", theme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    bright = sum(map(int, re.findall(r"\d+", ground)[:3])) > 3 * 128
    assert bright == (theme == "light")
    figure = page.locator(".gmlp-viz").first
    assert figure.get_attribute("data-theme") == theme
    grounds = (
        "f => { const found = []; for (; f; f = f.parentElement)"
        " found.push(getComputedStyle(f).backgroundColor); return found.slice(0, -2); }"
    )
    assert set(figure.evaluate(grounds)) <= {"rgba(0, 0, 0, 0)", ground}
    page.context.close()


def test_the_font_has_every_sign_of_the_math(site, soups):
    from fontTools.ttLib import TTFont

    with TTFont(site / "_static/math.woff") as font:
        known = {chr(code) for code in font.getBestCmap()}
        assert "MATH" in font
    unseen = set("\n\u2061\u2062\u2063")
    for name, soup in soups.items():
        signs = {sign for math in soup.select("math") for sign in math.get_text()}
        assert signs <= known | unseen, name


@needs_browser
def test_the_search_finds_a_word_also_without_a_server(site, browser):
    page = browser.new_page()
    page.goto(f"{site.as_uri()}/search.html?q=reversible")
    page.locator("#search-results li a").first.wait_for()
    found = page.locator("#search-results li a").evaluate_all("all => all.map(a => a.pathname)")
    for name in ("chapters/10_reversible_layers", "api/reversible_layers", "docs/glossary"):
        assert any(path.endswith(f"/{name}.html") for path in found), name
    page.context.close()


def test_what_is_no_site_is_not_overwritten(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("years of work")
    assert publish.main(["--out", str(tmp_path)]) == 1
    assert "name another" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").exists()


def test_links_lead_to_pages_to_github_or_nowhere():
    page, elsewhere = "[a](../docs/glossary.md#x) [b](https://a.b) [c](#d)", "gmlp/ops.py#L1"
    found = publish.links(f"{page} [e](../{elsewhere}) ![f](../LICENSE)", "chapters")
    assert found == f"{page} [e]({publish.BLOB}{elsewhere}) ![f]({publish.BLOB}LICENSE)"
    with pytest.raises(publish.PublishError, match="links to nothing"):
        publish.links("[a](nothing.md)", "docs")


def test_what_is_folded_is_markdown_on_the_site():
    text = "<details><summary>The *answer*</summary>It is $x$.</details>\n<details>"
    unfolded = publish.unfold(text)
    assert "\n\nIt is $x$.\n\n</details>\n\n<details>" in unfolded


def test_what_no_page_can_show_gets_a_sign():
    assert publish.visible("a\x1b[31mb\x1b[0m\tc\n") == "a\x1b[31mb\x1b[0m\tc\n"
    assert publish.visible("a\x00\x1b'\x7f\x1b") == "a��'��"


def test_github_publishes_what_the_command_makes():
    workflow = yaml.safe_load((ROOT / ".github/workflows/pages.yml").read_text("utf-8"))
    jobs = json.dumps(workflow["jobs"])
    assert "python course.py site" in jobs
    assert f'"path": "{publish.OUT.relative_to(ROOT).as_posix()}"' in jobs

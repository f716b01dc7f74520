"""The report of a study: complete, self-contained, safe, and alive in a real browser."""

from __future__ import annotations

import base64
import html
import html.parser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import made_up_run
from typer.testing import CliRunner

from zerowait.experiments.commands.cli import app
from zerowait.plots.catalogue import FIGURES
from zerowait.plots.figures.anytime import rank_table
from zerowait.plots.gallery import write_gallery
from zerowait.plots.report.data import ALL_POINTS, FEWEST_POINTS, MOST_POINTS, interactive_data, points_each
from zerowait.plots.report.material import Material, gather
from zerowait.plots.report.report import render, write_report
from zerowait.plots.report.tables import NONE, matrix
from zerowait.plots.studies.study import study_of_runs
from zerowait.suite import simulate
from zerowait.suite.rules.errors import SpecificationError, TraceError
from zerowait.suite.rules.evaluation import Evaluation, Query
from zerowait.suite.rules.overhead import Overhead

HOSTILE = "</script><script>document.title=1</script>"
OPTIMIZERS = ("random", "optuna-tpe", HOSTILE)
BENCHMARKS = ("branin", '"<b>{{ 7 * 7 }}</b><img src=x onerror="document.title=2">')
WORKERS = (1, 2, 10)
SEEDS = 2


class Searching:
    """Random numbers that get less with time, the quicker the higher the optimizer's number."""

    def __init__(self, number, seed):
        self.random = np.random.default_rng(np.random.SeedSequence((number, seed)))
        self.number, self.asked = number, 0

    def ask(self):
        self.asked += 1
        return Query({"x": float(self.random.exponential(1 / (1 + self.asked * self.number))) + 0.01})

    def tell(self, query, evaluation):
        pass


def run(folder, optimizer, benchmark, n_workers, seed, name):
    simulate(
        Searching(OPTIMIZERS.index(optimizer) + 1, seed),
        lambda config: Evaluation(config["x"], 5.0 + 100.0 * config["x"]),
        n_workers=n_workers,
        max_evaluations=40,
        seed=seed,
        overhead=Overhead.none(),
        labels={"optimizer": optimizer, "benchmark": benchmark, "optimum": 0.0},
        directory=folder / "cells" / name,
    )


def write_study(folder, name=HOSTILE):
    """Write a study of which one cell has failed and one is missing."""
    cells, runs = {}, {}
    for o, optimizer in enumerate(OPTIMIZERS):
        for b, benchmark in enumerate(BENCHMARKS):
            for n in WORKERS:
                for seed in range(SEEDS):
                    key = f"cells/{o}-{b}-{n}-{seed}"
                    cells[key] = f"{optimizer} on {benchmark}, {n} worker{'s' * (n > 1)}, seed {seed}"
                    runs[key] = [optimizer, benchmark, n, seed]
                    if (o, n, seed) == (1, 2, 1):
                        continue
                    run(folder, optimizer, benchmark, n, seed, key.removeprefix("cells/"))
    failed = folder / "cells" / "1-0-2-1.failed"
    failed.mkdir()
    (failed / "error.txt").write_text("Traceback\n  ...\nsuite.errors.ObjectiveError: no <i>more</i> disk\n\n")
    (folder / "study.json").write_text(json.dumps({"name": name, "cells": cells, "runs": runs}))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("report") / "study")


@pytest.fixture(scope="module")
def material(folder):
    return gather(folder)


@pytest.fixture(scope="module")
def page(material):
    return render(material)


class Parsed(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_data(self, data):
        self.texts.append(data)

    def of(self, *names):
        return [attributes for tag, attributes in self.tags if tag in names]


# -- the page as text -------------------------------------------------------------------------------------------------
def test_the_page_asks_nobody_for_anything(page):
    for attributes in Parsed(page).of("a", "img", "link", "script", "iframe", "use"):
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/"))
    style_and_script = page[page.index("<style>") : page.index("</style>")] + page[page.rindex("<script>") :]
    assert set(re.findall(r"https?://[^\"'\s]*", style_and_script)) == {"http://www.w3.org/2000/svg"}
    assert set(re.findall(r"url\([^)]", style_and_script)) <= {"url(#"}
    for word in ("fetch(", "XMLHttpRequest", "import(", "@import", "eval(", "innerHTML"):
        assert word not in style_and_script


def test_names_from_data_are_text_and_never_markup(page):
    parsed = Parsed(page)
    assert [attributes.get("type") for attributes in parsed.of("script")] == ["application/json", None]
    assert not [attributes for _, attributes in parsed.tags if "onerror" in attributes]
    assert not parsed.of("b", "i")
    for name in (HOSTILE, BENCHMARKS[1]):
        assert name in parsed.texts
    assert "no <i>more</i> disk" in "".join(parsed.texts)


def test_only_the_pages_own_script_may_run(page):
    policy = next(a["content"] for a in Parsed(page).of("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")
    assert re.search(r"script-src 'sha256-[\w+/=]+'$", policy)


def test_the_same_study_gives_the_same_bytes_wherever_it_lies(folder, page, tmp_path):
    shutil.copytree(folder, tmp_path / "elsewhere" / folder.name)
    assert render(gather(tmp_path / "elsewhere" / folder.name)) == page


def test_no_path_of_this_machine_is_in_the_page(folder, page):
    assert str(folder.parent) not in page


def test_what_failed_and_what_is_missing_is_named_and_counted(material, page):
    of_tpe = "optuna-tpe on {}, 2 workers, seed 1"
    assert material.failed == {of_tpe.format(BENCHMARKS[0]): "ObjectiveError: no <i>more</i> disk"}
    assert list(material.missing) == [of_tpe.format(BENCHMARKS[1])]
    text = " ".join(Parsed(page).texts)
    assert "34 of 36" in text
    assert "1 failed, 1 missing" in text
    assert re.search(r"branin\s+2\s+2 of 2\s+1 of 2\s+2 of 2", text)
    assert re.search(r"branin\s+10\s+2 of 2\s+2 of 2\s+2 of 2", text)


def test_an_optimizer_without_a_single_run_is_counted_too(tmp_path):
    write_study(tmp_path)
    listing = json.loads((tmp_path / "study.json").read_text())
    listing["cells"] |= {
        "cells/x": "a on b on branin, 1 worker, seed 0",
        "cells/y": "other on nowhere, 4 workers, seed 0",
    }
    listing["runs"] |= {"cells/x": ["a on b", "branin", 1, 0], "cells/y": ["other", "nowhere", 4, 0]}
    (tmp_path / "study.json").write_text(json.dumps(listing))
    material = gather(tmp_path)
    found = matrix(material.study, material.planned)
    rows = {(row.benchmark, row.workers): dict(zip(found.optimizers, row.counts, strict=True)) for row in found.rows}
    assert rows["branin", 1]["a on b"].text == "0 of 1"
    assert rows["branin", 1]["a on b"].bad
    assert rows["nowhere", 4]["other"].text == "0 of 1"
    assert rows["nowhere", 4]["random"].text == NONE


def test_every_figure_has_a_caption_words_for_who_cannot_see_it_and_its_command(page):
    parsed = Parsed(page)
    images = parsed.of("img")
    assert len(images) >= 9
    assert all(image["alt"] and image["src"].startswith("data:image/") for image in images)
    assert len(parsed.of("figcaption")) == len(images)
    assert len(re.findall(r"zerowait plot study \w+</code>", page)) == len(images)
    for image in images:
        content = base64.b64decode(image["src"].partition(",")[2])
        assert b"<svg" in content or content.startswith(b"RIFF")


def test_the_summary_counts_evaluations_and_seconds(material, page):
    assert material.totals["evaluations"].sum() == 34 * 40
    assert "1,360" in Parsed(page).texts
    worker_seconds = sum(
        n * s for n, s in zip(material.totals["n_workers"], material.totals["simulated_time"], strict=True)
    )
    assert material.worker_seconds == pytest.approx(worker_seconds, rel=1e-12)


# -- the numbers in the page ------------------------------------------------------------------------------------------
def test_curves_have_at_every_time_a_value_that_was_known_then(material):
    data = interactive_data(material.study)
    study = material.study
    for group in data["performance"]:
        for curve in group["curves"]:
            name = data["optimizers"][curve["o"]]["name"]
            chosen = (
                (study.cells["benchmark"] == data["benchmarks"][group["b"]])
                & (study.cells["n_workers"] == data["workers"][group["p"]])
                & (study.cells["optimizer"] == name)
            )
            times = np.array(group["times"][curve["first"] : curve["first"] + len(curve["centre"])])
            runs = np.flatnonzero(chosen)
            at, before = (study.best_at(runs, moment).mean(axis=0) for moment in (times, times * (1 - 1e-4)))
            centre = np.array(curve["centre"])
            assert (centre >= at * (1 - 1e-4)).all()
            assert (centre[1:] <= before[1:] * (1 + 1e-4)).all()


def test_ranks_made_from_pairs_are_the_average_ranks(material):
    study = material.study.where(["P!=2"])  # with 2 workers a seed is missing
    data = interactive_data(study)
    expected = rank_table(study).groupby(["n_workers", "optimizer"]).last()["mean"]
    for p, n_workers in enumerate(data["workers"]):
        groups = [group for group in data["rank"]["groups"] if group["p"] == p]
        for o, optimizer in enumerate(data["optimizers"]):
            ranks = []
            for group in groups:
                rank = 1.0
                for one, other, n, half_wins in group["pairs"]:
                    rank += (1 - half_wins[-1] / (2 * n)) * (one == o) + half_wins[-1] / (2 * n) * (other == o)
                ranks.append(rank)
            assert np.mean(ranks) == pytest.approx(expected[n_workers, optimizer["name"]], abs=1e-12)


def test_curves_of_large_studies_have_fewer_points():
    assert points_each(1) == MOST_POINTS
    assert points_each(1500) * 1500 <= ALL_POINTS
    assert points_each(10**9) == FEWEST_POINTS


def test_a_study_of_one_run_has_a_report_that_says_what_cannot_be_drawn(tmp_path):
    run(tmp_path, "random", "branin", 2, 0, "only")
    page = render(gather(tmp_path))
    text = " ".join(Parsed(page).texts)
    assert "A speed-up needs runs with 1 worker" in text
    assert "there is only random" in text
    assert "the study has no list" in text


# -- the command ------------------------------------------------------------------------------------------------------
def report(*arguments):
    done = CliRunner().invoke(app, ["report", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def test_the_command_writes_into_the_study_and_takes_its_file_for_it(tmp_path):
    for optimizer in OPTIMIZERS[:2]:
        run(tmp_path / "study", optimizer, "branin", 1, 0, optimizer)
    (tmp_path / "study.toml").write_text(
        f'name = "x"\noutput = "{tmp_path}/study"\nworkers = [1]\nseeds = 1\n[budget]\nmax_evaluations = 1\n'
        '[[optimizers]]\nname = "random"\n[[benchmarks]]\nname = "branin" # <our own>\n'
    )
    assert "report.html" in report(tmp_path / "study.toml")
    page = (tmp_path / "study" / "report.html").read_text()
    assert "# &lt;our own&gt;" in page
    assert "Energy saved" in page
    given = ("--style", "slides", "--set", "result=any")
    report(tmp_path / "study", "--out", tmp_path / "new" / "page.html", *given)
    page = (tmp_path / "new" / "page.html").read_text()
    assert "<h1>study</h1>" in page
    assert "(result=any)" in page
    assert "zerowait plot study win_rates --set result=any<" in page
    assert "zerowait plot study wall_time<" in page


def test_charts_and_tables_say_what_counts_as_a_result_as_figures_do(tmp_path):
    for optimizer in OPTIMIZERS[:2]:
        run(tmp_path / "study", optimizer, "branin", 1, 0, optimizer)
    report(tmp_path / "study", "--set", "result=full")
    page = html.unescape((tmp_path / "study" / "report.html").read_text())
    drawn = re.findall(r"zerowait plot study (\w+)( --set result=full)?</code>", page)
    assert all(FIGURES[name].judges == bool(option) for name, option in drawn)
    said = page.count("the least value delivered at the highest fidelity (result=full)")
    assert said == sum(FIGURES[name].judges for name, _ in drawn) + 3 + 2  # and charts, and tables
    assert "(result=any)" not in page


def test_what_is_wrong_is_said_in_one_line(material, tmp_path):
    with pytest.raises(SpecificationError, match="there is no style 'poster'"):
        write_report(material, tmp_path / "page.html", look="poster")
    with pytest.raises(TraceError, match="there is no folder"):
        report(tmp_path / "nowhere")
    for option, text in (("result=best", "it must be one of"), ("horizon=longest", "has the options result and score")):
        with pytest.raises(SpecificationError, match=text):
            report(tmp_path, "--set", option)
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecificationError, match="cannot write") as caught:
        write_report(material, tmp_path / "file" / "page.html")
    assert "\n" not in str(caught.value)


def test_the_gallery_has_a_picture_a_caption_and_a_command_for_every_figure(tmp_path):
    for optimizer in OPTIMIZERS[:2]:
        run(tmp_path / "study", optimizer, "branin", 1, 0, optimizer)
    out = tmp_path / "gallery"
    out.mkdir()
    (out / "old.png").write_bytes(b"")
    page, *pictures = write_gallery(tmp_path / "study", out)
    assert sorted(out.iterdir()) == sorted([page, *pictures])
    text = page.read_text()
    assert len(pictures) >= 9
    for picture in pictures:
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.read_bytes()[25] == 2  # true colours and no palette, PNG specification 11.2.2
        assert f"]({picture.name})" in text
        assert f"    zerowait plot STUDY {picture.stem}\n" in text


# -- in a browser -----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def browser(page, tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (extra dev)")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no Chromium with chromedriver here; on Debian: apt-get install chromium chromium-driver")
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page, encoding="utf-8")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,1000"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium's own sandbox does not work for root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as opened:
        opened.path = path
        yield opened


@pytest.fixture
def opened(browser):
    browser.get(browser.path.as_uri())
    return browser


def curves(browser, chart):
    """Return the names of the optimizers whose curves a chart shows, panel by panel."""
    return browser.execute_script(
        "return [...document.querySelectorAll(`#${arguments[0]} svg`)].map((svg) => "
        "[...svg.querySelectorAll('.curve')].map((curve) => curve.dataset.optimizer))",
        chart,
    )


def tick(browser, filter_, position):
    browser.execute_script(
        "document.querySelectorAll(`[data-filter=${arguments[0]}] input`)[arguments[1]].click()", filter_, position
    )


def column(browser, table, number):
    return browser.execute_script(
        "const [table, number] = arguments;"
        "return [...document.getElementById(table).tBodies[0].rows].map((row) => row.cells[number].innerText)",
        table,
        number,
    )


def test_it_opens_from_a_file_without_an_error_and_hostile_names_do_nothing(opened):
    assert opened.get_log("browser") == []
    assert opened.title == f"{HOSTILE} \u2013 zerowait report"
    assert opened.execute_script("return performance.getEntriesByType('resource').length") == 0
    shown = opened.execute_async_script(
        "const images = [...document.images]; for (const image of images) image.loading = 'eager';"
        "Promise.all(images.map((image) => image.decode())).then(() => arguments[0](images.map((i) => i.naturalWidth)))"
    )
    assert len(shown) >= 9
    assert min(shown) > 100
    assert opened.get_log("browser") == []


def test_the_filters_change_the_figures_and_the_tables(opened):
    every = [sorted(names) for names in curves(opened, "performance")]
    assert every == [sorted(OPTIMIZERS)] * 6
    before = len(opened.find_elements("css selector", "#final tbody tr:not([hidden])"))
    assert before == 3 * 2 * 3
    tick(opened, "o", sorted(OPTIMIZERS).index("random"))
    assert not any("random" in names for names in curves(opened, "performance"))
    assert [len(names) for names in curves(opened, "rank")] == [2, 2, 2]
    tick(opened, "b", 0)
    assert len(curves(opened, "performance")) == 3
    tick(opened, "p", 1)
    tick(opened, "p", 2)
    assert len(curves(opened, "performance")) == 1
    assert len(opened.find_elements("css selector", "#final tbody tr:not([hidden])")) == 2
    opened.execute_script("document.querySelector('[data-filter=p] [data-set=none]').click()")
    assert curves(opened, "performance") == []
    assert "Nothing is chosen" in opened.find_element("id", "performance-note").text
    for key in "obp":
        opened.execute_script("document.querySelector(`[data-filter=${arguments[0]}] [data-set=all]`).click()", key)
    assert [sorted(names) for names in curves(opened, "performance")] == every


def test_ranks_in_the_browser_are_those_of_the_figure(opened, material):
    study = material.study.where(["P=10"])
    expected = rank_table(study).groupby("optimizer").last()["mean"]
    label = opened.execute_script("return document.querySelectorAll('#rank svg')[2].getAttribute('aria-label')")
    assert label.startswith("Rank over time, 10 workers, 2 benchmarks.")
    for name, rank in expected.items():
        assert f"{name} ends at {float(f'{rank:.4g}'):g}" in label


def test_tables_sort_by_number_and_then_the_other_way(opened):
    heading = "#final thead th:nth-child({}) button"
    opened.find_element("css selector", heading.format(2)).click()
    assert [int(p) for p in column(opened, "final", 1)] == sorted([1, 2, 10] * 6)
    opened.find_element("css selector", heading.format(2)).click()
    assert [int(p) for p in column(opened, "final", 1)] == sorted([1, 2, 10] * 6, reverse=True)
    opened.find_element("css selector", heading.format(5)).click()
    means = [float(text.replace(",", "")) for text in column(opened, "final", 4)]
    assert means == sorted(means)
    assert opened.find_element("css selector", "#final thead th:nth-child(5)").get_attribute("aria-sort") == "ascending"
    assert opened.find_element("css selector", "#final thead th:nth-child(2)").get_attribute("aria-sort") is None


def test_dark_and_light_follow_the_button_and_the_system(opened):
    def background():
        return opened.execute_script("return getComputedStyle(document.body).backgroundColor")

    light, dark = "rgb(255, 255, 255)", "rgb(21, 23, 28)"
    assert background() == light
    opened.find_element("id", "theme").click()
    assert background() == dark
    assert opened.find_element("id", "theme").text == "Light"
    opened.find_element("id", "theme").click()
    assert background() == light
    opened.get(opened.path.as_uri())
    for value, colour in (("dark", dark), ("light", light)):
        feature = {"name": "prefers-color-scheme", "value": value}
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        assert background() == colour


def test_figures_are_dark_on_a_dark_page_and_light_on_paper(opened):
    def filters():
        return {opened.execute_script("return getComputedStyle(arguments[0]).filter", image)
                for image in opened.find_elements("css selector", "figure img")}  # fmt: skip

    assert filters() == {"none"}
    opened.find_element("id", "theme").click()
    assert len(filters()) == 1
    assert "invert" in filters().pop()
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert filters() == {"none"}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_a_row_of_panels_is_one_row_on_paper(opened):
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    opened.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 690, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    )
    tops = opened.execute_script(
        "return [...document.querySelectorAll('#performance .row')].map((row) => "
        "[...row.children].map((svg) => Math.round(svg.getBoundingClientRect().top)))"
    )
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert [len(row) for row in tops] == [len(WORKERS)] * len(BENCHMARKS)
    assert all(len(set(row)) == 1 for row in tops)


def test_the_key_of_a_chart_names_every_line_of_it(opened):
    for chart, more in (("performance", []), ("rank", []), ("speed-up", ["ideal"])):
        entries = [entry.text for entry in opened.find_elements("css selector", f"#{chart}-key > span")]
        assert sorted(entries) == sorted([*OPTIMIZERS, *more])


def test_the_numbers_of_an_axis_are_written_in_one_way(opened):
    def written(ticks, logarithmic):
        return opened.execute_script("return written(arguments[0], arguments[1])", ticks, logarithmic)

    assert written([100, 1000, 1e4], True) == ["100", "1000", "10000"]
    assert written([1e3, 1e4, 1e5], True) == ["10³", "10⁴", "10⁵"]
    assert written([0, 0.5, 1], False) == ["0.0", "0.5", "1.0"]
    assert written([2e-4, 0.01], True) == ["2·10⁻⁴", "10⁻²"]


def test_it_prints_in_light_colours_without_its_buttons(opened):
    opened.find_element("id", "theme").click()
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert opened.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not opened.find_element("id", "theme").is_displayed()
    assert opened.find_element("css selector", "#final th button").is_displayed()
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    printed = opened.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF-")


def test_on_a_narrow_screen_nothing_but_tables_needs_scrolling_sideways(opened):
    opened.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    )
    assert opened.execute_script("return document.documentElement.scrollWidth") <= 360
    # Pictures of their own, whose letters are not made smaller to fit.
    scales = opened.execute_script(
        "return [...document.querySelectorAll('figure img')].map((i) => i.clientWidth / i.naturalWidth)"
    )
    sources = opened.execute_script("return [...document.querySelectorAll('figure img')].map((i) => i.currentSrc)")
    narrow = [source.get_attribute("srcset") for source in opened.find_elements("css selector", "figure source")]
    assert sources == narrow
    assert min(scales) > 0.5  # a PNG has more dots than the screen
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


# -- a study of many panels, and one that was really run -----------------------------------------------------------
def test_every_panel_is_drawn_however_many_there_are(browser, tmp_path):
    study = study_of_runs(
        [made_up_run(o, f"b{b}", n, 0, number=b) for o in ("x", "y") for b in range(9) for n in (1, 2, 4, 8)]
    )
    totals = pd.DataFrame({"n_workers": study.cells["n_workers"], "evaluations": 12, "ok": 12, "failed": 0, "lost": 0,
                           "simulated_time": study.cells["makespan"], "wall_time": 1.0})  # fmt: skip
    page = render(Material(tmp_path, "many", study, totals, [], [], None, None, {}, []))
    path = tmp_path / "many.html"
    path.write_text(page, encoding="utf-8")
    browser.get(path.as_uri())
    assert len(curves(browser, "performance")) == 36
    titles = [title for title in Parsed(page).texts if title.startswith("Performance over time (")]
    assert titles == ["Performance over time (1 of 2)", "Performance over time (2 of 2)"]


def test_the_commands_of_the_page_work_as_they_are_copied(tmp_path, monkeypatch):
    (tmp_path / "mine.toml").write_text(
        'name = "x"\noutput = "some runs"\nworkers = [1, 2]\nseeds = 1\noverhead = "none"\n'
        "[budget]\nmax_evaluations = 4\n"
        '[[optimizers]]\nname = "random"\nlabel = "n=$x_$"\n[[benchmarks]]\nname = "branin"\n'
        '[labels]\n"n=$x_$" = {name = "ours $y_$", colour = "#112233"}\n'
    )
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["run", "mine.toml", "--in-process"])
    assert done.exit_code == 0, done.output
    report("some runs")
    page = (tmp_path / "some runs" / "report.html").read_text()
    assert "ours $y_$" in page
    assert "#112233" in page
    commands = re.search(r"<pre>(zerowait run.*?)</pre>", page, flags=re.DOTALL)
    lines = [shlex.split(html.unescape(line), comments=True) for line in commands[1].splitlines()]
    assert [line[1] for line in lines] == ["run", "status", "report", "plot"]
    (tmp_path / "mine.toml").unlink()
    for line in lines:
        done = CliRunner().invoke(app, line[1:])
        assert done.exit_code == 0, done.output


# -- a large study ----------------------------------------------------------------------------------------------------
LARGE = """
import json, pathlib, resource, sys, time
sys.path.insert(0, {folder!r})
from large import large_study
from zerowait.plots.report.report import render
from zerowait.plots.report.material import Material
import pandas
study = large_study()
begin = time.perf_counter()
ones = pandas.Series(1.0, index=study.cells.index)
totals = pandas.DataFrame(dict(n_workers=study.cells["n_workers"], evaluations=450, failed=0, lost=0,
                               simulated_time=study.cells["makespan"], wall_time=ones))
page = render(Material(pathlib.Path("large"), "large", study, totals, [], [], None, None, {{}}, []))
kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([time.perf_counter() - begin, len(page) / 1e6, kilobytes / 1e6]))
"""


@pytest.mark.stress
def test_45000_runs_make_a_page_of_at_most_10_megabytes_and_need_4_gigabytes(record_property):
    code = LARGE.format(folder=str(Path(__file__).parents[1]))
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    seconds, megabytes, gigabytes = json.loads(done.stdout)
    record_property("seconds", seconds)
    assert megabytes < 10
    assert gigabytes < 4.5  # with the table that the study is made of, which a store does not need

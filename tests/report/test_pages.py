"""Pages to look at: what they tell, that they are whole in themselves, and that they work in a browser."""

import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from cloudfix.archive.options import Options
from cloudfix.archive.scene import restore_scene
from cloudfix.archive.tasks import Task
from cloudfix.raster.scene import open_scene
from cloudfix.report import overview as overviews
from cloudfix.report.changes import histograms, vegetation
from cloudfix.report.html import duration
from cloudfix.report.index import Row, write_index
from cloudfix.restoration.cover import Cover

HOSTILE = "<script>alert('x')</script> & \"co.tif"


@pytest.fixture
def page(write_scene, tiny_weights, tmp_path):
    """Restores a scene of a name and writes its page; returns the page and what is known of the scene."""

    def write(name="scene.tif", *, clouds=((10, 10, 30),), **profile):
        source = write_scene(100, 90, name=name, clouds=clouds, **profile)
        task = Task((source.name,), tmp_path / "out.tif", tmp_path / "mask.tif", report=tmp_path / "page.html")
        options = Options(model=str(tiny_weights), sensor="sentinel-2-l1c")
        made = restore_scene(task.absolute(), options, notes=["first <note>", "second"])
        return task.report, made

    return write


@pytest.fixture(autouse=True)
def _in_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium, driven as a user drives it."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no chromium with its chromedriver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1100,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    with webdriver.Chrome(options=options, service=service) as opened:
        yield opened


def test_a_page_tells_what_was_done(page):
    path, made = page()
    text = path.read_text()
    assert f"{made.cover.cloud:.1%}" in text
    assert made.provenance["CLOUDFIX_INPUT"] in text
    assert "first &lt;note&gt;" in text
    assert text.count("<svg") == 13
    assert text.count('src="data:image/') == 4
    assert "$" not in text.split("<script>")[1]
    assert made.picture.startswith("data:image/jpeg;base64,")


def test_a_page_asks_nothing_of_the_network(page):
    text = page()[0].read_text()
    assert not re.search(r"""(https?:)?//(?!\s)[a-z]|url\(|@import|<link|<iframe""", re.sub(r"data:[^\"']*", "", text))
    assert "default-src 'none'" in text


def test_a_hostile_name_is_text(page):
    name = HOSTILE.replace("/", "∕")
    text = page(name)[0].read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_a_scene_without_a_cloud_or_with_nothing_else_has_a_page(page):
    assert "0.0%" in page(clouds=())[0].read_text()
    assert page(clouds=((0, 0, 100),))[0].read_text().count("<svg") == 13


@pytest.mark.parametrize("side", [1024, 300])
def test_before_and_after_lie_on_each_other(write_scene, tiny_weights, tmp_path, monkeypatch, side):
    monkeypatch.setattr(overviews, "SIDE", side)
    source = write_scene(1100, 1040, clouds=((100, 100, 300),))
    with rasterio.open(source, "r+") as file:
        empty = file.read()
        empty[:, :, 704:] = 0
        file.write(empty)
    task = Task((str(source),), tmp_path / "out.tif", tmp_path / "mask.tif")
    scene = open_scene(source, sensor="sentinel-2-l1c")
    restore_scene(task, Options(model=str(tiny_weights), sensor="sentinel-2-l1c", mask=str(_no_cloud(source))))
    view = overviews.overview(scene, task.output, task.mask)
    assert view.factor == (2 if side == 1024 else 4)
    for slot in view.before:
        np.testing.assert_array_equal(np.isnan(view.before[slot]), np.isnan(view.after[slot]))
        np.testing.assert_allclose(view.before[slot], view.after[slot], atol=1.1e-4)
    assert np.isnan(view.before["red"]).any()
    assert view.classes.shape == view.before["red"].shape


def _no_cloud(source):
    path = source.with_name("clear_mask.tif")
    with rasterio.open(source) as file:
        profile = file.profile | {"count": 1, "dtype": "uint8", "nodata": None}
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.zeros((1, profile["height"], profile["width"]), "uint8"))
    return path


def test_numbers_of_a_made_up_change():
    red, near = np.full((4, 4), 0.1, "float32"), np.full((4, 4), 0.3, "float32")
    classes = np.zeros((4, 4), "uint8")
    classes[:2] = 1
    cloudy = np.where(classes == 1, np.float32(0.5), red), np.where(classes == 1, np.float32(0.5), near)
    view = overviews.Overview({"red": cloudy[0], "nir": cloudy[1]}, {"red": red, "nir": near}, classes, 1)
    change = vegetation(view)
    assert (change.clear, change.before, change.after) == pytest.approx((0.5, 0.0, 0.5))
    for histogram in histograms(view):
        assert sum(histogram.before) == pytest.approx(1)
        assert sum(histogram.after) == pytest.approx(1)
    assert histograms(view)[0].after[0] == pytest.approx(1)
    assert vegetation(overviews.Overview({"red": red}, {"red": red}, classes, 1)) is None
    clear = vegetation(overviews.Overview(view.after, view.after, np.zeros_like(classes), 1))
    assert math.isnan(clear.before)


def test_durations_as_people_say_them():
    assert [duration(seconds) for seconds in (1.25, 61, 7300)] == ["1.2 s", "1 min 1 s", "2 h 1 min"]


def test_an_index_leads_to_the_pages(tmp_path):
    rows = [
        Row(
            "a.tif", "done", "a b#.tif.html", "data:image/jpeg;base64,xyz", Cover(0.25, 0.1, "SCL"), 3.0, ("a <note>",)
        ),
        Row(HOSTILE, "failed", notes=("not a raster",)),
        Row("c.tif", "waiting"),
    ]
    write_index(tmp_path / "index.html", "clear", rows, "3 scenes, 1 failed")
    text = (tmp_path / "index.html").read_text()
    assert 'href="a%20b%23.tif.html"' in text
    assert "a &lt;note&gt;" in text
    assert "<script>alert" not in text
    assert text.count("<tr>") == 4


def test_the_edge_moves_by_key_and_layers_switch(page, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser.get(page()[0].absolute().as_uri())

    def shown():
        return browser.execute_script("return getComputedStyle(document.getElementById('after')).clipPath")

    split = browser.find_element(By.ID, "split")
    assert shown() == "inset(0px 0px 0px 50%)"
    split.send_keys(Keys.ARROW_RIGHT * 10)
    assert shown() == "inset(0px 0px 0px 60%)"
    assert split.get_attribute("aria-valuetext") == "60 % before, 40 % after"
    split.send_keys(Keys.HOME)
    assert split.get_attribute("aria-valuetext") == "0 % before, 100 % after"
    for layer in ("mask", "change"):
        picture = browser.find_element(By.ID, layer)
        assert not picture.is_displayed()
        browser.find_element(By.CSS_SELECTOR, f"[data-layer={layer}]").send_keys(Keys.SPACE)
        assert picture.is_displayed()
    sizes = browser.execute_script("return [...document.images].map(image => image.naturalWidth)")
    assert sizes == [90] * 4
    asked = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in asked if not name.startswith("data:")] == []
    assert browser.get_log("browser") == []


def test_the_index_shows_what_is_asked_for(browser, tmp_path):
    from selenium.webdriver.common.by import By

    rows = [Row(f"{k}.tif", "failed" if k == 2 else "done") for k in range(4)]
    write_index(tmp_path / "index.html", "clear", rows, "4 scenes")
    browser.get((tmp_path / "index.html").as_uri())
    browser.find_element(By.ID, "filter").send_keys("FAILED")
    shown = [row.text for row in browser.find_elements(By.CSS_SELECTOR, "#scenes tr") if row.is_displayed()]
    assert len(shown) == 1
    assert shown[0].startswith("2.tif failed")
    assert browser.find_element(By.ID, "shown").text == "1 shown"


def test_a_page_in_a_folder_that_is_not_there_is_refused(tmp_path):
    from cloudfix.errors import OutputError

    with pytest.raises(OutputError, match="there is no folder"):
        write_index(Path(tmp_path / "absent" / "index.html"), "clear", [], "none")

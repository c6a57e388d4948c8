"""Rasters and items on the network, from a server in this very process."""

from __future__ import annotations

import json
import re
import threading
import warnings
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio

from cloudfix.errors import CloudfixWarning, SceneError
from cloudfix.raster.cog import write_cog
from cloudfix.raster.fingerprint import fingerprint
from cloudfix.raster.location import absolute, gdal_name, on_disk, shown
from cloudfix.raster.scene import open_scene, scenes_of

if TYPE_CHECKING:
    from collections.abc import Iterator

COG = "image/tiff; application=geotiff"


class Ranges(SimpleHTTPRequestHandler):
    """Serves parts of files, as every real store does."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, stop = (int(wanted[1]), int(wanted[2] or len(content)) + 1) if wanted else (0, len(content))
        part = content[start:stop]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Accept-Ranges", "bytes")
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def web(tmp_path, monkeypatch) -> Iterator[str]:
    """The address under which `tmp_path` is served."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: Ranges(*args, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def only_the_usual_note(no_warnings):
    warnings.filterwarnings("ignore", ".* resampled to pixels", CloudfixWarning)


def test_a_remote_raster(web, raster, dn, tmp_path):
    values = dn(3)
    raster("a.tif", values, tags={"PRODUCT_TYPE": "S2MSI2A"}, descriptions=("B02", "B03", "B04"))
    url = f"{web}/a.tif?sig=secret"
    scene = open_scene(url, allow_remote=True)
    np.testing.assert_array_equal(scene.values, values)
    assert scene.attrs["source"] == [url]
    write_cog(scene, tmp_path / "out.tif", tags={"CLOUDFIX_INPUT": fingerprint(scene.attrs["source"])})
    with rasterio.open(tmp_path / "out.tif") as made:
        np.testing.assert_array_equal(made.read(), values)
        assert "secret" not in str(made.tags())


def test_a_remote_raster_that_is_not_there(web):
    with pytest.raises(SceneError, match=r"127\.0\.0\.1:\d+/absent\.tif: cannot be opened") as refused:
        open_scene(f"{web}/absent.tif", allow_remote=True)
    assert "\n" not in str(refused.value)


def test_a_signature_is_no_name(web, raster, dn):
    raster("T33UUB_20200527T100031_B02.tif", dn(1))
    scene = open_scene(f"{web}/T33UUB_20200527T100031_B02.tif?sig=S2A_MSIL2A_.B04_x.y", allow_remote=True)
    assert (scene.band.values.tolist(), scene.attrs["sensor"]) == (["B02"], "sentinel-2-l1c")


def test_remote_band_files_are_one_scene(web, raster, dn):
    raster("B02.tif", dn(1))
    raster("B03.tif", dn(1))
    urls = [f"{web}/B02.tif", f"{web}/B03.tif"]
    assert scenes_of(urls, allow_remote=True) == [urls]
    assert scenes_of(urls) == [[url] for url in urls]


@pytest.mark.parametrize("name", ["S2A_MSIL2A_X.json", "collections/sentinel-2-l2a/items/S2A_MSIL2A_X"])
def test_a_remote_item_and_its_assets(web, raster, dn, products, tmp_path, name):
    values = dn(1)
    place = (tmp_path / name).parent
    place.mkdir(parents=True, exist_ok=True)
    raster(str((place / "B02.tif").relative_to(tmp_path)), values)
    assets = {"B02": {"href": "./B02.tif", "type": COG, "eo:bands": [{"name": "B02"}]}}
    products.stac_item(tmp_path / name, assets, {"s2:processing_baseline": "05.10"})
    scene = open_scene(f"{web}/{name}", allow_remote=True)
    np.testing.assert_array_equal(scene.values, values)
    assert scene.attrs["offset"] == [-0.1]
    with pytest.raises(SceneError, match="--allow-remote"):
        open_scene(f"{web}/{name}")


@pytest.mark.parametrize("href", ["file:///etc/passwd", "/vsicurl/http://x/a.tif", "ftp://x/a.tif"])
def test_a_remote_item_names_no_file_of_this_machine(web, products, tmp_path, href):
    item = products.stac_item(
        tmp_path / "S2A_MSIL2A_X.json", {"B02": {"href": href, "type": COG, "eo:bands": [{"name": "B02"}]}}, {}
    )
    with pytest.raises(SceneError, match=r"which is not on the network|cannot be opened"):
        open_scene(f"{web}/{item.name}", allow_remote=True)


def test_an_item_that_cannot_be_fetched(web, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([]))
    for name, said in (("absent.json", "cannot be fetched.*404"), ("a.json", "is no STAC item")):
        with pytest.raises(SceneError, match=said):
            open_scene(f"{web}/{name}", allow_remote=True)
    with pytest.raises(SceneError, match="items are read from files and from http"):
        open_scene("s3://bucket/a.json", allow_remote=True)


@pytest.mark.parametrize(
    ("name", "gdal"),
    [
        ("https://a/b.tif?x=1", "/vsicurl/https://a/b.tif?x=1"),
        ("HTTP://a/b.tif", "/vsicurl/http://a/b.tif"),
        ("s3://bucket/key", "/vsis3/bucket/key"),
        ("gs://bucket/key", "/vsigs/bucket/key"),
        ("az://bucket/key", "/vsiaz/bucket/key"),
        ("/vsis3/bucket/key", "/vsis3/bucket/key"),
        (Path("https://a/b.tif"), "/vsicurl/https://a/b.tif"),
    ],
)
def test_names_for_gdal(name, gdal):
    assert gdal_name(name, SceneError, allow_remote=True) == gdal
    assert absolute(gdal) == gdal
    assert on_disk(gdal) is None


def test_names_for_people():
    assert shown("/vsicurl/https://a/b.tif?sig=1") == "https://a/b.tif"
    assert shown("/vsizip//a/b.zip/c.tif") == "/a/b.zip/c.tif"
    assert shown("what?.tif") == "what?.tif"

"""Products as they are downloaded, by the commands."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from cloudfix.cli import app, main


@pytest.fixture
def cloudfix(monkeypatch, capfd):
    """Runs the command as a shell does: exit code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["cloudfix", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, *capfd.readouterr()

    return run


@pytest.mark.parametrize("packed", [False, True])
def test_inspect_a_sentinel_2_product(products, tmp_path, packed):
    safe = products.sentinel2(tmp_path, level="L2A", offset=-1000)
    path = products.zipped(safe) if packed else safe
    result = CliRunner().invoke(app, ["inspect", str(path)])
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[:6] == [
        str(path),
        "  sensor   Sentinel-2 L2A (sentinel-2-l2a)",
        "  size     120 × 120 pixels of 10",
        "  crs      EPSG:32633",
        "  values   uint16, nodata 0",
        "  classes  SCL",
    ]
    assert "  B8A      nir08       reflectance = DN × 0.0001 -0.1" in lines
    assert "  cover    cloud 6%, shadow 0%, by SCL" in lines


def test_inspect_several_kinds_at_once(products, tmp_path):
    paths = [
        products.sentinel2(tmp_path),
        products.tarred(products.landsat(tmp_path)),
        products.landsat(tmp_path, level=2),
    ]
    result = CliRunner().invoke(app, ["inspect", "--json", *map(str, paths)])
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["source"] for record in records] == [[str(path)] for path in paths]
    assert [record["sensor"] for record in records] == ["sentinel-2-l1c", "landsat-8-l1", "landsat-8-l2"]
    assert [record["quality_band"] for record in records] == [None, "QA_PIXEL", "QA_PIXEL"]


def test_run_a_sentinel_2_product_with_its_radar(products, tmp_path, tiny_weights, cloudfix):
    safe = products.sentinel2(tmp_path, level="L2A", offset=-1000)
    sar = products.sentinel1_rtc(tmp_path)
    out = tmp_path / "out.tif"
    code, stdout, stderr = cloudfix("run", safe, "--sar", sar, "-o", out, "--model", tiny_weights)
    assert (code, stdout) == (0, f"{out}\n"), stderr
    with rasterio.open(out) as made:
        assert made.shape == (120, 120)
        assert made.descriptions == (*(band for band in products.S2_BANDS if band != "B10"), "SCL")
        assert made.tags()["CLOUDFIX_PRODUCT"] == safe.stem
        assert made.tags()["CLOUDFIX_MASK"] == "SCL"
        pixels = made.read(4)
    with rasterio.open(next(safe.rglob("*_B04_10m.jp2"))) as band:
        before = band.read(1)
    clear = np.s_[60:, 60:]
    np.testing.assert_array_equal(pixels[clear], before[clear])
    assert (pixels[:30, :30] != before[:30, :30]).any()


def test_run_a_landsat_archive(products, tmp_path, tiny_weights, cloudfix):
    path = products.tarred(products.landsat(tmp_path))
    code, _, stderr = cloudfix("run", path, "-o", tmp_path / "out.tif", "--model", tiny_weights)
    assert code == 0, stderr
    with rasterio.open(tmp_path / "out.tif") as made:
        assert made.tags()["CLOUDFIX_PRODUCT"] == products.L8_L1
        assert made.tags()["CLOUDFIX_SENSOR"] == "landsat-8-l1"


def passwd(folder):
    path = folder / "a.vrt"
    path.write_text(
        '<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="Byte" band="1" '
        'subClass="VRTRawRasterBand"><SourceFilename>/etc/passwd</SourceFilename></VRTRasterBand></VRTDataset>'
    )
    return path


def parent(folder):
    path = folder / "a\nb.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../a.jp2", "x")
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (passwd, "can be made of any bytes"),
        (parent, "points out of it"),
        (lambda folder: folder, "is a folder of no product that is known"),
        (lambda _: "https://example.invalid/a.tif", "--allow-remote"),
        (lambda folder: folder / "\x1b[31m.tif", "no such file"),
    ],
)
def test_what_is_refused_takes_one_line(make, said, tmp_path, cloudfix):
    code, stdout, stderr = cloudfix("run", make(tmp_path), "-o", tmp_path / "out.tif")
    assert (code, stdout) == (1, "")
    assert len(stderr.splitlines()) == 1
    assert stderr.startswith("error:")
    assert said in stderr
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.parametrize("name", ["-o.tif", "a b.tif", "--help", "ü 'q\".tif"])
def test_names_that_look_like_something_else(name, write_scene, tmp_path, monkeypatch, cloudfix):
    write_scene(60, 60, name=name)
    monkeypatch.chdir(tmp_path)
    code, stdout, _ = cloudfix("inspect", "--", name)
    assert code == 0
    assert stdout.splitlines()[0] == str(tmp_path / name)

"""`cloudfix simulate` as a user types it."""

import numpy as np
import pytest
import rasterio
from rio_cogeo import cog_validate
from typer.testing import CliRunner

from cloudfix.cli import app
from cloudfix.errors import CloudfixError

OPTIONS = ("--kind", "thick", "--cover", "0.4", "--cloud-height", "500", "--seed", "3")


@pytest.fixture
def simulate(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        result = CliRunner().invoke(app, ["simulate", *map(str, arguments)])
        if isinstance(result.exception, CloudfixError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result

    return call


def read(path):
    with rasterio.open(path) as file:
        return file.read()


def test_a_scene_becomes_valid_cogs_with_all_that_it_had(simulate, write_scene, tmp_path):
    source = write_scene(200, 230, clouds=())
    extras = ("--thickness", "t.tif", "--shadow", "s.tif", "--mask-out", "m.tif", "--quicklook", "q.png")
    result = simulate(source, "-o", "out.tif", *extras, *OPTIONS)
    assert result.stdout.splitlines() == ["out.tif", "t.tif", "s.tif"]
    for name in ("out.tif", "t.tif", "s.tif", "m.tif"):
        valid, errors, warnings = cog_validate(str(tmp_path / name), strict=True)
        assert valid, (name, errors, warnings)
    with rasterio.open(source) as before, rasterio.open(tmp_path / "out.tif") as after:
        for attribute in ("crs", "transform", "dtypes", "nodata", "descriptions", "shape"):
            assert getattr(after, attribute) == getattr(before, attribute), attribute
        assert after.tags()["ORIGIN"] == "a test"
        assert "not observed" in after.tags()["CLOUDFIX_SIMULATED"]
        assert after.tags()["CLOUDFIX_SEED"] == "3"
    with rasterio.open(tmp_path / "t.tif") as thickness:
        assert thickness.dtypes == ("float32",)
        assert thickness.crs == before.crs
        assert thickness.transform == before.transform
    thick, shadow, mask = (read(tmp_path / name)[0] for name in ("t.tif", "s.tif", "m.tif"))
    changed = (read(source) != read(tmp_path / "out.tif")).any(axis=0)
    assert 0.3 < changed.mean() < 0.95
    assert not changed[(thick == 0) & (shadow == 0)].any()
    np.testing.assert_array_equal(mask == 1, thick > 0.03)
    assert 0.25 < (mask == 1).mean() < 0.55
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_the_same_seed_gives_the_same_bytes_and_another_another_sky(simulate, write_scene, tmp_path):
    source = write_scene(100, 120, clouds=())
    for name, seed in (("a.tif", 1), ("b.tif", 1), ("c.tif", 2)):
        simulate(source, "-o", name, "--seed", seed, "--cover", "0.5")
    a, b, c = ((tmp_path / name).read_bytes() for name in ("a.tif", "b.tif", "c.tif"))
    assert a == b
    assert a != c


def test_8_bit_rgb(simulate, tmp_path):
    picture = np.random.default_rng(0).integers(40, 120, (3, 96, 110)).astype(np.uint8)
    with rasterio.open(
        tmp_path / "rgb.tif", "w", driver="GTiff", height=96, width=110, count=3, dtype="uint8", photometric="RGB"
    ) as file:
        file.write(picture)
    simulate("rgb.tif", "-o", "out.tif", "--thickness", "t.tif", *OPTIONS)
    out, thickness = read(tmp_path / "out.tif"), read(tmp_path / "t.tif")[0]
    assert out.dtype == np.uint8
    assert out[:, thickness > 0.99].mean() > 1.5 * picture.mean()


def test_what_it_writes_can_be_restored(simulate, typed, write_scene, tiny_weights):
    simulate(write_scene(100, 120, clouds=()), "-o", "cloudy.tif", "--mask-out", "m.tif", *OPTIONS)
    result = typed("run", "cloudy.tif", "-o", "clear.tif", "--mask", "m.tif", "--model", tiny_weights)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (("--kind", "fluffy"), 2, "--kind fluffy: unknown; use one of thin, thick, all"),
        (("--cover", "2"), 2, "--cover 2"),
        (("--sun-elevation", "120"), 2, "--sun-elevation 120"),
        (("--thickness", "out.tif"), 1, "out.tif"),
        (("--thickness", "missing/t.tif"), 1, "missing/t.tif"),
        (("-o", "scene.tif"), 1, "scene.tif"),
        (("--shadow", "scene.tif"), 1, "scene.tif"),
    ],
)
def test_wrong_use_is_one_line_and_leaves_nothing(simulate, write_scene, tmp_path, arguments, code, named):
    source = write_scene(64, 70, clouds=())
    before = source.read_bytes()
    with pytest.raises(CloudfixError) as caught:
        simulate("scene.tif", "-o", "out.tif", *arguments)
    assert caught.value.exit_code == code
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert source.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["scene.tif"]


def test_an_error_is_one_line_on_stderr(typed):
    result = typed("simulate", "nosuch.tif", "-o", "out.tif")
    assert result.returncode == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "nosuch.tif" in result.stderr


def test_a_product_is_taken_as_it_was_downloaded(simulate, products, tmp_path):
    simulate(products.sentinel2(tmp_path), "-o", "out.tif", "--resolution", "20", *OPTIONS)
    with rasterio.open(tmp_path / "out.tif") as made:
        assert (made.count, made.shape) == (13, (60, 60))

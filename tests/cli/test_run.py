"""`cloudfix run` as a user types it, reopened with rasterio and with GDAL's own view."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import rasterio
from rio_cogeo import cog_validate

FAST = ("-o", "out.tif", "--tile", "128", "--overlap", "32")
"""Attention over a quarter of the default tile's pixels takes a sixteenth of the time."""


@pytest.fixture
def run(typed, tiny_weights):
    def call(*arguments, check=True, model=True):
        result = typed("run", *arguments, *(("--model", tiny_weights) if model else ()))
        assert not check or result.returncode == 0, result.stderr
        return result

    return call


@pytest.fixture
def run_apart(tiny_weights, tmp_path):
    """The same in a process of its own."""

    def call(*arguments):
        command = [sys.executable, "-m", "cloudfix", "run", *map(str, arguments), "--model", str(tiny_weights)]
        result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        return result

    return call


def test_a_scene_becomes_a_valid_cog_with_all_that_it_had(run_apart, write_scene, tmp_path):
    source, out = write_scene(700, 600), tmp_path / "out.tif"
    result = run_apart(source, "-o", out, "--mask-out", tmp_path / "mask.tif", "--quicklook", tmp_path / "look.png")
    assert result.stdout.strip() == str(out)
    valid, errors, warnings = cog_validate(str(out), strict=True)
    assert valid, (errors, warnings)
    with rasterio.open(source) as before, rasterio.open(out) as after:
        for attribute in (
            "crs",
            "transform",
            "dtypes",
            "nodata",
            "descriptions",
            "scales",
            "offsets",
            "shape",
        ):
            assert getattr(after, attribute) == getattr(before, attribute), attribute
        assert after.tags()["ORIGIN"] == "a test"
        assert after.tags()["CLOUDFIX_MODEL"] == "aca-crnet.tiny"
        assert after.overviews(1)
        changed = (before.read() != after.read()).any(axis=0)
    with rasterio.open(tmp_path / "mask.tif") as mask:
        assert set(np.unique(mask.read(1))) <= {0, 1, 2, 255}
        assert (mask.read(1)[changed] == 1).any()
    assert 0 < changed.mean() < 0.5
    with rasterio.open(tmp_path / "look.png") as look:
        assert look.count == 3
        assert look.width <= 1600
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


def test_json_record(run, write_scene, tmp_path):
    record = json.loads(run(write_scene(), "-o", "out.tif", "--json").stdout)
    assert record["output"] == "out.tif"
    assert record["status"] == "done"
    assert record["CLOUDFIX_MASK"].startswith("spectral rules")


def test_a_profile_says_what_bounds_the_run_and_changes_no_pixel(run, write_scene, tmp_path):
    source = write_scene(700, 600)
    run(source, "-o", "plain.tif")
    run(source, "-o", "out.tif", "--profile", "profile.json")
    assert (tmp_path / "plain.tif").read_bytes() == (tmp_path / "out.tif").read_bytes()
    profile = json.loads((tmp_path / "profile.json").read_text())
    stages = profile["stages"]
    names = ["open and plan", "read", "mask", "network", "composite", "encode", "put together"]
    assert sorted(stages) == sorted(names)
    assert all(0 < stages[name]["share"] < 1 and stages[name]["busy"] > 0 for name in stages)
    assert stages[profile["bound_by"]]["share"] == max(stage["share"] for stage in stages.values())
    covered = sum(stages[name]["share"] for name in names)
    assert covered > 0.8, "time that no stage accounts for"


def test_a_profile_of_many_scenes_is_refused(run, write_scene):
    result = run(write_scene(), "--out-dir", "clear", "--profile", "profile.json", check=False)
    assert result.returncode == 2
    assert "--profile profile.json: looks at one scene" in result.stderr


def test_single_band_files_make_a_scene(run, write_scene, tmp_path):
    names = []
    with rasterio.open(write_scene()) as scene:
        for index, name in enumerate(scene.descriptions, start=1):
            names.append(tmp_path / f"T32_20200101_{name}.tif")
            with rasterio.open(names[-1], "w", **(scene.profile | {"count": 1})) as band:
                band.write(scene.read(index), 1)
    run(*names, "-o", "out.tif", "--sensor", "sentinel-2-l1c")
    with rasterio.open(tmp_path / "out.tif") as out:
        assert out.count == 13


def test_two_runs_are_byte_identical(run, run_apart, write_scene, tmp_path):
    source = write_scene()
    run_apart(source, "-o", "a.tif")
    run(source, "-o", "b.tif")
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_killed_in_mid_run_it_leaves_nothing_and_runs_again(run, write_scene, tiny_weights, tmp_path):
    source = write_scene(1500, 1500, clouds=((0, 0, 1500),))
    out = tmp_path / "out.tif"
    command = [
        sys.executable,
        "-m",
        "cloudfix",
        "run",
        str(source),
        "-o",
        str(out),
        "--model",
        str(tiny_weights),
    ]
    process = subprocess.Popen([*command, "--tile", "32", "--overlap", "16"], stderr=subprocess.DEVNULL)
    partial = tmp_path / ".out.tif.partial"
    deadline = time.monotonic() + 60
    while not partial.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not out.exists()
    assert partial.exists()
    run(write_scene(name="small.tif"), "-o", out)
    assert cog_validate(str(out), strict=True)[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.tif", "scene.tif", "small.tif"]


def test_the_landsat_sample_runs_with_the_weights_of_the_package(run, samples, tmp_path):
    run(samples / "landsat8_scene.tif", *FAST, model=False)
    with (
        rasterio.open(samples / "landsat8_scene.tif") as before,
        rasterio.open(tmp_path / "out.tif") as after,
    ):
        a, b = before.read().astype(float), after.read().astype(float)
        assert after.tags()["CLOUDFIX_MASK"] == "BQA"
        assert after.crs == before.crs
    # Cloud is bright in blue: taking it out darkens the scene where it was changed.
    changed = (a[:7] != b[:7]).any(axis=0)
    assert 0.2 < changed.mean() < 0.9
    assert b[1][changed].mean() < a[1][changed].mean()
    np.testing.assert_array_equal(a[8:], b[8:])


def test_the_sentinel_2_sample_gets_closer_to_the_truth(run, samples, tmp_path):
    run(samples / "sentinel2_cloudy.tif", "--sar", samples / "sentinel2_sar.tif", *FAST, model=False)
    images = [samples / "sentinel2_clear.tif", samples / "sentinel2_cloudy.tif", tmp_path / "out.tif"]
    truth, cloudy, restored = (_reflectance(path) for path in images)
    assert np.abs(restored - truth).mean() < 0.6 * np.abs(cloudy - truth).mean()


def _reflectance(path):
    with rasterio.open(path) as file:
        return file.read().astype("float64") / 10000

"""Wrong input ends in one line and an exit code, with nothing written."""

import os
import subprocess

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from cloudfix.cli import app, main


@pytest.fixture
def fails(tmp_path, tiny_weights, monkeypatch, capsys):
    """Runs the command in a folder of its own; returns its one line of error."""
    folder = tmp_path / "outputs"
    folder.mkdir()

    def call(*arguments, code=1, output=None):
        target = output or folder / "out.tif"
        command = ["cloudfix", "run", *map(str, arguments), "-o", str(target), "--model", str(tiny_weights)]
        monkeypatch.setattr("sys.argv", command)
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        errors = [line for line in captured.err.splitlines() if line.startswith("error:")]
        assert caught.value.code == code, captured.err
        assert len(errors) == 1, captured.err
        assert "Traceback" not in captured.err
        assert captured.out == ""
        assert list(folder.iterdir()) == []
        return errors[0]

    return call


def test_no_such_file(fails, tmp_path):
    assert "nowhere.tif" in fails(tmp_path / "nowhere.tif")


def test_truncated_tiff(fails, write_scene):
    path = write_scene(600, 600)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    assert "truncated" in fails(path)


def test_a_text_file_named_tif(fails, tmp_path):
    path = tmp_path / "notes.tif"
    path.write_text("not a raster\n")
    assert "notes.tif" in fails(path)


def test_no_crs_is_allowed_with_a_note(write_scene, tiny_weights, tmp_path, capsys, monkeypatch):
    path = write_scene(crs=None)
    command = ["cloudfix", "run", str(path), "-o", str(tmp_path / "o.tif"), "--model", str(tiny_weights)]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    assert "coordinate reference system" in capsys.readouterr().err


def test_8_bit_values_declared_as_sentinel_2(fails, write_scene):
    path = write_scene()
    with rasterio.open(path, "r+") as file:
        file.write((file.read() // 40).clip(1, 255).astype("uint16"))
    error = fails(path, "--sensor", "sentinel-2-l1c")
    assert "scene.tif" in error
    assert "10000" in error


def test_four_unknown_bands(fails, tmp_path):
    path = tmp_path / "four.tif"
    profile = {"driver": "GTiff", "dtype": "uint16", "count": 4, "height": 64, "width": 64}
    with rasterio.open(path, "w", **profile, crs="EPSG:32617") as file:
        file.write(np.full((4, 64, 64), 900, "uint16"))
    assert "--bands" in fails(path)


def test_sar_elsewhere_on_earth(fails, write_scene, tmp_path):
    path = write_scene()
    with rasterio.open(path) as scene:
        profile = scene.profile | {"count": 2, "dtype": "float32", "crs": "EPSG:32632", "nodata": None}
    with rasterio.open(tmp_path / "s1.tif", "w", **profile) as file:
        file.write(np.full((2, 150, 170), -12, "float32"))
        file.descriptions = ("VV", "VH")
    assert "s1.tif" in fails(path, "--sar", tmp_path / "s1.tif")


def test_weights_for_other_bands(fails, write_scene, tmp_path):
    with rasterio.open(write_scene()) as scene:
        profile, red, swir = scene.profile | {"count": 2}, scene.read(4), scene.read(12)
    with rasterio.open(tmp_path / "two.tif", "w", **profile) as file:
        file.write(np.stack([red, swir]))
    options = ["--sensor", "sentinel-2-l2a", "--bands", "B04,B11"]
    assert "blue" in fails(tmp_path / "two.tif", *options)


def test_output_folder_that_is_not_there(fails, write_scene, tmp_path):
    assert "nowhere" in fails(write_scene(), output=tmp_path / "nowhere" / "out.tif")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_output_folder_that_cannot_be_written(fails, write_scene, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "locked" in fails(write_scene(), output=tmp_path / "locked" / "out.tif")


def test_a_full_disk(fails, write_scene, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        error = fails(write_scene(900, 900), output=disk / "out.tif")
        assert "space" in error
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_wrong_option_is_exit_code_2(fails, write_scene):
    assert "--tile 100" in fails(write_scene(), "--tile", "100", code=2)
    assert "--sensor spot" in fails(write_scene(), "--sensor", "spot", code=2)


def test_inspect_prints_what_was_recognised(write_scene):
    result = CliRunner().invoke(app, ["inspect", str(write_scene())])
    assert result.exit_code == 0
    assert "sentinel-2-l1c" in result.stdout.lower()

"""Memory does not grow with the scene."""

import os
import subprocess
import sys

import numpy as np
import rasterio


def test_a_scene_four_times_as_long_takes_no_more_memory(write_scene, tiny_weights, tmp_path):
    def peak(height):
        source = write_scene(height, 512, name=f"{height}.tif", clouds=((10, 10, 40),), tiled=True)
        mask = np.zeros((height, 512), "uint8")
        mask[10:50, 10:50] = 1
        with rasterio.open(source) as scene:
            profile = scene.profile | {"count": 1, "dtype": "uint8", "nodata": None}
        with rasterio.open(tmp_path / f"mask{height}.tif", "w", **profile) as file:
            file.write(mask, 1)
        command = [sys.executable, "-m", "cloudfix", "run", str(source), "--model", str(tiny_weights)]
        command += ["--mask", str(tmp_path / f"mask{height}.tif"), "-o", str(tmp_path / "out.tif")]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0
        return usage.ru_maxrss / 1024

    small, large = 2048, 8192
    grown = 13 * 2 * 512 * (large - small) / 2**20
    assert peak(large) - peak(small) < 0.3 * grown

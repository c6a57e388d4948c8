"""Fixtures that several rooms share: small scenes, small random weights, the real imagery where it is there."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import settings
from rasterio.transform import from_origin

REPOSITORY = Path(__file__).parent.parent
if "PYTEST_XDIST_WORKER" in os.environ:
    # Each is a core's worth; said before anything imports torch, and to the processes that tests start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# An example that takes long says that the machine has other things to do.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

SENTINEL_2 = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")


@pytest.fixture(scope="session")
def real_data():
    """Folder of real imagery that is not part of the repository; set CLOUDFIX_DATA to name another."""
    folder = Path(os.environ.get("CLOUDFIX_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real imagery at {folder}; set CLOUDFIX_DATA")
    return folder


@pytest.fixture(scope="session")
def samples():
    """The sample data of the repository."""
    return REPOSITORY / "sample_data"


@pytest.fixture(scope="session")
def seeded():
    """The recipe of the reference outputs: published state dicts, inputs and expected arrays by name."""
    return _module("reference/seeded.py")


@pytest.fixture(scope="session")
def products():
    """Makes miniature products with the real folders, names and metadata."""
    return _module("raster/products.py")


def _module(name):
    path = REPOSITORY / "tests" / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    """ACA-CRNet of random weights, small and fast, whose output differs visibly from its input."""
    import torch

    from cloudfix.models import Card, SarInput, create, save
    from cloudfix.sensors import SLOTS

    torch.manual_seed(0)
    options = {"in_channels": 15, "out_channels": 13, "blocks": 4, "features": 8}
    card = Card(
        name="aca-crnet.tiny",
        architecture="aca-crnet",
        options=options,
        slots=SLOTS,
        sar=(SarInput("vv", (-25, 0), 0.08, 2), SarInput("vh", (-32.5, 0), 2 / 32.5, 2)),
        scale=5.0,
        tile=64,
        overlap=16,
    )
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save(path, create("aca-crnet", **options), card)
    return path


@pytest.fixture
def write_scene(tmp_path):
    """Writes a 13-band Sentinel-2 L1C GeoTIFF, bright squares for cloud, and returns its path."""

    def write(height=150, width=170, *, name="scene.tif", clouds=((20, 30, 40),), **profile):
        rng = np.random.default_rng(height * width)
        coarse = rng.integers(300, 1300, (13, height // 8 + 2, width // 8 + 2))
        dn = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width] + rng.integers(0, 50, (13, height, width))
        for top, left, size in clouds:
            dn[:, top : top + size, left : left + size] = 6000 + rng.integers(0, 200)
        path = tmp_path / name
        defaults = {"driver": "GTiff", "dtype": "uint16", "count": 13, "nodata": 0, "crs": "EPSG:32617"}
        options = defaults | {"transform": from_origin(500000, 4000000, 10, 10)} | profile
        with rasterio.open(path, "w", height=height, width=width, **options) as target:
            target.write(dn.astype(options["dtype"]))
            target.descriptions = SENTINEL_2
            target.update_tags(ORIGIN="a test")
        return path

    return write

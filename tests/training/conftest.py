"""Fixtures that several tests of training share, miniature copies of the published data sets among them."""

from __future__ import annotations

import warnings
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from rasterio.transform import from_origin

from cloudfix.models import Card, create, load
from cloudfix.raster.header import opened
from cloudfix.sensors import SLOTS
from cloudfix.training.fit import fit
from cloudfix.training.networks import SAR_INPUTS
from cloudfix.training.recipe import Data, Stage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """On tiny tensors, and beside other work, threads cost more than they bring."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class DatasetFiles:
    """Writes files of data sets below a folder; what a file holds depends on its name alone."""

    root: Path

    def random(self, path: Path) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(str(path.relative_to(self.root)).encode()))

    def picture(self, name: str, side: int = 20, *, values: NDArray[Any] | None = None) -> Path:
        """An 8-bit RGB picture, or of `values` (bands, H, W)."""
        path = self.root / name
        if values is None:
            values = self.random(path).integers(0, 256, (3, side, side)).astype(np.uint8)
        return self._write(path, values, driver="PNG" if path.suffix == ".png" else "GTiff")

    def pairs(
        self,
        folder: str,
        names: Iterable[object],
        cloudy: str = "cloud",
        clear: str = "label",
        side: int = 20,
    ) -> Path:
        """Pictures under the same names in two folders."""
        for name in names:
            self.picture(f"{folder}/{cloudy}/{name}.png", side)
            self.picture(f"{folder}/{clear}/{name}.png", side)
        return self.root / folder

    def sentinel_2(self, name: str, *, bands: int = 13, side: int = 24, bright: bool = False, **profile: Any) -> Path:
        """DN of Sentinel-2, with a bright square if asked for."""
        path = self.root / name
        dn = self.random(path).integers(300, 3000, (bands, side, side))
        if bright:
            dn[:, 4:16, 4:16] = 7000
        return self._write(path, dn.astype(np.uint16), **profile)

    def sentinel_1(self, name: str, side: int = 24) -> Path:
        """VV and VH in dB, one pixel of which was not measured."""
        path = self.root / name
        decibels = self.random(path).uniform(-28, -3, (2, side, side)).astype(np.float32)
        decibels[:, 0, 0] = 0
        return self._write(path, decibels)

    def triplet(self, season: str, region: int, patch: int, *, suffixed: bool = True, sar: bool = True) -> None:
        """A triplet of SEN12MS-CR in its own layout, the season's folders with the sensor's suffix or without."""
        for role in ("s2", "s2_cloudy", *(["s1"] if sar else [])):
            folder = f"{season}_{role}" if suffixed else season
            name = f"{folder}/{role}_{region}/{season}_{role}_{region}_p{patch}.tif"
            if role == "s1":
                self.sentinel_1(name)
            else:
                self.sentinel_2(name, bright=role == "s2_cloudy")

    def _write(self, path: Path, values: NDArray[Any], **profile: Any) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        count, height, width = values.shape
        if profile.setdefault("driver", "GTiff") == "GTiff":
            profile = {"crs": "EPSG:32633", "transform": from_origin(500000, 5000000, 10, 10)} | profile
        profile |= {"height": height, "width": width, "count": count, "dtype": values.dtype}
        with opened(path, "w", **profile) as file:
            file.write(values)
        return path


@pytest.fixture
def dataset_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetFiles:
    """Writes miniature data sets; what is kept of them goes to a cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return DatasetFiles(tmp_path / "data")


@pytest.fixture
def guided_run(dataset_files: DatasetFiles, tmp_path: Path) -> nn.Module:
    """A network with a guided skip after a run of one step."""
    for season, region in (("ROIs1158_spring", 5), ("ROIs2017_winter", 12), ("ROIs1868_summer", 19)):
        dataset_files.triplet(season, region, 7)
    stage = Stage(sar=True, steps=1, validate_every=1, batch=1, data=Data("sen12mscr", crop=16, workers=0))
    options = {"in_channels": 15, "out_channels": 13, "blocks": 4, "features": 4, "skip": "guided"}
    card = Card("aca-crnet.t", "aca-crnet", options, tuple(SLOTS), sar=SAR_INPUTS, scale=5.0, tile=16, overlap=0)
    places = {"data": dataset_files.root, "out": tmp_path / "run", "accelerator": "cpu", "devices": 1}
    network = create("aca-crnet", **options)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*are taken")
        return load(fit(stage, name=card.name, card=card, network=network, resume=False, **places))[0]

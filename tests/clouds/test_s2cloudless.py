from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import ndimage

from cloudfix.clouds import plugins, s2cloudless
from cloudfix.clouds.classes import CLEAR, CLOUD, NODATA
from cloudfix.errors import MaskError
from cloudfix.sensors import SLOTS

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 120


class FakeDetector:
    """The package's interface: the blue reflectance is the probability."""

    def get_cloud_probability_maps(self, data: np.ndarray) -> np.ndarray:
        assert data.ndim == 4
        assert data.shape[-1] == 10
        assert np.isfinite(data).all()
        return data[..., s2cloudless.SLOTS.index("blue")].astype(np.float32)


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    fake = ModuleType("s2cloudless")
    fake.S2PixelCloudDetector = FakeDetector  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "s2cloudless", fake)
    s2cloudless._detector.cache_clear()
    yield
    s2cloudless._detector.cache_clear()


def _scene(seed: int = 0) -> dict[str, np.ndarray]:
    noise = np.random.default_rng(seed).normal(size=(SIZE, SIZE))
    blue = 0.3 + 8 * ndimage.gaussian_filter(noise, 12)
    return dict.fromkeys(SLOTS, np.zeros((SIZE, SIZE), np.float32)) | {"blue": blue.clip(0, 1).astype(np.float32)}


VALID = np.ones((SIZE, SIZE), bool)


@pytest.mark.usefixtures("package")
def test_averages_and_dilates_as_the_package_does() -> None:
    scene = _scene()
    offsets = np.arange(-22, 23)
    disk = (offsets[:, None] ** 2 + offsets**2 <= 22**2).astype(float)
    mean = ndimage.convolve(scene["blue"].astype(float), disk / disk.sum())
    expected = ndimage.distance_transform_edt(mean <= 0.4) <= 11
    classes = s2cloudless.cloud_mask(scene, VALID)
    inner = np.s_[33:-33, 33:-33]
    assert 0.05 < expected[inner].mean() < 0.95
    assert np.array_equal(classes[inner] == CLOUD, expected[inner])


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("seed", range(6))
def test_a_window_with_its_halo_gives_the_same(seed: int) -> None:
    scene, halo = _scene(seed), plugins.halo(s2cloudless.cloud_mask)
    part = {slot: band[7:, 5:100] for slot, band in scene.items()}
    whole = s2cloudless.cloud_mask(scene, VALID)
    cut = s2cloudless.cloud_mask(part, VALID[7:, 5:100])
    assert np.array_equal(cut[halo:, halo:-halo], whole[7 + halo :, 5 + halo : 100 - halo])


@pytest.mark.usefixtures("package")
def test_a_nan_pixel_costs_only_itself() -> None:
    scene = {slot: np.full((SIZE, SIZE), 0.5, np.float32) for slot in SLOTS}
    scene["swir22"][60, 60] = np.nan
    valid = VALID.copy()
    valid[:, :50] = False
    classes = s2cloudless.cloud_mask(scene, valid)
    assert classes[60, 60] == NODATA
    assert np.all(classes[:, :50] == NODATA)
    assert np.count_nonzero(classes == CLOUD) == SIZE * (SIZE - 50) - 1


@pytest.mark.usefixtures("package")
def test_nothing_valid_and_nothing_cloudy() -> None:
    clear = dict.fromkeys(SLOTS, np.zeros((SIZE, SIZE), np.float32))
    assert np.all(s2cloudless.cloud_mask(clear, ~VALID) == NODATA)
    assert np.all(s2cloudless.cloud_mask(clear, VALID) == CLEAR)


def test_a_missing_package_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s2cloudless", None)
    s2cloudless._detector.cache_clear()
    with pytest.raises(MaskError, match=r"pip install 'cloudfix\[s2cloudless\]'"):
        s2cloudless.cloud_mask(_scene(), VALID)


def test_missing_bands_are_named() -> None:
    scene = {slot: band for slot, band in _scene().items() if slot not in ("cirrus", "coastal")}
    with pytest.raises(MaskError, match="lacks coastal, cirrus"):
        s2cloudless.cloud_mask(scene, VALID)

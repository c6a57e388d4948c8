from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudfix.clouds import spectral
from cloudfix.clouds.classes import CLEAR, CLOUD, NODATA, SHADOW
from cloudfix.errors import MaskError
from cloudfix.sensors import SLOTS

REFERENCE = Path(__file__).parents[1] / "reference" / "cloud_shadow_mask.npz"
SCENES = range(6)
SIZE = 128


@cache
def _reference() -> dict[str, np.ndarray]:
    return dict(np.load(REFERENCE))


def _scene(number: int) -> dict[str, np.ndarray]:
    dn = _reference()[f"{number}/dn"].astype(np.float32)
    return dict(zip(SLOTS, dn / np.float32(10_000), strict=True))


def _flat(**levels: float) -> dict[str, np.ndarray]:
    """A small scene of one colour."""
    return {slot: np.full((32, 32), levels.get(slot, 0.05), np.float32) for slot in SLOTS}


WHITE = dict.fromkeys(SLOTS, 0.6)


@pytest.mark.parametrize("number", SCENES)
def test_equals_the_published_mask(number: int) -> None:
    scene, expected = _scene(number), _reference()
    score = spectral.cloud_score(scene)
    np.testing.assert_allclose(score, expected[f"{number}/score"], rtol=0, atol=1e-5)
    decided = np.abs(expected[f"{number}/score"] - spectral.THRESHOLD) > 1e-5
    mask = spectral.cloud_shadow_mask(scene)
    assert mask.dtype == np.int8
    assert np.array_equal(mask[decided], expected[f"{number}/csm"][decided])


def test_the_reference_holds_every_class() -> None:
    assert {value for number in SCENES for value in np.unique(_reference()[f"{number}/csm"])} == {-1, 0, 1}


@settings(max_examples=40, deadline=None)
@given(
    number=st.sampled_from(SCENES),
    top=st.integers(0, SIZE - 1),
    left=st.integers(0, SIZE - 1),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    seed=st.integers(0, 99),
)
def test_a_window_with_its_halo_gives_the_same_bits(
    number: int, top: int, left: int, height: int, width: int, seed: int
) -> None:
    scene = _scene(number)
    valid = np.random.default_rng(seed).random((SIZE, SIZE)) > 0.02
    thresholds = spectral.shadow_thresholds([spectral.shadow_statistics(scene, valid)])
    rows = slice(max(top - spectral.HALO, 0), top + height + spectral.HALO)
    columns = slice(max(left - spectral.HALO, 0), left + width + spectral.HALO)
    part = {slot: band[rows, columns] for slot, band in scene.items()}
    window = np.s_[top : top + height, left : left + width]
    inner = np.s_[top - rows.start :, left - columns.start :]
    for function, arguments in (
        (spectral.cloud_score, ()),
        (spectral.cloud_shadow_mask, (thresholds,)),
        (spectral.classes, (thresholds,)),
    ):
        whole = function(scene, *arguments, valid)[window]
        cut = function(part, *arguments, valid[rows, columns])[inner][:height, :width]
        assert np.array_equal(whole, cut)


@settings(max_examples=30, deadline=None)
@given(number=st.sampled_from(SCENES), cuts=st.lists(st.integers(1, SIZE - 1), max_size=6, unique=True))
def test_thresholds_do_not_depend_on_the_cut(number: int, cuts: list[int]) -> None:
    scene = _scene(number)
    whole = spectral.shadow_thresholds([spectral.shadow_statistics(scene)])
    edges = [0, *sorted(cuts), SIZE]
    parts = [
        spectral.shadow_statistics({slot: band[:, start:stop] for slot, band in scene.items()})
        for start, stop in pairwise(edges)
    ]
    assert spectral.shadow_thresholds(parts) == whole
    assert spectral.shadow_thresholds(reversed(parts)) == whole


@settings(max_examples=60, deadline=None)
@given(number=st.sampled_from(SCENES), dim=st.floats(0.05, 1), top=st.integers(0, 110), left=st.integers(0, 110))
def test_no_cloud_is_told_only_of_what_the_score_finds_none_in(number: int, dim: float, top: int, left: int) -> None:
    window = {slot: band[top : top + 40, left : left + 40] * np.float32(dim) for slot, band in _scene(number).items()}
    valid = np.random.default_rng(top).random(window["blue"].shape) < 0.9
    found = (spectral.cloud_score(window, valid) >= spectral.THRESHOLD).any()
    assert spectral.any_cloud(window, valid) or not found


def test_dark_land_and_cloud_without_data_are_no_cloud() -> None:
    assert not spectral.any_cloud(_flat())
    assert spectral.any_cloud(_flat(**WHITE))
    assert not spectral.any_cloud(_flat(**WHITE), np.zeros((32, 32), bool))


def test_thresholds_are_the_published_statistics() -> None:
    scene = _scene(1)
    csi = (scene["nir"].astype(float) + scene["swir16"]) / 2
    blue = scene["blue"].astype(float)
    thresholds = spectral.shadow_thresholds([spectral.shadow_statistics(scene)])
    assert thresholds.csi == pytest.approx(csi.min() + 3 / 4 * (csi.mean() - csi.min()), abs=1e-7)
    assert thresholds.blue == pytest.approx(blue.min() + 5 / 6 * (blue.mean() - blue.min()), abs=1e-7)


def test_invalid_pixels_are_nodata_and_no_others() -> None:
    scene = _scene(0)
    valid = np.ones((SIZE, SIZE), bool)
    valid[:40] = False
    classes = spectral.classes(scene, valid=valid)
    assert np.array_equal(classes == NODATA, ~valid)
    assert np.all(spectral.cloud_shadow_mask(scene, valid=valid)[~valid] == 0)


@pytest.mark.parametrize(("levels", "expected"), [(WHITE, CLOUD), ({}, CLEAR)])
@pytest.mark.filterwarnings("error")
def test_bad_pixels_cost_only_themselves(levels: dict[str, float], expected: int) -> None:
    scene = _flat(**levels)
    scene["red"][16, 16] = np.nan
    scene["swir16"][3, 4] = scene["green"][3, 4] = np.inf
    bad = np.zeros((32, 32), bool)
    bad[16, 16] = bad[3, 4] = bad[20:, 20:] = True
    classes = spectral.classes(scene, valid=~(bad & (np.arange(32) >= 20)))
    assert np.array_equal(classes, np.where(bad, NODATA, expected))


def test_values_under_invalid_pixels_do_not_matter() -> None:
    scene = _scene(1)
    valid = np.random.default_rng(0).random((SIZE, SIZE)) > 0.1
    wild = {slot: np.where(valid, band, np.float32(7)) for slot, band in scene.items()}
    assert np.array_equal(spectral.classes(scene, valid=valid), spectral.classes(wild, valid=valid))


def test_without_a_valid_pixel_all_is_nodata() -> None:
    classes = spectral.classes(_flat(), valid=np.zeros((32, 32), bool))
    assert np.all(classes == NODATA)


def test_classes_follow_the_mask() -> None:
    scene = _scene(1)
    mask, classes = spectral.cloud_shadow_mask(scene), spectral.classes(scene)
    for value, name in ((1, CLOUD), (0, CLEAR), (-1, SHADOW)):
        assert np.array_equal(mask == value, classes == name)


def test_one_colour_holds_no_shadow() -> None:
    for level in np.linspace(0.001, 0.4, 57):
        assert not np.any(spectral.classes(_flat(**dict.fromkeys(SLOTS, level))) == SHADOW)


def test_black_pixels_are_no_cloud() -> None:
    assert not np.any(spectral.cloud_score(_flat(**dict.fromkeys(SLOTS, 0.0))) >= spectral.THRESHOLD)


def test_snow_is_no_cloud() -> None:
    snow = WHITE | {"swir16": 0.05}
    assert np.all(spectral.classes(_flat(**WHITE)) == CLOUD)
    assert not np.any(spectral.classes(_flat(**snow)) == CLOUD)


def test_missing_bands_leave_out_their_ramps() -> None:
    """A pixel that only the cirrus ramp, then only the coastal ramps, hold to be clear."""
    scene = _flat(**WHITE | {"coastal": 0.16, "cirrus": -0.05})
    assert np.all(spectral.classes(scene) == CLEAR)
    del scene["cirrus"]
    assert spectral.cloud_score(scene)[16, 16] == pytest.approx(0.3)
    del scene["coastal"]
    assert spectral.cloud_score(scene)[16, 16] == 1


def test_landsat_near_infrared_serves() -> None:
    scene = _scene(0)
    expected = spectral.cloud_shadow_mask(scene)
    landsat = {slot: band for slot, band in scene.items() if slot != "nir"} | {"nir08": scene["nir"]}
    assert np.array_equal(spectral.cloud_shadow_mask(landsat), expected)


def test_missing_slots_are_named() -> None:
    assert spectral.missing_slots(("blue", "green", "red", "nir08", "swir16")) == ()
    assert spectral.missing_slots(("blue", "red")) == ("green", "swir16", "nir")
    with pytest.raises(MaskError, match=r"has blue, and lacks green, red, swir16, nir; .*--mask") as error:
        spectral.cloud_score({"blue": np.zeros((4, 4))})
    assert "\n" not in str(error.value)

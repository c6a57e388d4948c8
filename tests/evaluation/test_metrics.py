from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from cloudfix.evaluation import metrics

REFERENCE = Path(__file__).parents[1] / "reference" / "metrics.npz"
METRICS = {
    "mae": metrics.mae,
    "mse": metrics.mse,
    "rmse": metrics.rmse,
    "band_rmse": metrics.band_rmse,
    "psnr": metrics.psnr,
    "ssim": metrics.ssim,
    "sam_deg": metrics.sam_degrees,
}


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    return dict(np.load(REFERENCE))


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    target = rng.random((4, 32, 40))
    return target, np.clip(target + rng.normal(0, 0.05, target.shape), 0, 1)


@pytest.mark.parametrize("name", METRICS)
def test_equals_the_published_numbers(name: str, reference: dict[str, np.ndarray]) -> None:
    value = METRICS[name](reference["target"][0], reference["prediction"][0])
    assert value == pytest.approx(float(reference[name]), rel=1e-5)


@pytest.mark.parametrize("name", [name for name in METRICS if name != "ssim"])
def test_where_is_the_metric_of_those_pixels_alone(name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    target, prediction = pair
    where = np.zeros((32, 40), bool)
    where[5:20, 10:37] = True
    part = METRICS[name](target[:, 5:20, 10:37], prediction[:, 5:20, 10:37])
    assert METRICS[name](target, prediction, where) == pytest.approx(part, rel=1e-12)


def test_ssim_where_is_the_mean_of_the_map(pair: tuple[np.ndarray, np.ndarray]) -> None:
    where = np.zeros((32, 40), bool)
    where[3, 4] = where[20, 30] = True
    similarity = metrics.ssim_map(*pair)
    assert metrics.ssim(*pair, where) == pytest.approx((similarity[3, 4] + similarity[20, 30]) / 2)


def test_equal_images_are_perfect(pair: tuple[np.ndarray, np.ndarray]) -> None:
    scores = metrics.score(pair[0], pair[0])["all"]
    assert (scores.mae, scores.rmse, scores.psnr) == (0, 0, math.inf)
    assert scores.ssim == pytest.approx(1)
    assert scores.sam_degrees == pytest.approx(0, abs=1e-5)


def test_zero_spectra_have_no_angle() -> None:
    target, prediction = np.zeros((2, 1, 3)), np.ones((2, 1, 3))
    target[0, 0, 0] = 1
    assert metrics.sam_degrees(target, prediction) == pytest.approx(45)


def test_band_rmse_differs_from_rmse_where_bands_differ() -> None:
    target = np.zeros((2, 4, 4))
    prediction = np.stack([np.full((4, 4), 0.1), np.full((4, 4), 0.3)])
    assert metrics.band_rmse(target, prediction) == pytest.approx(0.2)
    assert metrics.rmse(target, prediction) == pytest.approx(math.sqrt(0.05))


def test_float32_is_computed_in_float64() -> None:
    target = np.zeros((1, 512, 512), np.float32)
    assert metrics.mae(target, target + np.float32(0.1)) == pytest.approx(float(np.float32(0.1)), rel=1e-13)


def test_score_finds_a_changed_clear_pixel(pair: tuple[np.ndarray, np.ndarray]) -> None:
    target, prediction = pair
    mask = np.zeros((32, 40), bool)
    mask[:16] = True
    kept = np.where(mask, prediction, target)
    scores = metrics.score(target, kept, mask)
    assert scores["clear"].mae == 0
    assert scores["cloudy"].mae == pytest.approx(2 * scores["all"].mae)
    kept[0, 30, 30] += 0.5
    assert metrics.score(target, kept, mask)["clear"].mae > 0
    assert [scores[name].pixels for name in ("all", "cloudy", "clear")] == [32 * 40, 16 * 40, 16 * 40]


def test_score_equals_the_single_metrics(pair: tuple[np.ndarray, np.ndarray]) -> None:
    where = np.random.default_rng(1).random((32, 40)) < 0.3
    scores = metrics.score(*pair, where)["cloudy"]
    assert scores.ssim == metrics.ssim(*pair, where)
    assert scores.psnr == metrics.psnr(*pair, where)
    assert scores.sam_degrees == metrics.sam_degrees(*pair, where)


@pytest.mark.filterwarnings("error")
def test_no_pixel_gives_nan(pair: tuple[np.ndarray, np.ndarray]) -> None:
    scores = metrics.score(*pair, np.zeros((32, 40), bool))["cloudy"]
    assert scores.pixels == 0
    assert all(math.isnan(value) for value in (scores.mae, scores.psnr, scores.ssim, scores.sam_degrees))
    assert math.isnan(metrics.band_rmse(*pair, np.zeros((32, 40), bool)))


@pytest.mark.parametrize("shape", [(3, 8, 9), (8, 8), (1, 3, 8, 8)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected one \(C, H, W\)"):
        metrics.mae(np.zeros((3, 8, 8) if len(shape) == 3 else shape), np.zeros(shape))


def test_ndvi_error_is_that_of_the_index() -> None:
    target, prediction = np.zeros((3, 1, 2)), np.zeros((3, 1, 2))
    target[:, 0, 0] = (0.1, 0.5, 0.3)  # NDVI 0.5 with the last band as near infrared
    prediction[:, 0, 0] = (0.3, 0.9, 0.3)  # NDVI 0
    assert metrics.ndvi_error(target, prediction, 0, 2) == pytest.approx(0.25)
    assert metrics.ndvi_error(target, prediction, 0, 2, np.array([[True, False]])) == pytest.approx(0.5)


def test_score_measures_vegetation_where_its_bands_are(pair: tuple[np.ndarray, np.ndarray]) -> None:
    for slots, near_infrared in ((("red", "nir08", "nir", "blue"), 2), (("red", "nir08", "blue", "green"), 1)):
        expected = metrics.ndvi_error(*pair, 0, near_infrared)
        assert metrics.score(*pair, slots=slots)["all"].ndvi == pytest.approx(expected)
    assert math.isnan(metrics.score(*pair, slots=("red", "blue", "green", "swir16"))["all"].ndvi)


def test_score_measures_what_changed(pair: tuple[np.ndarray, np.ndarray]) -> None:
    target, prediction = pair
    mask = np.zeros((32, 40), bool)
    mask[:16] = True
    scores = metrics.score(target, prediction, mask, cloudy=np.where(mask, 0, prediction))
    assert scores["clear"].changed == 0
    assert scores["cloudy"].changed == pytest.approx(prediction[:, :16].mean())
    assert math.isnan(metrics.score(target, prediction, mask)["all"].changed)

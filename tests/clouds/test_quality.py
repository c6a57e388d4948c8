from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from cloudfix.clouds.classes import CLEAR, CLOUD, NODATA, SHADOW
from cloudfix.clouds.quality import classes_from
from cloudfix.errors import MaskError

DATA = Path(os.environ.get("CLOUDFIX_DATA", Path(__file__).parents[3] / "shared" / "data"))


def _classes(band: str, *values: float, dtype: str = "uint16") -> list[int]:
    return classes_from(band, np.array([values], dtype)).ravel().tolist()


def test_scl() -> None:
    expected = [NODATA, CLEAR, CLEAR, SHADOW, CLEAR, CLEAR, CLEAR, CLEAR, CLOUD, CLOUD, CLOUD, CLEAR]
    assert _classes("SCL", *range(12), dtype="uint8") == expected


def test_an_odd_value_left_by_compression_is_clear() -> None:
    scl = np.full((20, 20), 9, np.uint8)
    scl[3, 4] = 12
    classes = classes_from("SCL", scl)
    assert classes[3, 4] == CLEAR
    assert (classes == CLOUD).sum() == 399


def test_scl_of_other_values_is_refused() -> None:
    with pytest.raises(MaskError, match="found 200, expected classes 0 to 11"):
        _classes("SCL", 4, 200)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, NODATA),  # fill
        (21824, CLEAR),
        (21826, CLOUD),  # dilated cloud
        (21888, CLEAR),  # water
        (22080, CLEAR),  # cloud of medium confidence
        (22280, CLOUD),  # cloud
        (23888, SHADOW),
        (23952, SHADOW),  # over water
        (24216, CLOUD),  # cloud goes before shadow
        (30048, CLEAR),  # snow
        (54596, CLOUD),  # cirrus
        (0b11 << 14, CLOUD),  # confidence without flag
        (0b11 << 8, CLOUD),
        (0b11 << 10, SHADOW),
        (0b10 << 8 | 0b10 << 10 | 0b10 << 14, CLEAR),
    ],
)
def test_qa_pixel(value: int, expected: int) -> None:
    assert _classes("QA_PIXEL", value) == [expected]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, NODATA),  # fill
        (2720, CLEAR),
        (2800, CLOUD),
        (2976, SHADOW),
        (3008, SHADOW),
        (3744, CLEAR),  # snow
        (6816, CLOUD),  # cirrus
        (2752, CLEAR),  # cloud of medium confidence
        (7072, CLOUD),  # cirrus goes before shadow
        (0b11 << 7, SHADOW),
        (0b11 << 8, CLEAR),
    ],
)
def test_bqa_of_collection_1(value: int, expected: int) -> None:
    assert _classes("BQA", value) == [expected]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, NODATA),  # fill
        (20480, CLEAR),
        (20512, CLEAR),  # water
        (23552, CLEAR),  # snow
        (28672, CLOUD),  # cirrus
        (36864, CLOUD),  # cloud of medium confidence
        (45056, CLOUD),
        (53248, CLOUD),
        (61440, CLOUD),
        (20480 | 0b11 << 7, CLEAR),  # shadow in Collection 1, something else here
    ],
)
def test_bqa_from_before_the_collections(value: int, expected: int) -> None:
    assert _classes("BQA", value) == [expected]


@pytest.mark.parametrize("band", ["SCL", "QA_PIXEL", "BQA"])
@pytest.mark.filterwarnings("error")
def test_nan_is_nodata(band: str) -> None:
    assert _classes(band, np.nan, dtype="float32") == [NODATA]


def test_shape_and_type() -> None:
    classes = classes_from("SCL", np.full((3, 5), 4, np.int64))
    assert classes.shape == (3, 5)
    assert classes.dtype == np.uint8


def test_unknown_band_is_named() -> None:
    with pytest.raises(MaskError, match="quality band QA60: unknown; expected one of SCL, QA_PIXEL, BQA"):
        classes_from("QA60", np.zeros((2, 2), np.uint16))


def test_bqa_of_the_real_scene_lies_on_the_bright_cirrus() -> None:
    folder = DATA / "scene_l8_cloudy"
    if not folder.is_dir():
        pytest.skip(f"no {folder}; set CLOUDFIX_DATA")
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(folder / "l8_BQA.tif") as bqa, rasterio.open(folder / "l8_B9.tif") as cirrus:
        classes, dn = classes_from("BQA", bqa.read(1)), cirrus.read(1)
    assert np.mean(classes == CLOUD) == pytest.approx(0.335, abs=0.001)
    assert np.median(dn[classes == CLOUD]) > np.percentile(dn[classes == CLEAR], 90)

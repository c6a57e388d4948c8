"""Means, parts and confidence intervals."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudfix.evaluation.metrics import Scores
from cloudfix.evaluation.report import COVER_BINS, Judgement, Report, cover_bin, sections


def judgement(image=0, method="copy", psnr=20.0, *, cover=0.5, clear=100, sar=False, cloud="real", bands="all"):
    scores = Scores(100, 0.1, 0.1, psnr, 0.9, 5.0)
    nothing = Scores(0, *[math.nan] * 5)
    parts = {"all": scores, "cloudy": scores, "clear": scores if clear else nothing}
    return Judgement(f"image {image}", "here", cloud, bands, "own", cover, sar, method, parts)


def only(judgements, seed=0):
    (section,) = sections(judgements, seed)
    return section


def test_means_are_over_images() -> None:
    section = only([judgement(i, psnr=value) for i, value in enumerate((10.0, 20.0, 60.0))])
    assert section.images == 3
    assert section.methods[0].part("all").metrics["psnr"].mean == pytest.approx(30)


def test_images_without_such_pixels_do_not_count() -> None:
    section = only([judgement(0, psnr=10.0), judgement(1, psnr=30.0, clear=0)])
    clear = section.methods[0].part("clear")
    assert clear.images == 1
    assert clear.metrics["psnr"].mean == 10
    assert section.methods[0].part("all").images == 2


def test_each_image_is_in_one_bin() -> None:
    covers = (0.0, 0.19, 0.2, 0.55, 0.99, 1.0)
    section = only([judgement(i, cover=cover, psnr=float(i)) for i, cover in enumerate(covers)])
    counts = {name: section.methods[0].part(name).images for name in COVER_BINS}
    assert list(counts.values()) == [2, 1, 1, 0, 2]
    assert section.methods[0].part(COVER_BINS[4]).metrics["psnr"].mean == pytest.approx(4.5)
    assert section.methods[0].part(COVER_BINS[3]).metrics == {}


@given(st.floats(0, 1))
def test_every_cover_has_a_bin(cover: float) -> None:
    low = cover_bin(cover) * 0.2
    assert low - 1e-9 <= cover <= low + 0.2 + 1e-9


def test_the_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(0).normal(25, 4, 100)
    found = only([judgement(i, psnr=float(v)) for i, v in enumerate(values)]).methods[0].part("all").metrics["psnr"]
    expected = 1.96 * values.std() / 10
    assert found.mean - found.low == pytest.approx(expected, rel=0.15)
    assert found.high - found.mean == pytest.approx(expected, rel=0.15)


def test_the_seed_decides_the_interval() -> None:
    judgements = [judgement(i, psnr=float(value)) for i, value in enumerate(np.random.default_rng(0).random(9))]
    assert only(judgements, 1) == only(judgements, 1)
    assert only(judgements, 1) != only(judgements, 2)


def test_methods_are_drawn_alike() -> None:
    """A method that is better by 1 dB on every image has an interval that is 1 dB higher."""
    first = [judgement(i, "copy", psnr=float(i)) for i in range(8)]
    second = [judgement(i, "model", psnr=float(i) + 1) for i in range(8)]
    low, high = (method.part("all").metrics["psnr"] for method in only([*first, *second]).methods)
    assert high.low - low.low == pytest.approx(1)
    assert high.high - low.high == pytest.approx(1)


def test_an_image_without_error_makes_the_mean_infinite() -> None:
    section = only([judgement(0, psnr=math.inf), judgement(1, psnr=20.0)])
    assert section.methods[0].part("all").metrics["psnr"].mean == math.inf


def test_kinds_of_cloud_and_bands_are_apart() -> None:
    found = sections(
        [
            judgement(cloud="simulated"),
            judgement(bands="landsat-8-l2"),
            judgement(),
            judgement(cloud="simulated", bands="landsat-8-l2"),
        ],
        0,
    )
    assert [section.cloud for section in found] == ["real", "real", "simulated", "simulated"]
    assert all(section.images == 1 for section in found)


def test_withheld_sar_makes_no_row_where_there_is_none() -> None:
    rows = ["copy", "a", "a, no SAR"]
    without = only([judgement(0, method) for method in rows])
    assert [method.name for method in without.methods] == ["copy", "a"]
    with_sar = only([judgement(0, method, sar=True) for method in rows])
    assert [method.name for method in with_sar.methods] == rows
    alone = only([judgement(0, method) for method in ("copy", "a, no SAR")])
    assert [method.name for method in alone.methods] == ["copy", "a, no SAR"]


def test_json_has_no_infinity() -> None:
    judgements = (judgement(0, psnr=math.inf), judgement(1, clear=0))
    record = Report("1", "data", "test", 0, (), sections(judgements, 0), judgements).to_json()
    text = json.loads(json.dumps(record, allow_nan=False))
    assert text["images"][0]["scores"]["all"]["psnr"] is None
    assert text["sections"][0]["methods"][0]["parts"][0]["metrics"]["mae"]["mean"] == 0.1

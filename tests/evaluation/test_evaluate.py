"""From a data set and models to a report."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from cloudfix.errors import CloudfixWarning, DataError, ModelError, UsageError
from cloudfix.evaluation.evaluate import Judging, evaluate
from cloudfix.evaluation.methods import Running
from cloudfix.evaluation.metrics import score
from cloudfix.sensors import SLOTS

RGB = ("red", "green", "blue")


def means(section, method, part="all"):
    return next(m for m in section.methods if m.name == method).part(part).metrics


def test_the_numbers_are_those_of_the_metrics(squares, shift) -> None:
    data = squares()
    report = evaluate({"a": shift(by=0.05)}, data, "test")
    (section,) = report.sections
    expected = []
    for sample in (data[index] for index in range(len(data))):
        restored = (sample.cloudy + np.float32(0.05)).clip(0, 1)
        expected.append(score(sample.clear, restored, sample.mask, cloudy=sample.cloudy, slots=SLOTS))
    for part in ("all", "cloudy", "clear"):
        for metric in ("mae", "rmse", "psnr", "ssim", "sam_degrees", "ndvi", "changed"):
            mean = np.mean([getattr(one[part], metric) for one in expected])
            assert means(section, "a", part)[metric].mean == pytest.approx(mean, rel=1e-4), (part, metric)
    assert means(section, "a", "clear")["changed"].mean == pytest.approx(0.05, rel=1e-3)
    assert means(section, "copy", "clear")["changed"].mean == 0


def test_baselines_are_always_there(squares, shift) -> None:
    (section,) = evaluate({"a": shift()}, squares(), "test").sections
    assert [method.name for method in section.methods] == ["copy", "nearest-clear", "a"]
    assert means(section, "nearest-clear")["psnr"].mean > means(section, "copy")["psnr"].mean


def test_the_report_says_how_to_repeat_it(squares, shift) -> None:
    judging = Judging(Running(tile=32, overlap=8), seed=4)
    report = evaluate({"a": shift()}, squares(), "validation", judging)
    assert (report.dataset, report.split, report.seed) == ("squares", "validation", 4)
    (model,) = report.models
    assert (model.tile, model.overlap, model.precision) == (32, 8, "fp32")
    assert report.sections == evaluate({"a": shift()}, squares(), "validation", judging).sections


def test_clear_images_get_the_same_cloud_whatever_is_judged(squares, shift) -> None:
    data = squares(paired=False)
    everything = evaluate({"a": shift()}, data, "test")
    (section,) = everything.sections
    assert section.cloud == "simulated"
    last = evaluate({"b": shift(by=0.1)}, data, "test", Judging(limit=2)).images
    assert {one.image for one in last} == {"image 0", "image 3"}
    cover = {one.image: one.cover for one in everything.images}
    assert len(set(cover.values())) > 1
    assert all(one.cover == cover[one.image] for one in last)
    other = evaluate({"a": shift()}, data, "test", Judging(seed=1)).images
    assert any(one.cover != cover[one.image] for one in other)


def test_simulated_cloud_comes_beside_the_real_one(squares, shift) -> None:
    report = evaluate({"a": shift()}, squares(), "test", Judging(simulated=True))
    assert [(section.cloud, section.images) for section in report.sections] == [("real", 4), ("simulated", 4)]


def test_band_sets_are_judged_apart(squares, shift) -> None:
    judging = Judging(bands=("all", "landsat-8-l2"))
    whole, landsat = evaluate({"a": shift(by=0.1)}, squares(), "test", judging).sections
    assert (whole.bands, landsat.bands) == ("all", "landsat-8-l2")
    assert means(whole, "copy")["psnr"].mean != means(landsat, "copy")["psnr"].mean


def test_one_image_is_in_memory_at_a_time(squares, shift) -> None:
    alive: list[weakref.ref] = []
    most = 0

    def seen(case, answers, bands):
        nonlocal most
        alive.append(weakref.ref(case.sample.cloudy))
        most = max(most, sum(reference() is not None for reference in alive))

    evaluate({"a": shift()}, squares(count=6), "test", seen=seen)
    assert len(alive) == 6
    # the last one is let go of only when the next has been read
    assert most <= 2


def test_progress_counts_images(squares, shift) -> None:
    moves = []
    evaluate({"a": shift()}, squares(), "test", progress=lambda *move: moves.append(move))
    assert moves == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_missing_bands_are_named(squares, shift) -> None:
    with pytest.raises(ModelError, match="a: needs blue, green, red, and squares has no blue but green, red"):
        evaluate({"a": shift()}, squares(slots=("green", "red")), "test")
    needy = shift(required=("blue", "green", "red", "cirrus"))
    with pytest.raises(ModelError, match="squares with --bands landsat-8-l2 has no cirrus"):
        evaluate({"a": needy}, squares(), "test", Judging(bands=("landsat-8-l2",)))


def test_fewer_bands_than_the_data_have_are_said(squares, shift) -> None:
    with pytest.warns(CloudfixWarning, match="judged on blue, green, red alone"):
        evaluate({"a": shift(slots=RGB)}, squares(), "test", Judging(limit=1))


def test_wrong_use_is_refused(squares, shift) -> None:
    thickness = shift(role="thickness")
    with pytest.raises(UsageError, match="a gives restore, b gives thickness"):
        evaluate({"a": shift(), "b": thickness}, squares(), "test")
    with pytest.raises(UsageError, match="--bands landsat-9: unknown; use all or one of sentinel-2-l1c"):
        evaluate({"a": shift()}, squares(), "test", Judging(bands=("landsat-9",)))
    with pytest.raises(DataError, match="its test split is empty"):
        evaluate({"a": shift()}, squares(count=0), "test")


def test_unreadable_images_are_refused_or_left_out_as_asked(squares, shift) -> None:
    data = squares(damaged=(1,))
    with pytest.raises(DataError, match="image 1: damaged"):
        evaluate({"a": shift()}, data, "test")
    with pytest.warns(CloudfixWarning, match="left out: image 1: damaged"):
        report = evaluate({"a": shift()}, data, "test", Judging(skip_unreadable=True))
    assert report.sections[0].images == 3
    with (
        pytest.warns(CloudfixWarning, match="left out"),
        pytest.raises(DataError, match="none of 2 images can be read"),
    ):
        evaluate({"a": shift()}, squares(count=2, damaged=(0, 1)), "test", Judging(skip_unreadable=True))

"""Whole images through a network, as the training loop and the evaluation see them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
import torch

import cloudfix
from cloudfix.errors import ModelError, UsageError
from cloudfix.evaluation.inference import restore_image, thickness_image
from cloudfix.models import Card, create, load
from cloudfix.raster.info import SceneInfo
from cloudfix.sensors import SLOTS, get
from cloudfix.training.datasets.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def sample() -> Sample:
    random = np.random.default_rng(3)
    cloudy = random.random((13, 90, 70), dtype=np.float32)
    sar = random.uniform(-25, 0, (2, 90, 70)).astype(np.float32)
    return Sample("noise", SLOTS, clear=cloudy, cloudy=cloudy, sar=sar)


@pytest.mark.parametrize(("tile", "overlap"), [(None, None), (48, None), (128, 0)])
def test_equals_what_run_gives(
    write_scene: Callable[..., Path], tiny_weights: Path, tmp_path: Path, tile: int | None, overlap: int | None
) -> None:
    path = write_scene(90, 110)
    sar = np.random.default_rng(0).uniform(-20, -2, (2, 90, 110)).astype(np.float32)
    with rasterio.open(path) as scene:
        profile = scene.profile | {"count": 2, "dtype": "float32", "nodata": None}
    with rasterio.open(tmp_path / "s1.tif", "w", **profile) as file:
        file.write(sar)
        file.descriptions = ("VV", "VH")
    scene = cloudfix.open_scene(path)
    radar = cloudfix.open_sar(tmp_path / "s1.tif", scene)
    options = {"tile": tile, "overlap": overlap, "precision": "fp32"}
    restored = cloudfix.restore(scene, model=str(tiny_weights), sar=radar, replace_all=True, **options)
    network, card = load(tiny_weights)
    slots = SceneInfo.of(scene).slots
    cloudy = scene.values.astype(np.float32) * np.float32(1e-4)
    image = restore_image(network, card, Sample("scene", slots, cloudy, cloudy, sar=radar.values), **options)
    stored = restored["bands"].values * 1e-4
    np.testing.assert_allclose(image.clip(1e-4, None), stored, atol=6e-5)
    assert np.abs(image - cloudy).mean() > 0.01


def test_channels_come_in_the_order_of_the_sample(sample: Sample, tiny_weights: Path) -> None:
    network, card = load(tiny_weights)
    expected = restore_image(network, card, sample)
    order = np.random.default_rng(0).permutation(13)
    shuffled = replace(sample, slots=tuple(SLOTS[i] for i in order), cloudy=sample.cloudy[order])
    np.testing.assert_allclose(restore_image(network, card, shuffled), expected[order], atol=1e-6)


def test_slots_that_are_not_shown_have_no_influence(sample: Sample, tiny_weights: Path) -> None:
    network, card = load(tiny_weights)
    landsat = set(get("landsat-8-l2").slots.values())
    expected = restore_image(network, card, sample, slots=landsat)
    hidden = [i for i, slot in enumerate(SLOTS) if slot not in landsat]
    other = sample.cloudy.copy()
    other[hidden] = 0.5
    np.testing.assert_array_equal(restore_image(network, card, replace(sample, cloudy=other), slots=landsat), expected)
    assert not np.allclose(expected, restore_image(network, card, sample), atol=1e-3)


def test_sar_is_withheld_when_asked(sample: Sample, tiny_weights: Path) -> None:
    network, card = load(tiny_weights)
    alone = restore_image(network, card, replace(sample, sar=None))
    np.testing.assert_array_equal(restore_image(network, card, sample, use_sar=False), alone)
    assert not np.allclose(alone, restore_image(network, card, sample), atol=1e-3)


def test_slots_that_the_network_does_not_know_stay(sample: Sample) -> None:
    torch.manual_seed(0)
    options = {"in_channels": 3, "out_channels": 3, "blocks": 1, "features": 4}
    card = Card("dsen2-cr.rgb", "dsen2-cr", options, ("red", "green", "blue"), tile=64, overlap=8)
    image = restore_image(create("dsen2-cr", **options).eval(), card, sample)
    known = [SLOTS.index(slot) for slot in card.slots]
    unknown = [i for i in range(13) if i not in known]
    np.testing.assert_array_equal(image[unknown], sample.cloudy[unknown])
    assert not np.allclose(image[known], sample.cloudy[known], atol=1e-3)


def test_thickness_is_one_plane_as_the_network_gives_it() -> None:
    torch.manual_seed(0)
    card = Card("scpm.tiny", "scpm", {}, ("red", "green", "blue"), role="thickness", tile=32, overlap=0)
    network = create("scpm").eval()
    cloudy = np.random.default_rng(0).random((3, 32, 32), dtype=np.float32)
    sample = Sample("noise", card.slots, cloudy, cloudy)
    with torch.inference_mode():
        expected = network(torch.from_numpy(cloudy)[None])[0][0, 0].numpy()
    np.testing.assert_allclose(thickness_image(network, card, sample), expected, atol=1e-5)
    with pytest.raises(ModelError, match=r"scpm\.tiny: gives thickness"):
        restore_image(network, card, sample)


def test_restoring_weights_give_no_thickness(sample: Sample, tiny_weights: Path) -> None:
    with pytest.raises(ModelError, match="no thickness"):
        thickness_image(*load(tiny_weights), sample)


def test_what_cannot_be_run_is_refused(sample: Sample, tiny_weights: Path) -> None:
    network, card = load(tiny_weights)
    with pytest.raises(ModelError, match="has no blue"):
        restore_image(network, card, sample, slots={"green", "red"})
    with pytest.raises(UsageError, match="--tile 12"):
        restore_image(network, card, sample, tile=12)
    with pytest.raises(ValueError, match="no cloudy image"):
        restore_image(network, card, replace(sample, cloudy=None))
    next(network.parameters()).data.fill_(torch.nan)
    with pytest.raises(ModelError, match="gave NaN or infinity in fp32 on noise"):
        restore_image(network, card, sample)

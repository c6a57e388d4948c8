"""What an image under an even veil looks like is learned from pairs, by those alone that one explains."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

from cloudfix.models import Card, create, load
from cloudfix.models.density import VeilDensity
from cloudfix.models.veil import veiled
from cloudfix.training.datasets.sample import Sample
from cloudfix.training.fit import fit
from cloudfix.training.recipe import Data, Stage
from cloudfix.training.veil import fit_density
from tests.training.in_memory import InMemory

RGB = ("red", "green", "blue")
CARD = Card("thiefcloud.t", "thiefcloud", {"veil": "even"}, RGB, tile=32, overlap=0)


def pair(seed: int, t: float) -> Sample:
    clear = np.random.default_rng(seed).uniform(0, 0.8, (3, 40, 44)).astype(np.float32)
    return Sample(str(seed), RGB, clear, cloudy=veiled(torch.from_numpy(clear), t).numpy())


def learned(*samples: Sample) -> VeilDensity:
    density = VeilDensity()
    fit_density(density, InMemory(samples), CARD)
    return density


PAIRS = [pair(seed, 0.35 + 0.05 * seed) for seed in range(6)]


def test_veils_of_other_images_are_told() -> None:
    density, unseen = learned(*PAIRS), pair(9, 0.42)
    assert unseen.cloudy is not None
    assert density(torch.from_numpy(unseen.cloudy)[None])[0].item() == pytest.approx(0.42, abs=0.03)


def test_what_is_no_even_veil_is_left_out() -> None:
    """Another's cloud, an image without a pair, and one that cannot be read."""
    cloud = replace(PAIRS[0], cloudy=PAIRS[0].clear[:, ::-1].copy())
    expected, found = (
        learned(*PAIRS),
        learned(cloud, *PAIRS, replace(PAIRS[1], cloudy=None), replace(PAIRS[1], name="corrupt")),
    )
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], tensor)


def test_further_grounds_teach_what_veils_over_them_look_like() -> None:
    """Bright ground, where all pairs are dark."""
    bright = [replace(sample, clear=0.8 + 0.2 * sample.clear, cloudy=None) for sample in PAIRS]
    image = veiled(torch.from_numpy(bright[0].clear), 0.6)[None]
    density = VeilDensity()
    fit_density(density, InMemory(PAIRS), CARD, InMemory(bright[1:]))
    assert abs(density(image)[0] - 0.6) < 0.7 * abs(learned(*PAIRS)(image)[0] - 0.6)


def test_without_a_pair_nothing_is_known() -> None:
    assert learned(replace(PAIRS[0], cloudy=None)).level.isnan()


@pytest.mark.filterwarnings("ignore:.*are taken", "ignore:Dataset has no geotransform")
def test_a_run_learns_it_before_the_network(dataset_files: Any, tmp_path: Any) -> None:
    data = dataset_files.pairs("pairs", range(10), side=32)
    for path in (data / "label").iterdir():
        with rasterio.open(path) as label, rasterio.open(data / "cloud" / path.name, "w", **label.profile) as cloud:
            cloud.write((veiled(torch.from_numpy(label.read() / 255), 0.5) * 255).numpy().astype(np.uint8))
    stage = Stage(
        architecture="thiefcloud", steps=1, validate_every=1, batch=1, data=Data(crop=32, workers=0, grounds="pairs")
    )
    places = {"data": data, "out": tmp_path / "run", "accelerator": "cpu", "devices": 1}
    network = create("thiefcloud", veil="even")
    weights = fit(stage, name=CARD.name, card=CARD, network=network, resume=False, **places)
    trained: Any = load(weights)[0]
    assert trained.veil.density.level.isfinite()
    assert trained.veil.density.examples.any()
    assert trained.veil.map.fitted == 1

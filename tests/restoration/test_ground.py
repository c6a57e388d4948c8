"""What clear ground looks like around a tile, and that it reaches networks that ask for it."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import cloudfix
from cloudfix.models import create, read_card, save
from cloudfix.raster.info import SceneInfo
from cloudfix.restoration.ground import Ground, Patch, ground_of_image, ground_of_scene
from cloudfix.restoration.masking import choose
from cloudfix.restoration.sampling import spread
from cloudfix.restoration.tiles import Window

SLOTS = ("red", "nir")


def image(height, width):
    """Dark in its left half, bright in its right."""
    red = np.full((height, width), 0.1, np.float32)
    red[:, width // 2 :] = 0.3
    return {"red": red}


def test_the_nearest_ground_counts_most():
    ground = ground_of_image(image(512, 1024), np.zeros((512, 1024), bool), SLOTS)
    left, right = (ground.around(Window(192, 320, at, at + 128))[0] for at in (0, 896))
    assert left == pytest.approx(0.1, abs=0.02)
    assert right == pytest.approx(0.3, abs=0.02)


def test_cloud_and_its_rim_do_not_count():
    planes, hidden = image(300, 300), np.zeros((300, 300), bool)
    hidden[40:200, 40:200] = True
    planes["red"][37:203, 37:203] = 0.9
    ground = ground_of_image(planes, hidden, SLOTS)
    assert np.nanmax([patch.reflectance[0] for patch in ground.patches]) < 0.31


def test_what_the_scene_lacks_is_not_known():
    ground = ground_of_image(image(300, 300), np.zeros((300, 300), bool), SLOTS)
    assert np.isnan(ground.around(Window(0, 128, 0, 128))).tolist() == [False, True, False]


def test_how_much_is_hidden_is_told_by_what_is_near():
    planes, hidden = image(512, 1024), np.zeros((512, 1024), bool)
    hidden[:, :500] = True
    ground = ground_of_image(planes, hidden, SLOTS)
    left, right = (ground.around(Window(192, 320, at, at + 128))[-1] for at in (0, 896))
    assert (left, right) == (pytest.approx(1, abs=0.01), pytest.approx(0, abs=0.01))


def test_under_nothing_but_cloud_nothing_is_known():
    assert ground_of_image(image(300, 300), np.ones((300, 300), bool), SLOTS) is None


def test_around_a_tile_of_a_small_scene_there_is_nothing():
    assert ground_of_image(image(256, 256), np.zeros((256, 256), bool), SLOTS) is None


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6), st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_however_far_it_lies_between_what_was_seen(top, left, seen):
    patches = tuple(Patch(300.0 * k, 0, 0.3 + 0.1 * k, (value,)) for k, value in enumerate(seen))
    around = Ground(patches, 256).around(Window(top, top + 192, left, left + 192))[0]
    assert min(seen) - 1e-6 <= around <= max(seen) + 1e-6


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_windows_lie_in_the_scene_and_cover_a_small_one(height, width):
    windows = spread(height, width, 8, 128)
    assert len(windows) <= 64
    assert all(0 <= w.top < w.bottom <= height and 0 <= w.left < w.right <= width for w in windows)
    if max(height, width) <= 1024:
        seen = np.zeros((height, width), bool)
        for window in windows:
            seen[window.slices] = True
        assert seen.all()


def test_a_scene_tells_the_same_as_its_image(write_scene):
    scene = cloudfix.open_scene(write_scene(300, 270))
    info = SceneInfo.of(scene)
    hidden = np.zeros(scene.shape[1:], np.uint8)
    hidden[20:60, 30:70] = 1
    source = choose(scene, info, xr.DataArray(hidden, dims=("y", "x")))
    planes = dict(zip(info.slots, scene.values * np.float32(1e-4), strict=True))
    expected = ground_of_image(planes, hidden == 1, info.slots)
    assert ground_of_scene(scene, info, source, info.slots) == expected


@pytest.fixture
def matched_weights(tiny_weights, tmp_path):
    """A network that gives back what it gets, but trusts nothing of it and takes all from the ground around."""
    card = read_card(tiny_weights)
    options = {**card.options, "skip": "matched"}
    network = create("aca-crnet", **options)
    torch.nn.init.zeros_(network.refine.weight)
    with torch.no_grad():
        network.refine.bias[-1] = -50
        network.surroundings.share.fill_(-50)
    path = tmp_path / "matched.safetensors"
    save(path, network, replace(card, name="aca-crnet.matched", options=options))
    return path


def cleared(path, weights, chunks=None, **options):
    scene = cloudfix.open_scene(path)
    scene = scene if chunks is None else scene.chunk({"y": chunks, "x": chunks})
    return scene, cloudfix.restore(scene, model=str(weights), precision="fp32", **options)


def test_what_cloud_hides_gets_the_colours_of_the_ground(write_scene, matched_weights):
    scene, clear = cleared(write_scene(300, 300, clouds=((0, 0, 120),)), matched_weights, buffer=0)
    seen = clear["mask"].values == 0
    for before, after in zip(scene.values, clear["bands"].values, strict=True):
        # Tiles of 64 pixels whose corner is here see nothing but cloud.
        assert after[:48, :48].mean() == pytest.approx(before[seen].mean(), rel=0.25)


@pytest.mark.parametrize("chunks", [40, 64, 300])
def test_neither_do_chunks_change_a_bit_of_it(write_scene, matched_weights, chunks):
    path = write_scene(300, 300, clouds=((0, 0, 120),))
    expected = cleared(path, matched_weights)[1]["bands"].values
    np.testing.assert_array_equal(cleared(path, matched_weights, chunks)[1]["bands"].values, expected)


def test_without_a_mask_nothing_is_taken_for_ground(write_scene, matched_weights, monkeypatch):
    scene = cloudfix.open_scene(write_scene(300, 300))
    kept = [1, 2, 3]
    attrs = {k: ([v[i] for i in kept] if isinstance(v, list) and len(v) == 13 else v) for k, v in scene.attrs.items()}
    monkeypatch.setattr(importlib.import_module("cloudfix.restoration.restore"), "ground_of_scene", None)
    rgb = scene.isel(band=kept).assign_attrs(attrs)
    bands = cloudfix.restore(rgb, model=str(matched_weights), replace_all=True)["bands"]
    assert np.isfinite(bands.values).all()

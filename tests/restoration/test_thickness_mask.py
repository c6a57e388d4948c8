from __future__ import annotations

import dask
import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin

import cloudfix
from cloudfix.errors import MaskError
from cloudfix.models import Card, create, save
from cloudfix.models.weights import load
from cloudfix.restoration.masking import CLOUD_THICKNESS

RGB = ("red", "green", "blue")


def weights(folder, architecture, role, **options):
    torch.manual_seed(3)
    network = create(architecture, **options)
    if role == "thickness":
        # the default weights lose the signal in the depth, and the map would be flat
        for name, module in network.named_modules():
            if isinstance(module, torch.nn.Conv2d) and "offset" not in name:
                torch.nn.init.kaiming_normal_(module.weight)
        torch.nn.init.constant_(network.thickness.bias, CLOUD_THICKNESS)
    path = folder / f"{architecture}.safetensors"
    card = Card(f"{architecture}.test", architecture, options, RGB, tile=64, overlap=16, role=role)
    save(path, network, card)
    return path


@pytest.fixture(scope="module")
def thickness_weights(tmp_path_factory):
    return weights(tmp_path_factory.mktemp("scpm"), "scpm", "thickness")


@pytest.fixture(scope="module")
def restoring_weights(tmp_path_factory):
    options = {"in_channels": 3, "out_channels": 3, "blocks": 4, "features": 4}
    return weights(tmp_path_factory.mktemp("aca"), "aca-crnet", "restore", **options)


@pytest.fixture
def rgb_scene(tmp_path):
    def write(height=150, width=170):
        values = np.random.default_rng(5).integers(20, 120, (3, height, width)).astype(np.uint8)
        values[:, 30:80, 60:120] = 240
        path = tmp_path / "rgb.tif"
        place = {"crs": "EPSG:32632", "transform": from_origin(5e5, 5e6, 10, 10)}
        with rasterio.open(path, "w", "GTiff", width, height, 3, dtype="uint8", photometric="RGB", **place) as file:
            file.write(values)
        return path

    return write


def restored(path, mask, model, chunks=64):
    scene = cloudfix.open_scene(path, sensor="rgb", chunks=chunks)
    return cloudfix.restore(scene, mask=str(mask), model=str(model), device="cpu", precision="fp32", buffer=2)


def test_mask_is_where_the_network_sees_thick_cloud(rgb_scene, thickness_weights, restoring_weights):
    path = rgb_scene(64, 64)
    mask = restored(path, thickness_weights, restoring_weights)["mask"].values

    network, _ = load(thickness_weights)
    with rasterio.open(path) as file, torch.inference_mode():
        pixels = torch.from_numpy(file.read()).float()[None] / 255
        thickness = network.eval()(pixels)[0][0, 0].numpy()
    near = np.abs(thickness - CLOUD_THICKNESS) < 1e-4
    assert 0 < mask.mean() < 1
    np.testing.assert_array_equal(mask[~near], (thickness >= CLOUD_THICKNESS)[~near])


def test_mask_does_not_depend_on_chunks_or_scheduler(rgb_scene, thickness_weights, restoring_weights):
    path = rgb_scene()
    reference = restored(path, thickness_weights, restoring_weights, chunks=512).compute()
    assert 0 < float(reference["mask"].mean()) < 1
    for chunks in (48, 100):
        lazily = restored(path, thickness_weights, restoring_weights, chunks=chunks)
        with dask.config.set(scheduler="synchronous"):
            other = lazily.compute()
        np.testing.assert_array_equal(other["mask"].values, reference["mask"].values)
        np.testing.assert_array_equal(other["bands"].values, reference["bands"].values)


def test_provenance_names_the_network(rgb_scene, thickness_weights, restoring_weights):
    tags = restored(rgb_scene(), thickness_weights, restoring_weights).attrs["provenance"]
    checksum = cloudfix.models.read_card(thickness_weights).checksum
    assert tags["CLOUDFIX_MASK"] == f"thickness by scpm.test {checksum[:12]}"


def test_weights_that_are_not_there_are_named_with_the_option(rgb_scene, restoring_weights, tmp_path):
    with pytest.raises(MaskError, match=r"--mask: model .*gone\.safetensors: no such file"):
        restored(rgb_scene(), tmp_path / "gone.safetensors", restoring_weights)


def test_weights_that_restore_make_no_mask(rgb_scene, restoring_weights):
    with pytest.raises(MaskError, match="expected thickness weights"):
        restored(rgb_scene(), restoring_weights, restoring_weights)

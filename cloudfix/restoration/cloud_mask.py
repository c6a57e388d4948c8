"""`cloud_mask`: where cloud and shadow are, and how thick the cloud is."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import xarray as xr

import cloudfix
from cloudfix.errors import MaskError
from cloudfix.models import registry
from cloudfix.models.weights import read_card
from cloudfix.raster.fingerprint import fingerprint
from cloudfix.raster.info import SceneInfo
from cloudfix.restoration import masking
from cloudfix.restoration.licence import tell_licence
from cloudfix.restoration.network import plan_network

if TYPE_CHECKING:
    from pathlib import Path


def cloud_mask(
    scene: xr.DataArray,
    *,
    mask: str | Path | xr.DataArray | None = None,
    thickness: bool = False,
    device: str = "auto",
    precision: str = "auto",
) -> xr.Dataset:
    """Classify a scene as `restore` does; lazy, for any Dask scheduler.

    Args:
        scene: from `open_scene`.
        mask: what decides, as in `restore`: a file, a plug-in's name or thickness weights; default the product's own,
            else the spectral rules, else the thickness network.
        thickness: map the thickness of the cloud as well.
        device: for a thickness network: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32, bf16 or fp16.

    Returns:
        Dataset of `mask` (y, x: 0 clear, 1 cloud, 2 shadow, 255 nodata) and, if asked for, `thickness` (y, x:
        1 − transmission at 550 nm, 0…1, NaN on nodata); its attribute `provenance` holds tags for the files.

    Raises:
        CloudfixError: nothing tells cloud from clear sky in this scene, or no weights map its thickness.
    """
    plan_for = partial(plan_network, device=device, precision=precision, batch_size=None)
    found = masking.classify(scene, mask, 0, replace_all=False, plan_for=plan_for)
    planes = {"mask": found.classes}
    if thickness:
        info = SceneInfo.of(scene)
        weights = str(mask) if registry.names_weights(mask) else _weights_for(scene, info)
        card = read_card(weights)
        if card.name not in found.source.name:
            tell_licence(card)
        planes["thickness"] = masking.thickness_map(scene, info, weights, plan_for)
    tags = {
        "CLOUDFIX_VERSION": cloudfix.__version__,
        "CLOUDFIX_MASK": found.source.name,
        "CLOUDFIX_INPUT": fingerprint(scene.attrs.get("source", [])),
    }
    coords = {key: scene.coords[key] for key in ("y", "x", "spatial_ref") if key in scene.coords}
    attrs = {"source": [*scene.attrs.get("source", []), *found.source.files]}
    return xr.Dataset(
        {name: (("y", "x"), values, attrs) for name, values in planes.items()},
        coords=coords,
        attrs={"provenance": tags},
    )


def _weights_for(scene: xr.DataArray, info: SceneInfo) -> str:
    if found := registry.thickness_for(info.slots):
        return found
    missing = [slot for slot in ("blue", "green", "red") if slot not in info.slots]
    if missing:
        reason = (
            f"the bands {', '.join(scene.band.values)} hold no {', '.join(missing)}, which {registry.THICKNESS} needs"
        )
    else:
        reason = f"the weights {registry.THICKNESS} are not installed"
    raise MaskError(f"--thickness: {reason}; give thickness weights with --mask FILE.safetensors")

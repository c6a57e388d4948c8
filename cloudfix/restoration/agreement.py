"""What a scene, a radar image and a set of weights have in common, and what is done about the rest."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import xarray as xr

from cloudfix.errors import CloudfixWarning, ModelError, SarError, UsageError
from cloudfix.raster.names import CLASS_BANDS
from cloudfix.raster.sar import open_sar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cloudfix.models.cards import Card
    from cloudfix.raster.info import SceneInfo


def restored_bands(scene: xr.DataArray, info: SceneInfo, card: Card) -> tuple[tuple[int, int], ...]:
    """Index in the scene and index in the network's output of each band that is restored.

    Raises:
        ModelError: the weights are not for restoring, or the scene lacks a slot that they require.
    """
    if card.role != "restore":
        raise ModelError(f"{card.name}: gives {card.role}, it restores nothing; choose another --model")
    missing = [slot for slot in card.required if slot not in info.slots]
    if missing:
        raise ModelError(
            f"{card.name}: needs {', '.join(card.required)}, and the bands {', '.join(scene.band.values)} hold no "
            f"{', '.join(missing)}; choose another --model, or name the bands with --bands"
        )
    return tuple((band, card.slots.index(slot)) for band, slot in enumerate(info.slots) if slot in card.slots)


def blanked_bands(scene: xr.DataArray, info: SceneInfo, card: Card, unknown_bands: str) -> tuple[int, ...]:
    """Indices of the bands that are set to nodata under cloud, since the weights do not know them.

    Raises:
        UsageError: an unknown choice, or a scene without a nodata value.
    """
    if unknown_bands not in {"keep", "blank"}:
        raise UsageError(f"--unknown-bands {unknown_bands}: expected keep or blank")
    unknown = [
        band
        for band, (name, slot) in enumerate(zip(scene.band.values, info.slots, strict=True))
        if slot not in card.slots and name not in CLASS_BANDS
    ]
    names = ", ".join(scene.band.values[band] for band in unknown)
    if unknown and unknown_bands == "keep":
        warnings.warn(
            f"{card.name} does not know {names}: kept as they are, cloud included; --unknown-bands blank sets them "
            "to nodata there",
            CloudfixWarning,
            stacklevel=3,
        )
        return ()
    if unknown and info.nodata is None:
        raise UsageError(f"--unknown-bands blank: the scene declares no nodata value for {names}; use keep")
    return tuple(unknown)


def usable_radar(
    sar: str | Path | Sequence[str] | xr.DataArray | None, scene: xr.DataArray, card: Card
) -> xr.DataArray | None:
    """The radar image on the scene's grid, or None where there is none or the weights take none.

    Raises:
        SarError: it cannot guide this scene.
    """
    if sar is None:
        return None
    if not card.sar:
        warnings.warn(f"{card.name} takes no SAR: --sar is not used", CloudfixWarning, stacklevel=3)
        return None
    if not isinstance(sar, xr.DataArray):
        return open_sar(sar, scene)
    if set(sar.dims) != {"band", "y", "x"} or (sar.sizes["y"], sar.sizes["x"]) != scene.shape[1:]:
        raise SarError(f"sar: {dict(sar.sizes)}, expected band and the scene's y, x; use open_sar(path, scene)")
    if sar.attrs.get("units") != "dB" or not set(sar.band.values.tolist()) <= {"vv", "vh"}:
        raise SarError(
            f"sar: bands {', '.join(map(str, sar.band.values))} in {sar.attrs.get('units', 'unknown units')}, expected "
            'vv and vh with attrs["units"] = "dB"; use open_sar(path, scene)'
        )
    return sar.transpose("band", "y", "x").chunk({"band": -1})

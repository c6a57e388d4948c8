"""What was recognised in a scene, in a form that travels in a DataArray's attributes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudfix.errors import SceneError

if TYPE_CHECKING:
    import xarray as xr

_PER_BAND = (
    "slots", "scale", "offset", "descriptions", "colorinterp", "band_tags", "file_scales", "file_offsets",
)  # fmt: skip


@dataclass(frozen=True)
class SceneInfo:
    """How a scene's DN become reflectance, and which band is what.

    Attributes:
        sensor: name in `sensors.SENSORS`, or None where only the bands are known.
        slots: per band its slot, "" for a band without one.
        scale: per band; reflectance = DN * scale + offset, sun correction included.
        offset: per band; the +1000 DN of newer Sentinel-2 products are included.
        nodata: the DN that means "no data", or None; NaN is never data.
        saturated: the DN that means "saturated", or None.
        quality_band: name of the band with the product's own cloud classes, or None.
        notes: what was assumed, a sentence each.
    """

    sensor: str | None
    slots: tuple[str, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    nodata: float | None = None
    saturated: float | None = None
    quality_band: str | None = None
    notes: tuple[str, ...] = ()

    def to_attrs(self) -> dict[str, Any]:
        """JSON-able attributes, from which `of` makes the same record again."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def of(cls, scene: xr.DataArray) -> SceneInfo:
        """The record of a scene made by `open_scene`.

        Raises:
            SceneError: the DataArray does not carry one, or that of other bands.
        """
        missing = [field.name for field in fields(cls) if field.name not in scene.attrs]
        if missing:
            raise SceneError(
                f"scene: DataArray without the attributes {', '.join(missing)}; "
                "open the file with cloudfix.open_scene, or copy its attrs onto yours"
            )
        attrs = band_attrs(scene)
        if attrs["quality_band"] not in attrs.get("bands", [attrs["quality_band"]]):
            attrs["quality_band"] = None
        values: dict[str, Any] = {}
        for field in fields(cls):
            value = attrs[field.name]
            values[field.name] = tuple(value) if isinstance(value, list) else value
        return cls(**values)


def band_attrs(scene: xr.DataArray) -> dict[str, Any]:
    """A scene's attributes, lists of a value per band being those of its present bands in their present order.

    The attribute "bands" names the bands that the lists are about; the coordinate `band` says which are left.

    Raises:
        SceneError: the attributes are of other bands.
    """
    attrs = dict(scene.attrs)
    known = attrs.get("bands")
    if known is None or "band" not in scene.coords:
        _check_count(scene)
        return attrs
    names = np.atleast_1d(scene["band"].values).tolist()
    if unknown := [str(name) for name in names if name not in known]:
        raise SceneError(
            f"scene: its attributes know the bands {', '.join(known)}, but not {', '.join(unknown)}; "
            "keep the names that cloudfix.open_scene gave, or name the bands to it"
        )
    order = [known.index(name) for name in names]
    return attrs | {key: [attrs[key][index] for index in order] for key in ("bands", *_PER_BAND) if key in attrs}


def _check_count(scene: xr.DataArray) -> None:
    described = len(scene.attrs["slots"])
    count = scene.sizes.get("band", described)
    if described != count:
        raise SceneError(
            f"scene: {count} bands, but attributes of {described}; "
            "select bands only after restoring, or name them to cloudfix.open_scene"
        )

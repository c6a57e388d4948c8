"""What simulated cloud is drawn from: ranges, shares and presets; plain data."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from cloudfix.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    Setting: TypeAlias = "float | str | tuple[float, ...] | list[float]"

_SHARES = ("cloud", "haze", "cirrus", "haze_whitening", "parallax")
_LIMITS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "cover": (0.0, 4.0),
        "depth": (0.01, 1000.0),
        "haze_depth": (0.0, 100.0),
        "cirrus_depth": (0.0, 100.0),
        "brightness": (0.0, 2.0),
        "haze_brightness": (0.0, 2.0),
        "shadow": (0.0, 1.0),
        "wavelength": (4.0, 100_000.0),
        "height": (10.0, 20_000.0),
        "sun_elevation": (5.0, 89.9),
        "sun_azimuth": (0.0, 360.0),
        "pixel": (1.0, 1000.0),
    }
)


@dataclass(frozen=True)
class CloudRecipe:
    """What is drawn at random: (low, high) ranges, and the share of images that get each layer.

    Attributes:
        cloud: share of images with cloud of droplets; the others have haze or cirrus only, or stay clear.
        haze: share with haze.
        cirrus: share with cirrus.
        cover: share of the image under that cloud; above 1 leaves no clear pixel, and fewer thin ones.
        depth: optical depth of its densest part: 1 leaves 37 % of the ground's detail, 5 nothing, 30 is white.
        haze_depth: mean optical depth of haze at 550 nm.
        cirrus_depth: mean optical depth of cirrus.
        brightness: reflectance of opaque cloud in the visible.
        haze_brightness: reflectance of opaque haze at 550 nm.
        haze_whitening: how far that follows the depth instead: 1 for veils of reflectance (1 − transmission)², which
            RICE-I's are, 0 for not at all.
        shadow: how much of the light a full shadow takes away in the SWIR, where no sky light fills it.
        wavelength: size of the largest structures of cloud in pixels.
        parallax: 1 shifts the bands of cloud as the sensor's delays between bands do, 0 not at all.
        height: of the cloud above the ground in metres; with the sun it decides where shadows lie.
        sun_elevation: above the horizon in degrees.
        sun_azimuth: from north over east in degrees, north being up.
        pixel: size of a pixel in metres.

    Raises:
        UsageError: a value that is no share, no rising range, or out of bounds.
    """

    cloud: float = 0.85
    haze: float = 0.35
    cirrus: float = 0.25
    cover: tuple[float, float] = (0.1, 1.3)
    depth: tuple[float, float] = (2.0, 80.0)
    haze_depth: tuple[float, float] = (0.05, 0.8)
    cirrus_depth: tuple[float, float] = (0.03, 0.7)
    brightness: tuple[float, float] = (0.6, 1.2)
    haze_brightness: tuple[float, float] = (0.2, 0.6)
    haze_whitening: float = 0.0
    shadow: tuple[float, float] = (0.5, 0.9)
    wavelength: tuple[float, float] = (24.0, 256.0)
    parallax: float = 1.0
    height: tuple[float, float] = (900.0, 6000.0)
    sun_elevation: tuple[float, float] = (25.0, 70.0)
    sun_azimuth: tuple[float, float] = (0.0, 360.0)
    pixel: float = 10.0

    def __post_init__(self) -> None:
        for name in _SHARES:
            _check_number(name, getattr(self, name), 0.0, 1.0)
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if name == "pixel":
                _check_number(name, value, low, high)
            else:
                object.__setattr__(self, name, _range(name, value, low, high))

    @classmethod
    def preset(cls, name: str) -> CloudRecipe:
        """The recipe of that name, one of `PRESETS`.

        Raises:
            UsageError: there is none.
        """
        if name not in PRESETS:
            raise UsageError(f"clouds preset {name}: unknown; use one of {', '.join(PRESETS)}")
        return PRESETS[name]

    @classmethod
    def of(cls, settings: Mapping[str, Setting]) -> CloudRecipe:
        """A preset (key "preset", else "all") with other settings changed, as a training recipe writes it.

        Raises:
            UsageError: a key that is no field, or a value that the field cannot take.
        """
        changed = dict(settings)
        recipe = cls.preset(str(changed.pop("preset", "all")))
        known = [field.name for field in fields(cls)]
        for key in changed:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
                raise UsageError(f"clouds.{key}: unknown; the nearest that exists is {near}")
        return replace(recipe, **changed)  # type: ignore[arg-type]


def _check_number(name: str, value: object, low: float, high: float) -> None:
    if not isinstance(value, int | float) or not low <= value <= high:
        raise UsageError(f"clouds.{name} = {value}: expected a number from {low:g} to {high:g}")


def _range(name: str, value: object, low: float, high: float) -> tuple[float, float]:
    """`value` as a range; one number stands for a range of that number."""
    ends = (value, value) if isinstance(value, int | float) else value
    if isinstance(ends, tuple | list) and len(ends) == 2:
        first, last = ends
        if isinstance(first, int | float) and isinstance(last, int | float) and low <= first <= last <= high:
            return float(first), float(last)
    raise UsageError(f"clouds.{name} = {value}: expected [low, high] within {low:g} to {high:g}")


PRESETS: Mapping[str, CloudRecipe] = MappingProxyType(
    {
        "thin": CloudRecipe(
            cloud=0.6,
            haze=1.0,
            cirrus=0.3,
            cover=(0.3, 1.5),
            depth=(0.2, 3.0),
            haze_depth=(0.02, 1.0),
            haze_brightness=(0.35, 0.8),
            shadow=(0.0, 0.3),
            wavelength=(64.0, 384.0),
        ),
        "thick": CloudRecipe(cloud=1.0, haze=0.0, cirrus=0.0, cover=(0.1, 1.0), depth=(10.0, 100.0)),
        "all": CloudRecipe(),
    }
)
"""Recipes by name: "thin" veils the whole image and leaves the ground in sight, "thick" hides parts, "all" is both."""

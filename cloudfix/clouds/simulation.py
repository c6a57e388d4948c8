"""Cloud, haze, cirrus and shadow laid over clear reflectance, as the scattering model has it.

Each layer of cloud mixes what lies below it with its own light: I = J·t + A·(1 − t), with
t = exp(−τ·(λ/0.55)^−α) for an optical depth τ at 550 nm and an exponent α that is 0 for droplets and up to 2
for haze. So thickness, 1 − t at 550 nm, is a physical quantity, and a pixel without cloud or shadow keeps its
value bit for bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Generator, Tensor

WAVELENGTHS: Mapping[str, float] = MappingProxyType(
    {
        "coastal": 0.443, "blue": 0.490, "green": 0.560, "red": 0.665, "rededge071": 0.705,
        "rededge075": 0.740, "rededge078": 0.783, "nir": 0.842, "nir08": 0.865, "nir09": 0.945,
        "cirrus": 1.375, "swir16": 1.610, "swir22": 2.190,
    }
)  # fmt: skip
"""Central wavelength of each slot in micrometres."""

_REFERENCE_WAVELENGTH = 0.55
_SHADOW_MARGIN = 32


@dataclass(frozen=True)
class CloudRecipe:
    """What is drawn at random: (low, high) ranges, and the share of images that get each layer.

    Attributes:
        cloud: share of images with dense cloud; the others have haze or cirrus only, or stay clear.
        haze: share with haze.
        cirrus: share with cirrus.
        cover: share of the image under dense cloud; above 1 leaves no clear pixel.
        depth: optical depth of the densest part.
        brightness: reflectance of opaque cloud in the visible.
        shadow: how much of the light a full shadow takes away.
        wavelength: size of the largest cloud structures in pixels.
        parallax: largest shift between bands in pixels, as push-broom sensors see high cloud.
    """

    cloud: float = 0.85
    haze: float = 0.35
    cirrus: float = 0.25
    cover: tuple[float, float] = (0.1, 1.3)
    depth: tuple[float, float] = (0.5, 6.0)
    brightness: tuple[float, float] = (0.35, 1.05)
    shadow: tuple[float, float] = (0.3, 0.75)
    wavelength: tuple[float, float] = (24.0, 160.0)
    parallax: int = 2


@dataclass(frozen=True)
class SimulatedCloud:
    """A cloudy image and the truth about it.

    Attributes:
        cloudy: (B, C, H, W) reflectance.
        thickness: (B, 1, H, W), 1 − t at 550 nm over all layers, 0…1.
        shadow: (B, 1, H, W), share of the light that is taken away, 0…1.
    """

    cloudy: Tensor
    thickness: Tensor
    shadow: Tensor


def simulate(
    clear: Tensor, slots: Sequence[str], generator: Generator, recipe: CloudRecipe | None = None
) -> SimulatedCloud:
    """Lay randomly drawn cloud, haze, cirrus and shadow over clear images.

    Args:
        clear: (B, C, H, W) reflectance, on the generator's device.
        slots: the C channels' slots.
        generator: decides everything that is drawn, so the same state gives the same cloud.
        recipe: what is drawn from; the default goes from thin to thick.
    """
    recipe = recipe or CloudRecipe()
    draw = _Draw(clear, generator)
    depth, wide = _dense_depth(draw, recipe)
    shadow = _shadow(draw, wide, recipe)
    image = clear * (1 - shadow * _shadow_spectrum(clear, slots))
    thickness = torch.zeros_like(shadow)
    layers = (
        (_thin_depth(draw, recipe.haze, (0.05, 0.8), stretch=1.0), *_haze_light(draw, slots)),
        (depth, *_cloud_light(draw, slots, recipe)),
        (_thin_depth(draw, recipe.cirrus, (0.03, 0.7), stretch=3.0), *_cirrus_light(draw, slots)),
    )
    for layer_depth, light, exponent in layers:
        image = _mix(image, _by_band(draw, layer_depth, recipe.parallax, len(slots)), light, exponent, slots)
        thickness = 1 - (1 - thickness) * torch.exp(-layer_depth)
    return SimulatedCloud(image, thickness, shadow)


def fractal_noise(
    shape: tuple[int, int, int], wavelength: float, generator: Generator, *, stretch: float = 1.0
) -> Tensor:
    """(B, 1, H, W) sum of octaves of smooth noise, each image scaled to mean 0 and standard deviation 1.

    Args:
        shape: (B, H, W).
        wavelength: of the largest octave in pixels; the smallest is about 2 pixels.
        generator: draws the noise, on its device.
        stretch: how many times longer structures are along x than along y.
    """
    batch, height, width = shape
    total = torch.zeros(batch, 1, height, width, device=generator.device)
    amplitude = 1.0
    while wavelength >= 2:
        rows = _spline(height, wavelength, generator)
        columns = _spline(width, wavelength * stretch, generator)
        size = (batch, 1, rows.shape[1], columns.shape[1])
        grid = torch.randn(size, generator=generator, device=generator.device)
        total += amplitude * (rows @ grid @ columns.T)
        amplitude *= 0.55
        wavelength /= 2
    spread, mean = torch.std_mean(total, dim=(-2, -1), keepdim=True)
    return (total - mean) / spread.clamp_min(1e-6)


def _spline(pixels: int, spacing: float, generator: Generator) -> Tensor:
    """(pixels, knots) weights of a cubic B-spline through knots `spacing` pixels apart, at a random phase."""
    phase = torch.rand((), generator=generator, device=generator.device)
    position = torch.arange(pixels, device=generator.device) / spacing + phase + 1
    knots = torch.arange(math.ceil(pixels / spacing) + 4, device=generator.device)
    distance = (position[:, None] - knots).abs()
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance).clamp_min(0) ** 3 / 6
    return torch.where(distance < 1, near, far)


class _Draw:
    """Random numbers and fields in the shape of one batch."""

    def __init__(self, clear: Tensor, generator: Generator) -> None:
        self.batch, _, self.height, self.width = clear.shape
        self.generator = generator

    def uniform(self, low: float, high: float) -> Tensor:
        """(B, 1, 1, 1) numbers in low…high."""
        shape = (self.batch, 1, 1, 1)
        return low + (high - low) * torch.rand(shape, generator=self.generator, device=self.generator.device)

    def chance(self, share: float) -> Tensor:
        """(B, 1, 1, 1) of 1.0 with probability `share`, else 0.0."""
        return (self.uniform(0, 1) < share).float()

    def number(self, low: float, high: float) -> float:
        """One number for the whole batch."""
        return low + (high - low) * float(torch.rand((), generator=self.generator, device=self.generator.device))

    def noise(self, wavelength: tuple[float, float], *, margin: int = 0, stretch: float = 1.0) -> Tensor:
        """(B, 1, H + 2·margin, W + 2·margin) noise with one largest wavelength for the batch."""
        low, high = wavelength
        largest = math.exp(self.number(math.log(low), math.log(high)))
        shape = (self.batch, self.height + 2 * margin, self.width + 2 * margin)
        return fractal_noise(shape, largest, self.generator, stretch=stretch)


def _dense_depth(draw: _Draw, recipe: CloudRecipe) -> tuple[Tensor, Tensor]:
    """Optical depth of dense cloud: as seen (B, 1, H, W), and with the margin that casts shadows."""
    noise = draw.noise(recipe.wavelength, margin=_SHADOW_MARGIN)
    cover = draw.uniform(*recipe.cover)
    # a standard normal exceeds this level on a share `cover` of the image; beyond 1 it lies below all of them
    level = -math.sqrt(2) * torch.erfinv((2 * cover - 1).clamp(-0.99, 0.99)) - 2 * (cover - 1).clamp_min(0)
    softness = draw.uniform(0.15, 1.2)
    depth = ((noise - level) / softness).clamp_min(0) * draw.uniform(0.6, 1.4)
    wide = torch.minimum(depth, draw.uniform(*recipe.depth)) * draw.chance(recipe.cloud)
    return _centre(wide), wide


def _thin_depth(draw: _Draw, share: float, depth: tuple[float, float], *, stretch: float) -> Tensor:
    """(B, 1, H, W) optical depth of a smooth thin layer on a `share` of the images."""
    noise = draw.noise((64.0, 256.0), stretch=stretch)
    return (0.7 + 0.5 * noise).clamp(0, 2) * draw.uniform(*depth) * draw.chance(share)


def _shadow(draw: _Draw, wide: Tensor, recipe: CloudRecipe) -> Tensor:
    """(B, 1, H, W) shadow of dense cloud, displaced away from the sun and no longer than the margin."""
    azimuth, length = draw.uniform(0, 2 * math.pi), draw.uniform(4, _SHADOW_MARGIN)
    rows, columns = (length * azimuth.cos()).round().long(), (length * azimuth.sin()).round().long()
    moved = [
        torch.roll(field, (int(row), int(column)), (-2, -1))
        for field, row, column in zip(wide, rows, columns, strict=True)
    ]
    blocked = F.avg_pool2d(1 - torch.exp(-torch.stack(moved)), 3, stride=1, padding=1)
    return _centre(blocked) * draw.uniform(*recipe.shadow)


def _shadow_spectrum(clear: Tensor, slots: Sequence[str]) -> Tensor:
    """(1, C, 1, 1) how fully a shadow is felt: sky light fills it at short wavelengths."""
    wavelengths = _per_slot(clear, slots)
    return (1 - 0.35 * (wavelengths / 0.443) ** -2.5).clamp(0, 1)


def _cloud_light(draw: _Draw, slots: Sequence[str], recipe: CloudRecipe) -> tuple[Tensor, Tensor]:
    """Reflectance of opaque cloud (B, C, H, W) and its exponent, 0: droplets scatter all wavelengths alike.

    Water vapour above it takes more away the lower the cloud; ice absorbs in the SWIR. Ranges as in the
    opaque parts of real Sentinel-2 L1C images.
    """
    height = draw.uniform(0, 1)
    swir = draw.uniform(0.5, 1.15)
    relief = 1 + draw.uniform(0.02, 0.18) * draw.noise((16.0, 96.0))
    special = {
        "nir09": 0.18 + 0.45 * height,
        "cirrus": 0.002 + 0.1 * height**4,
        "swir16": swir,
        "swir22": swir * draw.uniform(0.65, 0.9),
    }
    tint = draw.uniform(-0.05, 0.25)
    bands = [special[slot] if slot in special else 1 + tint * (WAVELENGTHS[slot] - 0.6) / 0.26 for slot in slots]
    light = draw.uniform(*recipe.brightness) * torch.cat(bands, dim=1) * relief.clamp(0.4, 1.6)
    return light, torch.zeros_like(height)


def _haze_light(draw: _Draw, slots: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Light of haze (B, C, 1, 1), bluish or grey, and its exponent."""
    wavelengths = _per_slot(draw.uniform(0, 1), slots)
    colour = draw.uniform(0.2, 0.6) * (wavelengths / 0.55) ** -draw.uniform(0, 0.6)
    low = torch.tensor([slot != "cirrus" for slot in slots], device=wavelengths.device)
    return colour * low.view(1, -1, 1, 1), draw.uniform(0.3, 2.0)


def _cirrus_light(draw: _Draw, slots: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Light of ice cloud (B, C, 1, 1), as bright in the cirrus band as the dry air above it allows."""
    brightness = draw.uniform(0.3, 0.7)
    special = {
        "cirrus": draw.uniform(0.3, 0.9),
        "swir16": draw.uniform(0.4, 0.8),
        "swir22": draw.uniform(0.3, 0.6),
    }
    bands = [special.get(slot, torch.ones_like(brightness)) for slot in slots]
    return brightness * torch.cat(bands, dim=1), draw.uniform(0, 0.3)


def _by_band(draw: _Draw, depth: Tensor, parallax: int, bands: int) -> Tensor:
    """(B, C, H, W) optical depth, each band displaced by up to `parallax` pixels along one direction."""
    if parallax == 0:
        return depth
    rows, columns = (round(draw.number(-parallax, parallax)) for _ in range(2))
    padded = F.pad(depth, [parallax] * 4, mode="replicate")
    height, width = depth.shape[-2:]
    shifts = [
        (parallax + round(rows * k), parallax + round(columns * k))
        for k in (0.5 - (band % 4) / 3 for band in range(bands))
    ]
    return torch.cat([padded[..., r : r + height, c : c + width] for r, c in shifts], dim=1)


def _mix(below: Tensor, depth: Tensor, light: Tensor, exponent: Tensor, slots: Sequence[str]) -> Tensor:
    """One layer over what is below it: I = J·t + A·(1 − t)."""
    through = torch.exp(-depth * (_per_slot(below, slots) / _REFERENCE_WAVELENGTH) ** -exponent)
    return below * through + light * (1 - through)


def _per_slot(like: Tensor, slots: Sequence[str]) -> Tensor:
    return torch.tensor([WAVELENGTHS[slot] for slot in slots], device=like.device).view(1, -1, 1, 1)


def _centre(wide: Tensor) -> Tensor:
    return wide[..., _SHADOW_MARGIN:-_SHADOW_MARGIN, _SHADOW_MARGIN:-_SHADOW_MARGIN]

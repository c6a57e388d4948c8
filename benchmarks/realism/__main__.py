"""`python -m benchmarks.realism --data DIR`: simulated cloud beside the real cloud of a data set.

Each pair's own clear image gets simulated cloud that is about as much as the real: ground and amount tell nothing.
Printed are how well a classifier tells the two apart, and how much of each the DSen2-CR rules find; next to them the
same for real cloud of another pair laid over the clear image, which is what a simulation could attain.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.realism.page import write_page
from benchmarks.realism.separation import VISIBLE, Described, area, describe, separability
from cloudfix.clouds import spectral
from cloudfix.clouds.simulation import PRESETS, CloudRecipe, overlay
from cloudfix.clouds.transplant import transplant
from cloudfix.errors import CloudfixError, CloudfixWarning, DataError
from cloudfix.evaluation.cases import cloudy_pixels
from cloudfix.sensors import SLOTS
from cloudfix.training.datasets import open_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from cloudfix.training.datasets.sample import Sample

    Image = NDArray[np.float32]

TILE = 64
"""Side of the tiles that are told apart, pixels."""

REAL, SIMULATED, TRANSPLANTED = "real", "simulated", "transplanted"

_BRIGHTER = 0.05
"""Visible reflectance above the clear image's from which a pixel counts as cloudy here, real or simulated."""

_SKIES = 8
_QUANTILES = np.linspace(0.05, 0.95, 10)
_LEAST_TILE = 0.2
_LEAST_COVER = 0.02
_MOST_FOLDS = 16
_STEPS = (0.02, 0.05, 0.1, 0.2, 0.4)


@dataclass(frozen=True)
class Scene:
    """One pair, and its clear image under other cloud.

    Attributes:
        slots: of the channels.
        region: judged by what was learned from the others.
        clear: (C, H, W).
        cloudy: (C, H, W) by kind.
    """

    slots: tuple[str, ...]
    region: str
    clear: Image
    cloudy: dict[str, Image]

    def visible(self, kind: str) -> Image:
        """(3, H, W) red, green and blue."""
        return self.cloudy[kind][[self.slots.index(slot) for slot in VISIBLE]]

    def brighter(self, kind: str) -> Image:
        """(H, W) by how much the visible is brighter than without cloud."""
        clear = self.clear[[self.slots.index(slot) for slot in VISIBLE]]
        brighter: Image = (self.visible(kind) - clear).mean(axis=0)
        return brighter


def scenes(samples: Sequence[Sample], recipe: CloudRecipe, seed: int) -> list[Scene]:
    """The pairs with real cloud, each also under simulated cloud, and under that of the region's pair before it.

    Args:
        samples: of one data set; those without a pair, a visible band or cloud are left out.
        recipe: what simulated cloud is drawn from.
        seed: of the simulated cloud.

    Raises:
        DataError: there are not pairs with cloud of two regions.
    """
    pairs = [sample for sample in samples if sample.cloudy is not None and set(VISIBLE) <= set(sample.slots)]
    made: list[Scene] = []
    donors: dict[tuple[str, tuple[str, ...], tuple[int, ...]], Sample] = {}
    for number, (sample, region) in enumerate(zip(pairs, _folds([pair.region for pair in pairs]), strict=True)):
        assert sample.cloudy is not None  # noqa: S101 (of the pairs above)
        scene = Scene(sample.slots, region, sample.clear, {REAL: sample.cloudy})
        if (scene.brighter(REAL) > _BRIGHTER).mean() < _LEAST_COVER:
            continue
        scene.cloudy[SIMULATED] = _simulated(scene, recipe, seed + number)
        # Cloud from another region would be in what the classifier learns of real cloud.
        alike = region, sample.slots, sample.clear.shape
        donor = donors.get(alike)
        if donor is not None and donor.cloudy is not None:
            under, _ = cloudy_pixels(donor)
            scene.cloudy[TRANSPLANTED], _ = transplant(sample.clear, donor.clear, donor.cloudy, under)
        donors[alike] = sample
        made.append(scene)
    if len({scene.region for scene in made}) <= 1:
        raise DataError(
            f"{len(made)} pairs with cloud in red, green and blue among {len(samples)} images, of one region at most; "
            "expected two regions, to learn from one and judge on the other"
        )
    return made


def _folds(regions: Sequence[str]) -> list[str]:
    """What images are held back together: regions, or runs of them where these are many and may be neighbours."""
    order = list(dict.fromkeys(regions))
    if len(order) <= _MOST_FOLDS:
        return list(regions)
    return [f"run {order.index(region) * _MOST_FOLDS // len(order)}" for region in regions]


def _simulated(scene: Scene, recipe: CloudRecipe, seed: int) -> Image:
    """The clear image under that of several skies which brightens it most like the real one does."""
    wanted = np.quantile(scene.brighter(REAL), _QUANTILES)
    clear = torch.from_numpy(scene.clear)[None]
    nearest, least = scene.clear, np.inf
    for sky in range(_SKIES):
        drawn = overlay(clear, scene.slots, torch.tensor([seed * _SKIES + sky]), recipe).cloudy[0].numpy()
        brighter = Scene(scene.slots, scene.region, scene.clear, {SIMULATED: drawn}).brighter(SIMULATED)
        distance = float(np.abs(np.quantile(brighter, _QUANTILES) - wanted).mean())
        if distance < least:
            nearest, least = drawn, distance
    return nearest


def separation_table(found: Sequence[Scene]) -> str:
    """Markdown: a row for each band set and kind of cloud, areas under the ROC curve against real cloud."""
    lines = ["| bands | cloud | tiles | colour | texture | both | what differs most |", "|---" * 7 + "|"]
    for name, slots in (("visible", VISIBLE), ("all", SLOTS)):
        filled = [scene for scene in found if set(slots) <= set(scene.slots)]
        for kind in (SIMULATED, TRANSPLANTED):
            # Both kinds of the same scenes, or it would be these that are told apart.
            both = [scene for scene in filled if kind in scene.cloudy]
            if len({scene.region for scene in both}) > 1:
                lines.append(f"| {name} | {kind} | {_told_apart(both, kind, slots)} |")
    return "\n".join(lines)


def _told_apart(found: Sequence[Scene], kind: str, slots: Sequence[str]) -> str:
    real, made = described(found, REAL, slots), described(found, kind, slots)
    areas = [
        separability(first, second, real.regions, made.regions)
        for first, second in ((real.colour, made.colour), (real.texture, made.texture), (real.both, made.both))
    ]
    alone = np.array([area(first, second) for first, second in zip(real.both.T, made.both.T, strict=True)])
    telling = int(np.argmax(np.abs(alone - 0.5)))
    figures = " | ".join(f"{value:.2f}" for value in areas)
    most = f"{real.names[telling]}, {max(alone[telling], 1 - alone[telling]):.2f}"
    return f"{len(real.regions)} / {len(made.regions)} | {figures} | {most}"


def described(found: Sequence[Scene], kind: str, slots: Sequence[str]) -> Described:
    """The cloudy tiles of one kind of cloud, in some slots, for the classifier.

    Raises:
        DataError: there is none.
    """
    tiles, regions = [], []
    for scene in found:
        bands = [scene.slots.index(slot) for slot in slots]
        chosen = list(_tiles(scene.cloudy[kind][bands], scene.brighter(kind) > _BRIGHTER))
        tiles += chosen
        regions += [scene.region] * len(chosen)
    if not tiles:
        raise DataError(f"no tile of {TILE} pixels a side with {kind} cloud; expected larger or cloudier images")
    return describe(tiles, slots, regions)


def _tiles(image: Image, cloudy: NDArray[np.bool_]) -> Iterator[Image]:
    height, width = cloudy.shape
    for top in range(0, height - TILE + 1, TILE):
        for left in range(0, width - TILE + 1, TILE):
            window = np.s_[..., top : top + TILE, left : left + TILE]
            if cloudy[window].mean() > _LEAST_TILE:
                yield image[window]


def rules_table(found: Sequence[Scene]) -> str:
    """Markdown: what share of the pixels the DSen2-CR rules call cloud, by how much the cloud brightens them."""
    kinds = [kind for kind in (REAL, SIMULATED, TRANSPLANTED) if any(kind in scene.cloudy for scene in found)]
    shares = [_found_by_rules(found, kind) for kind in kinds]
    lines = [f"| brighter than the clear image from | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    for low, *row in zip(_STEPS, *shares, strict=True):
        figures = ("–" if share is None else f"{share:.0%}" for share in row)
        lines.append(f"| {low:g} | {' | '.join(figures)} |")
    return "\n".join(lines)


def _found_by_rules(found: Sequence[Scene], kind: str) -> list[float | None]:
    """The share from each of `_STEPS` to the next; None where no pixel is."""
    brighter, called = [], []
    for scene in found:
        if kind in scene.cloudy:
            score = spectral.cloud_score(dict(zip(scene.slots, scene.cloudy[kind], strict=True)))
            brighter.append(scene.brighter(kind).ravel())
            called.append((score >= spectral.THRESHOLD).ravel())
    step = np.digitize(np.concatenate(brighter), _STEPS)
    cloud = np.concatenate(called)
    return [float(cloud[step == k].mean()) if (step == k).any() else None for k in range(1, len(_STEPS) + 1)]


def _samples(name: str | None, root: Path) -> list[Sample]:
    """All images of a data set, of whatever split."""
    found: list[Sample] = []
    refused: DataError | None = None
    for split in ("train", "validation", "test"):
        try:
            dataset = open_dataset(name, root, split)
        except DataError as error:
            # A data set need not have all splits; without any, the error says why.
            refused = error
            continue
        found += [dataset[index] for index in range(len(dataset))]
    if not found and refused is not None:
        raise refused
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.realism", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of a data set with real cloud")
    parser.add_argument("--dataset", help="its name, where the layout does not tell")
    parser.add_argument("--clouds", default="all", choices=list(PRESETS), help="the preset to compare")
    parser.add_argument("--seed", type=int, default=0, help="of the simulated cloud")
    parser.add_argument("--page", type=Path, help="PNG with simulated patches below real ones of the same place")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", CloudfixWarning)
    try:
        found = scenes(_samples(options.dataset, options.data), CloudRecipe.preset(options.clouds), options.seed)
        sys.stdout.write(f"{len(found)} pairs of {len({scene.region for scene in found})} regions\n\n")
        sys.stdout.write(f"{separation_table(found)}\n")
        known = [scene for scene in found if not spectral.missing_slots(scene.slots)]
        if known:
            sys.stdout.write(f"\n{rules_table(known)}\n")
        if options.page:
            ordered = sorted(found, key=lambda scene: float(scene.brighter(REAL).mean()))
            write_page(options.page, *zip(*((s.visible(REAL), s.visible(SIMULATED)) for s in ordered), strict=True))
    except CloudfixError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

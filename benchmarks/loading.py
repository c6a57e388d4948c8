"""How long a training step waits for data: `python -m benchmarks.loading [--rice DIR] [--sen12mscr DIR]`.

Without folders, files of the same kinds are written first: pairs of 8-bit PNG of 512 × 512 pixels as in RICE, and
triplets of GeoTIFF of 256 × 256 pixels, 13 bands of uint16 and VV and VH in float32, as in SEN12MS-CR. Each goes
through the recipe of its own, with a narrow network. RICE is small enough to be kept in memory once it is read; of
SEN12MS-CR, which is not, nothing is kept here, so that every crop is read from its file. What the loaders give when
nobody trains tells how fast a step may get before it has to wait.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio.errors import NotGeoreferencedWarning
from scipy import ndimage

from cloudfix.training.datasets import open_dataset
from cloudfix.training.draws import Draws
from cloudfix.training.module import Learner
from cloudfix.training.networks import card_of, network_of
from cloudfix.training.overrides import with_overrides
from cloudfix.training.recipe_files import read_recipe
from cloudfix.training.stream import CACHE_BYTES, Cached, Share, loader

PAIRS = 60
TRIPLETS = 48


@dataclass(frozen=True)
class Row:
    """What was measured on one data set.

    Attributes:
        alone: crops a second that the loaders give when nobody trains.
        step: seconds a training step, the wait included.
        waiting: share of these that it waits for data.
    """

    alone: float
    step: float
    waiting: float


def measure(recipe_name: str, data: Path, *, keep: bool, settings: list[str], steps: int) -> Row:
    """Train for so many steps on what is at `data`, after a pass over it that makes masks and fills memory."""
    recipe = with_overrides(read_recipe(recipe_name), settings)
    stage = recipe.stages["train"]
    dataset = open_dataset(stage.data.dataset, data, "train", resize=stage.data.resize)
    card = card_of(recipe, "train", name="benchmark", slots=dataset.slots, start=None)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    learner = Learner(stage, card, network_of(stage, card, start=None, prior=None)).to(device)
    learner.log = lambda *_: None
    optimiser = learner.configure_optimizers()
    budget = CACHE_BYTES // max(stage.data.workers, 1) if keep else 0
    draws = Draws(Cached(dataset, budget), stage.data, card, stage.seed)
    once = len(dataset) * max(stage.data.workers, 1) // stage.batch + 1

    def train() -> None:
        crops = type(batch)(*(part.to(device) if isinstance(part, torch.Tensor) else part for part in batch))
        optimiser.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=stage.precision == "bf16"):
            loss = learner.training_step(crops, 0)
        loss.backward()
        optimiser.step()
        loss.item()

    share = Share(batch=stage.batch, accumulate=1, steps=2 * once + steps + 2, rank=0, world=1, position=lambda: 0)
    batches = iter(loader(draws, share, workers=stage.data.workers, pin=device.type == "cuda"))
    for _ in range(once):
        next(batches)
    began = time.perf_counter()
    for _ in range(once):
        batch = next(batches)
    alone = once * stage.batch / (time.perf_counter() - began)
    train()
    waited, began = 0.0, time.perf_counter()
    for _ in range(steps):
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        train()
    seconds = time.perf_counter() - began
    return Row(alone, seconds / steps, waited / seconds)


def write_rice(root: Path) -> None:
    """Pairs of colour images with the roughness of real ones, under haze."""
    random = np.random.default_rng(0)
    for folder in ("cloud", "label"):
        (root / folder).mkdir(parents=True)
    for number in range(PAIRS):
        clear = _texture(random, 3, 512) * 180
        haze = _texture(random, 1, 512)
        for folder, image in (("label", clear), ("cloud", clear * (1 - haze) + 235 * haze)):
            _write(root / folder / f"{number}.png", image.astype(np.uint8), driver="PNG")


def write_sen12mscr(root: Path) -> None:
    """Triplets in the layout of the data set, one of ten under its validation regions."""
    random = np.random.default_rng(0)
    for number in range(TRIPLETS):
        region = 17 if number % 10 == 0 else 1
        clear = _texture(random, 13, 256) * 3000 + 300
        cloud = _texture(random, 1, 256)
        images = {
            "s1": (_texture(random, 2, 256) * 25 - 28).astype(np.float32),
            "s2": clear.astype(np.uint16),
            "s2_cloudy": (clear * (1 - cloud) + 8000 * cloud).astype(np.uint16),
        }
        for role, image in images.items():
            folder = root / f"ROIs1158_spring_{role}" / f"{role}_{region}"
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / f"ROIs1158_spring_{role}_{region}_p{number}.tif", image, driver="GTiff")


def _texture(random: np.random.Generator, bands: int, side: int) -> np.ndarray:
    """(bands, side, side) in 0…1: structures of all sizes, fine noise."""
    image = sum(
        scale * ndimage.zoom(random.random((bands, side // scale, side // scale)), (1, scale, scale), order=1)
        for scale in (1, 8, 64)
    )
    return (image - image.min()) / (image.max() - image.min())


def _write(path: Path, image: np.ndarray, **options: str) -> None:
    count, height, width = image.shape
    with rasterio.open(path, "w", height=height, width=width, count=count, dtype=image.dtype, **options) as file:
        file.write(image)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loading", description=__doc__)
    parser.add_argument("--rice", type=Path, help="folder of RICE-I; written if left out")
    parser.add_argument("--sen12mscr", type=Path, help="folder of SEN12MS-CR; written if left out")
    parser.add_argument("--features", type=int, default=32, help="width of the network; 256 as published")
    parser.add_argument("--workers", type=int, default=2, help="processes that load")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--steps", type=int, default=8)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    settings = [f"options.features={arguments.features}", f"data.workers={arguments.workers}"]
    settings.append(f"precision={arguments.precision}")
    with tempfile.TemporaryDirectory() as scratch:
        for title, recipe, folder, write, keep in (
            ("RICE", "aca-crnet-rice1", arguments.rice, write_rice, True),
            ("SEN12MS-CR", "aca-crnet-sen12mscr", arguments.sen12mscr, write_sen12mscr, False),
        ):
            data = folder
            if data is None:
                data = Path(scratch) / title
                write(data)
            row = measure(recipe, data, keep=keep, settings=settings, steps=arguments.steps)
            print(
                f"{title}: a step takes {row.step:.2f} s and waits {row.waiting:.1%} of it for data; "
                f"loading alone gives {row.alone:.0f} crops/s with {arguments.workers} workers"
            )


if __name__ == "__main__":
    main()

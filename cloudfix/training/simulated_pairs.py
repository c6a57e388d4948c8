"""The first stage of ThiefCloud: clear images under simulated cloud, with its thickness, as files."""

from __future__ import annotations

import re
import shutil
import warnings
from contextlib import nullcontext
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import rasterio
import torch
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from cloudfix.clouds.simulation import simulate
from cloudfix.errors import CloudfixWarning, DataError, OutputError
from cloudfix.training.networks import RGB
from cloudfix.training.seeds import derive

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray

    from cloudfix.training.datasets.sample import Dataset, Sample
    from cloudfix.training.recipe import Stage

Progress: TypeAlias = "Callable[[str], AbstractContextManager[Callable[[int, int], object]]]"
"""Opens a progress bar of that title and gives the function (done, total) that moves it."""


def silent(_title: str) -> AbstractContextManager[Callable[[int, int], object]]:
    """A progress bar that nobody sees."""
    return nullcontext(lambda _done, _total: None)


def write_pairs(stage: Stage, dataset: Dataset, folder: Path, progress: Progress = silent) -> None:
    """Write the pairs of a "simulate" stage as "simulated" reads them.

    They are called FOLDER/{cloud,label,thickness}/REGION_pNUMBER.png.
    By their names all pairs of one clear image are one region, and never in two splits. The folder appears whole or not
    at all. Image number i depends on the seed and i alone.

    Args:
        stage: how many, how large at most, and under which cloud.
        dataset: clear images, taken in turn.
        folder: is made.
        progress: shows how far it is.

    Raises:
        DataError: an image cannot be read, or the data set lacks red, green or blue.
        OutputError: the files cannot be written.
    """
    if lacking := [slot for slot in RGB if slot not in dataset.slots]:
        raise DataError(f"data set {dataset.name}: no {', '.join(lacking)}; expected colour images to simulate with")
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        for kind in ("cloud", "label", "thickness"):
            (partial / kind).mkdir(parents=True)
        with progress(f"simulate {stage.images} pairs") as moved:
            for number in range(stage.images):
                _write_pair(stage, dataset, partial, number)
                moved(number + 1, stage.images)
        partial.replace(folder)
    except (OSError, RasterioError) as error:
        raise OutputError(f"{folder}: cannot be written ({error}); free space or choose another --out") from error


def _write_pair(stage: Stage, dataset: Dataset, folder: Path, number: int) -> None:
    sample = _sample(stage, dataset, number)
    clear = _window(sample.clear[[sample.slots.index(slot) for slot in RGB]], stage, number)
    name = re.sub(r"[^\w.-]", "-", f"{sample.region or sample.name}_p{number:05d}.png")
    generator = torch.Generator().manual_seed(derive(stage.seed, number))
    made = simulate(torch.from_numpy(clear)[None], RGB, generator, stage.data.cloud_recipe())
    images = {"cloud": made.cloudy[0], "label": torch.from_numpy(clear), "thickness": made.thickness[0]}
    for kind, image in images.items():
        largest = np.iinfo(np.uint16 if kind == "thickness" else np.uint8)
        pixels = (image.clamp(0, 1).numpy() * largest.max).round().astype(largest.dtype)
        _write_png(folder / kind / name, pixels)


def _sample(stage: Stage, dataset: Dataset, number: int) -> Sample:
    """Image `number`, or the next that can be read."""
    for index in range(number, number + len(dataset)):
        try:
            return dataset[index % len(dataset)]
        except DataError as error:
            if stage.data.unreadable == "refuse":
                raise
            warnings.warn(f"{error}; skipped", CloudfixWarning, stacklevel=2)
    raise DataError(f"data set {dataset.name}: not one image can be read; choose other data")


def _window(image: NDArray[np.float32], stage: Stage, number: int) -> NDArray[np.float32]:
    """A random window of at most the stage's crop."""
    random = np.random.default_rng((stage.seed, number))
    cut = [slice(None)]
    for side in image.shape[1:]:
        first = int(random.integers(max(side - stage.data.crop, 0) + 1))
        cut.append(slice(first, first + stage.data.crop))
    return np.ascontiguousarray(image[tuple(cut)])


def _write_png(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        bands, height, width = pixels.shape
        with rasterio.open(
            path, "w", driver="PNG", height=height, width=width, count=bands, dtype=pixels.dtype
        ) as file:
            file.write(pixels)

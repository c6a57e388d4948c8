"""Cloud masks of multispectral images that come without: made once, and kept as files."""

from __future__ import annotations

import importlib.util
import uuid
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from cloudfix.clouds import plugins, spectral
from cloudfix.clouds.classes import CLOUD, SHADOW
from cloudfix.errors import DataError, UsageError
from cloudfix.raster.atomic import writing
from cloudfix.raster.header import opened
from cloudfix.training.datasets.images import read_mask
from cloudfix.training.datasets.places import masks_folder

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from cloudfix.training.datasets.images import Image

Rule: TypeAlias = Literal["dsen2-cr", "s2cloudless"]

_SHADOW_VALUE, _CLOUD_VALUE = 128, 255


class KeptMasks:
    """Masks by one rule, as PNG files of 0 clear, 128 shadow, 255 cloud in a folder of their own.

    Args:
        root: of the data set.
        rule: "dsen2-cr", the rules of `clouds.spectral`, or "s2cloudless", which knows no shadow.

    Raises:
        UsageError: s2cloudless is not installed.
    """

    def __init__(self, root: Path, rule: Rule) -> None:
        if rule == "s2cloudless" and importlib.util.find_spec("s2cloudless") is None:
            raise UsageError(
                "sen12mscr-s2cloudless: the package is not installed; run pip install 'cloudfix[s2cloudless]', or take "
                "sen12mscr, whose masks need nothing else"
            )
        self._rule = rule
        self._folder = masks_folder(root) / rule

    def of(self, name: str, source: Path, image: Image) -> NDArray[np.bool_] | None:
        """(H, W), True under cloud or shadow; None where the image lacks the slots to tell.

        Args:
            name: of the mask, unique in the data set; folders in it are made.
            source: the file of the cloudy image. A mask that is older is made anew.
            image: the cloudy image.

        Raises:
            OutputError: the mask cannot be written.
        """
        if self._rule == "dsen2-cr" and spectral.missing_slots(image.slots):
            return None
        path = self._folder / f"{name}.png"
        if path.is_file() and path.stat().st_mtime >= source.stat().st_mtime:
            try:
                return read_mask(path)
            except DataError:
                path.unlink(missing_ok=True)
        classes = self._classes(image)
        _write(path, classes)
        return np.asarray((classes == CLOUD) | (classes == SHADOW))

    def _classes(self, image: Image) -> NDArray[np.uint8]:
        reflectance = dict(zip(image.slots, image.values, strict=True))
        if self._rule == "dsen2-cr":
            return spectral.classes(reflectance, valid=image.valid)
        return plugins.find(self._rule)(reflectance, image.valid)


def _write(path: Path, classes: NDArray[np.uint8]) -> None:
    values = np.zeros(classes.shape, np.uint8)
    values[classes == SHADOW] = _SHADOW_VALUE
    values[classes == CLOUD] = _CLOUD_VALUE
    # Several processes may make the same mask at once: each its own file, the last one stays.
    made = path.with_name(f".{uuid.uuid4().hex}.png")
    profile = {"driver": "PNG", "height": classes.shape[0], "width": classes.shape[1], "count": 1, "dtype": "uint8"}
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with opened(made, "w", **profile) as file:
            file.write(values, 1)
        made.replace(path)

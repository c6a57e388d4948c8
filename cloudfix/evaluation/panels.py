"""A PNG for each case: every method beside the truth, and below what each got wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from cloudfix.evaluation.report import COPY, EVERY_BAND
from cloudfix.raster.atomic import staging, writing
from cloudfix.raster.header import opened

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from cloudfix.evaluation.cases import Case
    from cloudfix.evaluation.methods import Answers

    Image = NDArray[np.float32]
    Picture = NDArray[np.uint8]

_GAP = 4
_STRETCH = (1, 99)
_WORST = 0.2
"""Mean difference over bands that is shown as white."""


def write_panel(folder: Path, case: Case, answers: Answers, bands: str) -> Path:
    """Write FOLDER/IMAGE.png, in natural colour with the stretch of the truth.

    Above: the cloudy image, what each method made of it, the truth. Below: the difference of each from the truth, black
    for none and white for 0.2 or more, and under the truth the mask. The file's description names the columns.

    Args:
        folder: one that exists.
        case: what was restored.
        answers: what became of it.
        bands: the band set, named in the file's name unless it is "all".

    Returns:
        The path.

    Raises:
        OutputError: the file cannot be written.
    """
    low, high = np.percentile(answers.truth[_colours(answers)], _STRETCH)
    above = [_natural(image, answers, low, high) for image in (*answers.images.values(), answers.truth)]
    below = [_difference(image, answers.truth) for image in answers.images.values()]
    below.append(_grey(case.mask.astype(np.float32)))
    rows = [_joined(row, axis=2) for row in (above, below)]
    path = folder / _file_name(case, bands)
    _write(path, _joined(rows, axis=1), " | ".join((*_columns(answers), "truth")))
    return path


def _columns(answers: Answers) -> list[str]:
    return ["cloudy" if method == COPY else method for method in answers.images]


def _colours(answers: Answers) -> list[int]:
    """Channels to show as red, green and blue: the first one as grey where these are not there."""
    rgb = ("red", "green", "blue")
    return [answers.slots.index(slot) for slot in rgb] if set(rgb) <= set(answers.slots) else [0, 0, 0]


def _natural(image: Image, answers: Answers, low: float, high: float) -> Picture:
    level = (image[_colours(answers)] - low) / max(high - low, 1e-6)
    return _bytes(level)


def _difference(image: Image, truth: Image) -> Picture:
    return _grey(np.abs(image - truth).mean(axis=0) / _WORST)


def _grey(level: Image) -> Picture:
    return _bytes(np.broadcast_to(level, (3, *level.shape)))


def _bytes(level: Image) -> Picture:
    picture: Picture = (level.clip(0, 1) * 255).round().astype(np.uint8)
    return picture


def _joined(pictures: list[Picture], axis: int) -> Picture:
    shape = list(pictures[0].shape)
    shape[axis] = _GAP
    gap = np.full(shape, 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, gap)]
    return np.concatenate(parts[:-1], axis=axis)


def _file_name(case: Case, bands: str) -> str:
    name = re.sub(r"[^\w.+-]+", "_", case.sample.name)
    marks = ["simulated"] * case.simulated + [bands] * (bands != EVERY_BAND)
    return ".".join([name, *marks, "png"])


def _write(path: Path, picture: Picture, description: str) -> None:
    channels, height, width = picture.shape
    profile = {"driver": "PNG", "width": width, "height": height, "count": channels, "dtype": "uint8"}
    with staging(path) as stage, writing(path):
        with opened(stage.file, "w", **profile, DESCRIPTION=description) as file:
            file.write(picture)
        stage.publish()

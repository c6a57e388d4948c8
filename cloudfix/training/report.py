"""`python -m cloudfix.training.report WEIGHTS RECIPE.yaml …`: weights beside baselines, as Markdown tables.

Judged are the recipe's test regions, which neither trained nor chose the weights.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
import torch
from rasterio.errors import NotGeoreferencedWarning

from cloudfix.evaluation.baselines import copy, nearest_clear
from cloudfix.evaluation.metrics import mae, score
from cloudfix.models import load, save
from cloudfix.sensors import SLOTS
from cloudfix.training.cases import Case, real_cases, restore, simulated_cases
from cloudfix.training.corpus import build
from cloudfix.training.corpus import load as load_corpus
from cloudfix.training.datasets import BAND_SETS
from cloudfix.training.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from cloudfix.evaluation.metrics import Scores
    from cloudfix.models.cards import Card

PLAIN = "network"
"""The name of the network's plain output with all that the case has."""

_RGB = [SLOTS.index(slot) for slot in ("red", "green", "blue")]
_SIDE = 256
_COLUMNS = ("PSNR", "SSIM", "SAM°", "MAE", "MAE cloudy", "MAE clear", "clear changed")


@dataclass(frozen=True)
class Judged:
    """A case and what became of it.

    Attributes:
        case: the cloudy image and its truth.
        images: its restorations by method.
        scores: theirs against the truth, over "all", "cloudy" and "clear" pixels.
        changed: by how much each method changed clear pixels, MAE against the input.
    """

    case: Case
    images: dict[str, NDArray[np.float32]]
    scores: dict[str, dict[str, Scores]]
    changed: dict[str, float]

    @classmethod
    def of(cls, case: Case, images: dict[str, NDArray[np.float32]]) -> Judged:
        """The case with `images` scored against its truth."""
        judged = {name: case.judged(image) for name, image in images.items()}
        clear, cloudy = case.judged(case.clear), case.judged(case.cloudy)
        scores = {name: score(clear, image, case.mask) for name, image in judged.items()}
        changed = {name: mae(cloudy, image, ~case.mask) for name, image in judged.items()}
        return cls(case, images, scores, changed)


def restorations(network: nn.Module, card: Card, case: Case) -> dict[str, NDArray[np.float32]]:
    """The case restored by the baselines and by the network, with and without what guides it."""
    plain = restore(network, card, case, tile=card.tile)
    alone = plain if case.sar is None else restore(network, card, case.without_sar(), tile=card.tile)
    return {
        "copy (the input)": copy(case.cloudy, case.mask),
        "nearest-clear": nearest_clear(case.cloudy, case.mask),
        PLAIN: plain,
        f"{PLAIN}, no SAR": alone,
        f"{PLAIN}, clear pixels kept": np.where(case.mask, plain, case.cloudy),
    }


def table(judged: Sequence[Judged]) -> str:
    """A Markdown table: a row a method, the mean over the cases of each metric."""
    lines = [f"| | {' | '.join(_COLUMNS)} |", "|---" * (len(_COLUMNS) + 1) + "|"]
    for method in judged[0].scores:
        results = [one.scores[method] for one in judged]
        everywhere = [_mean(results, "all", metric) for metric in ("psnr", "ssim", "sam_degrees")]
        errors = [_mean(results, part, "mae") for part in ("all", "cloudy", "clear")]
        errors.append(float(np.nanmean([one.changed[method] for one in judged])))
        values = [f"{v:.{d}f}" for v, d in zip(everywhere, (2, 3, 2), strict=True)]
        lines.append(f"| {method} | {' | '.join([*values, *(f'{error:.4f}' for error in errors)])} |")
    return "\n".join(lines)


def per_image(judged: Sequence[Judged]) -> str:
    """A Markdown table: a row a case, the PSNR of each method."""
    methods = list(judged[0].scores)
    lines = [f"| image | cover | SAR | {' | '.join(methods)} |", "|---" * (len(methods) + 3) + "|"]
    for one in judged:
        values = " | ".join(f"{one.scores[method]['all'].psnr:.1f}" for method in methods)
        sar = "no" if one.case.sar is None else "yes"
        lines.append(f"| {one.case.name} | {one.case.mask.mean():.0%} | {sar} | {values} |")
    return "\n".join(lines)


def card_metrics(real: Sequence[Judged], simulated: Sequence[Judged]) -> dict[str, float | str]:
    """The figures that go onto the card."""
    figures: dict[str, float | str] = {"test images": float(len(real))}
    for method in real[0].scores:
        figures[f"test psnr, {method}"] = round(_mean([one.scores[method] for one in real], "all", "psnr"), 2)
    plain = [one.scores[PLAIN] for one in real]
    figures["test sam"] = round(_mean(plain, "all", "sam_degrees"), 2)
    figures["test psnr, simulated cloud"] = round(_mean([one.scores[PLAIN] for one in simulated], "all", "psnr"), 2)
    figures["test clear pixels changed"] = round(
        float(np.nanmean([one.changed[PLAIN] for one in [*real, *simulated]])), 4
    )
    return figures


def panel(judged: Sequence[Judged], path: Path) -> None:
    """A PNG with a row a case of at most 256 pixels a side: input, network, truth, in natural colour."""
    rows = []
    for one in judged:
        images = [image[_RGB] for image in (one.case.cloudy, one.images[PLAIN], one.case.clear)]
        top = 1.4 * float(np.percentile(images[-1], 99))
        height, width = images[0].shape[1:]
        row = np.zeros((3, _SIDE, 3 * _SIDE), np.uint8)
        for left, image in zip((0, _SIDE, 2 * _SIDE), images, strict=True):
            row[:, :height, left : left + width] = ((image / top).clip(0, 1) ** 0.7 * 255).astype(np.uint8)
        rows.append(row)
    picture = np.concatenate(rows, axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", "PNG", *picture.shape[:0:-1], 3, dtype="uint8") as file:
            file.write(picture)


def _mean(results: Sequence[dict[str, Scores]], part: str, metric: str) -> float:
    return float(np.nanmean([getattr(result[part], metric) for result in results]))


def _sections(
    network: nn.Module, card: Card, real: Sequence[Case], simulated: Sequence[Case]
) -> dict[str, list[Judged]]:
    def judge(cases: Collection[Case]) -> list[Judged]:
        return [Judged.of(case, restorations(network, card, case)) for case in cases]

    sections = {"Real cloud": judge(real), "Simulated cloud on the same regions": judge(simulated)}
    for name in ("sentinel-2-l2a", "stack-10", "landsat-8-l1", "landsat-8-l2"):
        sections[f"Real cloud, bands of {name}"] = judge([case.with_slots(BAND_SETS[name]) for case in real])
    return sections


def main() -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m cloudfix.training.report", description=__doc__)
    parser.add_argument("weights", help="name or .safetensors file")
    parser.add_argument("recipe", type=Path, help="the YAML file whose split is used")
    parser.add_argument("--data", type=Path, required=True, help="folder with the original images")
    parser.add_argument("--cache", type=Path, required=True, help="folder for the images as they are read")
    parser.add_argument("--split", choices=("test", "validation"), default="test")
    parser.add_argument("--tile", type=int, help="side of the tiles; the card's if left out")
    parser.add_argument("--write", type=Path, help="write the weights here, tile and figures on their card")
    parser.add_argument("--panels", type=Path, help="PNG with input, network, truth")
    arguments = parser.parse_args()
    build(arguments.data, arguments.cache)
    held_back = getattr(Recipe.read(arguments.recipe), arguments.split)
    samples = [sample for sample in load_corpus(arguments.cache) if sample.region in held_back]
    network, card = load(arguments.weights)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    real, simulated = real_cases(samples), simulated_cases(samples, seed=100)
    card = replace(card, tile=arguments.tile or card.tile)
    sections = _sections(network, card, real, simulated)
    for title, judged in sections.items():
        sys.stdout.write(f"### {title}\n\n{table(judged)}\n\n")
    first, second = list(sections.values())[:2]
    sys.stdout.write(f"### Each image, PSNR\n\n{per_image([*first, *second])}\n")
    if arguments.write:
        metrics = {**card.metrics, **card_metrics(first, second)}
        save(arguments.write, network, replace(card, metrics=metrics))
    if arguments.panels:
        panel([*first, *second], arguments.panels)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

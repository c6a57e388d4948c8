"""Models and baselines over a data set, one image in memory at a time."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

import cloudfix
from cloudfix.errors import CloudfixWarning, DataError, ModelError, UsageError
from cloudfix.evaluation.cases import cases
from cloudfix.evaluation.methods import Running, restorations, thicknesses
from cloudfix.evaluation.metrics import score
from cloudfix.evaluation.report import EVERY_BAND, REAL, SIMULATED, Judgement, Model, Report, sections
from cloudfix.restoration.tiles import tile_grid
from cloudfix.sensors import BAND_SETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloudfix.clouds.simulation import CloudRecipe
    from cloudfix.evaluation.cases import Case
    from cloudfix.evaluation.methods import Answers, Models
    from cloudfix.models.cards import Card
    from cloudfix.training.datasets.sample import Dataset, Sample

    Seen = Callable[[Case, Answers, str], object]

RESTORE, THICKNESS = "restore", "thickness"


@dataclass(frozen=True)
class Judging:
    """What is judged, apart from the data set and the models.

    Attributes:
        running: how models are run.
        bands: "all", or names out of `sensors.BAND_SETS`: each is judged by itself.
        simulated: also judge the clear images of pairs under simulated cloud.
        clouds: what simulated cloud is drawn from.
        limit: judge so many images at most, spread evenly over the data set; None for all.
        skip_unreadable: go on past images that cannot be read, with a note.
        seed: of simulated cloud and of the bootstrap.
    """

    running: Running = field(default_factory=Running)
    bands: tuple[str, ...] = (EVERY_BAND,)
    simulated: bool = False
    clouds: CloudRecipe | None = None
    limit: int | None = None
    skip_unreadable: bool = False
    seed: int = 0


def evaluate(
    models: Models,
    dataset: Dataset,
    split: str,
    judging: Judging | None = None,
    *,
    seen: Seen | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Judge models, beside `copy` and `nearest-clear`, on a data set.

    Args:
        models: networks in evaluation mode, and their cards, by name.
        dataset: a split, opened.
        split: its name.
        judging: what is judged and how.
        seen: called with each case, what became of it and the band set.
        progress: called with the number of images done and the number of all.

    Raises:
        UsageError: models that restore beside models that map thickness, or an unknown band set.
        ModelError: a model lacks bands that it requires.
        DataError: the split is empty, or an image of it cannot be read.
    """
    judging = judging or Judging()
    role = _role(models)
    shown = {name: _shown(name) for name in judging.bands}
    _check_bands(models, dataset, shown)
    judgements: list[Judgement] = []
    for index, sample in _samples(dataset, split, judging, progress):
        seed = int(np.random.SeedSequence((judging.seed, index)).generate_state(1)[0])
        wanted = {"simulated": judging.simulated, "thickness": role == THICKNESS}
        for case in cases(sample, seed, recipe=judging.clouds, **wanted):
            for bands, slots in shown.items():
                answers = _answers(case, models, judging.running, role, slots)
                judgements.extend(_judge(case, answers, bands))
                if seen:
                    seen(case, answers, bands)
    used = tuple(_used(name, card, judging.running) for name, (_, card) in models.items())
    means = sections(judgements, judging.seed)
    return Report(cloudfix.__version__, dataset.name, split, judging.seed, used, means, tuple(judgements))


def _answers(case: Case, models: Models, running: Running, role: str, slots: frozenset[str] | None) -> Answers:
    return thicknesses(case, models, running) if role == THICKNESS else restorations(case, models, running, slots)


def _role(models: Models) -> str:
    roles = {card.role for _, card in models.values()}
    if len(roles) > 1:
        names = ", ".join(f"{name} gives {card.role}" for name, (_, card) in models.items())
        raise UsageError(f"--model: {names}; expected models of one kind, judge them apart")
    return roles.pop()


def _shown(bands: str) -> frozenset[str] | None:
    if bands == EVERY_BAND:
        return None
    try:
        return BAND_SETS[bands]
    except KeyError:
        raise UsageError(f"--bands {bands}: unknown; use {EVERY_BAND} or one of {', '.join(BAND_SETS)}") from None


def _check_bands(models: Models, dataset: Dataset, shown: dict[str, frozenset[str] | None]) -> None:
    for name, (_, card) in models.items():
        for bands, slots in shown.items():
            there = [slot for slot in dataset.slots if slots is None or slot in slots]
            missing = [slot for slot in card.required if slot not in there]
            if missing:
                where = dataset.name if slots is None else f"{dataset.name} with --bands {bands}"
                raise ModelError(
                    f"{name}: needs {', '.join(card.required)}, and {where} has no {', '.join(missing)} but "
                    f"{', '.join(there) or 'nothing'}; choose another --model or --dataset"
                )
    known = [slot for slot in dataset.slots if all(slot in card.slots for _, card in models.values())]
    if len(known) < len(dataset.slots) and _role(models) == RESTORE:
        warnings.warn(
            f"judged on {', '.join(known)} alone: not every model knows the other bands of {dataset.name}",
            CloudfixWarning,
            stacklevel=3,
        )


def _samples(
    dataset: Dataset, split: str, judging: Judging, progress: Callable[[int, int], None] | None
) -> Iterator[tuple[int, Sample]]:
    """Number and sample of what is judged, read one after the other."""
    if len(dataset) == 0:
        raise DataError(f"{dataset.name}: its {split} split is empty; choose another --split or --data")
    count = min(len(dataset), judging.limit or len(dataset))
    read = 0
    for done, index in enumerate(np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist(), start=1):
        try:
            sample = dataset[index]
        except DataError as error:
            if not judging.skip_unreadable:
                raise
            warnings.warn(f"left out: {error}", CloudfixWarning, stacklevel=3)
            continue
        read += 1
        yield index, sample
        if progress:
            progress(done, count)
    if not read:
        raise DataError(f"{dataset.name}: none of {count} images can be read; check --data")


def _judge(case: Case, answers: Answers, bands: str) -> Iterator[Judgement]:
    sample = case.sample
    for method, image in answers.images.items():
        yield Judgement(
            image=sample.name,
            region=sample.region,
            cloud=SIMULATED if case.simulated else REAL,
            bands=bands,
            mask=case.told_by,
            cover=case.cover,
            sar=sample.sar is not None,
            method=method,
            scores=score(answers.truth, image, case.mask, cloudy=answers.cloudy, slots=answers.slots),
        )


def _used(name: str, card: Card, running: Running) -> Model:
    grid = tile_grid(card, 1, 1, tile=running.tile, overlap=running.overlap)
    return Model(name, card.checksum, grid.tile, grid.overlap, running.precision)

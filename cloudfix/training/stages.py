"""A recipe from its first stage to its last: what each takes up from the others, what is there already."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from cloudfix.errors import OutputError, UsageError
from cloudfix.models.architectures import create, suggest
from cloudfix.training.datasets import open_dataset
from cloudfix.training.fit import fit
from cloudfix.training.networks import RGB, card_of, check_prior, network_of
from cloudfix.training.recipe_files import check_record, write_record
from cloudfix.training.simulated_pairs import silent, write_pairs

if TYPE_CHECKING:
    from pathlib import Path

    from cloudfix.models.cards import Card
    from cloudfix.training.datasets.sample import Dataset, Split
    from cloudfix.training.recipe import Recipe, Stage
    from cloudfix.training.simulated_pairs import Progress

RECORD = "recipe.yaml"
"""The recipe as it was run, beside what it made."""

SIMULATED = "simulated"
"""The data set that a "simulate" stage writes."""

_WAIT_SECONDS = 0.5


@dataclass(frozen=True)
class Hardware:
    """On what to train, as Lightning takes it.

    Attributes:
        accelerator: "auto", "cpu", "gpu" or another of Lightning's.
        devices: how many a node, which ("0,2"), or "auto".
        nodes: how many machines.
    """

    accelerator: str = "auto"
    devices: str | int = "auto"
    nodes: int = 1


def run(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    resume: bool = False,
    only: str | None = None,
    hardware: Hardware | None = None,
    progress: Progress = silent,
) -> tuple[Path, ...]:
    """Run the stages of a recipe, each in its own folder OUT/STAGE.

    Weights that no other stage takes up are what the recipe is for: they are copied to OUT.

    Args:
        recipe: what to do.
        data: folder of the data set.
        out: folder of the run.
        resume: go on with the run there; stages that are done are left alone.
        only: this stage alone, on what the earlier ones have left in `out`.
        hardware: on what.
        progress: shows how far the simulation is; training shows its own.

    Returns:
        The weights that the recipe is for; of a stage that was run alone, what it made. In all but the first of
        several processes, nothing.

    Raises:
        UsageError: the recipe does not suit the data or its weights, or `out` holds another run.
        DataError: the data cannot be opened or read.
        OutputError: `out` cannot be written.
    """
    if only is not None and only not in recipe.stages:
        raise UsageError(f"--stage {only}: unknown; {suggest(only, recipe.stages)}")
    chain = Chain(_recognised(recipe, data), data, out)
    chain.check()
    if is_first():
        _claim(recipe, out, only, resume=resume)
    hardware = hardware or Hardware()
    chosen = [*recipe.stages] if only is None else [only]
    products = {name: chain.run(name, hardware, progress, resume=resume) for name in chosen}
    return tuple(products[name] for name in chosen if is_first() and (only or name in chain.results))


def is_first() -> bool:
    """Whether this is the process that writes; torchrun and Lightning number those that they start."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0


class Chain:
    """The stages of a recipe, on its data and in its folder. `check` goes before any `run`.

    Args:
        recipe: all settings, the data set by its name.
        data: folder of the data set.
        out: folder of the run.

    Attributes:
        results: the stages whose weights no other takes up.
    """

    def __init__(self, recipe: Recipe, data: Path, out: Path) -> None:
        self._recipe, self._data, self._out = recipe, data, out
        self._slots: dict[str, tuple[str, ...]] = {}
        taken = {part for stage in recipe.stages.values() for part in (stage.source, stage.start, stage.prior)}
        self.results = tuple(name for name in recipe.stages if name not in taken)

    def check(self) -> None:
        """Find out now what would end a later stage after hours of training.

        Raises:
            UsageError: a stage does not suit its data, or the weights that it begins with.
            ModelError: there are no such weights, or a network cannot be built.
            DataError: the data cannot be opened.
        """
        for name, stage in self._recipe.stages.items():
            stage.data.cloud_recipe()
            self._slots[name] = self._slots_of(stage)
            if stage.task != "simulate":
                # of an earlier stage's weights there is nothing to see yet
                card = self._card(name, None if stage.start in self._recipe.stages else stage.start)
                with torch.device("meta"):
                    create(card.architecture, **card.options)
            if stage.prior is not None and stage.prior not in self._recipe.stages:
                check_prior(stage.prior)

    def run(self, name: str, hardware: Hardware, progress: Progress, *, resume: bool) -> Path:
        """Run one stage, unless it is done.

        Returns:
            Its weights, or its folder of pairs.
        """
        stage = self._recipe.stages[name]
        if stage.task == "simulate":
            return self._simulate(name, stage, progress)
        data = self._data if stage.source is None else self._made(name, "source", stage.source)
        start, prior = self._weights(name, "start", stage.start), self._weights(name, "prior", stage.prior)
        if stage.source is not None:
            stage = replace(stage, data=replace(stage.data, dataset=SIMULATED))
        card = self._card(name, start)
        network = network_of(stage, card, start=start, prior=prior)
        weights = fit(
            stage,
            name=card.name,
            card=card,
            network=network,
            data=data,
            out=self._out / name,
            resume=resume,
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            nodes=hardware.nodes,
        )
        return self._published(weights) if name in self.results else weights

    def _simulate(self, name: str, stage: Stage, progress: Progress) -> Path:
        folder = self._out / name
        if is_first() and not folder.is_dir():
            write_pairs(stage, _open(stage, self._data), folder, progress)
        while not folder.is_dir():
            # another process writes them, and the folder appears when they are complete
            time.sleep(_WAIT_SECONDS)
        return folder

    def _slots_of(self, stage: Stage) -> tuple[str, ...]:
        """The slots of a stage's data, once it is clear that these open; what several stages share is opened once."""
        if stage.source is not None:
            return RGB
        for name in self._slots:
            other = self._recipe.stages[name]
            if (other.task == "simulate") <= (stage.task == "simulate") and _request(other) == _request(stage):
                return self._slots[name]
        if stage.task != "simulate":
            _open(stage, self._data, "validation")
        return _open(stage, self._data).slots

    def _card(self, name: str, start: str | Path | None) -> Card:
        return card_of(self._recipe, name, name=self._name(name), slots=self._slots[name], start=start)

    def _name(self, name: str) -> str:
        """Of the weights of a stage: its architecture, then the tag of the recipe."""
        tag = self._recipe.name.partition(".")[2]
        suffix = "" if self.results == (name,) else f"-{name}"
        return f"{self._recipe.stages[name].architecture}.{tag}{suffix}"

    def _weights(self, name: str, key: str, taken: str | None) -> str | Path | None:
        """Weights that a stage takes up: an earlier stage's, or what `models.load` takes."""
        return taken if taken is None or taken not in self._recipe.stages else self._made(name, key, taken)

    def _made(self, name: str, key: str, earlier: str) -> Path:
        """What an earlier stage has made."""
        path = self._out / earlier
        if self._recipe.stages[earlier].task != "simulate":
            path /= f"{self._name(earlier)}.safetensors"
        if not path.exists():
            raise UsageError(
                f"stage {name}: {key}={earlier} is not done, there is no {path}; run --stage {earlier} first"
            )
        return path

    def _published(self, weights: Path) -> Path:
        """The weights beside the stages' folders, under the name that they go by."""
        final = self._out / weights.name
        if is_first():
            partial = final.with_name(f".{final.name}.partial")
            shutil.copyfile(weights, partial)
            partial.replace(final)
        return final


def _request(stage: Stage) -> dict[str, Any]:
    """What `open_dataset` is asked for."""
    keys = ("resize", "validation", "test", "unreadable")
    return {"name": stage.data.dataset, **{key: getattr(stage.data, key) for key in keys}}


def _open(stage: Stage, data: Path, split: Split = "train") -> Dataset:
    return open_dataset(root=data, split=split, **_request(stage))


def _recognised(recipe: Recipe, data: Path) -> Recipe:
    """The recipe with the name of the data set where the layout has to tell it: that is asked and said once."""
    unnamed = {name: stage for name, stage in recipe.stages.items() if not stage.source and stage.data.dataset is None}
    if not unnamed:
        return recipe
    found = _open(next(iter(unnamed.values())), data).name
    named = {name: replace(stage, data=replace(stage.data, dataset=found)) for name, stage in unnamed.items()}
    return replace(recipe, stages={**recipe.stages, **named})


def _claim(recipe: Recipe, out: Path, only: str | None, *, resume: bool) -> None:
    """Make sure that the folder is this run's.

    Raises:
        UsageError: it holds something else.
        OutputError: it cannot be made.
    """
    folder = out if only is None else out / only
    if out.exists() and not out.is_dir():
        raise OutputError(f"--out {out}: a file; expected a folder, or a name for a new one")
    if not resume and folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"--out {folder}: not empty; go on with the run there by --resume, or choose another folder")
    if (out / RECORD).exists():
        check_record(recipe, out / RECORD)
    else:
        write_record(recipe, out / RECORD)

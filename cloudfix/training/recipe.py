"""A recipe: every setting of a training run, as a small YAML file and the command line say it."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import field
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from cloudfix.sensors import BAND_SETS

if TYPE_CHECKING:
    from cloudfix.clouds.simulation import CloudRecipe

ONLY_STAGE = "train"
"""What the stage of a recipe without `stages` is called."""

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)

_Share = Annotated[float, Field(ge=0, le=1)]
_Amount = Annotated[float, Field(ge=0)]
_Positive = Annotated[float, Field(gt=0)]
_Count = Annotated[int, Field(ge=1)]
_Whole = Annotated[int, Field(ge=0)]

_SIDES = {"aca-crnet": 2, "scpm": 8, "thiefcloud": 8, "unet": 8}
"""What the sides of an input have to divide by, where the network halves it."""


@dataclass(frozen=True, config=_STRICT)
class Data:
    """What is drawn from, and how.

    Attributes:
        dataset: as `open_dataset` takes it; "pairs" is any folder of paired files, null recognises the layout.
        crop: side of the random crops in pixels; of the images that a "simulate" stage writes, at most.
        coarsen: crops are cut up to so many times as large, mostly less, and shrunk, and simulated cloud is seen by
            pixels up to so many times as large: other sensors, smaller clouds, harder edges.
        resize: images are resized to so many pixels a side before they are cropped, as published for RICE.
        turn: flips and quarter turns at random.
        balance: images of small regions come more often, each region by the square root of its number of images.
        simulated: share of crops from pairs whose cloud is simulated all the same; images without a pair always are.
        transplanted: share of simulated crops that get the real cloud of another pair instead.
        clouds: "preset", a name out of `clouds.simulation.PRESETS`, and settings that differ from it.
        gain: brightness of an image, and of each of its bands, is varied by up to these factors − 1.
        tint: so much more is each band varied where the cloud is another's, simulated or transplanted, so that what it
            hides is told by what lies around it, not by what places mostly look like.
        cloud_gain: what real cloud and shadow change is varied by up to this factor − 1.
        grain: cloud and shadow differ from one pixel to the next, as in decimated images; the largest deviation of the
            factor's logarithm.
        uncorrected: share of crops with Landsat's slots alone that are as dark as Level-1 reflectance of which nobody
            knows the sun's height: times the sine of 20° to 70°.
        sar_gain: each SAR channel is varied by up to so many dB.
        sar_noise: noise of up to so many dB is added to SAR, or SAR is smoothed.
        sar_imagined: share of crops without SAR that get some made up from the clear image.
        sar_dropped: share of crops whose SAR is withheld, both channels; half as many lose one.
        band_sets: share of crops that are cut down to the named band set; the rest keep all bands.
        slot_dropped: share of crops that lose one more slot.
        validation: regions that choose the weights; empty where the data set has a split of its own.
        test: regions that choose nothing.
        grounds: a data set in the same folder, whose clear images teach a network that undoes even veils what those lie
            over.
        unreadable: what a file that cannot be read does: "refuse" ends the run, "skip" takes the next one, with a note.
        workers: processes that load data; 0 loads in the training process.
    """

    dataset: str | None = "pairs"
    crop: _Count = 128
    coarsen: _Count = 1
    resize: _Count | None = None
    turn: bool = True
    balance: bool = False
    simulated: _Share = 0.0
    transplanted: _Share = 0.0
    clouds: dict[str, int | float | str | tuple[float, float]] = field(default_factory=dict)
    gain: tuple[_Amount, _Amount] = (0.0, 0.0)
    tint: _Amount = 0.0
    cloud_gain: _Amount = 0.0
    grain: _Amount = 0.0
    uncorrected: _Share = 0.0
    sar_gain: _Amount = 0.0
    sar_noise: _Amount = 0.0
    sar_imagined: _Share = 0.0
    sar_dropped: _Share = 0.0
    band_sets: dict[str, _Share] = field(default_factory=dict)
    slot_dropped: _Share = 0.0
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    grounds: str | None = None
    unreadable: Literal["refuse", "skip"] = "refuse"
    workers: _Whole = 2

    def __post_init__(self) -> None:
        if self.resize is not None and self.crop > self.resize:
            raise ValueError(f"crop={self.crop}; expected at most resize={self.resize}")
        for unknown in self.band_sets.keys() - BAND_SETS.keys():
            raise ValueError(f"band_sets.{unknown}; expected one of {', '.join(BAND_SETS)}")
        if sum(self.band_sets.values()) > 1:
            raise ValueError(f"band_sets={self.band_sets}; expected shares that add up to 1 at most")
        if twice := sorted({*self.validation} & {*self.test}):
            raise ValueError(f"validation={twice[0]}; expected a region that is not under test too")

    def cloud_recipe(self) -> CloudRecipe:
        """What simulated cloud is drawn from.

        Raises:
            UsageError: `clouds` names a preset or a setting that does not exist.
        """
        from cloudfix.clouds.simulation import CloudRecipe

        return CloudRecipe.of(self.clouds)


@dataclass(frozen=True, config=_STRICT)
class Loss:
    """What is minimised.

    Attributes:
        name: "l1", "carl" (DSen2-CR), or "thiefcloud" (its three outputs and the perceptual loss).
        weight: λ of CARL.
        square: weight of the mean squared error that is added to "l1" or "carl": cloud that is left costs more than
            ground that is not quite right.
        angle: weight of the spectral angle, in radians, that is added to "carl": for colours without a cast.
        perceptual: weight of the VGG-16 term of "thiefcloud"; it takes part only where `cloudfix[perceptual]` is
            installed, 0 never.
    """

    name: Literal["l1", "carl", "thiefcloud"] = "l1"
    weight: _Amount = 1.0
    square: _Amount = 0.0
    angle: _Amount = 0.0
    perceptual: _Amount = 0.0


@dataclass(frozen=True, config=_STRICT)
class Stage:
    """All settings of one training run, or of one stage of it.

    Attributes:
        task: "restore" trains a network that clears images, "thickness" one that maps the cloud's thickness, "simulate"
            writes cloudy images with their thickness for the stages that follow, and trains nothing.
        architecture: what `models.create` builds.
        options: with which options; channels follow from the data where they are left out.
        scale: network units per unit of reflectance, on the card.
        offset: network units at reflectance 0.
        activation: after the network, "none" or "tanh".
        sar: whether the network takes VV and VH.
        identity: the last convolution starts at zero, so that a network with a long skip begins by returning its input.
        start: weights to begin from: a registered name, a file, or an earlier stage's name. What their card says about
            options, slots, SAR and units then holds.
        prior: an earlier stage, or weights, that map thickness: ThiefCloud's own SCPM begins as they are.
        freeze: parts of the network (prefixes of parameter names) that are not trained.
        source: an earlier "simulate" stage whose pairs this one learns from.
        images: how many pairs a "simulate" stage writes.
        data: what is drawn from.
        loss: what is minimised.
        optimiser: "adam", "nadam", "adamw" or "sgd" (momentum 0.9).
        lr: the highest learning rate.
        betas: of Adam and its kin.
        weight_decay: of the optimiser.
        schedule: "constant", "cosine" down to `final_lr`, or "poly" (power 0.9).
        final_lr: of the cosine.
        warm_up: steps of linear warm-up.
        epochs: passes over the training data. The run ends with `epochs`, `steps` or `minutes`, whichever comes first.
        steps: optimiser steps.
        minutes: of time. The schedule follows whichever ends first, so such a run does not repeat exactly.
        batch: images a step and process.
        accumulate: batches whose gradients are added up to one step.
        clip: largest norm of the gradient, 0 for none.
        precision: "fp32", "bf16" or "fp16".
        ema: decay of the averaged weights, which are the ones that are judged and kept; 0 for none.
        validate_every: steps between validations, 0 once an epoch.
        patience: validations without a better PSNR after which the run ends, 0 for none.
        tile: on the card.
        overlap: on the card.
        seed: of weights, crops and clouds.
    """

    task: Literal["restore", "thickness", "simulate"] = "restore"
    architecture: str = "aca-crnet"
    options: dict[str, int | float | str] = field(default_factory=dict)
    scale: _Positive = 1.0
    offset: float = 0.0
    activation: Literal["none", "tanh"] = "none"
    sar: bool = False
    identity: bool = False
    start: str | None = None
    prior: str | None = None
    freeze: tuple[str, ...] = ()
    source: str | None = None
    images: _Whole = 0
    data: Data = field(default_factory=Data)
    loss: Loss = field(default_factory=Loss)
    optimiser: Literal["adam", "nadam", "adamw", "sgd"] = "adam"
    lr: _Positive = 1e-4
    betas: tuple[_Share, _Share] = (0.9, 0.999)
    weight_decay: _Amount = 0.0
    schedule: Literal["constant", "cosine", "poly"] = "constant"
    final_lr: _Amount = 0.0
    warm_up: _Whole = 0
    epochs: _Count | None = None
    steps: _Count | None = None
    minutes: _Positive | None = None
    batch: _Count = 8
    accumulate: _Count = 1
    clip: _Amount = 0.0
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    validate_every: _Whole = 0
    patience: _Whole = 0
    tile: Annotated[int, Field(ge=8, multiple_of=8)] = 256
    overlap: _Whole = 64
    seed: _Whole = 0

    def __post_init__(self) -> None:
        if self.overlap > self.tile // 2:
            raise ValueError(f"overlap={self.overlap}; expected at most half of tile={self.tile}")
        if self.task == "simulate":
            if not self.images:
                raise ValueError("images=0; expected how many images to write")
            return
        if self.epochs is self.steps is self.minutes is None:
            raise ValueError("epochs=null; expected an end: epochs, steps or minutes")
        if self.final_lr > self.lr:
            raise ValueError(f"final_lr={self.final_lr:g}; expected at most lr={self.lr:g}")
        self._check_architecture()

    def _check_architecture(self) -> None:
        name, multiple = self.architecture, self._multiple()
        if self.data.crop % multiple:
            raise ValueError(f"data.crop={self.data.crop}; expected a multiple of {multiple} for {name}")
        if (self.task == "thickness") != (name == "scpm"):
            raise ValueError(f"architecture={name}; expected {'' if self.task == 'thickness' else 'another than '}scpm")
        if self.task == "thickness" and self.loss.name != "l1":
            raise ValueError(f"loss.name={self.loss.name}; expected l1 for thickness")
        if self.loss.angle and (self.loss.name != "carl" or self.offset):
            raise ValueError(f"loss.angle={self.loss.angle:g}; expected 0, or loss.name=carl and offset=0")
        if name != "thiefcloud":
            if self.loss.name == "thiefcloud":
                raise ValueError(f"loss.name=thiefcloud; expected l1 or carl for {name}, which has one output")
            if self.prior is not None:
                raise ValueError(f"prior={self.prior}; expected null for {name}, which takes none")

    def _multiple(self) -> int:
        """What the sides of a crop have to divide by."""
        if self.architecture == "dsen2-cr" and self.options.get("attention", "none") != "none":
            return 2
        return _SIDES.get(self.architecture, 1)


@dataclass(frozen=True, config=_STRICT)
class Recipe:
    """A named run of one or several stages.

    Attributes:
        name: of the weights it makes, "architecture.tag".
        about: one line for `cloudfix train --list`.
        licence: of the weights.
        training_data: for the card.
        stages: in order; a recipe of one stage has "train".
    """

    name: str
    about: str
    licence: str
    training_data: str
    stages: dict[str, Stage]

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w-]+\.[\w.-]+", self.name):
            raise ValueError(f"name={self.name}; expected architecture.tag, such as aca-crnet.mine")
        if not self.stages:
            raise ValueError("stages={}; expected one at least")
        keys = {setting.name for kind in (Recipe, Stage) for setting in dataclasses.fields(kind)}
        earlier: dict[str, Stage] = {}
        for name, stage in self.stages.items():
            if name in keys or not re.fullmatch(r"[\w-]+", name):
                raise ValueError(f"stage {name}: expected a plain name that is no key, such as {ONLY_STAGE}")
            self._check_references(name, stage, earlier)
            earlier[name] = stage

    def _check_references(self, name: str, stage: Stage, earlier: dict[str, Stage]) -> None:
        """What a stage takes up has to be an earlier one of the right kind."""
        for key, tasks in (("source", ("simulate",)), ("prior", ("thickness",)), ("start", ("restore", "thickness"))):
            taken = getattr(stage, key)
            if taken is None or (key != "source" and taken not in self.stages):
                continue
            if taken not in earlier or earlier[taken].task not in tasks:
                raise ValueError(f"{name}.{key}={taken}; expected an earlier stage with task {' or '.join(tasks)}")
        if stage.source is not None and stage.data.crop > (largest := earlier[stage.source].data.crop):
            raise ValueError(f"{name}.data.crop={stage.data.crop}; expected at most {stage.source}.data.crop={largest}")

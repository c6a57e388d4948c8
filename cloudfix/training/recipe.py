"""A recipe: every setting of a training run, as a small YAML file says it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import yaml

from cloudfix.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Phase:
    """A stretch of the run with one crop size.

    Attributes:
        until: where it ends, as a share of the run.
        crop: side of the crops in pixels.
        batch: images a step.
    """

    until: float
    crop: int
    batch: int


@dataclass(frozen=True)
class Sampling:
    """What a batch is drawn from.

    Attributes:
        real: share of crops from real cloudy and clear pairs; the others get simulated cloud.
        gain: brightness of an image, and of each of its bands, is varied by up to these factors − 1.
        sar_gain: each SAR channel is varied by up to so many dB.
        sar_dropped: share of crops whose SAR is withheld, both channels; half as many lose one.
        band_sets: share of crops that are cut down to the named band set; the rest keep all bands.
        slot_dropped: share of crops that lose one more slot.
    """

    real: float = 0.4
    gain: tuple[float, float] = (0.25, 0.08)
    sar_gain: float = 1.5
    sar_dropped: float = 0.35
    band_sets: Mapping[str, float] = field(default_factory=dict)
    slot_dropped: float = 0.1


@dataclass(frozen=True)
class Recipe:
    """All settings of one run.

    Attributes:
        name: of the weights it makes.
        architecture: what `models.create` builds.
        options: with which options.
        phases: crop and batch sizes in order; the last one ends at 1.
        steps: the run ends after so many optimiser steps, or
        minutes: after so many minutes, whichever comes first; the learning rate follows the nearer end.
        learning_rate: the highest, after a linear warm-up and before the cosine.
        warm_up: steps of warm-up.
        weight_decay: of AdamW.
        clip: largest norm of the gradient.
        ema: decay of the averaged weights, which are the ones that are kept.
        carl: λ of the loss.
        validate_every: steps between validations; the best averaged weights by PSNR are kept.
        seed: of weights, crops and clouds.
        sampling: what a batch is drawn from.
        validation: regions that choose the weights and are never trained on.
        test: regions that choose nothing and are never trained on.
        card: what the card says about licence, data and source.
    """

    name: str
    architecture: str
    options: Mapping[str, int | float]
    phases: tuple[Phase, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    card: Mapping[str, str]
    steps: int = 100_000
    minutes: float = 1e9
    learning_rate: float = 3e-4
    warm_up: int = 100
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.999
    carl: float = 1.0
    validate_every: int = 300
    seed: int = 0
    sampling: Sampling = field(default_factory=Sampling)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The recipe in the YAML file `path`.

        Raises:
            UsageError: there is no such file, or a setting in it is unknown, missing or of the wrong kind.
        """
        try:
            settings: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
            phases = tuple(Phase(**phase) for phase in settings.pop("phases"))
            sampling = Sampling(**settings.pop("sampling", {}))
            return cls(phases=phases, sampling=sampling, **settings)
        except OSError as error:
            raise UsageError(f"{path}: cannot be read ({error.strerror}); name a recipe, a YAML file") from error
        except (TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split()).replace("Recipe.__init__() ", "")
            raise UsageError(f"{path}: not a recipe ({reason}); see recipes/aca-crnet-multi.yaml") from error

    def phase(self, progress: float) -> Phase:
        """The phase at `progress`, a share of the run."""
        return next((phase for phase in self.phases if progress < phase.until), self.phases[-1])

    def replace(self, **settings: Any) -> Self:
        """The same recipe with other `settings`."""
        return dataclasses.replace(self, **settings)

"""The card of a set of weights: what the network is, what it takes, where it comes from, how good it is."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cloudfix.errors import ModelError
from cloudfix.sensors import SAR_SLOTS, SLOTS

METADATA_KEY = "cloudfix"
"""The entry of a safetensors header that holds the card, as JSON."""

ACTIVATIONS = ("none", "tanh")
ROLES = ("restore", "thickness")
_TEXTS = ("name", "architecture", "checksum", "licence", "training_data", "recipe", "failures", "source")


@dataclass(frozen=True)
class SarInput:
    """One SAR channel of a network's input: clip(dB)·scale + offset.

    Attributes:
        slot: "vv" or "vh".
        clip: lowest and highest σ⁰ in dB; what lies outside is clipped.
        scale: network units per dB.
        offset: network units at 0 dB.
        missing: network units shown where there is no radar.
    """

    slot: str
    clip: tuple[float, float]
    scale: float
    offset: float
    missing: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "clip", tuple(self.clip))
        _expect(self.slot in SAR_SLOTS, "sar", self.slot, f"one of {', '.join(SAR_SLOTS)}")
        rising = len(self.clip) == 2 and all(map(_finite, self.clip)) and self.clip[0] < self.clip[1]
        _expect(rising, f"clip of {self.slot}", self.clip, "two rising numbers in dB")
        _expect(_finite(self.scale) and self.scale != 0, f"scale of {self.slot}", self.scale, "a number, not 0")
        for name in ("offset", "missing"):
            value = getattr(self, name)
            _expect(_finite(value), f"{name} of {self.slot}", value, "a finite number")


@dataclass(frozen=True)
class Card:
    """What is known about a set of weights.

    The network takes the SAR channels, then the optical slots as clip(reflectance, 0, 1)·scale + offset.

    Attributes:
        name: architecture and tag, "aca-crnet.multi".
        architecture: what `create` builds.
        options: with which options.
        slots: optical slots in the network's channel order; a network that restores gives the same.
        sar: SAR channels, in the network's order.
        scale: network units per unit of reflectance.
        offset: network units at reflectance 0.
        activation: what is applied after the network, "none" or "tanh".
        tile: side of the tiles to run it on, in pixels.
        overlap: by how many pixels neighbouring tiles overlap.
        licence: of the weights.
        training_data: what they were trained on.
        recipe: how.
        metrics: measured accuracy, by name.
        failures: what they are known to get wrong, Markdown.
        source: where they come from.
        required: slots that a scene has to fill itself; the others have stand-ins.
        role: what comes out: "restore", the slots without their cloud, or "thickness", a map of the cloud's.
        checksum: SHA-256 over the tensors, "" before they are saved.
    """

    name: str
    architecture: str
    options: Mapping[str, int | float | str]
    slots: tuple[str, ...]
    sar: tuple[SarInput, ...] = ()
    scale: float = 1.0
    offset: float = 0.0
    activation: str = "none"
    tile: int = 256
    overlap: int = 64
    licence: str = "unknown"
    training_data: str = "unknown"
    recipe: str = "unknown"
    metrics: Mapping[str, float | str] = field(default_factory=dict)
    failures: str = ""
    source: str = "unknown"
    required: tuple[str, ...] = ("blue", "green", "red")
    role: str = "restore"
    checksum: str = ""

    def __post_init__(self) -> None:
        for name in _TEXTS:
            _expect(isinstance(getattr(self, name), str), name, getattr(self, name), "a text")
        measured = isinstance(self.metrics, Mapping) and all(
            isinstance(name, str) and isinstance(value, int | float | str) for name, value in self.metrics.items()
        )
        _expect(measured, "metrics", self.metrics, "numbers and texts by name")
        for name in ("slots", "sar", "required"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        self._check_channels()
        _expect(_finite(self.scale) and self.scale != 0, "scale", self.scale, "a number, not 0")
        _expect(_finite(self.offset), "offset", self.offset, "a finite number")
        _expect(self.activation in ACTIVATIONS, "activation", self.activation, f"one of {', '.join(ACTIVATIONS)}")
        _expect(self.role in ROLES, "role", self.role, f"one of {', '.join(ROLES)}")
        tiled = type(self.tile) is int and self.tile >= 8 and self.tile % 8 == 0
        _expect(tiled, "tile", self.tile, "a multiple of 8 pixels, at least 8")
        fits = type(self.overlap) is int and 0 <= self.overlap <= self.tile // 2
        _expect(fits, "overlap", self.overlap, f"0 to {self.tile // 2} pixels, half a tile")

    @property
    def takes_ground(self) -> bool:
        """Whether the network also takes what the ground around a tile looks like (`models.surroundings`)."""
        return self.options.get("skip") in {"filled", "matched", "guided"}

    def to_metadata(self) -> dict[str, str]:
        """The card as entries of a safetensors header."""
        return {METADATA_KEY: json.dumps(dataclasses.asdict(self), ensure_ascii=False)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Card:
        """The card in a safetensors header.

        Raises:
            ModelError: there is none, or one of its entries is missing, unknown or not what it should be.
        """
        if METADATA_KEY not in metadata:
            raise ModelError("card: none in the header; make the file with `cloudfix models import`")
        try:
            record: dict[str, Any] = json.loads(metadata[METADATA_KEY])
            sar = tuple(SarInput(**entry) for entry in record.pop("sar", ()))
            return cls(sar=sar, **record)
        except (TypeError, ValueError, AttributeError, RecursionError) as error:
            reason = str(error).replace("Card.__init__() ", "")
            raise ModelError(f"card: not as this version of cloudfix writes it ({reason}); import it anew") from error

    def _check_channels(self) -> None:
        unknown = [slot for slot in self.slots if slot not in SLOTS]
        _expect(not unknown, "slots", ", ".join(unknown), f"names out of {', '.join(SLOTS)}")
        sar = tuple(channel.slot for channel in self.sar)
        _expect(len(self.slots) > 0, "slots", "none", "one at least")
        for name, slots in (("slots", self.slots), ("sar", sar)):
            _expect(len(set(slots)) == len(slots), name, ", ".join(slots), "no slot twice")
        foreign = [slot for slot in self.required if slot not in self.slots]
        _expect(not foreign, "required", ", ".join(foreign), "slots that the card takes")
        for option, count in (("in_channels", len(sar) + len(self.slots)), ("out_channels", len(self.slots))):
            _expect(
                self.options.get(option, count) == count,
                option,
                self.options.get(option),
                f"{count}, as the slots",
            )


def _finite(value: object) -> bool:
    # Integers that no float can hold are none.
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def _expect(valid: bool, name: str, value: object, expected: str) -> None:
    if not valid:
        raise ModelError(f"card: {name} is {value}; expected {expected}")

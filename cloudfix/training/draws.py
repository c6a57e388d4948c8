"""From samples to crops: which image, which window, turned how, what is withheld; each a pure function of the seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy import ndimage

from cloudfix.clouds.transplant import transplant
from cloudfix.errors import DataError
from cloudfix.sensors import BAND_SETS, SAR_SLOTS
from cloudfix.training.datasets.resize import resized
from cloudfix.training.radar import NEEDED, imagined

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from cloudfix.models.cards import Card
    from cloudfix.training.datasets.sample import Dataset, Sample
    from cloudfix.training.recipe import Data

    Image = NDArray[np.float32]

_DONORS_ASKED = 16
_LEAST_DONATED = 0.02
_DECIMATED = 0.5
"""Share of coarsened crops that are not averaged but take one pixel of many, as overviews often do."""


class Crop(NamedTuple):
    """What a network learns from: one crop as `Draws` gives it, or a batch of them with B in front.

    Attributes:
        cloudy: (C, H, W) reflectance, C the slots of the card; the clear image where cloud is still to come.
        clear: (C, H, W) reflectance, the truth.
        mask: (1, H, W), 1.0 under cloud or shadow, and everywhere where nobody knows.
        sar: (S, H, W) dB, S the SAR channels of the card; NaN where there is none.
        thickness: (1, H, W) of the cloud, 0 where it is still to come or not known.
        present: (C,) bool, which slots are shown and judged.
        bare: () bool, whether cloud is still to be laid on.
        number: () the crop's number.
        unreadable: what could not be read on the way to this crop, "" for nothing.
    """

    cloudy: Tensor
    clear: Tensor
    mask: Tensor
    sar: Tensor
    thickness: Tensor
    present: Tensor
    bare: Tensor
    number: Tensor
    unreadable: str | list[str]


class _Parts(NamedTuple):
    """The arrays of a crop, as `Crop` has them."""

    cloudy: Image
    clear: Image
    mask: Image
    sar: Image
    thickness: Image
    present: NDArray[np.bool_]


class Draws:
    """Crops by number: number n is the same whoever asks, whenever, in whatever order.

    Each epoch of `len(dataset)` crops goes through the data set once in a random order. For an image that cannot be
    read, or is smaller than a crop, another one stands in, drawn at random.

    Args:
        dataset: what is drawn from.
        data: how.
        card: of the network; says which channels a crop has.
        seed: decides everything.
        thickness: whether the thickness of the cloud has to be known, as only simulated cloud has it.
    """

    def __init__(self, dataset: Dataset, data: Data, card: Card, seed: int, *, thickness: bool = False) -> None:
        self._dataset, self._data, self._card = dataset, data, card
        self._seed, self._thickness = seed, thickness
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def __getitem__(self, number: int) -> Crop:
        """Crop number `number`, from 0 without end.

        Raises:
            DataError: no image can be read, or none is as large as a crop.
        """
        epoch, place = divmod(number, len(self._dataset))
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._shuffled(epoch)
        sample, unreadable = self._readable(int(self._order[place]), number)
        random = np.random.default_rng((self._seed, number))
        bare = self._bare(sample, random)
        parts = self._cut(sample, random, bare=bare)
        if bare and random.random() < self._data.transplanted and (donated := self._donated(parts, number, random)):
            parts, bare = donated, False
        cloudy, clear, mask, sar, thickness, present = map(torch.from_numpy, parts)
        bare_, number_ = torch.tensor(bare), torch.tensor(number)
        return Crop(cloudy, clear, mask, sar, thickness, present, bare_, number_, unreadable)

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        """Every index once; when balanced, those of small regions more often and of large ones more seldom."""
        random = np.random.default_rng((self._seed, epoch, len(self._dataset)))
        order = random.permutation(len(self._dataset))
        if not self._data.balance:
            return order
        regions = self._dataset.regions()
        counts = Counter(regions)
        weights = np.cumsum([counts[regions[index]] ** -0.5 for index in order])
        ticks = (np.arange(len(order)) + random.random()) / len(order) * weights[-1]
        return random.permutation(order[np.searchsorted(weights, ticks)])

    def _readable(self, index: int, number: int) -> tuple[Sample, str]:
        """The sample, or one drawn at random that serves, and what could not be read on the way to it."""
        crop, reasons, small = self._data.crop, list[str](), 0
        for candidate in self._candidates(index, number):
            try:
                sample = self._dataset[candidate]
            except DataError as error:
                reasons.append(str(error))
                continue
            if min(sample.clear.shape[1:]) >= crop:
                return sample, "\n".join(reasons)
            small += 1
        if small:
            raise DataError(f"training data: no image has {crop} pixels a side; choose smaller crops, data.crop=…")
        raise DataError(f"training data: none of the {len(self._dataset)} images can be read; the last: {reasons[-1]}")

    def _candidates(self, index: int, number: int) -> Iterator[int]:
        yield index
        yield from np.random.default_rng((self._seed, number, index)).permutation(len(self._dataset)).tolist()

    def _bare(self, sample: Sample, random: np.random.Generator) -> bool:
        unknown = sample.cloudy is None or (self._thickness and sample.thickness is None)
        return bool(random.random() < self._data.simulated) or unknown

    def _cut(self, sample: Sample, random: np.random.Generator, *, bare: bool) -> _Parts:
        """A random window of the sample."""
        crop = self._data.crop
        piece = self._piece(sample, random)
        gain = self._gain(random, self._data.tint if bare else 0)
        clear = self._arranged(piece, piece.clear) * gain
        cloudy, mask, thickness = clear, np.zeros((1, crop, crop), np.float32), np.zeros((1, crop, crop), np.float32)
        if piece.cloudy is not None and not bare:
            cloudy = self._reweighed(clear, self._arranged(piece, piece.cloudy) * gain, random)
            mask = np.ones_like(mask) if piece.mask is None else piece.mask[None].astype(np.float32)
            thickness = thickness if piece.thickness is None else piece.thickness[None]
        parts = (cloudy, clear, mask, self._sar(piece, random), thickness)
        cloudy, clear, mask, sar, thickness = self._turned(parts, random)
        return _Parts(cloudy, clear, mask, sar, thickness, self._present(sample.slots, random))

    def _piece(self, sample: Sample, random: np.random.Generator) -> Sample:
        """A random window of the sample, of the size of a crop."""
        crop = self._data.crop
        most = min(self._data.coarsen, min(sample.clear.shape[1:]) // crop)
        coarse = min(int(1 / random.uniform(1 / (most + 1), 1)), most)
        side, step = crop * coarse, (coarse if random.random() < _DECIMATED else 1)
        top, left = (int(random.integers(0, whole - side + 1)) for whole in sample.clear.shape[1:])
        window = (..., slice(top, top + side, step), slice(left, left + side, step))
        images = ("clear", "cloudy", "mask", "sar", "thickness")
        cut = {name: image[window] for name in images if (image := getattr(sample, name)) is not None}
        return resized(replace(sample, **cut), crop)

    def _arranged(self, sample: Sample, image: Image) -> Image:
        """The channels in the order of the card, 0 for those that the sample lacks."""
        if sample.slots == self._card.slots:
            return image
        arranged = np.zeros((len(self._card.slots), *image.shape[1:]), np.float32)
        for channel, slot in enumerate(self._card.slots):
            if slot in sample.slots:
                arranged[channel] = image[sample.slots.index(slot)]
        return arranged

    def _reweighed(self, clear: Image, cloudy: Image, random: np.random.Generator) -> Image:
        """The cloudy image with more or less of its cloud and shadow."""
        if not self._data.cloud_gain:
            return cloudy
        factor = np.float32(np.exp(random.uniform(-self._data.cloud_gain, self._data.cloud_gain)))
        return np.maximum(clear + factor * (cloudy - clear), 0)

    def _gain(self, random: np.random.Generator, tint: float) -> Image:
        """(C, 1, 1) factors near 1: another sun, another soil."""
        whole, band = self._data.gain
        band += tint
        shape = (len(self._card.slots), 1, 1)
        return np.exp(random.uniform(-whole, whole) + random.uniform(-band, band, shape)).astype(np.float32)

    def _sar(self, sample: Sample, random: np.random.Generator) -> Image:
        """(S, crop, crop) dB, NaN where withheld."""
        data, channels = self._data, [SAR_SLOTS.index(channel.slot) for channel in self._card.sar]
        fate, lost = random.random(), int(random.integers(max(len(channels), 1)))
        gain = random.uniform(-data.sar_gain, data.sar_gain, (len(channels), 1, 1)).astype(np.float32)
        seen = self._radar(sample, random)
        if seen is None or fate < data.sar_dropped:
            return np.full((len(channels), data.crop, data.crop), np.nan, np.float32)
        sar: Image = seen[channels] + gain
        if data.sar_noise:
            sar = _roughened(sar, data.sar_noise, random)
        if channels and fate < 1.5 * data.sar_dropped:
            sar[lost] = np.nan
        return sar

    def _radar(self, sample: Sample, random: np.random.Generator) -> Image | None:
        """(2, crop, crop) dB: the sample's own, or made up where it has none and could have."""
        if sample.sar is not None:
            return sample.sar
        wanted = self._data.sar_imagined
        if not wanted or not set(NEEDED) <= set(sample.slots) or random.random() >= wanted:
            return None
        return imagined(sample.clear, sample.slots, random)

    def _turned(self, images: Sequence[Image], random: np.random.Generator) -> list[Image]:
        turns, mirrored = int(random.integers(4)), bool(random.integers(2))
        if not self._data.turn:
            turns, mirrored = 0, False
        turned = (np.rot90(image, turns, (-2, -1)) for image in images)
        return [np.ascontiguousarray(image[..., ::-1] if mirrored else image) for image in turned]

    def _present(self, slots: tuple[str, ...], random: np.random.Generator) -> NDArray[np.bool_]:
        """(C,) which slots the network is shown."""
        kept = set(slots) & set(self._card.slots)
        fate, one_less = random.random(), random.random()
        for name, share in self._data.band_sets.items():
            if 0 <= fate < share:
                kept &= BAND_SETS[name]
            fate -= share
        spare = sorted(kept - set(self._card.required))
        if spare and one_less < self._data.slot_dropped:
            kept.discard(spare[int(random.integers(len(spare)))])
        return np.array([slot in kept for slot in self._card.slots])

    def _donated(self, parts: _Parts, number: int, random: np.random.Generator) -> _Parts | None:
        """The crop under the real cloud of another place, where a pair with enough of it is found."""
        required = [self._card.slots.index(slot) for slot in self._card.required]
        for index in random.permutation(len(self._dataset))[:_DONORS_ASKED].tolist():
            donor, _ = self._readable(index, number)
            if donor.cloudy is None or donor.mask is None:
                continue
            cut = self._cut(donor, random, bare=False)
            shared = parts.present & cut.present
            if cut.mask.mean() >= _LEAST_DONATED and shared[required].all():
                cloudy, mask = transplant(parts.clear, cut.clear, cut.cloudy, cut.mask[0] > 0)
                return parts._replace(cloudy=cloudy, mask=mask[None].astype(np.float32), present=shared)
        return None


def _roughened(sar: Image, strength: float, random: np.random.Generator) -> Image:
    """SAR with noise of up to `strength` dB, half of the time smoothed: other processors, other speckle filters."""
    rough = sar + random.normal(0, random.uniform(0, strength), sar.shape).astype(np.float32)
    smoothed, width = random.random() < 0.5, random.uniform(0.3, 1.5)
    if not smoothed or np.isnan(rough).all():
        return rough
    filled = np.where(np.isnan(rough), np.nanmean(rough), rough)
    smooth = ndimage.gaussian_filter(filled, (0, width, width))
    return np.where(np.isnan(rough), np.nan, smooth).astype(np.float32)

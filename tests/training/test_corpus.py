"""The corpus of originals that multispectral weights are trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cloudfix.sensors import SLOTS
from cloudfix.training.corpus import Sample, build, load
from cloudfix.training.recipe_files import read_recipe

if TYPE_CHECKING:
    from pathlib import Path


def test_samples_survive_their_file(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    clear, cloudy = random.integers(0, 9000, (2, len(SLOTS), 8, 9)).astype(np.uint16)
    sar = random.uniform(-30, 0, (2, 8, 9)).astype(np.float32)
    original = Sample("pair", "here", SLOTS, clear, cloudy, random.random((8, 9)) < 0.5, sar)
    original.save(tmp_path)
    again = Sample.read(tmp_path / "pair.npz")
    assert (again.name, again.region, again.slots) == (original.name, original.region, original.slots)
    for name in ("clear", "cloudy", "mask", "sar"):
        np.testing.assert_array_equal(getattr(again, name), getattr(original, name))
    replace(original, name="bare", cloudy=None, mask=None, sar=None).save(tmp_path)
    assert Sample.read(tmp_path / "bare.npz").cloudy is None


def test_real_originals_are_harmonised(real_data: Path, tmp_path: Path) -> None:
    build(real_data, tmp_path)
    corpus = {sample.name: sample for sample in load(tmp_path)}
    for stage in read_recipe("aca-crnet-multi").stages.values():
        assert {*stage.data.validation, *stage.data.test} <= {sample.region for sample in corpus.values()}
    for sample in corpus.values():
        real = [SLOTS.index(slot) for slot in sample.slots]
        assert (sample.clear[real].reshape(len(real), -1).max(axis=1) > 0).all(), sample.name
        assert sample.clear[[i for i in range(13) if i not in real]].max(initial=0) == 0
    # dry air lets no sunlight through at the cirrus wavelength, so an offset that was left in shows there
    assert not any("609U" in name for name in corpus)
    for name in ("282D_485L_3_3", "433D_629L_3_1"):
        assert np.median(corpus[f"terramind_l1c_{name}"].clear[SLOTS.index("cirrus")]) < 100

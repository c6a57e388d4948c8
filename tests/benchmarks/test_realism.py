from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.realism import __main__ as realism
from benchmarks.realism.__main__ import REAL, SIMULATED, TRANSPLANTED, rules_table, scenes, separation_table
from benchmarks.realism.separation import VISIBLE
from cloudfix.clouds.simulation import CloudRecipe, overlay
from cloudfix.errors import DataError
from cloudfix.sensors import SLOTS
from cloudfix.training.datasets import Sample

SIDE = 64
THICK = CloudRecipe.preset("thick")


def pair(name: str, region: str, seed: int, slots: tuple[str, ...] = VISIBLE) -> Sample:
    rng = np.random.default_rng(seed)
    clear = (0.1 + 0.05 * rng.random((len(slots), SIDE, SIDE))).astype(np.float32)
    cloudy = overlay(torch.from_numpy(clear)[None], slots, torch.tensor([1000 + seed]), THICK).cloudy[0].numpy()
    return Sample(name, slots, clear, cloudy, region=region)


@pytest.fixture(scope="module")
def pairs() -> list[Sample]:
    return [pair(f"{region}{number}", region, 10 * at + number) for at, region in enumerate("ab") for number in (0, 1)]


def test_cloud_comes_from_the_same_region_and_pairs_without_cloud_are_left_out(pairs, monkeypatch) -> None:
    monkeypatch.setattr(realism, "_SKIES", 2)
    clear = replace(pairs[0], name="clear", cloudy=pairs[0].clear)
    alone = replace(pairs[0], name="alone", cloudy=None)
    found = scenes([clear, alone, *pairs], THICK, 0)
    assert [scene.region for scene in found] == list("aabb")
    assert [set(scene.cloudy) - {REAL, SIMULATED} for scene in found] == [set(), {TRANSPLANTED}] * 2


def test_of_several_skies_the_one_that_brightens_alike_is_taken(pairs, monkeypatch) -> None:
    def off(count: int) -> float:
        monkeypatch.setattr(realism, "_SKIES", count)
        found = scenes(pairs, THICK, 0)
        return sum(abs(float((s.brighter(REAL) - s.brighter(SIMULATED)).mean())) for s in found)

    assert off(8) < 0.7 * off(1)


def test_pairs_of_one_region_cannot_be_judged(pairs, monkeypatch) -> None:
    monkeypatch.setattr(realism, "_SKIES", 1)
    with pytest.raises(DataError, match=r"2 pairs .* two regions"):
        scenes(pairs[:2], THICK, 0)


def test_many_neighbouring_regions_are_held_back_in_runs() -> None:
    folds = realism._folds([str(number) for number in range(64)])
    assert len(set(folds)) == 16
    assert folds == sorted(folds, key=lambda fold: int(fold.split()[1]))
    assert realism._folds(["x", "y", "x"]) == ["x", "y", "x"]


def made_scene(region: str, seed: int, brightness: float) -> realism.Scene:
    rng = np.random.default_rng(seed)
    clear = np.full((3, 128, 128), 0.1, np.float32)
    grey = rng.normal(0, 0.05, (1, 128, 128))
    real = (clear + 0.3 + grey).astype(np.float32)
    same = (clear + 0.3 + rng.normal(0, 0.05, (1, 128, 128))).astype(np.float32)
    other = (real * np.array([1, 1, brightness])[:, None, None]).astype(np.float32)
    return realism.Scene(VISIBLE, region, clear, {REAL: real, SIMULATED: other, TRANSPLANTED: same})


def test_the_table_tells_tinted_cloud_from_real_and_not_like_from_like() -> None:
    lines = separation_table([made_scene(region, at, 1.3) for at, region in enumerate("abcd")]).splitlines()
    tinted, alike = ([part.strip() for part in line.split("|")[1:-1]] for line in lines[2:])
    assert tinted[:3] == ["visible", "simulated", "16 / 16"]
    assert float(tinted[3]) > 0.95
    assert tinted[6].endswith(", 1.00")
    assert alike[1] == "transplanted"
    assert float(alike[3]) < 0.8


def test_the_rules_are_asked_by_how_much_cloud_brightens() -> None:
    clear = np.full((len(SLOTS), 32, 32), 0.08, np.float32)
    bright, dull = clear + 0.5, clear + 0.03
    table = rules_table([realism.Scene(SLOTS, "a", clear, {REAL: bright, SIMULATED: dull})])
    header, _, *rows = table.splitlines()
    assert header == "| brighter than the clear image from | real | simulated |"
    assert rows[0] == "| 0.02 | – | 0% |"
    assert rows[-1] == "| 0.4 | 100% | – |"


def test_an_empty_folder_is_told_in_one_line(tmp_path, capsys) -> None:
    assert realism.main(["--data", str(tmp_path), "--dataset", "pairs"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1

from __future__ import annotations

import pytest
import torch

from cloudfix.clouds.simulation import PRESETS, CloudRecipe, simulate
from cloudfix.errors import UsageError


def test_settings_change_a_preset() -> None:
    recipe = CloudRecipe.of({"preset": "thin", "cover": [0.1, 0.5], "haze": 0.25, "depth": 3})
    assert recipe.cover == (0.1, 0.5)
    assert recipe.haze == 0.25
    assert recipe.depth == (3.0, 3.0)
    assert recipe.haze_depth == PRESETS["thin"].haze_depth
    assert CloudRecipe.of({}) == CloudRecipe() == PRESETS["all"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"preset": "fluffy"}, ["fluffy", "thin, thick, all"]),
        ({"brigthness": [0, 1]}, ["brigthness", "brightness"]),
        ({"cover": [0.5, 0.1]}, ["clouds.cover", "[0.5, 0.1]"]),
        ({"cover": [0.1, 0.2, 0.3]}, ["clouds.cover"]),
        ({"cover": "half"}, ["clouds.cover", "half"]),
        ({"depth": [0, 5]}, ["clouds.depth", "0.01"]),
        ({"haze": 1.5}, ["clouds.haze = 1.5", "0 to 1"]),
        ({"pixel": [10, 20]}, ["clouds.pixel"]),
        ({"sun_elevation": 95}, ["sun_elevation", "89.9"]),
    ],
)
def test_wrong_settings_are_told_in_one_line(settings: dict[str, object], named: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        CloudRecipe.of(settings)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    for text in named:
        assert text in str(caught.value)


def test_thin_veils_all_of_every_image_and_leaves_the_ground_in_sight_while_thick_hides_it() -> None:
    image = torch.full((32, 3, 64, 64), 0.2)
    made = {
        name: simulate(image, ("red", "green", "blue"), torch.Generator().manual_seed(1), CloudRecipe.preset(name))
        for name in PRESETS
    }
    thin, thick = made["thin"].thickness, made["thick"].thickness
    assert ((thin > 0).float().mean((1, 2, 3)) > 0.9).all()
    assert (thin > 0.97).float().mean() < 0.02
    assert thin.amax((1, 2, 3)).min() < 0.2
    assert thin.amax() > 0.8
    assert ((thick > 0.97).float().mean((1, 2, 3)) > 0.02).all()
    assert made["thin"].shadow.max() <= PRESETS["thin"].shadow[1]

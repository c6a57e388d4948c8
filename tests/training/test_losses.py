from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cloudfix.training.losses import carl

REFERENCE = Path(__file__).parents[1] / "reference" / "carl.npz"


def test_carl_equals_the_published_number() -> None:
    arrays = {name: torch.from_numpy(np.asarray(array)) for name, array in np.load(REFERENCE).items()}
    expected = arrays.pop("loss").item()
    assert carl(**arrays).item() == pytest.approx(expected, rel=1e-5)


def test_carl_asks_for_the_truth_under_cloud_and_the_input_elsewhere() -> None:
    cloudy, target = torch.full((1, 2, 4, 4), 3.0), torch.zeros(1, 2, 4, 4)
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1
    ideal = torch.where(mask.bool(), target, cloudy)
    assert carl(ideal, cloudy, target, mask, weight=0) == 0
    assert carl(target, cloudy, target, mask, weight=0) == pytest.approx(1.5)
    assert carl(cloudy, cloudy, target, mask, weight=0) == pytest.approx(1.5)


def test_carl_weighs_the_regulariser() -> None:
    cloudy, target = torch.full((1, 2, 4, 4), 3.0), torch.zeros(1, 2, 4, 4)
    clear = torch.zeros(1, 1, 4, 4)
    assert carl(cloudy, cloudy, target, clear, weight=2) == pytest.approx(6)
    assert carl(cloudy, cloudy, target, clear) == pytest.approx(3)

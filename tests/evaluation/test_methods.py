"""Every method on the same bands."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cloudfix.evaluation.baselines import nearest_clear
from cloudfix.evaluation.cases import Case, cases
from cloudfix.evaluation.methods import Running, load_models, restorations, thicknesses
from cloudfix.models import Card, SarInput, create, save
from cloudfix.sensors import BAND_SETS, SLOTS

SAR = (SarInput("vv", (-25, 0), 0.08, 2), SarInput("vh", (-32.5, 0), 2 / 32.5, 2))


@pytest.fixture
def case(squares) -> Case:
    return next(cases(squares(sar=True)[2], 0))


def test_baselines_and_models_stand_side_by_side(case, shift) -> None:
    answers = restorations(case, {"a": shift(by=0.1), "b": shift(by=0.2)}, Running())
    assert list(answers.images) == ["copy", "nearest-clear", "a", "b"]
    np.testing.assert_allclose(answers.images["b"], (case.sample.cloudy + 0.2).clip(0, 1), atol=1e-6)
    np.testing.assert_array_equal(answers.images["copy"], case.sample.cloudy.clip(0, 1))
    filled = nearest_clear(case.sample.cloudy, case.mask)
    np.testing.assert_array_equal(answers.images["nearest-clear"], filled.clip(0, 1))
    assert answers.slots == SLOTS


def test_all_are_judged_on_the_bands_that_every_model_knows(case, shift) -> None:
    rgb = ("red", "green", "blue")
    answers = restorations(case, {"a": shift(), "rgb": shift(slots=rgb)}, Running())
    assert answers.slots == ("blue", "green", "red")
    kept = [SLOTS.index(slot) for slot in answers.slots]
    np.testing.assert_array_equal(answers.truth, case.sample.clear[kept])
    assert {image.shape[0] for image in answers.images.values()} == {3}


def test_bands_are_withheld_from_the_network_and_not_judged(case, shift) -> None:
    shown = BAND_SETS["landsat-8-l2"] - {"coastal"}
    answers = restorations(case, {"a": shift(first=0.5)}, Running(), shown)
    assert set(answers.slots) == shown
    kept = [SLOTS.index(slot) for slot in answers.slots]
    # blue stands in for coastal
    blue = case.sample.cloudy[SLOTS.index("blue")]
    np.testing.assert_allclose(answers.images["a"], (case.sample.cloudy[kept] + blue / 2).clip(0, 1), atol=1e-6)


def test_sar_is_shown_and_withheld_in_two_rows(case, shift) -> None:
    model = shift(sar=SAR)
    answers = restorations(case, {"a": model}, Running())
    assert list(answers.images)[2:] == ["a", "a, no SAR"]
    assert not np.allclose(answers.images["a"], answers.images["a, no SAR"])
    shown = restorations(case, {"a": model}, Running(sar=True)).images
    assert list(shown)[2:] == ["a"]
    np.testing.assert_array_equal(shown["a"], answers.images["a"])
    withheld = restorations(case, {"a": model}, Running(sar=False)).images
    assert list(withheld)[2:] == ["a, no SAR"]
    np.testing.assert_array_equal(withheld["a, no SAR"], answers.images["a, no SAR"])


def test_kept_clear_pixels_are_the_input(case, shift) -> None:
    answers = restorations(case, {"a": shift(by=0.1)}, Running(keep_clear=True))
    kept = answers.images["a, clear kept"]
    np.testing.assert_array_equal(kept[:, ~case.mask], answers.cloudy[:, ~case.mask])
    np.testing.assert_array_equal(kept[:, case.mask], answers.images["a"][:, case.mask])


def test_thickness_is_judged_beside_the_best_constant(squares) -> None:
    torch.manual_seed(0)
    network = create("scpm").eval()
    card = Card("scpm.tiny", "scpm", {}, ("red", "green", "blue"), role="thickness", tile=48, overlap=0)
    case = next(cases(squares(paired=False)[0], 0, thickness=True))
    answers = thicknesses(case, {"scpm": (network, card)}, Running())
    assert list(answers.images) == ["constant", "scpm"]
    np.testing.assert_array_equal(answers.truth[0], case.sample.thickness)
    assert answers.images["constant"] == pytest.approx(case.sample.thickness.mean())
    with pytest.raises(ValueError, match="thickness is not known"):
        thicknesses(next(cases(squares()[0], 0)), {"scpm": (network, card)}, Running())


def test_models_go_by_their_cards_or_by_their_files(tmp_path, tiny_weights) -> None:
    assert list(load_models([str(tiny_weights)], "cpu")) == ["aca-crnet.tiny"]
    network = create("dsen2-cr", in_channels=3, out_channels=3, blocks=1, features=4)
    options = {"in_channels": 3, "out_channels": 3, "blocks": 1, "features": 4}
    other = tmp_path / "other.safetensors"
    save(other, network, Card("aca-crnet.tiny", "dsen2-cr", options, ("red", "green", "blue")))
    assert list(load_models([str(tiny_weights), str(other)], "cpu")) == [str(tiny_weights), str(other)]

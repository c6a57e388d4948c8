from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from cloudfix.errors import CloudfixWarning
from cloudfix.training import perceptual
from cloudfix.training.losses import Truth, build, carl, spectral_angle
from cloudfix.training.recipe import Loss

REFERENCE = Path(__file__).parents[1] / "reference" / "carl.npz"


def truth(present: list[float] | None = None, *, mask: float = 1.0) -> Truth:
    """Two images of three channels: clear 0, cloudy 3."""
    shape = (2, 3, 8, 8)
    return Truth(
        clear=torch.zeros(shape),
        cloudy=torch.full(shape, 3.0),
        mask=torch.full((2, 1, 8, 8), mask),
        present=torch.tensor([present or [1.0, 1.0, 1.0]] * 2),
    )


def outputs(*levels: float) -> tuple[torch.Tensor, ...]:
    return tuple(torch.full((2, 3, 8, 8), level) for level in levels)


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


def test_carl_of_a_recipe_is_l1_where_nobody_knows_the_mask() -> None:
    prediction = torch.rand(2, 3, 8, 8)
    l1 = build(Loss())(prediction, truth())
    assert build(Loss(name="carl", weight=0.5))(prediction, truth()).item() == pytest.approx(1.5 * l1.item(), rel=1e-5)
    assert build(Loss(name="carl", weight=0))(outputs(3.0)[0], truth(mask=0)) == 0


@pytest.mark.parametrize("name", ["l1", "carl"])
def test_the_squared_error_is_added(name: str) -> None:
    plain, squared = (build(Loss(name=name, square=square))(outputs(2.0)[0], truth()) for square in (0, 0.5))
    assert squared - plain == pytest.approx(0.5 * 2**2)


def test_the_spectral_angle_is_that_of_colours_not_of_brightness() -> None:
    target = torch.tensor([3.0, 4.0])[None, :, None, None].expand(1, 2, 4, 4)
    angle = math.radians(5)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    turned = torch.einsum("ij,njhw->nihw", turn, target)
    assert spectral_angle(0.2 * target, target).item() == pytest.approx(0, abs=2e-3)
    assert spectral_angle(0.2 * turned, target).item() == pytest.approx(angle, rel=1e-3)


def test_the_spectral_angle_has_a_slope_wherever_it_is_taken() -> None:
    target = torch.rand(1, 3, 4, 4)
    target[..., 0] = 0
    prediction = target.clone().requires_grad_()
    spectral_angle(prediction, target).backward()
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()


@pytest.mark.parametrize(
    "loss",
    [Loss(), Loss(square=1), Loss("carl"), Loss("carl", square=1), Loss("carl", angle=1), Loss("thiefcloud")],
    ids=lambda loss: f"{loss.name}-{loss.square}-{loss.angle}",
)
def test_slots_that_were_not_shown_do_not_count(loss: Loss) -> None:
    given = outputs(1.0, 1.0, 1.0)
    everywhere = build(loss)(given, truth())
    spoiled = tuple(output.clone() for output in given)
    for output in spoiled:
        output[:, 1] = 100
    assert build(loss)(spoiled, truth([1, 0, 1])).item() == pytest.approx(everywhere.item())


def test_the_answer_is_the_first_output() -> None:
    assert build(Loss())(outputs(2.0, 9.0, 9.0, 9.0), truth()) == 2


def test_thiefcloud_weighs_its_three_outputs_as_published() -> None:
    loss = build(Loss(name="thiefcloud"))
    assert loss(outputs(1.0, 0.0, 0.0), truth()).item() == pytest.approx(2.4)
    assert loss(outputs(0.0, 1.0, 0.0), truth()).item() == pytest.approx(0.3)
    assert loss(outputs(0.0, 0.0, 2.0), truth()).item() == pytest.approx(1.2)


def test_the_perceptual_term_is_the_mean_over_maps_summed_over_outputs() -> None:
    def features(images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return images, 2 * images, images.mean(dim=1)

    given = outputs(1.0, 2.0, 3.0)
    plain = build(Loss(name="thiefcloud"))(given, truth()).item()
    full = build(Loss(name="thiefcloud", perceptual=0.04), features)(given, truth()).item()
    # each output of level v: (v² + 4v² + v²) / 3
    assert full - plain == pytest.approx(0.04 * 2 * (1 + 4 + 9), rel=1e-4)


def test_vgg_gives_the_three_maps_and_is_not_trained() -> None:
    # torchvision's layers, two channels wide
    widths = [(3, 2), (2, 2), None, (2, 2), (2, 2), None, (2, 2), (2, 2), (2, 2)]
    layers: list[torch.nn.Module] = []
    for width in widths:
        layers += [torch.nn.MaxPool2d(2)] if width is None else [torch.nn.Conv2d(*width, 3, padding=1), torch.nn.ReLU()]
    vgg = perceptual.VggFeatures(torch.nn.Sequential(*layers))
    images = torch.rand(1, 3, 16, 16, requires_grad=True)
    maps = vgg(images)
    assert [features.shape[-1] for features in maps] == [16, 8, 4]
    assert all((features >= 0).all() for features in maps)
    sum(features.sum() for features in maps).backward()
    assert images.grad is not None
    assert all(parameter.grad is None for layer in layers for parameter in layer.parameters())


def test_without_torchvision_the_loss_says_that_a_term_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perceptual, "installed", lambda: False)
    with pytest.warns(CloudfixWarning, match=r"cloudfix\[perceptual\]"):
        loss = build(Loss(name="thiefcloud", perceptual=0.04))
    assert loss(outputs(1.0, 0.0, 0.0), truth()).item() == pytest.approx(2.4)
    assert perceptual.described(0.04).startswith("none: torchvision is not installed")
    monkeypatch.setattr(perceptual, "installed", lambda: True)
    assert perceptual.described(0.04) == "VGG-16, weight 0.04"
    assert perceptual.described(0) == "none"


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed")
def test_the_real_vgg_tells_images_apart() -> None:
    features = perceptual.vgg_features()
    assert features is not None
    images = torch.rand(1, 3, 32, 32)
    loss = perceptual.PerceptualLoss(features)
    assert loss(images, images) == 0
    assert loss(images, images.flip(3)) > 0

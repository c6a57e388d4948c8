"""Detail that is let through, and detail that is not."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from cloudfix.models import create
from cloudfix.models.detail import Detail

SIDES = st.integers(1, 70)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def with_gates(logit: float) -> Detail:
    detail = Detail()
    torch.nn.init.constant_(detail.gates.bias, logit)
    return detail


@given(SIDES, SIDES)
@settings(max_examples=30, deadline=None)
def test_open_gates_leave_an_image_of_any_size_as_it_is(height: int, width: int) -> None:
    image, restored = noise(2, 2, 3, height, width)
    torch.testing.assert_close(with_gates(50)(image, restored), restored)


def test_closed_gates_leave_what_is_coarser_than_32_pixels() -> None:
    coarse = F.interpolate(noise(1, 3, 3, 3), (96, 96), mode="bilinear")
    even = with_gates(-50)(coarse, coarse + 0.1 * (noise(1, 3, 96, 96) - 0.5))
    assert (even - coarse).abs().mean() < 0.08
    assert even.diff(dim=-1).abs().max() < 0.03


def test_before_training_nearly_all_comes_through() -> None:
    image, restored = noise(2, 1, 3, 64, 64)
    assert (Detail()(image, restored) - restored).abs().max() < 0.02


def test_it_learns_to_tell_the_relief_of_a_cloud_from_ground_under_a_veil() -> None:
    """Relief: strong in the image, and still there. Ground: weak in the image, and brought out."""
    torch.manual_seed(0)
    detail = Detail()
    optimiser = torch.optim.Adam(detail.parameters(), 0.02)
    ground, relief = (0.2 * noise(1, 3, 64, 64, seed=seed) for seed in (1, 2))
    flat = torch.full_like(ground, 0.3)
    veiled, clouded = 0.5 * ground + 0.25, flat + 0.5 + 2 * relief
    for _ in range(100):
        kept, levelled = detail(veiled, ground), detail(clouded, flat + relief - relief.mean())
        loss = (kept - ground).square().mean() + (levelled - flat).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    fresh_ground, fresh_relief = (0.2 * noise(1, 3, 64, 64, seed=seed) for seed in (3, 4))
    with torch.no_grad():
        kept = detail(0.5 * fresh_ground + 0.25, fresh_ground)
        levelled = detail(flat + 0.5 + 2 * fresh_relief, flat + fresh_relief - fresh_relief.mean())
    assert (kept - fresh_ground).std() < 0.2 * fresh_ground.std()
    assert (levelled - flat).std() < 0.2 * fresh_relief.std()


def test_it_stands_behind_a_filled_skip_alone() -> None:
    torch.manual_seed(0)
    options = {"in_channels": 3, "out_channels": 3, "blocks": 1, "features": 4}
    assert create("dsen2-cr", **options, skip="gated").detail is None
    network = create("dsen2-cr", **options, skip="filled")
    image = noise(1, 3, 64, 64)
    with torch.no_grad():
        before = network(image)
        torch.nn.init.constant_(network.detail.gates.bias, -50)
        assert network(image).diff(dim=-1).abs().mean() < 0.3 * before.diff(dim=-1).abs().mean()

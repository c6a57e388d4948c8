from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudfix.errors import ModelError
from cloudfix.models import architectures, create
from cloudfix.models.attention_block import AttentionBlock
from cloudfix.models.deformable import DeformableConv

SMALL: dict[str, dict[str, Any]] = {
    "dsen2-cr": {"blocks": 4, "features": 8},
    "aca-crnet": {"in_channels": 15, "out_channels": 13, "blocks": 4, "features": 8},
    "unet": {"features": 4},
    "thiefcloud": {},
}


def test_the_six_architectures_are_there() -> None:
    assert architectures() == ("ac-attention", "aca-crnet", "dsen2-cr", "scpm", "thiefcloud", "unet")


@pytest.mark.parametrize(
    ("name", "millions"),
    [("dsen2-cr", 18.9), ("aca-crnet", 20.4), ("scpm", 0.27), ("thiefcloud", 2.06)],
)
def test_defaults_are_as_published(name: str, millions: float) -> None:
    with torch.device("meta"):
        parameters = sum(p.numel() for p in create(name).parameters())
    assert parameters / 1e6 == pytest.approx(millions, rel=0.005)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("aca-crent", {}, "did you mean 'aca-crnet'"),
        ("zzz", {}, "use one of ac-attention, aca-crnet"),
        ("aca-crnet", {"feature": 4}, "unknown option 'feature'; did you mean 'features'"),
        ("aca-crnet", {"features": 0}, "features=0; expected a whole number above 0"),
        ("aca-crnet", {"blocks": 2.5}, "blocks=2.5"),
        ("dsen2-cr", {"features": True}, "features=True"),
        ("dsen2-cr", {"alpha": float("nan")}, "alpha=nan; expected a finite number"),
        ("dsen2-cr", {"in_channels": 3}, "out_channels=13"),
        ("unet", {"in_channels": 3}, "out_channels=13"),
        ("ac-attention", {}, "option 'channels' is missing"),
        ("ac-attention", {"channels": 4, "attention": "none"}, "attention='none'; expected one of dense, attentive"),
        ("aca-crnet", {"attention": "sparse"}, "attention='sparse'; expected one of none, dense, attentive"),
        ("dsen2-cr", {"attention": 1}, "attention=1; expected one of none"),
        ("scpm", {"features": 12}, "unknown option 'features'"),
    ],
)
def test_wrong_names_and_options_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message) as raised:
        create(name, **options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["dsen2-cr", "aca-crnet", "unet"])
def test_long_skip_is_the_last_channels_of_the_input(name: str) -> None:
    network: Any = create(name, **SMALL[name])
    torch.nn.init.zeros_(network.refine.weight)
    torch.nn.init.zeros_(network.refine.bias)
    x = torch.randn(2, 15, 8, 8)
    assert torch.equal(network(x), x[:, 2:])


@pytest.mark.parametrize(("blocks", "expected"), [(16, [8, 12]), (8, [4, 6]), (5, [2, 3]), (1, [0])])
@pytest.mark.parametrize(
    ("name", "attention"), [("aca-crnet", "attentive"), ("aca-crnet", "none"), ("dsen2-cr", "dense")]
)
def test_attention_sits_halfway_and_three_quarters_along(
    name: str, attention: str, blocks: int, expected: list[int]
) -> None:
    network: Any = create(name, blocks=blocks, features=4, attention=attention)
    assert [i for i, block in enumerate(network.blocks) if isinstance(block, AttentionBlock)] == expected


@pytest.mark.parametrize("name", SMALL)
def test_attention_is_an_option_of_every_network(name: str) -> None:
    """Dense is attentive without its heads, none is without any of it, and what is left is the same."""
    keys = {
        kind: set(create(name, **SMALL[name], attention=kind).state_dict()) for kind in ("none", "dense", "attentive")
    }
    heads = {key for key in keys["attentive"] if "weight_head" in key or "bias_head" in key}
    assert len(heads) == 2 * 8
    assert keys["attentive"] - keys["dense"] == heads
    if name != "dsen2-cr":  # whose ordinary blocks have convolutions of the same names
        assert len(keys["dense"] - keys["none"]) == 2 * 6
    assert keys["none"] <= keys["dense"]
    default = "attentive" if name == "aca-crnet" else "none"
    assert set(create(name, **SMALL[name]).state_dict()) == keys[default]


@pytest.mark.parametrize("name", ["dsen2-cr", "aca-crnet", "unet"])
@pytest.mark.parametrize("attention", ["none", "dense", "attentive"])
def test_with_attention_every_pixel_depends_on_the_farthest(name: str, attention: str) -> None:
    torch.manual_seed(0)
    network = create(name, **SMALL[name], attention=attention).eval()
    x = torch.rand(1, 15, 96, 96)
    changed = x.clone()
    changed[..., -8:, -8:] = 1 - changed[..., -8:, -8:]
    with torch.inference_mode():
        difference = (network(changed) - network(x))[..., :8, :8].abs().max()
    assert (difference > 0) == (attention != "none")


@pytest.mark.parametrize("attention", ["dense", "attentive"])
def test_gradients_reach_the_attention_of_every_network(attention: str) -> None:
    for name, options in SMALL.items():
        network = create(name, **options, attention=attention)
        outputs = network(torch.rand(1, 3 if name == "thiefcloud" else 15, 16, 16))
        (outputs[0] if isinstance(outputs, tuple) else outputs).square().sum().backward()
        found = [p.grad for key, p in network.named_parameters() if "att" in key]
        assert found
        assert all(grad is not None and grad.isfinite().all() for grad in found)


def test_dsen2_cr_with_attention_is_aca_crnet() -> None:
    dsen2_cr = create("dsen2-cr", **SMALL["dsen2-cr"], attention="attentive")
    aca_crnet = create("aca-crnet", **SMALL["aca-crnet"])
    aca_crnet.load_state_dict(dsen2_cr.state_dict())
    x = torch.randn(1, 15, 8, 8)
    assert torch.equal(dsen2_cr(x), aca_crnet(x))


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("aca-crnet", {"features": 4, "blocks": 2}, (1, 3, 9, 8)),
        ("dsen2-cr", {"features": 4, "blocks": 2, "attention": "dense"}, (1, 15, 8, 9)),
        ("scpm", {}, (1, 3, 16, 20)),
        ("thiefcloud", {}, (1, 3, 12, 16)),
        ("unet", {"features": 4}, (1, 15, 12, 16)),
    ],
)
def test_sides_that_cannot_be_halved_are_refused(name: str, options: dict[str, Any], shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=f"input of {shape[2]}×{shape[3]} pixels"):
        create(name, **options)(torch.zeros(shape))


def test_dsen2_cr_without_attention_takes_any_size() -> None:
    assert create("dsen2-cr", **SMALL["dsen2-cr"])(torch.zeros(1, 15, 7, 9)).shape == (1, 13, 7, 9)


def test_a_step_of_training_lowers_the_loss() -> None:
    torch.manual_seed(0)
    network = create("aca-crnet", blocks=4, features=8)
    x, target = torch.randn(1, 3, 8, 8), torch.randn(1, 3, 8, 8)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(5):
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = (network(x) - target).abs().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    shifts=st.lists(st.floats(-9, 9, width=32), min_size=18, max_size=18),
)
def test_deformable_convolution_is_as_defined(height: int, width: int, shifts: list[float]) -> None:
    conv = DeformableConv(2, 3).double()
    torch.nn.init.constant_(conv.offset.bias, 0)
    assert conv.offset.bias is not None
    conv.offset.bias.data = torch.tensor(shifts, dtype=torch.float64)
    x = torch.randn(1, 2, height, width, dtype=torch.float64)
    expected = torch.zeros(3, height, width, dtype=torch.float64)
    for row in range(height):
        for column in range(width):
            for tap in range(9):
                y = 1 + row + tap // 3 - 1 + shifts[tap]
                z = 1 + column + tap % 3 - 1 + shifts[9 + tap]
                value = sum(wy * wz * x[0, :, iy, iz] for iy, wy in corners(y, height) for iz, wz in corners(z, width))
                expected[:, row, column] += conv.conv.weight[:, :, tap // 3, tap % 3] @ value
    torch.testing.assert_close(conv(x)[0], expected)


def corners(position: float, size: int) -> list[tuple[int, float]]:
    """The definition, one axis: border samples count twice, see `_corners`."""
    if position < 0:
        return [(0, 2.0)]
    if position >= size - 1:
        return [(size - 1, 2.0)]
    low = int(position)
    return [(low, 1 - (position - low)), (low + 1, position - low)]


def test_importing_the_room_does_not_import_torch() -> None:
    code = "import sys, cloudfix.models; cloudfix.models.list_weights(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("name", ["dsen2-cr", "aca-crnet"])
def test_a_gated_skip_begins_nearly_as_the_plain_one_and_can_shut_the_input_out(name: str) -> None:
    torch.manual_seed(0)
    options = {"in_channels": 5, "out_channels": 3, "blocks": 4, "features": 8}
    plain, gated = create(name, **options), create(name, **options, skip="gated")
    weights = plain.state_dict()
    for key in ("refine.weight", "refine.bias"):
        weights[key] = torch.cat([weights[key], torch.zeros_like(weights[key])])
    gated.load_state_dict(weights)
    x = torch.rand(2, 5, 16, 16)
    with torch.no_grad():
        added = plain(x) - x[:, -3:]
        torch.testing.assert_close(gated(x), 0.98 * x[:, -3:] + added, atol=0.003, rtol=0)
        gated.refine.bias[3:] = -50
        # Whatever the input is, none of it is left but what the network adds.
        torch.testing.assert_close(gated(x), added)

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import torch

from cloudfix.models import create, published, published_names
from cloudfix.models.deformable import DeformableConv
from cloudfix.models.lattice import LatticeBlock

if TYPE_CHECKING:
    from types import ModuleType

    from torch import nn


class Case(NamedTuple):
    shape: tuple[int, ...]
    low: float
    high: float


NETWORKS = {
    "ac_attention": "ac-attention",
    "aca_crnet_tiny": "aca-crnet",
    "aca_crnet": "aca-crnet",
    "aca_crnet_s2": "aca-crnet",
    "dsen2_cr_tiny": "dsen2-cr",
    "dsen2_cr": "dsen2-cr",
    "scpm": "scpm",
    "thiefcloud": "thiefcloud",
}
CASES = {
    "ac_attention": {"a": Case((2, 32, 16, 16), -1, 1), "b": Case((1, 32, 24, 20), -1, 1)},
    "aca_crnet_tiny": {"a": Case((2, 3, 32, 32), -1, 1), "b": Case((1, 3, 48, 64), -1, 1)},
    "aca_crnet": {"a": Case((1, 3, 64, 64), -1, 1)},
    "aca_crnet_s2": {"a": Case((1, 13, 64, 64), 0, 5)},
    "dsen2_cr_tiny": {"a": Case((2, 15, 32, 32), -2, 5), "b": Case((1, 15, 40, 56), -2, 5)},
    "dsen2_cr": {"a": Case((1, 15, 48, 48), -2, 5)},
    "scpm": {"a": Case((1, 3, 64, 64), 0, 1), "b": Case((2, 3, 96, 128), 0, 1)},
    "thiefcloud": {"a": Case((1, 3, 64, 64), 0, 1), "b": Case((1, 3, 128, 96), 0, 1)},
    "deform_conv": {"a": Case((1, 3, 17, 23), 0, 1)},
    "lattice_block": {"a": Case((1, 24, 20, 28), -1, 1)},
}
OUTPUTS = {
    "scpm": ("thickness", "feature1", "feature2", "feature3"),
    "thiefcloud": ("out", "out_x4", "out_x2"),
}


def test_every_reference_is_tested(seeded: ModuleType) -> None:
    assert CASES.keys() == json.loads((seeded.HERE / "manifest.json").read_text()).keys()


@pytest.mark.parametrize("tag", CASES)
def test_output_is_that_of_the_published_code(seeded: ModuleType, tag: str) -> None:
    network = build(seeded, tag)
    expected = seeded.expected(tag)
    for case, (shape, low, high) in CASES[tag].items():
        outputs = run(network, torch.from_numpy(seeded.array(f"{tag}/{case}", shape, low, high)))
        for name, output in zip(OUTPUTS.get(tag, ("out",)), outputs, strict=True):
            np.testing.assert_allclose(output.numpy(), expected[f"{case}/{name}"], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("tag", ["ac_attention", "aca_crnet_tiny", "dsen2_cr_tiny", "scpm", "thiefcloud"])
def test_output_is_close_in_bfloat16_and_channels_last(seeded: ModuleType, tag: str) -> None:
    network = build(seeded, tag).to(memory_format=torch.channels_last)
    shape, low, high = CASES[tag]["a"]
    x = torch.from_numpy(seeded.array(f"{tag}/a", shape, low, high)).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        output = run(network, x)[0].float()
    expected = torch.from_numpy(seeded.expected(tag)[f"a/{OUTPUTS.get(tag, ('out',))[0]}"])
    assert (output - expected).square().mean().sqrt() < 0.02 * expected.std()


def build(seeded: ModuleType, tag: str) -> nn.Module:
    state: dict[str, Any] = seeded.state_dict(tag)
    network: nn.Module
    if tag == "deform_conv":
        network = DeformableConv(3, 12)
        converted = published.rename(tag, network, published_names.DEFORMABLE_CONV, state)
    elif tag == "lattice_block":
        network = LatticeBlock(24)
        converted = published.rename(tag, network, published_names.LATTICE_BLOCK, state)
    else:
        name = NETWORKS[tag]
        network = create(name, **published.infer(name, state))
        converted = published.convert(name, state)
    network.load_state_dict(converted)
    return network.eval()


def run(network: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    with torch.inference_mode():
        output = network(x)
    return output if isinstance(output, tuple) else (output,)

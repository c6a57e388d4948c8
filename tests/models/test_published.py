from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from cloudfix.errors import ModelError
from cloudfix.models import create
from cloudfix.models.published import convert, infer

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

TAG, NAME = "dsen2_cr_tiny", "dsen2-cr"


@pytest.fixture
def state(seeded: ModuleType) -> dict[str, Any]:
    return dict(seeded.state_dict(TAG))


def prefixed(state: dict[str, Any]) -> dict[str, Any]:
    return {f"module.{key}": value for key, value in state.items()}


FORMS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "plain": dict,
    "tensors": lambda state: {key: torch.from_numpy(value) for key, value in state.items()},
    "module.": prefixed,
    "module. twice": lambda state: prefixed(prefixed(state)),
    "model_state": lambda state: {"epoch": 3, "model_state": state},
    "state_dict": lambda state: {"state_dict": state, "optimizer": {}},
    "nested": lambda state: {"model_state": {"state_dict": prefixed(state)}},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_checkpoint_loads(state: dict[str, Any], form: str) -> None:
    checkpoint = FORMS[form](state)
    options = infer(NAME, checkpoint)
    assert options == {"in_channels": 15, "out_channels": 13, "blocks": 8, "features": 32}
    network: Any = create(NAME, **options)
    network.load_state_dict(convert(NAME, checkpoint), strict=True)
    np.testing.assert_array_equal(network.blocks[0].conv1.weight.detach(), state["net.2.net.conv1.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net.3.net.conv1.weight": None}, r"1 missing: net\.3\.net\.conv1\.weight;"),
        ({"net.4.net.conv3.weight": np.zeros(3)}, "1 unknown: net.4.net.conv3.weight;"),
        ({"net.0.bias": np.zeros(7)}, r"1 of another shape: net.0.bias \(7 for 32\);"),
        ({f"extra{i}": np.zeros(1) for i in range(9)}, "9 unknown: extra0, extra1, extra2, …;"),
        ({"net.0.weight": None}, "expected 'net.0.weight'"),
        ({"net.0.weight": np.zeros(4)}, r"holds 'net.0.weight' of shape \(4,\)"),
        ({"net.10.weight": None}, r"15 → 32 channels and a last layer net\.0;"),
        ({"net.9000.weight": np.zeros((13, 32, 3, 3))}, r"a last layer net\.9000;"),
    ],
)
def test_what_does_not_fit_is_named(state: dict[str, Any], change: dict[str, Any], message: str) -> None:
    changed = {key: value for key, value in (state | change).items() if value is not None}
    with pytest.raises(ModelError, match=message) as raised:
        convert(NAME, changed)
    assert "\n" not in str(raised.value)


def test_checkpoint_of_another_architecture_is_refused(state: dict[str, Any], seeded: ModuleType) -> None:
    with pytest.raises(ModelError, match=r"missing: net\.6\.net\.att\.bias\.0\.bias"):
        convert("aca-crnet", state)
    with pytest.raises(ModelError, match=r"28 unknown: net\.6\.net\.att"):
        convert("dsen2-cr", seeded.state_dict("aca_crnet_tiny"))
    for name in ("scpm", "thiefcloud", "ac-attention"):
        with pytest.raises(ModelError, match=f"{name} checkpoint: "):
            convert(name, state)
    with pytest.raises(ModelError, match="did you mean 'aca-crnet'"):
        convert("acacrnet", state)


@pytest.mark.parametrize("checkpoint", [[1, 2], {"state_dict": 7}, {1: 2}])
def test_what_is_no_state_dict_is_refused(checkpoint: Any) -> None:
    with pytest.raises(ModelError, match="expected a state dict"):
        convert(NAME, checkpoint)

from __future__ import annotations

import pytest
import torch

from cloudfix.models import Card, SarInput, create
from cloudfix.sensors import SLOTS


@pytest.fixture
def card() -> Card:
    """A small multispectral network that takes SAR."""
    return Card(
        name="aca-crnet.test",
        architecture="aca-crnet",
        options={"in_channels": 15, "out_channels": 13, "blocks": 4, "features": 8},
        slots=SLOTS,
        sar=(SarInput("vv", (-25, 0), 0.08, 2.0), SarInput("vh", (-32.5, 0), 2 / 32.5, 2.0)),
        scale=5.0,
        metrics={"mae": 0.02},
    )


@pytest.fixture
def network(card: Card) -> torch.nn.Module:
    torch.manual_seed(0)
    return create(card.architecture, **card.options).eval()

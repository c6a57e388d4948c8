"""What a network asks of its input: sides that it can halve, channels for its long skip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudfix.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor


def check_sides(name: str, x: Tensor, multiple: int) -> None:
    """Refuse what cannot be halved as often as the network halves it.

    Args:
        name: what the error calls the network.
        x: (B, C, H, W).
        multiple: what H and W have to divide by.

    Raises:
        ModelError: they do not.
    """
    height, width = x.shape[2:]
    if height % multiple or width % multiple:
        raise ModelError(
            f"{name}: input of {height}×{width} pixels; expected sides that divide by {multiple}, pad or crop it"
        )


def check_long_skip(in_channels: int, out_channels: int) -> None:
    """Refuse a network whose output has channels that its input lacks: the long skip takes them from there.

    Raises:
        ModelError: there are more output than input channels.
    """
    if out_channels > in_channels:
        raise ModelError(
            f"out_channels={out_channels}: the long skip takes them from the input, which has "
            f"in_channels={in_channels}; raise in_channels or lower out_channels"
        )


def check_radar(in_channels: int, out_channels: int) -> None:
    """Refuse a network that looks at VV and VH, but has other channels than these before the optical ones.

    Raises:
        ModelError: it has.
    """
    if in_channels != out_channels + 2:
        raise ModelError(
            f"in_channels={in_channels}: a guided skip looks at VV and VH, which come before the {out_channels} "
            f"optical bands; expected {out_channels + 2}, or take skip=matched"
        )

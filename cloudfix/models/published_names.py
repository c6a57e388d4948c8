"""What the published code calls each layer: tables from our names to theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Names: TypeAlias = "Mapping[str, str | tuple[str, Names]]"
"""Our prefix to theirs, or to theirs and the names under it; what is in no table has one name in both."""

ATTENTION: Names = {"weight_head": "linear_weight", "bias_head": "bias", "output": "linear.0"}

DEFORMABLE_CONV: Names = {"offset": "p_conv"}

_DEFORMABLE_UNIT: Names = {
    "deform1": ("conv.0", DEFORMABLE_CONV),
    "norm1": "conv.1",
    "deform2": ("conv.3", DEFORMABLE_CONV),
    "norm2": "conv.4",
}

_CONV_UNIT: Names = {"conv1": "conv1.0", "norm1": "conv1.1", "conv2": "conv2.0", "norm2": "conv2.1"}

SCPM: Names = {
    "encoder1": ("down1.mpconv", _DEFORMABLE_UNIT),
    "encoder2": ("down2", _CONV_UNIT),
    "encoder3": ("down3", _CONV_UNIT),
    "centre": ("center", _CONV_UNIT),
    "decoder3": ("up_concat3.conv", _CONV_UNIT),
    "decoder2": ("up_concat2.conv", _CONV_UNIT),
    "decoder1": (
        "up_concat1",
        {"narrow": "ch_conv.conv1.0", "merge": ("conv", _DEFORMABLE_UNIT)},
    ),
    "head3": "conv1.0",
    "head2": "conv2.0",
    "thickness": "final",
}

_GATE: Names = {"from_mean": "conv_mean", "from_deviation": "conv_std"}

LATTICE_BLOCK: Names = {
    "chain1": "conv_block0",
    "chain2": "conv_block1",
    "gate_f": ("fea_ca1", _GATE),
    "gate_x": ("x_ca1", _GATE),
    "gate_q": ("fea_ca2", _GATE),
    "gate_g": ("x_ca2", _GATE),
    "merge": "compress",
}

_LATTICE_BLOCKS: Names = {str(index): (str(index), LATTICE_BLOCK) for index in range(3)}

THIEFCLOUD: Names = {
    "prior": ("cd", SCPM),
    "embed": "patch_embed",
    "down1.conv": "down1.body.0",
    "down2.conv": "down2.body.0",
    "up3.conv": "up1.body.0",
    "up2.conv": "up2.body.0",
    "merge3": "conv_cat1.0",
    "merge2": "conv_cat2.0",
    "merge1": "conv_cat3.0",
    **{f"extract{scale}": (f"Lblock{scale}", _LATTICE_BLOCKS) for scale in (1, 2, 3)},
    **{f"guide{scale}": (f"Lblock_cd{scale}", LATTICE_BLOCK) for scale in (1, 2, 3)},
    **{f"head{scale}.shared": f"spade{scale}.mlp_shared.0" for scale in (1, 2, 3)},
    **{f"head{scale}.gamma": f"spade{scale}.mlp_gamma" for scale in (1, 2, 3)},
    **{f"head{scale}.beta": f"spade{scale}.mlp_beta" for scale in (1, 2, 3)},
    **{f"head{scale}.image": f"tp{scale}.qk_pre" for scale in (1, 2, 3)},
}


def trunk(blocks: int) -> Names:
    """DSen2-CR and ACA-CRNet with so many blocks: one sequence, with a ReLU at index 1."""
    return {
        "stem": "net.0",
        **{f"blocks.{index}": (f"net.{index + 2}.net", {"attention": ("att", ATTENTION)}) for index in range(blocks)},
        "refine": f"net.{blocks + 2}",
    }


def published_name(ours: str, names: Names) -> str:
    """What the published code calls the entry `ours` of a state dict."""
    for prefix, theirs in names.items():
        if ours.startswith(f"{prefix}."):
            rest = ours.removeprefix(f"{prefix}.")
            if isinstance(theirs, tuple):
                return f"{theirs[0]}.{published_name(rest, theirs[1])}"
            return f"{theirs}.{rest}"
    return ours

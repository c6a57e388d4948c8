"""What the licence of weights asks of those who use them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from cloudfix.errors import CloudfixWarning

if TYPE_CHECKING:
    from cloudfix.models.cards import Card

_RESEARCH = "research use"


def for_research_only(card: Card) -> bool:
    """Whether the licence begins by saying so."""
    return str(card.licence).strip().lower().startswith(_RESEARCH)


def tell_licence(card: Card) -> None:
    """Say in a `CloudfixWarning` that weights are for research only, if they are."""
    if for_research_only(card):
        note = f"{card.name}: its licence says: {card.licence}; for other uses take other weights"
        warnings.warn(note, CloudfixWarning, stacklevel=3)

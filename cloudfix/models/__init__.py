"""The networks, their weights and what they take in. Importing this does not import torch."""

from cloudfix.models import published
from cloudfix.models.architectures import architectures, create
from cloudfix.models.cards import Card, SarInput
from cloudfix.models.registry import default_for, list_weights
from cloudfix.models.weights import load, read_card, save

__all__ = [
    "Card",
    "SarInput",
    "architectures",
    "create",
    "default_for",
    "list_weights",
    "load",
    "published",
    "read_card",
    "save",
]

"""Scenes in, COGs out."""

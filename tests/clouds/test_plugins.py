from __future__ import annotations

from importlib.metadata import EntryPoint

import numpy as np
import pytest

from cloudfix.clouds import plugins
from cloudfix.errors import MaskError


def detector(reflectance: dict[str, np.ndarray], valid: np.ndarray) -> np.ndarray:
    return np.zeros(valid.shape, np.uint8)


def _install(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    def entry_points(group: str, name: str | None = None) -> list[EntryPoint]:
        assert group == "cloudfix.masks"
        return [EntryPoint("mine", value, group)] if name in (None, "mine") else []

    monkeypatch.setattr(plugins, "entry_points", entry_points)


def test_a_detector_is_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, "os.path:join")
    assert plugins.find("mine") is __import__("os").path.join
    assert plugins.names() == ("mine",)


def test_an_unknown_name_is_refused_with_the_known(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, "os.path:join")
    with pytest.raises(MaskError, match=r"--mask other: no such file, and no detector .* \(there is mine\)"):
        plugins.find("other")


@pytest.mark.parametrize("value", ["no_such_package:f", "os.path:no_such_function"])
def test_a_broken_detector_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    _install(monkeypatch, value)
    with pytest.raises(MaskError, match=rf"--mask mine: {value} cannot be loaded"):
        plugins.find("mine")


def test_halo() -> None:
    assert plugins.halo(detector) == plugins.DEFAULT_HALO

    class Wide:
        halo = 50

        def __call__(self, reflectance: dict[str, np.ndarray], valid: np.ndarray) -> np.ndarray:
            return detector(reflectance, valid)

    assert plugins.halo(Wide()) == 50

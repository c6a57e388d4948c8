"""How the kernels in C are found, compiled and shared out."""

from __future__ import annotations

import shutil
import stat
import warnings
from typing import TYPE_CHECKING

import pytest
import torch

from cloudfix.errors import CloudfixWarning
from cloudfix.models.native import library as native
from cloudfix.models.native.library import library, library_for, parallel, spans

if TYPE_CHECKING:
    from pathlib import Path

find = library.__wrapped__  # every call looks again


@pytest.fixture
def capable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A processor that could, and the folder that is its cache."""
    monkeypatch.setattr(native, "capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr(native.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(native.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "cloudfix"


def compiler(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_other_processors_go_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "capabilities", lambda: {"avx512_bf16": False, "avx2": True})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find() is None


def test_a_missing_compiler_is_said(monkeypatch: pytest.MonkeyPatch, capable: Path) -> None:
    monkeypatch.setattr(native.shutil, "which", lambda name: None)
    with pytest.warns(CloudfixWarning, match="no C compiler found: .* install gcc or clang"):
        assert find() is None


def test_a_compiler_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, capable: Path, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", compiler(tmp_path / "badcc", "echo first >&2; echo no such option >&2; exit 3"))
    with pytest.warns(CloudfixWarning, match=r"badcc: cannot compile the kernels \(no such option\): .* install gcc"):
        assert find() is None
    assert list(capable.iterdir()) == []


@pytest.mark.skipif(not (shutil.which("cc") and native.capabilities().get("avx512_bf16")), reason="cannot be compiled")
def test_it_is_compiled_once(monkeypatch: pytest.MonkeyPatch, capable: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("CC", compiler(tmp_path / "cc", f'echo called >> {log}\nexec {shutil.which("cc")} "$@"'))
    assert hasattr(find(), "cloudfix_attend")
    assert hasattr(find(), "cloudfix_convolve")
    assert log.read_text() == "called\n"
    assert [path.suffix for path in capable.iterdir()] == [".so"]


def test_a_cache_that_cannot_be_written_is_done_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(native.tempfile, "tempdir", str(tmp_path))
    folder = native._cache()
    assert folder.parent == tmp_path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_float32_is_left_to_pytorch() -> None:
    x = torch.zeros(1)
    assert library_for(x) is None
    assert library_for(x.bfloat16()) is library()
    with torch.autocast("cpu", torch.bfloat16):
        assert library_for(x) is library()
    assert library_for(x.bfloat16().to("meta")) is None


@pytest.mark.parametrize(("count", "step"), [(1, 1), (7, 1), (192, 96), (200, 96)])
def test_parts_cover_everything_once(monkeypatch: pytest.MonkeyPatch, count: int, step: int) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    seen: list[int] = []

    def run(first: int, last: int) -> int:
        assert first % step == 0
        seen.extend(i for _, begin, end in spans(first, last, count) for i in range(begin, end))
        return 0

    parallel(run, count, step)
    assert sorted(seen) == list(range(count))


def test_spans_stay_within_samples() -> None:
    assert list(spans(5, 23, 10)) == [(0, 5, 10), (1, 0, 10), (2, 0, 3)]


def test_short_memory_is_an_error() -> None:
    with pytest.raises(MemoryError, match="smaller tiles"):
        parallel(lambda first, last: 1, 4)

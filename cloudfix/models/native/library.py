"""Kernels in C for processors that multiply bfloat16, compiled once by the machine's own compiler."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from cloudfix.errors import CloudfixWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor

_FOLDER = Path(__file__).parent
_SOURCES = ("attention.c", "attention_gradients.c", "deformable.c", "statistics.c", "winograd.c")
_EXTENSIONS = ("-mfma", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512bf16")
_FLAGS = ("-O3", "-std=gnu11", "-shared", "-fPIC", *_EXTENSIONS)
_SECONDS = 120


def capabilities() -> Mapping[str, object]:
    """What the processor can do, by PyTorch's names; nothing where this version of PyTorch cannot tell."""
    ask: Callable[[], Mapping[str, object]] = getattr(torch.cpu, "get_capabilities", dict)
    return ask()


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where the processor or the machine lacks what they need.

    They need Linux on x86-64, AVX-512 with its bfloat16 extension, and a C compiler (`$CC`, cc, gcc or clang). It
    takes a few seconds; the result is kept in the user's cache folder. What is missing is said once.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64" or not capabilities().get("avx512_bf16"):
        return None
    names = (os.environ.get("CC"), "cc", "gcc", "clang")
    compiler = next((path for name in names if name and (path := shutil.which(name))), None)
    remedy = "networks run several times slower than this processor could, install gcc or clang"
    if compiler is None:
        warnings.warn(f"no C compiler found: {remedy}", CloudfixWarning, stacklevel=2)
        return None
    try:
        return ctypes.CDLL(str(_compile(compiler, _cache())))
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip().splitlines()
        reason = said[-1] if said else error
        warnings.warn(f"{compiler}: cannot compile the kernels ({reason}): {remedy}", CloudfixWarning, stacklevel=2)
        return None


def library_for(x: Tensor) -> ctypes.CDLL | None:
    """The kernels, where they may take part in an operation on `x`: on a CPU, in bfloat16 by autocast or throughout."""
    half = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    return library() if x.device.type == "cpu" and half == torch.bfloat16 else None


def parallel(function: Callable[[int, int], int], count: int, step: int = 1) -> None:
    """Call `function(first, last)` for parts of 0…count, on as many threads as PyTorch would use.

    Args:
        function: runs kernels, which let go of the interpreter; returns 0, or something else where memory is short.
        count: what is to be shared out.
        step: the parts begin at multiples of it.

    Raises:
        MemoryError: a part was short of memory.
    """
    steps = -(-count // step)
    parts = min(torch.get_num_threads(), steps)
    bounds = [steps * part // parts * step for part in range(parts)] + [count]
    if parts == 1:
        failed = function(0, count)
    else:
        with ThreadPoolExecutor(parts) as pool:
            failed = any(list(pool.map(function, bounds[:-1], bounds[1:])))
    if failed:
        raise MemoryError("not enough memory for one block of the network; run fewer or smaller tiles")


def spans(first: int, last: int, size: int) -> Iterator[tuple[int, int, int]]:
    """Cut first…last, which counts through samples of `size`, into (sample, begin, end) within each sample."""
    for sample in range(first // size, -(-last // size)):
        yield sample, max(first - sample * size, 0), min(last - sample * size, size)


def _cache() -> Path:
    """A folder that nobody else can write to: in the user's cache, or a new one for this process alone."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cloudfix"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(tempfile.mkdtemp(prefix="cloudfix-"))


def _compile(compiler: str, folder: Path) -> Path:
    """The library made by `compiler` from these sources, from `folder` if it is there already."""
    content = [path.read_bytes() for path in sorted(_FOLDER.glob("*.[ch]"))]
    digest = hashlib.sha256(b"\0".join([compiler.encode(), " ".join(_FLAGS).encode(), *content])).hexdigest()
    path = folder / f"kernels-{digest[:16]}.so"
    if not path.exists():
        sources = [str(_FOLDER / name) for name in _SOURCES]
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            made = Path(temporary) / path.name
            command = [compiler, *_FLAGS, *sources, "-o", str(made), "-lm"]
            subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS)  # noqa: S603
            made.replace(path)
    return path

"""What people read while a command works: notes, errors and a progress bar, all on stderr."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cloudfix.errors import CloudfixWarning, InterruptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console


def stderr() -> Console:
    """A console on stderr, made when needed: rich is slow to import."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def error(message: str) -> None:
    """One line that says what went wrong."""
    stderr().print(f"[bold red]error:[/] {_plain(message)}")


def note(message: str) -> None:
    """One line the user should know."""
    stderr().print(f"[yellow]note:[/] {_plain(message)}")


def _plain(message: str) -> str:
    from rich.markup import escape

    return escape(" ".join(message.split()))


def show_warning(message: Warning | str, category: type[Warning], *_args: Any, **_kwargs: Any) -> None:
    """`warnings.showwarning`: our own warnings as notes; those of libraries are not the user's business."""
    if issubclass(category, CloudfixWarning):
        note(str(message))


@contextmanager
def collected_notes() -> Iterator[list[str]]:
    """Shows notes as they come, and keeps them for a record."""
    shown = warnings.showwarning
    notes: list[str] = []

    def show(message: Warning | str, category: type[Warning], *args: Any, **kwargs: Any) -> None:
        shown(message, category, *args, **kwargs)
        if issubclass(category, CloudfixWarning):
            notes.append(" ".join(str(message).split()))

    warnings.showwarning = show
    try:
        yield notes
    finally:
        warnings.showwarning = shown


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C ends in one line, as every other failure does."""
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptionError("interrupted; nothing was left behind, the same command starts over") from None


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal, nothing elsewhere; yields the function (done, total) that moves it."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = stderr()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    with bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)

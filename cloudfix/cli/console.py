"""What people read while a command works: notes, errors and a progress bar, all on stderr."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cloudfix.errors import CloudfixWarning, InterruptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console
    from rich.progress import Progress


def stderr() -> Console:
    """A console on stderr, made when needed: rich is slow to import."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def error(message: str) -> None:
    """One line that says what went wrong."""
    stderr().print(f"[bold red]error:[/] {plain(message)}")


def note(message: str) -> None:
    """One line the user should know."""
    stderr().print(f"[yellow]note:[/] {plain(message)}")


def plain(message: str) -> str:
    """One line without markup."""
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
def interruptible(
    state: Callable[[], str] = lambda: "nothing was left behind, the same command starts over",
) -> Iterator[None]:
    """Ctrl-C ends in one line, as every other failure does; `state` says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptionError(f"interrupted; {state()}") from None


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal, nothing elsewhere; yields the function (done, total) that moves it."""
    with _bars() as bars:
        task = bars.add_task(title, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = stderr()
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    # Results go to stdout as they come: they must not end up on stderr with the bars.
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True, redirect_stdout=False
    ) as bars:
        yield bars


class SceneBars:
    """Two bars: the scenes of a run, and the steps of the one in hand."""

    def __init__(self, bars: Progress, total: int) -> None:
        self._bars = bars
        self._scenes = bars.add_task("scenes", total=total)
        self._steps = bars.add_task("this one", total=None, visible=False)

    def step(self, done: int, total: int) -> None:
        """Move the bar of the scene in hand."""
        self._bars.update(self._steps, completed=done, total=total, visible=True)

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Move the bar of the scenes; inside, the bars are away, so that lines can be printed."""
        self._bars.advance(self._scenes)
        self._bars.stop()
        yield
        self._bars.start()


@contextmanager
def scenes(total: int) -> Iterator[SceneBars]:
    """Bars for a run over `total` scenes on a terminal, nothing elsewhere."""
    with _bars() as bars:
        yield SceneBars(bars, total)

"""What the pages share: templates, rows of tables, and writing them whole or not at all."""

from __future__ import annotations

from contextlib import contextmanager
from html import escape
from importlib import resources
from string import Template
from typing import IO, TYPE_CHECKING

from cloudfix.raster.atomic import staging, writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def template(name: str) -> Template:
    """A template that comes with the package."""
    return Template(_text(name))


def style() -> str:
    """The CSS of all pages."""
    return _text("style.css")


def rows(pairs: Iterable[tuple[str, str]]) -> str:
    """Rows of a table, a name and a value each."""
    return "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in pairs)


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


@contextmanager
def written(path: Path) -> Iterator[IO[str]]:
    """A text file that appears under its name once it is complete.

    Raises:
        OutputError: it cannot be written there.
    """
    with staging(path) as stage, writing(path):
        with stage.file.open("w", encoding="utf-8", errors="backslashreplace") as file:
            yield file
        stage.publish()


def _text(name: str) -> str:
    return (resources.files("cloudfix.report") / "templates" / name).read_text(encoding="utf-8")

"""The index of an archive: a row a scene, which leads to its page."""

from __future__ import annotations

import os
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

from cloudfix.report.html import duration, style, template, written

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cloudfix.restoration.cover import Cover


@dataclass(frozen=True)
class Row:
    """A scene in the index.

    Attributes:
        title: of the scene.
        state: done, failed or waiting.
        page: file name of its page, beside the index.
        picture: of its output, a data URI.
        cover: shares of cloud and shadow.
        seconds: that it took.
        notes: what was assumed, or why it failed.
    """

    title: str
    state: str
    page: str | None = None
    picture: str | None = None
    cover: Cover | None = None
    seconds: float | None = None
    notes: tuple[str, ...] = ()


def write_index(path: Path, title: str, rows: Iterable[Row], counts: str) -> None:
    """Write an index, a row at a time.

    Raises:
        OutputError: it cannot be written there.
    """
    with written(path) as file:
        head = template("index_head.html")
        file.write(head.substitute(style=style(), title=escape(title), counts=escape(counts)))
        for row in rows:
            file.write(_row(row))
        file.write(template("index_tail.html").substitute())


def _row(row: Row) -> str:
    name = escape(row.title)
    linked = f'<a href="{quote(os.fsencode(row.page))}">{name}</a>' if row.page else name
    colour = ' class="bad"' if row.state == "failed" else ""
    numbers = (
        f"{row.cover.cloud:.0%}" if row.cover else "",
        f"{row.cover.shadow:.0%}" if row.cover else "",
        "" if row.seconds is None else duration(row.seconds),
    )
    cells = [
        f'<td><img src="{escape(row.picture)}" alt=""></td>' if row.picture else "<td></td>",
        f'<th scope="row" class="name">{linked}</th>',
        f"<td{colour}>{escape(row.state)}</td>",
        *(f'<td class="number">{number}</td>' for number in numbers),
        f"<td>{'<br>'.join(map(escape, row.notes))}</td>",
    ]
    return f"<tr>{''.join(cells)}</tr>\n"

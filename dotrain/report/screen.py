"""The last lines of a terminal, drawn anew in place; what is printed meanwhile goes above them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console, Group
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text


class Screen:
    """Draws lines; nothing is sent while they stay the same."""

    def __init__(self, console: Console) -> None:
        """Take the last lines of a terminal; `close` gives them back.

        Args:
            console: On the terminal.
        """
        self._console = console
        self._live = Live(
            console=console,
            auto_refresh=False,
            transient=True,
            # In a pipe, stdout is for the result.
            redirect_stdout=sys.stdout.isatty(),
        )
        self._live.start()
        self._shown: list[str] = []
        self._size = console.size

    def draw(self, lines: Sequence[str]) -> None:
        """Show lines, the first in bold; they must fit."""
        size = self._console.size
        if list(lines) == self._shown and size == self._size:
            return
        self._unwrap(size.width)
        texts = [Text(line, style="" if index else "bold") for index, line in enumerate(lines)]
        for text in texts:
            text.no_wrap, text.overflow = True, "crop"
        self._live.update(Group(*texts), refresh=True)
        self._shown, self._size = list(lines), size

    def _unwrap(self, width: int) -> None:
        """Go up by the lines that have come about when the terminal became narrower."""
        extra = sum(max(0, cell_len(line) - 1) // width for line in self._shown)
        if extra:
            up = ((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1))
            self._console.control(Control(*(up * extra)))

    def above(self, text: str) -> None:
        """Print a line that stays, above those that are drawn anew."""
        self._unwrap(self._console.width)
        self._console.print(text, soft_wrap=True)
        self._size = self._console.size

    def close(self) -> None:
        """Take the lines off the terminal."""
        self._unwrap(self._console.width)
        self._live.stop()

"""A few plain lines that tell how a run goes; for pipes and files.

Whatever happens in a run of any length, no more than ten lines are printed and one for each trial
that has finished; what isn't told in a line of its own is in the counts at the end of the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

from dotrain.core.events import Event
from dotrain.core.instructions import Instruction
from dotrain.core.observer import RunView
from dotrain.report.subject import Subject
from dotrain.report.watching import INTERRUPTED, Kind, News, Watching
from dotrain.results.text import printable

#: Lines that may be printed besides one for each finished trial.
EXTRA_LINES = 10
#: Of these, how many are kept for the interrupt and the end.
_RESERVE = 2


class Plain(Watching):
    """A line for what matters, as long as there is room for it."""

    def __init__(self, subject: Subject, stream: IO[str]) -> None:
        """Get ready; see `Watching`."""
        super().__init__(subject, stream)
        self._left = EXTRA_LINES
        #: Of small steps of a run with promotions, one in so many is told: the lines are needed
        #: for the promoted ones.
        plan = subject.plan
        self._stride = 2 if plan is not None and plan.launches > plan.configurations else 1
        self._small = 0

    def start(self, run: RunView) -> None:
        """Say what is about to run, and from where it goes on."""
        super().start(run)
        before = f"; going on: {self._tally()}" if run.trials else ""
        self._line(printable(self.subject.title) + before)

    def on_event(self, event: Event, instructions: Sequence[Instruction], time_s: float) -> None:
        """Tell of what matters."""
        for news in self.take_in(event, instructions, time_s):
            self._left += news.kind is Kind.FINISHED
            if self._is_told(news):
                tally = "" if news.kind is Kind.END else f" | {self._tally()}"
                self._line(f"[{time_s:8.1f} s] {news.text}{tally}")
        self.on_pulse(time_s)

    def on_pulse(self, time_s: float) -> None:
        """Tell of an interrupt."""
        if self._is_interrupted:
            self._is_interrupted = False
            self._line(INTERRUPTED)

    def close(self) -> None:
        """Tell of an interrupt that came when nothing happened any more."""
        self.on_pulse(0.0)
        super().close()

    def _is_told(self, news: News) -> bool:
        if news.kind is Kind.END:
            return self._left > 0
        if self._left <= _RESERVE or self.is_known(news):
            return False
        if news.kind is Kind.FINISHED:
            self._small += 1
            return self._small % self._stride == 0 or self._left <= _RESERVE + 1
        return True

    def _tally(self) -> str:
        ahead = self.ahead_text()
        return ", ".join([*self.tally(), self.best_text()]) + (f"; {ahead}" if ahead else "")

    def _line(self, text: str) -> None:
        self._left -= 1
        self.console.file.write(f"{text}\n")
        self.console.file.flush()

"""One line that tells how training goes: loss, tokens a second, time left."""

import sys
import time

from rich.console import Console

SECONDS_BETWEEN_LINES = 15.0


def console() -> Console:
    """Where progress goes: standard error, so that results can be piped."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


class Progress:
    """A line rewritten in place on a terminal, a line now and then elsewhere."""

    def __init__(
        self,
        label: str,
        total_steps: int,
        tokens_per_step: int,
        done: int = 0,
        *,
        unit: str = "step",
        shown: bool = True,
    ) -> None:
        self.shown = shown
        self.label = label
        self.unit = unit
        self.total = total_steps
        self.tokens_per_step = tokens_per_step
        self.first = done
        self.started = time.monotonic()
        self.printed = self.started
        self.live = sys.stderr.isatty()

    @property
    def seconds(self) -> float:
        """Seconds since this process took up the work."""
        return time.monotonic() - self.started

    def tokens_per_second(self, step: int) -> float:
        """Rate of this process so far."""
        return (step - self.first) * self.tokens_per_step / max(1e-9, self.seconds)

    def update(self, step: int, loss: float | None = None) -> None:
        """Tell about a finished step, if it is time to."""
        if not self.shown:
            return
        now = time.monotonic()
        wait = 0.2 if self.live else SECONDS_BETWEEN_LINES
        if now - self.printed < wait and step < self.total:
            return
        self.printed = now
        rate = self.tokens_per_second(step)
        left = (self.total - step) * self.tokens_per_step / max(1e-9, rate)
        told = "" if loss is None else f", loss {loss:.3f}"
        line = (
            f"  {self.label}: {self.unit} {step}/{self.total}{told}, {rate:,.0f} tokens/s,"
            f" {minutes(left)} left"
        )
        sys.stderr.write(f"\r\x1b[K{line}" if self.live else f"{line}\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Clear the rewritten line."""
        if self.live and self.shown:
            sys.stderr.write("\r\x1b[K")


def minutes(seconds: float) -> str:
    """Seconds for people.

    >>> minutes(59), minutes(61), minutes(7300)
    ('59 s', '1 min 01 s', '2 h 01 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"

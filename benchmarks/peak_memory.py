"""Peak memory: what torch's tensors add to those that are there before, in bytes."""

from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile


class PeakRecord:
    """Bytes of CPU tensors that live at once at most, by torch's own record of its allocations."""

    def __init__(self) -> None:
        self._profile = profile(activities=[ProfilerActivity.CPU], profile_memory=True)

    def start(self) -> None:
        """From here on."""
        self._profile.start()

    def stop(self) -> int:
        """Up to here; what was there at the start is not counted."""
        self._profile.stop()
        assert self._profile.profiler is not None
        events = self._profile.profiler.kineto_results.events()
        changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
        held = peak = 0
        for _, change in changes:
            held += change
            peak = max(peak, held)
        return peak


def peak_bytes(call: Callable[[], object]) -> int:
    """Of one call."""
    record = PeakRecord()
    record.start()
    call()
    return record.stop()


def cuda_peak_bytes(call: Callable[[], object]) -> int:
    """The same of the current GPU."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    return torch.cuda.max_memory_allocated() - before

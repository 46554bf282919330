"""What speaks against a run on this machine, and the remedy: one line each."""

from collections.abc import Iterator

from babyllama.machine.facts import Disk, Memory, Processor

GIB = 2**30


def of_threads(processor: Processor, threads: int) -> Iterator[str]:
    """More threads than may run wait for each other; fewer leave cores idle."""
    if threads < processor.usable:
        yield (
            f"{processor.usable} cores, but threads: {threads}; unset OMP_NUM_THREADS, or set"
            f" runtime.threads={processor.usable}"
        )
    if processor.quota and threads > processor.quota:
        yield (
            f"threads: {threads}, but the time of {processor.quota:g} cores only; set"
            f" runtime.threads={processor.usable}"
        )


def of_load(load: float | None, processor: Processor) -> Iterator[str]:
    """Other programs slow training, and spoil the measurement."""
    if load is not None and load > max(1.0, processor.usable / 2):
        yield (
            f"the machine is busy (load {load:.1f} on {processor.cores} cores): what is measured"
            " here is too slow by what others take"
        )


def of_disk(disk: Disk, needed: float) -> Iterator[str]:
    """A run directory that takes no file, or too little room; `needed` are bytes."""
    if not disk.writable:
        yield f"{disk.place} cannot be written: choose another place with --run-dir"
    if disk.free < needed:
        yield (
            f"the run needs about {needed / GIB:.1f} GiB of disk, {disk.place} has"
            f" {disk.free / GIB:.1f} GiB free: free space or choose another --run-dir"
        )


def of_memory(name: str, needed: float, free: float) -> Iterator[str]:
    """A model that does not fit; both are bytes, on the device that trains."""
    if needed > free:
        yield (
            f"models.{name} needs about {needed / GIB:.1f} GiB of memory, {free / GIB:.1f} GiB are"
            f" free: lower models.{name}.training.micro_batch, or take smaller models"
        )


def of_limit(memory: Memory) -> Iterator[str]:
    """Little memory for anything."""
    if memory.free < 2 * GIB:
        yield f"only {memory.free / GIB:.1f} GiB of memory are free: close other programs"


def of_precision(native: bool, precision: str) -> Iterator[str]:
    """bf16 is what makes training fast."""
    if not native:
        told = "training in fp32 takes about twice as long as on hardware that has it"
        if precision == "bf16":
            told = "training in it as asked is slower than fp32"
        yield f"no bf16 products in hardware: {told}"


def of_compiler(compiler: str | None) -> Iterator[str]:
    """Without one the loss of long trainings stays plain."""
    if not compiler:
        yield "no C++ compiler (g++): the loss of long trainings is not compiled"


def of_versions(unmet: list[str]) -> Iterator[str]:
    """Libraries that the package was not made for."""
    for text in unmet:
        yield f"{text}: install the versions of constraints.txt"

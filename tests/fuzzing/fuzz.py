"""What the tests here share: damaged bytes and JSON, and the promise that is held."""

import json
import os
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from babyllama.errors import BabyllamaError

INPUTS = int(os.environ.get("FUZZ_INPUTS", "12"))
"""A test: a few every day, many in `make fuzz`."""
fuzzed = settings(
    max_examples=INPUTS,
    derandomize=INPUTS == 12,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
HANG = 20.0
"""Seconds of this process's own time that no input of these sizes may take: a pause is no hang."""
ODD_TEXT = st.text(
    st.characters() | st.sampled_from("\x00\n\r\t\x1c\x85\u2028\ufeff\u202e<>&{}[]\"'\\:#*-|,=%@!"),
    max_size=60,
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | ODD_TEXT
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ODD_TEXT, inner, max_size=4),
    max_leaves=8,
)
DEEP = st.sampled_from(["[" * 50_000, '{"a":' * 50_000, "[" * 3000 + "]" * 3000])


class HungError(Exception):
    """An input took longer than any may."""


def kept(call: Callable[[], Any]) -> Any:
    """What a call gives, or None where it ends in an error of our own; nothing else is allowed."""
    with warnings.catch_warnings(), no_hang():
        warnings.simplefilter("ignore")
        try:
            return call()
        except BabyllamaError:
            return None


@contextmanager
def no_hang() -> Iterator[None]:
    """Raise where what is inside does not come to an end."""

    def hung(*_: object) -> None:
        raise HungError

    before = signal.signal(signal.SIGPROF, hung)
    signal.setitimer(signal.ITIMER_PROF, HANG)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes with some of them cut, changed, doubled, or put in."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        end = draw(st.integers(at, min(len(content), at + 64)))
        what = draw(st.sampled_from(["cut", "change", "drop", "double", "insert"]))
        if what == "cut":
            del content[at:]
        elif what == "change":
            content[at:end] = draw(st.binary(min_size=end - at, max_size=end - at))
        elif what == "drop":
            del content[at:end]
        elif what == "double":
            content[at:at] = content[at:end]
        else:
            content[at:at] = draw(st.binary(max_size=20))
    return bytes(content)


@st.composite
def changed(draw: st.DrawFn, value: Any, other: Any = JSON) -> Any:
    """JSON in which one value, somewhere, is another one, is gone, or has an unknown neighbour."""
    if isinstance(value, dict) and value and draw(st.integers(0, 4)):
        key = draw(st.sampled_from([*value]))
        what = draw(st.sampled_from(["inside", "inside", "inside", "gone", "more"]))
        if what == "gone":
            return {k: v for k, v in value.items() if k != key}
        if what == "more":
            return value | {draw(ODD_TEXT): draw(other)}
        return value | {key: draw(changed(value[key], other))}
    if isinstance(value, list) and value and draw(st.integers(0, 4)):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], draw(changed(value[at], other)), *value[at + 1 :]]
    return draw(other)


def json_bytes(value: Any) -> bytes:
    """A value as JSON, as far as UTF-8 can hold it."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


def lines_of_json(row: Any) -> st.SearchStrategy[bytes]:
    """A file of JSON lines like `row`, some of them damaged."""
    line = (
        st.just(json_bytes(row))
        | changed(row).map(json_bytes)
        | damaged(json_bytes(row))
        | DEEP.map(str.encode)
    )
    ends = st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\r", "\u2028".encode()])
    return st.tuples(st.lists(line, max_size=4), ends).map(lambda pair: pair[1].join(pair[0]))

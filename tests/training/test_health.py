import math
import signal
import time

import pytest
import torch

from babyllama.errors import DivergedError, RecipeError
from babyllama.tokens.batches import Batch
from babyllama.training import health
from babyllama.training.health import (
    StopRequest,
    TimeIsUp,
    are_finite,
    check_finite,
    chunks_of,
    seconds_of,
    time_limit,
)

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_noted_by_name(number: signal.Signals) -> None:
    stop = StopRequest()
    with stop.listening():
        assert stop.signal is None
        signal.raise_signal(number)
        assert stop.signal == number.name


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_the_second_signal_interrupts(first: signal.Signals, second: signal.Signals) -> None:
    with StopRequest().listening():
        signal.raise_signal(first)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(second)


def test_handlers_are_given_back_whatever_happens() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with StopRequest().listening():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before

    def fail() -> None:
        with StopRequest().listening():
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["loss", "gradient norm"])
def test_a_value_that_is_not_finite_is_refused_in_one_line(name: str, value: float) -> None:
    values = {"loss": 1.0, "gradient norm": 2.0} | {name: value}
    with pytest.raises(DivergedError) as caught:
        check_finite(values, model="student", step=12)
    message = str(caught.value)
    assert f"student diverged at step 12: loss {values['loss']}" in message
    assert "lower models.student.training.learning_rate" in message
    assert "\n" not in message
    assert caught.value.exit_code == 3


def test_of_an_ascent_fewer_steps_are_advised() -> None:
    with pytest.raises(DivergedError, match=r"learning_rate or take fewer steps, then run again"):
        check_finite({"loss": math.inf}, model="gap", step=12, ascent=True)


def test_finite_values_pass() -> None:
    check_finite({"loss": 0.0, "gradient norm": 1e300}, model="student", step=1)


def test_the_end_of_the_time_is_noted_in_a_training() -> None:
    stop = StopRequest()
    with time_limit(0.01), stop.listening():
        while not stop.signal:
            time.sleep(0.001)
        assert stop.signal == "time limit"
        signal.raise_signal(signal.SIGALRM)
        signal.raise_signal(signal.SIGTERM)  # the first that somebody sends
        assert stop.signal == "SIGTERM"
        signal.raise_signal(signal.SIGALRM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


def test_the_end_of_the_time_interrupts_what_does_not_listen() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TimeIsUp, match="time limit"), time_limit(0.01):
        time.sleep(10)
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_without_a_limit_no_alarm_is_set() -> None:
    with time_limit(None):
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    with time_limit(1000):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 900


@pytest.mark.parametrize("text", ["", "0", "0h", "2x", "2h30", "-5", "m", "1m2h", "nan", "1e3"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match=r"write hours and minutes as 2h30m, or minutes as 150"):
        seconds_of(text)


def test_steps_are_reported_at_once_and_then_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, told = [100.0], []
    monkeypatch.setattr(health.time, "monotonic", lambda: now[0])
    stop = StopRequest()
    stop.reached(1, 9)
    stop.report = lambda step, steps: told.append((step, steps))
    for step in range(1, 8):
        stop.reached(step, 9)
        now[0] += 2
    assert told == [(1, 9), (4, 9), (7, 9)]


def test_a_batch_is_named_by_where_its_chunks_start() -> None:
    def named(chunks: int) -> str:
        starts = torch.arange(chunks) * 7
        ids = torch.zeros(chunks, 2, dtype=torch.int64)
        return chunks_of(Batch(ids, ids, starts, "train"), 3)

    assert named(3) == " (epoch 3, chunks of the train split from tokens 0, 7, 14)"
    assert named(40).endswith(f"0, 7, {', '.join(str(7 * n) for n in range(2, 32))} and 8 more)")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_entry_that_is_not_finite_is_found(value: float) -> None:
    tensors = [torch.zeros(3), torch.tensor([1.0, value])]
    assert are_finite(tensors[:1])
    assert not are_finite(tensors)

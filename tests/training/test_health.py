import math
import signal

import pytest

from babyllama.errors import DivergedError
from babyllama.training.health import StopRequest, check_finite

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


def test_finite_values_pass() -> None:
    check_finite({"loss": 0.0, "gradient norm": 1e300}, model="student", step=1)

from types import SimpleNamespace

import pytest

from babyllama.training.progress import Progress, console, minutes


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands still until told otherwise."""
    clock = SimpleNamespace(now=100.0)
    fake = SimpleNamespace(monotonic=lambda: clock.now)
    monkeypatch.setattr("babyllama.training.progress.time", fake)
    return clock


def test_a_line_tells_loss_speed_and_time_left(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress("student", 100, 2000)
    clock.now += 20
    progress.update(10, 3.14159)
    line = "  student: step 10/100, loss 3.142, 1,000 tokens/s, 3 min 00 s left\n"
    assert capsys.readouterr().err == line


def test_what_has_no_loss_is_told_in_its_own_unit(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress("signal", 10_000, 1, 4_000, unit="token")
    clock.now += 20
    progress.update(6_000)
    line = "  signal: token 6000/10000, 100 tokens/s, 40 s left\n"
    assert capsys.readouterr().err == line


def test_lines_come_now_and_then_and_at_the_end(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress("student", 40, 2000)
    for step in range(1, 41):
        clock.now += 1
        progress.update(step, 1.0)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        f"  student: step {step}/40" for step in (15, 30, 40)
    ]


def test_a_terminal_has_one_line_that_is_cleared(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    progress = Progress("student", 100, 2000)
    for step in (1, 2):
        clock.now += 1
        progress.update(step, 1.0)
    progress.close()
    written = capsys.readouterr().err
    assert written.count("\r\x1b[K") == 3
    assert "\n" not in written
    assert written.endswith("\r\x1b[K")


def test_the_rate_of_a_resumed_training_leaves_out_what_was_done_before(
    clock: SimpleNamespace,
) -> None:
    progress = Progress("student", 100, 2000, done=50)
    clock.now += 10
    assert progress.seconds == 10
    assert progress.tokens_per_second(60) == 2000


def test_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    console().print("made tokens")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "made tokens\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (3599, "59 min 59 s"), (3600, "1 h 00 min")],
)
def test_seconds_are_written_for_people(seconds: float, text: str) -> None:
    assert minutes(seconds) == text

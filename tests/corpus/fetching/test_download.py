"""One file from a server on this machine that drops, stalls, lies and redirects."""

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from babyllama.corpus.fetching.download import Patience, download
from babyllama.corpus.fetching.remote import Remote, check_address, verify
from babyllama.errors import BabyllamaError, CorruptDataError
from corpus.fetching.webserver import Answer, Site, serving

BODY = bytes(range(256)) * 40
OTHER = bytes(reversed(BODY)) + b"!"
SHA256 = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
IMPATIENT = Patience(timeout=10, pause=0.001, tries=3, report=0)
HASTY = Patience(timeout=0.3, pause=0.001, tries=3)
REMEDY = "take the bus"


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as found:
        yield found


def fetched(url: str, target: Path, **known: Any) -> list[str]:
    """Download with little patience; the lines that it said."""
    said: list[str] = []
    patience = known.pop("patience", IMPATIENT)
    download(
        Remote(url=url, **known),
        target,
        remedy=REMEDY,
        say=said.append,
        patience=patience,
        loopback=True,
    )
    return said


def failure(url: str, target: Path, **known: Any) -> BabyllamaError:
    """The error of a download, in one line, with nothing under the final name."""
    with pytest.raises(BabyllamaError) as caught:
        fetched(url, target, **known)
    assert not target.exists()
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "data.zip"


def test_a_file_arrives_and_nothing_lies_beside_it(site: Site, target: Path) -> None:
    said = fetched(site.put("/a", Answer(body=BODY)), target, size=len(BODY), digest=SHA256)
    assert target.read_bytes() == BODY
    assert list(target.parent.iterdir()) == [target]
    assert said
    assert all("data.zip" in line for line in said)


def test_a_dropped_connection_is_gone_on_with_where_it_ended(site: Site, target: Path) -> None:
    url = site.put(
        "/a", Answer(body=BODY, cut=1000), Answer(body=BODY, cut=5000), Answer(body=BODY)
    )
    fetched(url, target)
    assert target.read_bytes() == BODY
    assert site.ranges() == ["", "bytes=1000-", "bytes=5000-"]
    assert [headers.get("if-range") for _, headers in site.asked] == [None, '"one"', '"one"']


def test_a_stalled_connection_is_left_and_gone_on_with(site: Site, target: Path) -> None:
    url = site.put("/a", Answer(body=BODY, cut=100, stall=5), Answer(body=BODY))
    fetched(url, target, patience=HASTY)
    assert target.read_bytes() == BODY
    assert site.ranges() == ["", "bytes=100-"]


def test_bytes_that_only_drip_count_as_a_stall(site: Site, target: Path) -> None:
    url = site.put("/a", Answer(body=BODY, drip=0.02), Answer(body=BODY))
    said = fetched(url, target, patience=HASTY)
    assert target.read_bytes() == BODY
    assert any("bytes came in" in line for line in said)


def test_what_an_earlier_process_left_is_gone_on_with(site: Site, target: Path) -> None:
    url = site.put("/a", Answer(body=BODY, cut=3000), Answer(status=503), Answer(body=BODY))
    failure(url, target, patience=Patience(pause=0.001, tries=2))
    fetched(url, target)
    assert target.read_bytes() == BODY
    assert site.ranges()[-1] == "bytes=3000-"


def test_other_content_replaces_what_had_arrived(site: Site, target: Path) -> None:
    fetched(site.put("/a", Answer(body=BODY, cut=99), Answer(body=OTHER, etag='"two"')), target)
    assert target.read_bytes() == OTHER


def test_other_content_is_noticed_even_if_the_server_goes_on_in_it(
    site: Site, target: Path
) -> None:
    other = Answer(body=OTHER, etag='"two"', check=False)
    fetched(site.put("/a", Answer(body=BODY, cut=99), other), target)
    assert target.read_bytes() == OTHER


def test_a_server_without_ranges_sends_it_all_again(site: Site, target: Path) -> None:
    whole = Answer(body=BODY, ranges=False)
    fetched(site.put("/a", Answer(body=BODY, cut=99), whole), target)
    assert target.read_bytes() == BODY


def test_a_rest_from_another_place_is_not_taken(site: Site, target: Path) -> None:
    wrong = Answer(body=BODY, shift=7)
    fetched(site.put("/a", Answer(body=BODY, cut=99), wrong, Answer(body=BODY)), target)
    assert target.read_bytes() == BODY
    assert site.ranges() == ["", "bytes=99-", ""]


def test_without_a_validator_only_a_digest_lets_a_transfer_go_on(site: Site, target: Path) -> None:
    for etag in ("", 'W/"weak"'):
        bad, good = Answer(body=BODY, etag=etag, cut=99), Answer(body=BODY, etag=etag)
        for digest, second in ((None, ""), (SHA256, "bytes=99-")):
            site.asked.clear()
            fetched(site.put("/a", bad, good), target, digest=digest)
            assert target.read_bytes() == BODY
            assert site.ranges() == ["", second]
            target.unlink()


def test_a_date_is_a_validator_too(site: Site, target: Path) -> None:
    dated = {"etag": "", "date": "Thu, 12 Jan 2023 15:23:34 GMT"}
    url = site.put("/a", Answer(body=BODY, cut=99, **dated), Answer(body=BODY, **dated))
    fetched(url, target)
    assert target.read_bytes() == BODY
    assert site.asked[1][1]["if-range"] == dated["date"]


def test_the_part_of_another_address_is_not_gone_on_with(site: Site, target: Path) -> None:
    failure(site.put("/a", Answer(body=OTHER, cut=99)), target)
    site.asked.clear()
    fetched(site.put("/b", Answer(body=BODY)), target)
    assert target.read_bytes() == BODY
    assert site.ranges() == [""]


@pytest.mark.parametrize("size", [None, len(BODY)])
def test_a_part_that_is_whole_is_not_asked_for_again(
    site: Site, target: Path, size: int | None
) -> None:
    url = site.put("/a", Answer(body=BODY, length=len(BODY) + 1), Answer(body=BODY))
    if size:
        (target.parent / "data.zip.part").write_bytes(BODY)
        origin = f'{{"url": "{url}", "validator": "\\"one\\""}}'
        (target.parent / "data.zip.part.json").write_text(origin)
    fetched(url, target, size=size)
    assert target.read_bytes() == BODY
    assert site.ranges() == ([] if size else ["", f"bytes={len(BODY)}-"])


def test_a_server_that_promises_more_than_it_has_is_given_up(site: Site, target: Path) -> None:
    lie = Answer(body=BODY, length=len(BODY) + 1000, ranges=False)
    error = failure(site.put("/a", lie), target)
    assert "broke off after 10,240 of 11,240 bytes" in str(error)
    assert REMEDY in str(error)
    assert len(site.asked) == IMPATIENT.tries


def test_another_length_than_the_known_one_is_refused_at_once(site: Site, target: Path) -> None:
    error = failure(site.put("/a", Answer(body=BODY)), target, size=5)
    assert isinstance(error, CorruptDataError)
    assert "data.zip is not the official file: expected bytes 5, found 10,240" in str(error)
    assert len(site.asked) == 1


def test_a_length_that_is_too_short_does_not_pass(site: Site, target: Path) -> None:
    short = Answer(body=BODY, length=100)
    assert isinstance(failure(site.put("/a", short), target, digest=SHA256), CorruptDataError)
    short = Answer(body=BODY[:100], chunked=True)
    error = failure(site.put("/a", short), target, size=len(BODY))
    assert "expected bytes 10,240, found 100" in str(error)


def test_other_bytes_than_the_known_ones_are_deleted(site: Site, target: Path) -> None:
    error = failure(site.put("/a", Answer(body=OTHER)), target, digest=SHA256)
    assert isinstance(error, CorruptDataError)
    assert SHA256.removeprefix("sha256:") in str(error)
    assert list(target.parent.iterdir()) == []


def test_a_chunked_body_that_ends_early_is_asked_for_again(site: Site, target: Path) -> None:
    bad = Answer(body=BODY, chunked=True, cut=99)
    fetched(site.put("/a", bad, Answer(body=BODY, chunked=True)), target)
    assert target.read_bytes() == BODY


@pytest.mark.parametrize("chunked", [True, False])
def test_more_than_the_limit_is_not_taken(site: Site, target: Path, chunked: bool) -> None:
    error = failure(site.put("/a", Answer(body=BODY, chunked=chunked)), target, limit=500)
    assert isinstance(error, CorruptDataError)
    assert "sends more than 500 bytes" in str(error)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_an_address_without_the_file_is_told_at_once(site: Site, target: Path, status: int) -> None:
    url = site.put("/a", Answer(status=status))
    error = failure(url, target)
    assert error.exit_code == 1
    assert url in str(error)
    assert f"answers {status}" in str(error)
    assert str(error).endswith(REMEDY)
    assert len(site.asked) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_in_trouble_is_asked_again_but_not_for_ever(
    site: Site, target: Path, status: int
) -> None:
    trouble = Answer(status=status)
    said = fetched(site.put("/a", trouble, trouble, Answer(body=BODY)), target)
    assert target.read_bytes() == BODY
    assert sum("trying again" in line for line in said) == 2
    target.unlink()
    site.asked.clear()
    assert f"answers {status}" in str(failure(site.put("/a", trouble), target))
    assert len(site.asked) == IMPATIENT.tries


def test_a_web_page_is_not_taken_for_the_file(site: Site, target: Path) -> None:
    page = Answer(body=b"<html>moved</html>", kind="text/html; charset=utf-8")
    assert "web page" in str(failure(site.put("/a", page), target))
    assert len(site.asked) == 1


def test_a_redirect_keeps_the_place_where_to_go_on(site: Site, target: Path) -> None:
    real = site.put("/real", Answer(body=BODY, cut=99), Answer(body=BODY))
    fetched(site.put("/a", Answer(status=302, location=real)), target)
    assert target.read_bytes() == BODY
    assert site.ranges() == ["", "", "bytes=99-", "bytes=99-"]


@pytest.mark.parametrize(
    "location", ["http://data.example/a.zip", "ftp://data.example/a.zip", "file:///etc/hostname"]
)
def test_a_redirect_to_an_unsafe_address_is_refused(
    site: Site, target: Path, location: str
) -> None:
    url = site.put("/a", Answer(status=302, location=location))
    error = failure(url, target)
    assert "expected https" in str(error) or "answers 302" in str(error)
    assert len(site.asked) == 1


def test_a_redirect_in_circles_ends(site: Site, target: Path) -> None:
    url = f"{site.address}/a"
    site.put("/a", Answer(status=302, location=url))
    assert "302" in str(failure(url, target))


@pytest.mark.parametrize(
    "url", ["http://data.example/a", "http://127.0.0.1/a", "file:///a", "ftp://data.example/a", "a"]
)
def test_only_https_is_asked(url: str, target: Path) -> None:
    check_address("https://data.example/a")
    with pytest.raises(BabyllamaError, match="expected https"):
        download(Remote(url=url), target, remedy=REMEDY, say=print)


def test_without_a_network_there_is_one_line_at_once(target: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        error = failure(f"http://127.0.0.1:{taken.getsockname()[1]}/a", target)
    assert "cannot reach 127.0.0.1" in str(error)
    assert str(error).endswith(REMEDY)
    assert list(target.parent.iterdir()) == []


def test_a_network_that_goes_away_in_between_is_waited_for(site: Site, target: Path) -> None:
    """After an answer a refused connection is one more try, not the end."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        gone = Answer(status=302, location=f"http://127.0.0.1:{taken.getsockname()[1]}/a")
        url = site.put("/a", Answer(body=BODY, cut=99), gone, Answer(body=BODY))
        fetched(url, target)
    assert target.read_bytes() == BODY


def test_a_digest_is_sha256_md5_or_that_of_a_git_blob(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"hello\n")
    # As `sha256sum`, `md5sum` and `git hash-object` give them.
    for digest in (
        "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
        "md5:b1946ac92492d2347c6235b4d2611184",
        "git:ce013625030ba8dba906f756967f9e9ca394464a",
    ):
        verify(file, Remote(url="", digest=digest), "a")
        with pytest.raises(CorruptDataError, match="found"):
            verify(file, Remote(url="", digest=digest[:-1] + "0"), "a")


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(
    cuts=st.lists(st.integers(0, len(BODY)), max_size=4),
    ranges=st.booleans(),
    chunked=st.booleans(),
)
def test_however_it_breaks_off_the_same_bytes_arrive(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], ranges: bool, chunked: bool
) -> None:
    target = tmp_path_factory.mktemp("cut") / "a"
    broken = [Answer(body=BODY, cut=cut, ranges=ranges, chunked=chunked) for cut in cuts]
    with serving() as site:
        url = site.put("/a", *broken, Answer(body=BODY))
        fetched(url, target, patience=Patience(pause=0.001, tries=6))
    assert target.read_bytes() == BODY

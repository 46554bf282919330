"""One file over https, taken up where it broke off.

    NAME.part         what has arrived
    NAME.part.json    from which address, and the validator (ETag or date) of that content

A broken transfer goes on with a Range request that holds only while the content is the same
(`If-Range`, RFC 9110 section 13.1.5). A server that has other content by now, or cannot go on in
the middle, sends the whole file, which then replaces what had arrived.
"""

import json
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from babyllama.corpus.fetching.remote import Remote, check_address, differs, verify
from babyllama.errors import BabyllamaError, CorruptDataError
from babyllama.store import sync_path, write_json

BLOCK = 1 << 18
PROGRESS = 1 << 20
"""Bytes that a broken try must have got further not to count as one in vain."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a server is waited for, and how often it is asked again."""

    timeout: float = 30.0
    """Seconds without a byte, or with fewer than `slowest` a second, after which it has stalled."""
    slowest: float = 1000.0
    """Bytes a second."""
    tries: int = 6
    """Tries in vain, one after the other, before giving up."""
    pause: float = 1.0
    """Seconds before the second try; twice as long before each further one."""
    report: float = 5.0
    """Seconds between two lines that tell how much has arrived."""


class _BrokenError(Exception):
    """A try that failed; `again` says whether another one can help."""

    def __init__(self, reason: str, *, again: bool = True) -> None:
        super().__init__(reason)
        self.again = again


def download(
    remote: Remote,
    target: Path,
    *,
    remedy: str,
    say: Callable[[str], None],
    patience: Patience | None = None,
    loopback: bool = False,
) -> None:
    """Fetch a file to `target`, going on with what has arrived of it before, and verify it.

    `remedy` ends the line of every error. `loopback` is for tests: it allows plain http to this
    machine itself, past any proxy.

    Raises:
        BabyllamaError: no network, an address without the file, a server that keeps failing.
        CorruptDataError: another file than the expected one.
    """
    patience = patience or Patience()
    check_address(remote.url, loopback=loopback)
    transfer = _Transfer(remote, target, patience=patience, say=say, loopback=loopback)
    failed = furthest = 0
    while True:
        try:
            transfer.attempt()
            break
        except _BrokenError as broken:
            reached = transfer.offset()
            failed = 1 if reached >= furthest + PROGRESS else failed + 1
            furthest = max(furthest, reached)
            if not broken.again or failed >= patience.tries:
                raise BabyllamaError(f"{remote.url}: {broken}: {remedy}") from broken
            pause = patience.pause * 2 ** (failed - 1)
            say(f"{target.name}: {broken}; trying again in {pause:.0f} s")
            time.sleep(pause)
    try:
        verify(transfer.part, remote, target.name)
    except CorruptDataError:
        transfer.forget()
        raise
    sync_path(transfer.part)
    transfer.part.replace(target)
    transfer.forget()


class _Transfer:
    """What has arrived of one file, and the next request for the rest of it."""

    def __init__(
        self,
        remote: Remote,
        target: Path,
        *,
        patience: Patience,
        say: Callable[[str], None],
        loopback: bool,
    ) -> None:
        self.remote, self.name, self.patience, self.say = remote, target.name, patience, say
        self.part = target.with_name(f"{target.name}.part")
        self.origin = target.with_name(f"{target.name}.part.json")
        self.opener = _opener(loopback=loopback)
        self.answered = False

    def offset(self) -> int:
        """Bytes that have arrived."""
        return self.part.stat().st_size if self.part.exists() else 0

    def forget(self) -> None:
        """Delete what has arrived."""
        self.part.unlink(missing_ok=True)
        self.origin.unlink(missing_ok=True)

    def attempt(self) -> None:
        """One request, and all that comes of it; `_BrokenError` where the file is not whole."""
        headers = self._continuation()
        if self.offset() == self.remote.size:
            return
        try:
            response = self._answer(headers)
        except HTTPError as error:
            if error.code == 416 and self._is_whole(error.headers):
                return
            raise self._refusal(error) from error
        with response:
            whole = self._begin(response)
            self._receive(response, whole)
        if whole is not None and self.offset() < whole:
            raise _BrokenError(f"broke off after {self.offset():,} of {whole:,} bytes")

    def _continuation(self) -> dict[str, str]:
        """The headers that ask for the rest; what cannot be gone on with is forgotten.

        Where a digest will tell in the end, the server need not have given a validator.
        """
        origin = _read_json(self.origin)
        validator = origin.get("validator", "")
        known = origin.get("url") == self.remote.url and (validator or self.remote.digest)
        if not known or self.offset() > (self.remote.size or self.remote.limit):
            self.forget()
        if not self.offset():
            return {}
        condition = {"If-Range": validator} if validator else {}
        return {"Range": f"bytes={self.offset()}-"} | condition

    def _answer(self, headers: dict[str, str]) -> HTTPResponse:
        # The scheme has been checked, and is again at every redirect.
        request = Request(  # noqa: S310
            self.remote.url, headers={"User-Agent": "babyllama", **headers}
        )
        try:
            response: HTTPResponse = self.opener.open(request, timeout=self.patience.timeout)
        except HTTPError:
            self.answered = True
            raise
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error
        self.answered = True
        return response

    def _unreachable(self, error: Exception) -> _BrokenError:
        """Where nothing ever answered there is no network; after an answer, one that shakes."""
        reason = error.reason if isinstance(error, URLError) else error
        host = urlsplit(self.remote.url).hostname
        if isinstance(reason, ssl.SSLCertVerificationError):
            return _BrokenError(f"the certificate is not valid ({_line(reason)})", again=False)
        connected = not isinstance(error, URLError) or isinstance(reason, ConnectionResetError)
        if not connected and not self.answered:
            return _BrokenError(f"cannot reach {host} ({_line(reason)})", again=False)
        return _BrokenError(f"{host} does not answer ({_line(reason)})")

    def _refusal(self, error: HTTPError) -> _BrokenError:
        error.close()
        reason = f"the server answers {error.code} {_line(error.reason)}"
        if error.code == 416:
            self.forget()
            return _BrokenError(reason)
        if error.code in (408, 425, 429) or error.code >= 500:
            return _BrokenError(reason)
        return _BrokenError(f"{reason}, the file may have moved", again=False)

    def _is_whole(self, headers: Message) -> bool:
        """Whether a range that cannot be satisfied begins where the file ends."""
        found = re.fullmatch(r"bytes \*/(\d+)", headers.get("Content-Range", ""))
        return found is not None and 0 < self.offset() == int(found[1])

    def _begin(self, response: HTTPResponse) -> int | None:
        """Get ready for the body; the length of the whole file, if the server tells it."""
        if response.headers.get_content_type() == "text/html":
            raise _BrokenError("the server sends a web page, the file may have moved", again=False)
        if response.status == 206:
            whole = self._continued(response)
        else:
            self.forget()
            origin = {"url": self.remote.url, "validator": _validator(response)}
            write_json(self.origin, origin)
            length = response.headers.get("Content-Length", "")
            whole = int(length) if length.isdecimal() else None
        if whole is not None and self.remote.size not in (None, whole):
            self.forget()
            raise differs(self.name, "bytes", f"{self.remote.size:,}", f"{whole:,}")
        if whole is not None and whole > self.remote.limit:
            raise self._too_large()
        return whole

    def _continued(self, response: HTTPResponse) -> int | None:
        """The whole length in an answer that goes on, which it must do where the part ends."""
        expected = _read_json(self.origin).get("validator", "")
        place = response.headers.get("Content-Range", "")
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", place)
        if not found or int(found[1]) != self.offset():
            self.forget()
            raise _BrokenError("the server went on at another place")
        if expected and _validator(response) not in ("", expected):
            self.forget()
            raise _BrokenError("the server went on with other content")
        return None if found[2] == "*" else int(found[2])

    def _receive(self, response: HTTPResponse, whole: int | None) -> None:
        """Write what comes, until it ends, breaks off, stalls, or is too much."""
        offset, since = self.offset(), 0
        told = checked = time.monotonic()
        total = f" of {whole / 1e6:,.0f}" if whole else ""
        with self.part.open("ab") as out:
            while block := self._read(response):
                out.write(block)
                out.flush()  # so that a killed process loses nothing
                offset, since = offset + len(block), since + len(block)
                if offset > self.remote.limit:
                    raise self._too_large()
                now = time.monotonic()
                if now - told >= self.patience.report:
                    told = now
                    self.say(f"{self.name}: {offset / 1e6:,.0f}{total} MB")
                if now - checked >= self.patience.timeout:
                    if since < self.patience.slowest * (now - checked):
                        raise _BrokenError(f"only {since:,} bytes came in {now - checked:.0f} s")
                    checked, since = now, 0

    def _read(self, response: HTTPResponse) -> bytes:
        """What has come by now. Only what the network does is a broken try, a full disk is not."""
        try:
            return response.read1(BLOCK)
        except TimeoutError as error:
            raise _BrokenError(f"nothing came for {self.patience.timeout:.0f} s") from error
        except (OSError, HTTPException) as error:
            raise _BrokenError(f"broke off ({_line(error)})") from error

    def _too_large(self) -> CorruptDataError:
        self.forget()
        return CorruptDataError(
            f"{self.remote.url} sends more than {self.remote.limit:,} bytes: expected a smaller"
            " file; download it by hand from its official page and give it with --from"
        )


class _Redirects(HTTPRedirectHandler):
    """Follow redirects to safe addresses only."""

    def __init__(self, *, loopback: bool) -> None:
        self.loopback = loopback

    def redirect_request(  # noqa: PLR0917 - the signature is urllib's
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        check_address(newurl, loopback=self.loopback)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(*, loopback: bool) -> OpenerDirector:
    handlers = [ProxyHandler({})] if loopback else []
    return build_opener(_Redirects(loopback=loopback), *handlers)


def _validator(response: HTTPResponse) -> str:
    """A strong ETag, or the date of the content; a weak ETag does not promise the same bytes."""
    tag: str = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _read_json(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _line(error: object) -> str:
    """What a system error says, in one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())

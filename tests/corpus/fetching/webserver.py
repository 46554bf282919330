"""A web server on this machine that behaves as badly as a test asks it to."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one request gets."""

    body: bytes = b""
    status: int = 200
    etag: str = '"one"'
    date: str = ""
    ranges: bool = True
    """Whether a request for the rest gets the rest."""
    shift: int = 0
    """Bytes by which the rest begins at another place than asked for."""
    check: bool = True
    """Whether the rest is given only for the same ETag."""
    cut: int | None = None
    """Bytes of the body after which the connection ends."""
    stall: float = 0.0
    """Seconds of silence before it ends."""
    drip: float = 0.0
    """Seconds between two bytes."""
    length: int | None = None
    """Another Content-Length than the true one."""
    chunked: bool = False
    kind: str = "application/zip"
    location: str = ""


@dataclass
class Site:
    """The pages of the server, and what was asked of it."""

    address: str = ""
    pages: dict[str, list[Answer]] = field(default_factory=dict)
    """Path -> answers, one a request; the last one stays."""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def put(self, path: str, *answers: Answer) -> str:
        """Serve answers under a path, and give its address."""
        self.pages[path] = list(answers)
        return self.address + path

    def ranges(self) -> list[str]:
        """The `Range` of every request, "" where it had none."""
        return [headers.get("range", "") for _, headers in self.asked]

    def answer(self, path: str) -> Answer:
        answers = self.pages.get(path, [Answer(status=404)])
        return answers.pop(0) if len(answers) > 1 else answers[0]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.site.asked.append((self.path, headers))
        answer = self.site.answer(self.path)
        status, start = self._place(answer, headers)
        self.send_response(status)
        self._send_headers(answer, status, start)
        self._send_body(answer, b"" if status == 416 else answer.body[start:], start)

    def _place(self, answer: Answer, headers: dict[str, str]) -> tuple[int, int]:
        asked = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        condition = headers.get("if-range", answer.etag)
        if answer.status != 200 or not answer.ranges or not asked:
            return answer.status, 0
        if answer.check and condition not in (answer.etag, answer.date):
            return 200, 0
        start = int(asked[1]) + answer.shift
        return (206, start) if start < len(answer.body) else (416, 0)

    def _send_headers(self, answer: Answer, status: int, start: int) -> None:
        whole = len(answer.body)
        if answer.etag:
            self.send_header("ETag", answer.etag)
        if answer.date:
            self.send_header("Last-Modified", answer.date)
        if answer.location:
            self.send_header("Location", answer.location)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        if status == 416:
            self.send_header("Content-Range", f"bytes */{whole}")
        if answer.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            length = 0 if status == 416 else whole - start
            self.send_header("Content-Length", str(answer.length or length))
        self.send_header("Content-Type", answer.kind)
        self.send_header("Connection", "close")
        self.end_headers()

    def _send_body(self, answer: Answer, body: bytes, start: int) -> None:
        sent = body if answer.cut is None else body[: max(0, answer.cut - start)]
        try:
            if answer.chunked:
                end = b"\r\n0\r\n\r\n" if sent == body else b""
                sent = b"%x\r\n%s%s" % (len(body), sent, end)
            for block in [sent[i : i + 1] for i in range(len(sent))] if answer.drip else [sent]:
                self.wfile.write(block)
                if answer.drip:
                    self.site.closing.wait(answer.drip)
            self.site.closing.wait(answer.stall)
        except OSError:
            pass  # the other side has gone
        self.close_connection = True


@contextmanager
def serving() -> Iterator[Site]:
    """A site that is reachable while the context lasts."""
    site = Site()
    handler = type("Handler", (_Handler,), {"site": site})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        site.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            site.closing.set()
            server.shutdown()
            thread.join()

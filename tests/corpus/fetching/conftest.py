"""A site that serves archives, and the official one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.fetching.fetched import DEV, TRAIN, make_zip
from corpus.fetching.webserver import Site, serving


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with serving() as found:
        yield found


@pytest.fixture
def body(tmp_path: Path) -> bytes:
    return make_zip(tmp_path / "official.zip", TRAIN | DEV | {"data/README.md": b"more"})

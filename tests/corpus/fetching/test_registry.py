"""The registry holds what a fetch needs, and only addresses that are safe to ask."""

import re
from importlib.resources import files

import pytest

from babyllama.corpus.fetching.registry import describe, entry, names
from babyllama.corpus.fetching.remote import check_address
from babyllama.corpus.fetching.unpack import safe_path
from babyllama.errors import RecipeError

WANTED = [
    "babylm-2023-strict-small",
    "babylm-2023-strict",
    "babylm-2024-strict-small",
    "babylm-2024-strict",
    "blimp",
    "babylm-evaluation",
]


def test_what_users_ask_for_has_a_name() -> None:
    assert set(WANTED) <= set(names())


@pytest.mark.parametrize("name", names())
def test_every_entry_says_where_it_is_from_and_on_which_terms(name: str) -> None:
    known = entry(name)
    check_address(known.page)
    for archive in known.archives:
        check_address(archive.url)
        assert not (archive.generated and (archive.digest or archive.bytes))
    text = describe(name)
    for part in (known.about, known.page, known.licence, known.citation, known.archives[0].url):
        assert part in text
        assert part.strip() == part
    assert len({archive.name for archive in known.archives}) == len(known.archives)


@pytest.mark.parametrize("name", names())
def test_checked_files_lie_where_the_archives_put_them(name: str) -> None:
    known = entry(name)
    places = {place for archive in known.archives for place in archive.keep.values()}
    for file in (*known.characters, *known.bytes):
        assert safe_path(file).parts[0] in places or (places == {"."} and "/" not in file)
    assert known.use.format(folder="x").count("x") >= 1


def test_the_official_character_counts_are_known() -> None:
    small, large = entry("babylm-2023-strict-small"), entry("babylm-2023-strict")
    assert small.characters["babylm_10M/switchboard.train"] == 601_050
    assert sum(n for file, n in small.characters.items() if file.endswith(".train")) == 54_534_357
    dev = {file: n for file, n in small.characters.items() if file.startswith("babylm_dev/")}
    assert len(dev) == 10
    assert large.characters == dev
    assert small.archives[0].url == large.archives[0].url


def test_every_file_of_blimp_is_known_where_a_folder_has_no_digest() -> None:
    files_of_blimp = entry("blimp").bytes
    assert len(files_of_blimp) == 67
    assert all(file.endswith(".jsonl") for file in files_of_blimp)
    assert files_of_blimp["adjunct_island.jsonl"] == 359_284


def test_every_address_has_its_source_in_a_comment() -> None:
    lines = (
        files("babyllama.corpus.fetching").joinpath("registry.yaml").read_text("utf-8").splitlines()
    )
    for number, line in enumerate(lines):
        if line.strip().startswith("url: "):
            before = "".join(lines[max(0, number - 8) : number])
            assert re.search(r"# .*(Address|README|same archive|address)", before), line


def test_a_name_that_is_nearly_right_is_suggested() -> None:
    with pytest.raises(RecipeError, match="did you mean 'blimp'"):
        entry("blimpp")
    with pytest.raises(RecipeError, match="babylm-2023-strict-small, babylm-2023-strict, "):
        describe("xyz")

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from html_page import read_page

from babyllama.report.cleaning import CleanedSource, cleaned_sources
from babyllama.report.page import write_report
from babyllama.report.results import read_results

SCRIPT = "<script>alert('x')</script>"
LINK = "What cleaning did, rule by rule"
Edit = Callable[[dict[str, dict[str, dict[str, dict[str, object]]]]], None]

pytestmark = pytest.mark.usefixtures("undrawn")


def edit(run: Path, change: Edit) -> None:
    file = run / "corpus" / "effects.json"
    effects = json.loads(file.read_text())
    change(effects)
    file.write_text(json.dumps(effects))


def sources(run: Path) -> dict[str, CleanedSource]:
    return {source.name: source for source in cleaned_sources(read_results(run))}


def test_rules_come_by_lines_changed_and_the_idle_apart(run: Path) -> None:
    found = sources(run)
    assert list(found) == ["aochildes", "gutenberg", "wikipedia"]
    assert found["aochildes"].table.header[1:] == (
        "lines changed",
        "lines dropped",
        "words before",
        "words after",
    )
    assert found["aochildes"].table.rows == (
        ("join_punctuation", "5,210", "0", "36,470", "31,260"),
        ("drop_wordless", "12", "12", "84", "72"),
    )
    assert found["aochildes"].idle == ("drop_unsettled", "plain_characters")
    assert found["gutenberg"].nothing_to_do == ""


def test_a_source_is_summed_up_in_a_line(run: Path) -> None:
    found = {name: source.summary for name, source in sources(run).items()}
    assert found == {
        "aochildes": "5,222 changes of lines, 12 lines dropped, 5,222 words fewer",
        "gutenberg": "1 change of a line, 0 lines dropped, 1 word fewer",
        "wikipedia": "no rule changed anything",
    }


def test_only_the_training_text_is_told_of(run: Path) -> None:
    edit(run, lambda effects: effects["dev"]["aochildes"]["drop_wordless"].update(lines=77))
    assert sources(run)["aochildes"].rules["drop_wordless"].lines == 12


def test_the_page_shows_tables_and_marked_examples_folded(run: Path, tmp_path: Path) -> None:
    write_report(run, tmp_path)
    page = read_page(tmp_path, "cleaning.html")
    assert page.open == []
    assert page.tags.count("details") == 3
    assert "open" not in [name for _, name, _ in page.attributes]
    assert page.tags.count("table") == 2
    assert page.tags.count("dl") == 4
    text = (tmp_path / "cleaning.html").read_text()
    assert "well<del> </del>, no<del> </del>." in text
    assert "so<del> </del>—<del> </del>they said" in text
    assert "Nothing to do for: drop_unsettled, plain_characters." in page.text
    assert page.text.count("line dropped") == 1
    assert "5,223 changes of lines, 12 lines dropped, 5,223 words fewer." in page.text


def test_what_came_in_is_marked(run: Path, tmp_path: Path) -> None:
    pair = [["l am", "I am"]]
    edit(run, lambda effects: effects["train"]["gutenberg"]["join_dashes"].update(examples=pair))
    write_report(run, tmp_path)
    text = (tmp_path / "cleaning.html").read_text()
    assert "<del>l</del> am</dd>" in text
    assert "<ins>I</ins> am</dd>" in text


def test_the_page_loads_nothing_and_runs_nothing(run: Path, tmp_path: Path) -> None:
    write_report(run, tmp_path)
    page = read_page(tmp_path, "cleaning.html")
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert page.values("href") == ["index.html#text"]
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert any(value.startswith("default-src 'none'") for value in page.values("content"))


def test_the_report_links_the_page_and_the_page_the_report(run: Path, tmp_path: Path) -> None:
    write_report(run, tmp_path)
    index = read_page(tmp_path)
    assert LINK in index.text
    assert "cleaning.html" in index.values("href")
    assert "text" in index.values("id")


def test_the_page_is_linked_where_the_counts_are_missing(run: Path, tmp_path: Path) -> None:
    for missing in ("corpus/corpus.json", "tokens/fertility.json"):
        (run / missing).unlink()
    write_report(run, tmp_path)
    assert "cleaning.html" in read_page(tmp_path).values("href")


def test_hostile_text_stays_text(run: Path, tmp_path: Path) -> None:
    """Source, rule, idle rule and both lines, of a changed and of a dropped line."""
    hostile = f"</dd></details>{SCRIPT}\u202e  <style>*{{display:none}}</style>"
    lines = {"lines": 2, "dropped": 1, "words_before": 4, "words_after": 2}
    active = {**lines, "examples": [[hostile, SCRIPT], [hostile, ""]]}
    idle = {**dict.fromkeys(lines, 0), "examples": []}
    rules = {f"a{SCRIPT}": active, f"b{SCRIPT}": idle}
    edit(run, lambda effects: effects["train"].update({SCRIPT: rules}))
    write_report(run, tmp_path)

    page = read_page(tmp_path, "cleaning.html")
    assert page.open == []
    assert not {"script", "img"} & set(page.tags)
    assert page.tags.count("style") == 1
    assert page.tags.count("details") == 4
    assert page.text.count(SCRIPT) == 8
    assert "\u202e" not in page.text
    assert page.text.count("U+202E") == 2
    outside_code = re.sub(
        r"^(`{3,}).*?^\1$", "", (tmp_path / "report.md").read_text(), flags=re.M | re.S
    )
    assert not re.search(r"(?<!\\)<script", outside_code)


def test_the_markdown_has_the_rules_and_no_examples(run: Path, tmp_path: Path) -> None:
    write_report(run, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "<details><summary>aochildes: 5,222 changes of lines" in text
    assert "| join_punctuation | 5,210 | 0 | 36,470 | 31,260 |" in text
    assert "Nothing to do for: drop_unsettled, plain_characters." in text
    assert "wikipedia: no rule changed anything" in text
    assert "well" not in text


def no_file(run: Path) -> None:
    (run / "corpus" / "effects.json").unlink()


def no_cleaner(run: Path) -> None:
    edit(run, lambda effects: effects.update(train={"aochildes": {}, "gutenberg": {}}))


@pytest.mark.parametrize("without", [no_file, no_cleaner])
def test_a_run_that_tells_nothing_of_cleaning_has_no_page_and_says_nothing(
    run: Path, tmp_path: Path, without: Callable[[Path], None]
) -> None:
    write_report(run, tmp_path / "out")
    without(run)
    write_report(run, tmp_path / "out")
    assert not (tmp_path / "out" / "cleaning.html").exists()
    index = read_page(tmp_path / "out")
    assert LINK not in index.text
    assert "cleaning.html" not in index.values("href")
    assert "effects.json" not in index.text
    assert "Lines dropped" not in (tmp_path / "out" / "report.md").read_text()

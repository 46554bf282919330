import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babyllama.report import tables
from babyllama.report.results import Model, Results, read_results
from babyllama.report.tables import Table

TABLE_TAGS = ("thead", "tbody", "tr", "th", "td")


class Cells(HTMLParser):
    """Collects the text of every table cell, and every tag that is met."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, _attrs: object) -> None:
        self.tags.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells and self.tags[-1] in ("td", "th"):
            self.cells[-1] += data


cell = st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" <>&\"'|`*_\\"))


@given(cell, cell)
def test_a_cell_of_html_is_text_whatever_it_holds(name: str, value: str) -> None:
    parser = Cells()
    parser.feed(str(tables.to_html(Table(caption="c", header=("a", "b"), rows=((name, value),)))))
    parser.close()
    assert [found.strip() for found in parser.cells] == ["a", "b", name.strip(), value.strip()]
    assert set(parser.tags) <= {"figure", "figcaption", "div", "table", *TABLE_TAGS}


@given(cell, cell)
def test_a_row_of_markdown_keeps_its_cells(name: str, value: str) -> None:
    text = tables.to_markdown(Table(caption="c", header=("a", "b"), rows=((name, value),)))
    lines = text.splitlines()
    assert len(lines) == 3
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", lines[2])) == 3
    assert not re.search(r"(?<!\\)(?:\\\\)*<", lines[2])


def test_the_score_table_has_a_row_a_model(run: Path) -> None:
    lines = tables.score_table(read_results(run)).splitlines()
    assert lines[0].startswith("| model | role | parameters | nats/token | bits/byte | blimp: 12")
    assert "blimp: 67 paradigms" in lines[0]
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| control",
        "| student",
        "| llama",
        "| gpt2",
        "| ensemble",
    ]
    assert "| 11.2 M | 4.160 | 1.390 |" in lines[3]
    assert re.search(r"\| \d\d\.\d ± \d\.\d \|", lines[3])
    assert "| – | – | – |" in lines[-1]


def test_the_second_table_has_a_row_a_phenomenon(run: Path) -> None:
    found = tables.phenomena(read_results(run), "blimp")
    assert found.header == ("", "pairs", "control", "student", "llama", "gpt2", "ensemble")
    assert len(found.rows) == 12
    assert found.rows[0][:2] == ("anaphor agreement", "1,800")
    assert len(tables.paradigms(read_results(run), "blimp").rows) == 67


def test_a_model_that_missed_a_phenomenon_gets_a_dash(run: Path) -> None:
    results = read_results(run)
    partial = results.models[1].scores["blimp"]
    object.__setattr__(partial, "phenomena", partial.phenomena[1:])
    rows = tables.phenomena(results, "blimp").rows
    dashes = [row for row in rows if row[3] == "–"]
    assert [row[0] for row in dashes] == ["anaphor agreement"]


def test_the_corpus_is_summed_over_its_sources(run: Path) -> None:
    found = tables.corpus(read_results(run))
    assert found.rows[0] == ("aochildes", "3", "121,324", "120,412", "3", "121,324", "120,412")
    assert found.rows[-1][:4] == ("all", "9", "517,894", "515,158")


def test_a_source_that_only_one_split_has_gets_dashes(run: Path) -> None:
    results = read_results(run)
    assert results.corpus is not None
    del results.corpus["dev"]["wikipedia"]  # type: ignore[attr-defined]
    assert tables.corpus(results).rows[2][4:] == ("–", "–", "–")


def test_damaged_and_overlapping_text_has_columns_where_there_is_any(run: Path) -> None:
    file = run / "corpus" / "corpus.json"
    counts = json.loads(file.read_text())
    counts["train"]["gutenberg"] |= {"bytes_replaced": 1300, "lines_overlapping": 0}
    counts["dev"]["gutenberg"] |= {"bytes_replaced": 0, "lines_overlapping": 7}
    file.write_text(json.dumps(counts))
    found = tables.corpus(read_results(run))
    assert found.header[4] == "train: bytes not UTF-8"
    assert found.header[8:] == ("dev: overlapping lines dropped",)
    assert [row[4] for row in found.rows] == ["0", "1,300", "0", "1,300"]
    assert [row[8] for row in found.rows] == ["0", "7", "0", "7"]


def test_a_whole_corpus_has_no_columns_for_damage(run: Path) -> None:
    kinds = ("documents", "words before cleaning", "words after")
    splits = ("train", "dev")
    header = ("source", *(f"{split}: {kind}" for split in splits for kind in kinds))
    assert tables.corpus(read_results(run)).header == header


def test_the_ledger_sets_the_teachers_apart(run: Path) -> None:
    found = tables.ledger(read_results(run))
    row = dict(zip(found.header, found.rows[1], strict=True))
    assert row["words seen"] == "9.0 M"
    assert row["teachers' words"] == "18.0 M"
    assert row["teachers' FLOPs"] == "3.10 × 10¹⁵"
    assert row["tokens/s"] == "16,411"
    assert row["time"] == "12 min 34 s"
    assert "ensemble" not in [name for name, *_ in found.rows]


def test_the_parts_of_the_loss_are_those_of_the_end_of_training(run: Path) -> None:
    (row,) = tables.distillation(read_results(run)).rows
    assert row[0] == "student"
    assert float(row[1]) == pytest.approx(3.88, abs=0.03)
    assert row[3] == "62.0"


def test_stages_are_added_up(run: Path) -> None:
    rows = tables.stages(read_results(run)).rows
    assert rows[0] == ("corpus", "12.3 s", "reused")
    assert rows[-1] == ("all", "1 min 14 s", "")


def test_tables_of_an_empty_run_have_no_models(tmp_path: Path) -> None:
    results: Results = read_results(tmp_path)
    assert tables.scores(results).rows == ()
    assert tables.ledger(results).rows == ()


def test_numbers_that_are_missing_or_not_finite_are_dashes() -> None:
    nan = float("nan")
    written = [tables.count(None), tables.decimals(nan), tables.duration(None), tables.powers(nan)]
    assert written == ["–"] * 4
    assert tables.percent(nan) == "–"
    assert tables.accuracy(None) == "–"
    assert tables.powers(0) == "0"
    assert tables.duration(59.96) == "60.0 s"


def test_colours_follow_the_models() -> None:
    models = (Model(name="a", role="control"), Model(name="b", role="distilled"))
    results = Results(
        run="r",
        recipe=None,
        models=models,
        suites=(),
        corpus=None,
        fertility=None,
        tokens=None,
        stages=(),
    )
    found = tables.scores(results, {"b": "#D55E00"})
    assert found.colours == ("", "#D55E00")
    assert tables.to_html(found).count("swatch") == 1

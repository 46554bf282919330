import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from html_page import Page, read_page

from babyllama.errors import CorruptDataError
from babyllama.report.page import fenced, write_report

SCRIPT = "<script>alert('x')</script>"
SAMPLES = [
    ("student", "Once upon a time", " there was a king."),
    ("student", "The dog", "The dog is here."),
    ("second", "The dog", "The dog sleeps."),
]


@pytest.fixture(scope="module")
def out(pristine_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the whole run, written once."""
    folder = tmp_path_factory.mktemp("report")
    write_report(pristine_run, folder, samples=SAMPLES)
    return folder


@pytest.fixture
def page(out: Path) -> Page:
    return read_page(out)


def test_the_page_is_whole_and_says_everything(page: Page) -> None:
    assert page.open == []
    for said in ("Run mini", "The student scores", "Vocabulary: 8,000", "prefix newline"):
        assert said in page.text
    for said in ("there was a king.", "temperature: 2", "subject verb agreement", "bits/byte"):
        assert said in page.text
    assert "1,474,560 tokens to train on, 151,002 tokens held out." in page.text
    assert page.text.count("The dog") == 2
    for model in ("student", "second"):
        assert f"as continued by {model}." in page.text
    assert page.tags.count("img") == 4
    assert {"scores", "training", "distillation", "text", "stages", "samples", "recipe"} <= set(
        page.values("id")
    )


def test_the_page_loads_nothing_and_runs_nothing(page: Page) -> None:
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.values("src"))
    assert all(a.startswith("#") for a in page.values("href") if a != "cleaning.html")
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert any(value.startswith("default-src 'none'") for value in page.values("content"))


def test_every_figure_has_a_text_and_ids_are_unique(page: Page) -> None:
    assert len(page.values("alt")) == 4
    assert all(len(text) > 40 for text in page.values("alt"))
    ids = page.values("id")
    assert len(ids) == len(set(ids))


def test_the_markdown_links_figures_that_lie_beside_it(out: Path) -> None:
    text = (out / "report.md").read_text(encoding="utf-8")
    linked = re.findall(r"\]\(([^)]+\.png)\)", text)
    assert sorted(linked) == sorted(path.name for path in out.glob("*.png"))
    assert len(linked) == 4
    assert text.startswith("# Run mini\n\nThe student scores")
    assert "| anaphor agreement | 1,800 |" in text
    assert "```yaml\nname: mini" in text
    assert text.count("<details>") == text.count("</details>") == 5


def test_what_others_wrote_stays_text(run: Path, tmp_path: Path) -> None:
    """Hostile source, sample, prompt, recipe value, model name and title."""
    counts = {"files": 1, "documents": 1, "words": 2, "words_raw": 2, "bytes": 9}
    corpus = json.dumps({"train": {SCRIPT: counts}, "dev": {}})
    (run / "corpus/corpus.json").write_text(corpus)
    name = "<script>$a_1"
    shutil.copytree(run / "models/student", run / "models" / name)
    shutil.copytree(run / "scores/student", run / "scores" / name)
    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(f'{recipe}\nnote: "</code>{SCRIPT}"\n')
    samples = [(SCRIPT, SCRIPT, f"{SCRIPT}</blockquote>```\n{SCRIPT}\ud800\x00")]
    write_report(run, tmp_path / "out", samples=samples, title=SCRIPT)

    found = read_page(tmp_path / "out")
    assert found.open == []
    assert "script" not in found.tags
    assert found.text.count(SCRIPT) >= 5
    assert name in found.text
    outside_code = re.sub(
        r"^(`{3,}).*?^\1$", "", (tmp_path / "out" / "report.md").read_text(), flags=re.M | re.S
    )
    assert not re.search(r"(?<!\\)<script", outside_code)


def test_a_report_of_an_empty_run_says_what_is_missing(tmp_path: Path) -> None:
    run = tmp_path / "empty"
    run.mkdir()
    write_report(run, run / "report")
    found = read_page(run / "report")
    assert "This run holds no models yet." in found.text
    assert "No scores: this run has no scores/." in found.text
    assert "No scores" in (run / "report" / "report.md").read_text()


@pytest.mark.parametrize(
    "missing",
    [
        "recipe.yaml",
        "corpus",
        "tokens",
        "scores",
        "stages.json",
        "models",
        "models/llama",
        "models/student/training.json",
        "scores/student",
    ],
)
def test_any_part_may_be_missing(run: Path, tmp_path: Path, missing: str, undrawn: None) -> None:
    path = run / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_report(run, tmp_path / "out")
    page = read_page(tmp_path / "out")
    assert "What this run does not have" in page.values("aria-label")


def test_scores_under_different_conventions_are_not_to_be_compared(
    run: Path, tmp_path: Path, undrawn: None
) -> None:
    file = run / "scores/llama/blimp.json"
    file.write_text(file.read_text().replace('"prefix": "newline"', '"prefix": "none"'))
    write_report(run, tmp_path / "out")
    text = read_page(tmp_path / "out").text
    assert "do not compare across them" in text
    assert "prefix none, score sum, ties half (llama on blimp)" in text


def test_the_same_run_gives_the_same_bytes(
    pristine_run: Path, tmp_path: Path, undrawn: None
) -> None:
    for name in ("one", "two"):
        write_report(pristine_run, tmp_path / name, samples=SAMPLES)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_folders_of_the_recipe_show_by_their_names_alone(
    run: Path, tmp_path: Path, undrawn: None
) -> None:
    places = {
        "corpus": {"path": "/home/someone/my text/", "dev_path": "../elsewhere/held-out"},
        "models": {"student": {}, "outside": {"checkpoint": "/srv/secret/model"}},
        "evaluation": {"suites": {"blimp": "/data/blimp", "generated": "builtin:paradigms"}},
    }
    (run / "recipe.yaml").write_text(yaml.safe_dump(places))
    write_report(run, tmp_path / "out")
    texts = read_page(tmp_path / "out").text, (tmp_path / "out" / "report.md").read_text()
    for text in texts:
        for shown in ("path: my text", "held-out", "checkpoint: model", "builtin:paradigms"):
            assert shown in text
        for hidden in ("/home", "someone", "elsewhere", "secret", "/data"):
            assert hidden not in text


def test_a_title_can_be_given(run: Path, tmp_path: Path, undrawn: None) -> None:
    write_report(run, tmp_path / "out", title="A & B")
    assert (tmp_path / "out" / "report.md").read_text().startswith("# A \\& B\n")
    assert "<title>A &amp; B</title>" in (tmp_path / "out" / "index.html").read_text()


def test_a_damaged_run_leaves_an_earlier_report_as_it_was(run: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "index.html").write_text("earlier")
    (run / "stages.json").write_text("{")
    with pytest.raises(CorruptDataError):
        write_report(run, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["index.html"]
    assert (tmp_path / "out" / "index.html").read_text() == "earlier"


def test_a_fence_is_longer_than_any_in_the_text() -> None:
    assert fenced("a\n````\nb").splitlines()[0] == "`````"

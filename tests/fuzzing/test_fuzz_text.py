"""Whatever a corpus, a surprisal text or a pair file holds, it is read or refused."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from fuzz import ODD_TEXT, fuzzed, kept, lines_of_json
from hypothesis import given
from hypothesis import strategies as st

from babyllama.corpus.build import build_corpus
from babyllama.corpus.cleaners.cleaning import CLEANERS
from babyllama.corpus.documents import document_parts
from babyllama.evaluation.finetuning.rows import read_rows
from babyllama.evaluation.minimal_pairs import read_pairs, read_suite, sentences
from babyllama.evaluation.surprisal import read_lines, surprisals
from babyllama.models.architectures import build_model, model_config
from babyllama.recipe import Architecture, Corpus
from babyllama.tokens.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer

MARKS = st.sampled_from(
    [
        *("= = Heading = =\n", "|", "* [[a|b]] {{c}}", "<ref> </ref>", "\n\n \n*CHI:\t", "%mor:"),
        *("A:\t", "@Begin", "[laughs]", "(...)", "--", "->", "<i>", "l", "I", "II", "\u2669"),
        *("Chapter 1\n", "---", "___", "***", "00:00:01,000 --> 1\n", "&", "&amp;", "_a_", "'tis"),
        *("...", "\ufeff", "\u00a0", "\u200b", "\x0c", "\x1b", "A a\n" * 40, "(" * 300, "[[" * 200),
    ]
)
LINES = st.lists(ODD_TEXT | MARKS | st.text("a|=*[]{}()<>_- ", max_size=400), max_size=30)
ENDS = st.sampled_from(["\n", " ", "\r\n", ""])
TEXT = st.tuples(ENDS, LINES).map(lambda pair: pair[0].join(pair[1]))
DECODED = TEXT.map(lambda text: text.encode("utf-8", "ignore").decode("utf-8"))
"""As a file can hold it: without halves of surrogate pairs."""
BYTES = TEXT.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=200)


@pytest.mark.parametrize("name", [*CLEANERS])
@fuzzed
@given(text=DECODED)
def test_a_cleaner_takes_any_text_and_cleaning_twice_is_cleaning_once(name: str, text: str) -> None:
    cleaner = CLEANERS[name]
    clean = kept(lambda: cleaner(text))
    assert isinstance(clean, str)
    assert kept(lambda: cleaner.traced(text))[0] == clean
    assert kept(lambda: cleaner(clean)) == clean


@pytest.mark.parametrize("kind", [*CLEANERS])
@fuzzed
@given(text=DECODED)
def test_any_text_is_cut_into_documents(kind: str, text: str) -> None:
    kept(lambda: [*document_parts(kind, lambda: iter([text]), None)])


@fuzzed
@given(
    content=BYTES,
    bad_bytes=st.sampled_from(["fail", "replace"]),
    source=st.sampled_from(["a.txt", "simple_wiki.train", "childes.train", "gutenberg.train"]),
)
def test_a_folder_of_any_bytes_becomes_a_corpus_or_is_refused(
    content: bytes, bad_bytes: Any, source: str
) -> None:
    with TemporaryDirectory() as place:
        for name in ("text", "out"):
            (Path(place) / name).mkdir()
        (Path(place) / "text" / source).write_bytes(content)
        settings = Corpus(path=f"{place}/text", bad_bytes=bad_bytes)
        kept(lambda: build_corpus(settings, Path(place) / "out"))


PAIR = {
    "sentence_good": "The king is old.",
    "sentence_bad": "The king are old.",
    "UID": "agreement",
    "linguistics_term": "agreement",
}
ITEM = {"idx": 3, "sentence": "The king", "label": "entailment", "condition": "test"}


@fuzzed
@given(content=lines_of_json(PAIR) | st.binary(max_size=200))
def test_a_pair_file_is_read_or_refused(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / "a.jsonl").write_bytes(content)
        suite = kept(lambda: read_suite(Path(folder)))
        pairs = kept(lambda: read_pairs(Path(folder)))
        assert (suite is None) == (pairs is None)
        if suite:
            assert all(text.strip() for text in sentences(suite))
            for text in sentences(suite):
                text.encode()


TABLE = st.lists(st.lists(ODD_TEXT, max_size=5).map("\t".join), max_size=5).map("\n".join)


@fuzzed
@given(
    content=lines_of_json(ITEM)
    | st.binary(max_size=200)
    | TABLE.map(lambda text: text.encode("utf-8", "surrogatepass")),
    form=st.sampled_from(["json", "table", "cola"]),
)
def test_a_file_of_fine_tuning_rows_is_read_or_refused(content: bytes, form: Any) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "a"
        file.write_bytes(content)
        for row in kept(lambda: read_rows(file, form)) or []:
            kept(lambda row=row: row.text("sentence"))
            kept(lambda row=row: row.required("label"))


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """A model of one layer and its tokenizer."""
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(train_tokenizer(["the king is old and he saw a dog " * 9], 270), folder)
    sizes = {"layers": 1, "heads": 1, "width": 8, "feed_forward": 8, "positions": 64}
    config = model_config(Architecture(type="llama", **sizes), 270, (0, 1, 2))
    return build_model(config, 1), load_tokenizer(folder)


@fuzzed
@given(content=BYTES)
def test_words_of_any_text_have_bits_or_are_refused(
    scorer: tuple[Any, Any], content: bytes
) -> None:
    model, tokenizer = scorer
    with TemporaryDirectory() as folder:
        file = Path(folder) / "a.txt"
        file.write_bytes(content)
        lines = kept(lambda: read_lines(file))
        if lines:
            words = kept(lambda: [*surprisals(model, tokenizer, lines, "newline")])
            if words is not None:
                assert [word.text for word in words] == [word for line in lines for word in line]
                assert all(word.bits >= -1e-3 for word in words)
                json.dumps([word.text for word in words])

"""The corpus of a recipe looked at by itself: made if need be, and audited."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from babyllama.corpus.auditing.audit import Audit, audit
from babyllama.corpus.overlap import as_documents
from babyllama.corpus.pieces import Piece, read_pieces
from babyllama.evaluation.minimal_pairs import read_suite
from babyllama.pipeline import Say, make_stage
from babyllama.plan import corpus_stage, outside_suites
from babyllama.recipe import Recipe
from babyllama.rundir import RunDirectory, why_stale
from babyllama.store import Store, verify


def clean_corpus(recipe: Recipe, path: Path, say: Say) -> Path:
    """The corpus of a recipe in its run directory, made if it is not there; nothing else is.

    Raises:
        BabyllamaError: text or settings that cannot be meant.
    """
    directory = RunDirectory(path)
    store = Store(directory.store_root)
    stage = corpus_stage(recipe, store)
    directory.create()
    if not store.has(stage.identity):
        make_stage(store, stage, why_stale(stage, directory.previous().get(stage.name)), say)
    folder = store.path(stage.identity)
    verify(folder)
    before = directory.previous().get(stage.name, {"fingerprint": stage.identity.fingerprint})
    if before["fingerprint"] == stage.identity.fingerprint:
        directory.link(stage.name, folder)
    else:  # what a run has made there is reported with the corpus that it was made from
        say(f"{path / 'corpus'} stays that of the run; this one is {folder}")
    return folder


def audit_corpus(recipe: Recipe, path: Path, say: Say) -> Audit:
    """Audit the corpus of a recipe, against its dev text and the suites that are folders.

    Raises:
        BabyllamaError: text, settings or pairs that cannot be meant.
    """
    folder = clean_corpus(recipe, path, say)
    suites = {name: partial(_sentences, suite) for name, suite in outside_suites(recipe).items()}
    train, dev = (partial(read_pieces, folder, split) for split in ("train", "dev"))
    return audit(train, dev, suites)


def _sentences(suite: Path) -> Iterator[Piece]:
    """A document a sentence, by paradigm."""
    return as_documents(
        (paradigm.name, sentence)
        for paradigm in read_suite(suite)
        for pair in paradigm.pairs
        for sentence in pair
    )

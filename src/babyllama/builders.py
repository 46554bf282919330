"""How each artifact is made, from a recipe's section and the folders of its inputs."""

import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from babyllama.corpus.build import build_corpus
from babyllama.corpus.pieces import read_pieces
from babyllama.devices import pick_device, resolve_precision
from babyllama.distillation.teachers import Teachers
from babyllama.errors import CorruptDataError
from babyllama.evaluation.baselines import described, score_sentences
from babyllama.evaluation.conventions import convention
from babyllama.evaluation.generation import continue_text
from babyllama.evaluation.generator.paradigms import count_words, write_paradigms
from babyllama.evaluation.minimal_pairs import read_suite, sentences, summarise
from babyllama.evaluation.scorers import ensemble_scorer
from babyllama.evaluation.scoring import encode, score
from babyllama.models.architectures import build_model, longest_input, model_config
from babyllama.models.costs import (
    meta_model,
    parameter_count,
    training_flops_per_token,
)
from babyllama.models.folders import (
    BY_WORDS,
    WEIGHTS,
    load_config,
    load_model,
    model_kind,
    own_tokenizer,
    save_model,
)
from babyllama.orders import chunk_order
from babyllama.recipe import Recipe
from babyllama.recipe_distillation import Distillation
from babyllama.signals import Kept, open_signal
from babyllama.starts import Origin, shown
from babyllama.store import write_json
from babyllama.tokens.packing import pack, read_packed
from babyllama.tokens.tokenizer import load_tokenizer, save_tokenizer, token_bytes, train_tokenizer
from babyllama.training.decay import with_absolute_decay
from babyllama.training.denoising import as_validated
from babyllama.training.health import StopRequest
from babyllama.training.job import Job
from babyllama.training.ledger import Ledger, Record, records
from babyllama.training.muon import update_flops
from babyllama.training.processes import processes
from babyllama.training.trainer import train
from babyllama.validated import validation_text

Check = Callable[[], None]
"""Called when an input from outside is read: raises if that is not what was fingerprinted."""

# Raised when a change of code alters what a stage makes from the same settings and inputs.
VERSIONS = {
    "corpus": 2,
    "tokenizer": 1,
    "tokens": 2,
    "readability": 1,
    "suite": 2,
    "signal": 1,
    "model": 2,
    "validation": 1,
    "weights": 1,
    "ensemble": 1,
    "scores": 4,
    "samples": 1,
}


def unchanged(what: str, digest: Callable[[], object], taken: object) -> Check:
    """A check that what was fingerprinted some time ago is what was read just now.

    It raises CorruptDataError: an artifact made of one text must not have the name of another.
    """

    def check() -> None:
        if digest() != taken:
            raise CorruptDataError(
                f"{what} changed while the run was under way: run the same command again"
            )

    return check


def nothing_to_check() -> None:
    """For what is made here, where nothing changes behind the run's back."""


def make_corpus(recipe: Recipe, suites: Iterable[Path], out: Path) -> None:
    """Clean text, train and dev apart; `suites` are what `drop_overlap` keeps out of train."""
    avoid = (text for suite in suites for text in sentences(read_suite(suite)))
    build_corpus(recipe.corpus, out, avoid)


def make_tokenizer(recipe: Recipe, corpus: Path, out: Path) -> None:
    """The tokenizer, learned from the training split alone."""
    texts = (piece.text for piece in read_pieces(corpus, "train"))
    save_tokenizer(train_tokenizer(texts, recipe.tokenizer.vocabulary), out)


def make_tokens(recipe: Recipe, corpus: Path, tokenizer: Path, out: Path) -> None:
    """Both splits as token ids, and what they hold per source."""
    loaded = load_tokenizer(tokenizer)
    summary: dict[str, Any] = {"vocabulary": len(loaded)}
    for split in ("train", "dev"):
        pieces = read_pieces(corpus, split)
        sources = pack(pieces, loaded, out, split, separators=recipe.tokens.separators)
        tokens = int(sum(source["tokens"] for source in sources.values()))
        summary |= {f"{split}_tokens": tokens, f"{split}_sources": sources}
    write_json(out / "tokens.json", summary)
    write_json(out / "fertility.json", _fertility(len(loaded), summary["train_sources"]))


def _fertility(vocabulary: int, sources: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Tokens a word, per source of the training split."""
    rows = {
        name: {**source, "tokens_per_word": source["tokens"] / max(1, source["words"])}
        for name, source in sources.items()
    }
    return {"vocabulary": vocabulary, "sources": rows}


def outline(recipe: Recipe, name: str) -> PreTrainedModel:
    """One model of a recipe without its memory, for counting and checking.

    Raises:
        RecipeError: an architecture that cannot be built.
        CorruptDataError: a checkpoint that cannot be read.
    """
    model = recipe.models[name]
    if model.checkpoint:
        return meta_model(load_config(Path(model.checkpoint)))
    if model.start:
        return outline(recipe, model.start.model)
    assert model.architecture
    return meta_model(model_config(model.architecture, recipe.tokenizer.vocabulary, (0, 1, 2)))


def make_model(
    recipe: Recipe,
    name: str,
    *,
    tokens: Path,
    tokenizer: Path,
    table: Path | None = None,
    teachers: Mapping[str, Path],
    signal: Kept | None = None,
    weighing_flops: float = 0.0,
    origin: Origin | None = None,
    out: Path,
    work: Path,
    stop: StopRequest,
    check_unchanged: Check,
) -> None:
    """One trained model as a Hugging Face folder, with its log and its ledger.

    Of several processes that train it together, the first one writes it. `origin` is where the
    weights are that it takes from another model. `teachers` may hold more than those of the
    recipe: others that were tried, whose cost counts; `weighing_flops` is that of the choice.
    """
    model = recipe.models[name]
    if not (model.training or processes().leads):
        return
    loaded = load_tokenizer(tokenizer)
    start: Record = {}
    if model.checkpoint:
        outside = Origin(name, Path(model.checkpoint))
        start, network = outside.record(), load_model(outside.place)
        check_unchanged()
    elif origin:
        start, network = origin.record(), origin.network()
    else:
        assert model.architecture
        special = (loaded.pad_token_id, loaded.bos_token_id, loaded.eos_token_id)
        config = model_config(model.architecture, len(loaded), special)
        network = build_model(config, recipe.seed_of(model))
    tokenizer = own_tokenizer(network, tokenizer, work / f"tokenizer-{processes().rank}")
    if model.training:
        places = {"tokens": tokens, "tokenizer": tokenizer}
        job = _job(
            recipe, name, network, start, table=table, teachers=teachers, signal=signal,
            weighing_flops=weighing_flops, **places
        )  # fmt: skip
        record = train(job, work, stop)
        if not processes().leads:
            return
        write_json(out / "training.json", record)
        shutil.copyfile(work / "log.jsonl", out / "log.jsonl")
        for kept in (BY_WORDS, WEIGHTS):
            if (work / kept).exists():
                shutil.copytree(work / kept, out / kept)
    elif origin:
        places = {"tokens": tokens, "tokenizer": tokenizer}
        write_json(out / "training.json", shown(recipe, name, network, origin, **places))
    elif start:
        facts = {"architecture": network.config.model_type, "parameters": network.num_parameters()}
        write_json(out / "training.json", {**start, "model": name, **facts})
    save_model(network.cpu(), tokenizer, out)


def _job(
    recipe: Recipe,
    name: str,
    network: Any,
    start: Record,
    *,
    tokens: Path,
    tokenizer: Path,
    table: Path | None,
    teachers: Mapping[str, Path],
    signal: Kept | None,
    weighing_flops: float,
) -> Job:
    model = recipe.models[name]
    assert model.training
    device = pick_device(recipe.runtime.device)
    train_split = read_packed(tokens, "train")
    seed = recipe.seed_of(model)
    order = chunk_order(recipe, model, train_split, seed, table)
    chunk = recipe.tokens.chunk_length
    precision = resolve_precision(model.training.precision, device)
    cached, ensemble = None, None
    if signal:
        cached = open_signal(
            recipe, name, signal, tokens=tokens, device=device, precision=precision
        )
    elif teachers:
        chosen = {teacher: teachers[teacher] for teacher in model.teachers}
        ensemble = load_teachers(chosen, model.distillation).to(device)
    ledger = Ledger(
        tokens_per_step=order.batch_size * chunk,
        words_per_token=train_split.words / len(train_split.ids),
        flops_per_token=training_flops_per_token(network, chunk),
        teacher_flops_per_token=ensemble.flops_per_token(chunk) if ensemble else 0.0,
        update_flops=update_flops(network, model.training),
        signal_flops=weighing_flops + (cached.flops if cached else 0.0),
        teachers=records(teachers),
        start=start,
    )
    return Job(
        name=name,
        model=network.to(device),
        settings=with_absolute_decay(
            model.training, parameters=parameter_count(network), tokens=len(train_split.ids)
        ),
        order=order,
        validation=as_validated(network, validation_text(recipe, tokens), recipe.corpus.seed),
        bytes_of_token=torch.tensor(token_bytes(load_tokenizer(tokenizer))),
        ledger=ledger,
        tokenizer=tokenizer,
        seed=seed,
        precision=precision,
        device=device,
        signal=cached or ensemble,
        distillation=model.distillation if teachers else None,
        compile=recipe.runtime.compile,
    )


def load_teachers(folders: Mapping[str, Path], settings: Distillation | None) -> Teachers:
    """The ensemble of a student, with its weights."""
    models = {name: load_model(folder) for name, folder in folders.items()}
    return Teachers(models, settings.teacher_weights if settings else None)


def make_suite(recipe: Recipe, corpus: Path, out: Path) -> None:
    """Minimal pairs from the words of the training split."""
    words = count_words(piece.text for piece in read_pieces(corpus, "train"))
    write_paradigms(word_counts=words, seed=recipe.corpus.seed, out=out)


def make_scores(
    recipe: Recipe, name: str, suite_name: str, *, members: Mapping[str, Path],
    distillation: Distillation, suite: Path, tokenizer: Path, out: Path, check_unchanged: Check,
) -> None:  # fmt: skip
    """The accuracies on one suite of pooled teachers; one model is an ensemble of one.

    `items.npy` has the log-probabilities behind them: float64 [pairs, 2], good and bad sentence,
    in the order of the suite.
    """
    started = time.monotonic()
    settings = recipe.evaluation
    device = pick_device(recipe.runtime.device)
    precision = resolve_precision(settings.precision, device)
    paradigms = read_suite(suite)
    check_unchanged()
    rules = convention(settings.convention, settings.prefix, settings.normalise)
    texts, first = sentences(paradigms), next(iter(members.values()))
    if (kind := model_kind(first)) != "causal":  # such a model is never one of several
        scores = score_sentences(first, kind, texts, rules, device)
    else:
        ensemble = load_teachers(members, distillation).to(device)
        # The run's own, whatever transformers makes of the files in a model's folder.
        loaded = load_tokenizer(tokenizer)
        scores = score(
            ensemble_scorer(ensemble, distillation.pool, precision),
            encode(loaded, texts, rules.prefix, leading_space=rules.leading_space),
            vocabulary=len(loaded),
            positions=min(longest_input(model) for model in ensemble.models.values()),
            device=device,
            normalise=rules.normalise,
        )
    result = {
        "model": name,
        "suite": suite_name,
        "convention": described(kind, rules, precision),
        **summarise(paradigms, scores, rules.ties),
        "seconds": round(time.monotonic() - started, 3),
    }
    write_json(out / "scores.json", result)
    np.save(out / "items.npy", scores.reshape(-1, 2))


def make_samples(recipe: Recipe, models: Mapping[str, Path], tokenizer: Path, out: Path) -> None:
    """Text that the models continue from the recipe's prompts."""
    samples = []
    loaded = load_tokenizer(tokenizer)
    for name, folder in models.items():
        network = load_model(folder)
        for prompt in recipe.report.prompts:
            text = continue_text(
                network,
                loaded,
                prompt,
                tokens=recipe.report.sample_tokens,
                temperature=recipe.report.sample_temperature,
                seed=recipe.seed,
            )
            samples.append({"model": name, "prompt": prompt, "text": text})
    write_json(out / "samples.json", samples)

"""Students from every kind of kept signal, beside the student of teachers that run in every step.

    babyllama run mini corpus.path=babylm_10M/ runtime.runs_dir=runs
    .venv/bin/python benchmarks/teacher_cache.py runs/mini --work kept/

Takes text, tokenizer and teachers of a finished run, builds each cache from them and trains the
run's student anew, with the same seed and order, from each signal: the teachers themselves, with
two ways to accumulate; the caches; and what others keep, which is made here from the exact logits:
the 64 likeliest tokens, renormalised or with the rest of the mass spread evenly, and 64 draws from
the teachers' distribution. Every row tells how far its student is from the one of the teachers:
KL(its own || this one) per validation token, and the difference in cross-entropy.

What is finished is kept in the folder of `--work`, so that the same command goes on. Writes
benchmarks/teacher_cache.json and prints the tables.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from babyllama.builders import load_teachers
from babyllama.devices import pick_device, prepare_torch, resolve_precision
from babyllama.distillation.caching.certificate import Pooling, certify
from babyllama.distillation.caching.codes import KINDS, Kind
from babyllama.distillation.loss import pooled_log_probabilities
from babyllama.distillation.teachers import SignalSource
from babyllama.models.architectures import build_model, model_config
from babyllama.models.folders import load_model, save_model
from babyllama.models.readout import Readout, read_out
from babyllama.orders import chunk_order
from babyllama.recipe import Recipe
from babyllama.resolve import load_recipe
from babyllama.signals import Kept, make_signal, open_signal
from babyllama.store import Identity, Store, read_manifest, write_json
from babyllama.tokens.batches import Batch, make_batch
from babyllama.tokens.packing import read_packed
from babyllama.tokens.tokenizer import load_tokenizer, token_bytes
from babyllama.training.health import StopRequest
from babyllama.training.job import Job
from babyllama.training.ledger import Ledger
from babyllama.training.trainer import train
from babyllama.validated import validation_text

KEPT = 64
SAMPLES = 64
STRIDE = 32
"""Of the validation chunks that angles are measured on."""
TEMPERATURES = (2.0, 1.0)
ONLINE = "online"


@dataclass(frozen=True)
class Variant:
    """A student: its signal, the temperature, and how it accumulates."""

    signal: str
    temperature: float = 2.0
    micro_batches: int = 1

    @property
    def name(self) -> str:
        """For files and tables."""
        parts = "" if self.micro_batches == 1 else f", {self.micro_batches} micro-batches"
        return f"{self.signal}, T={self.temperature:g}{parts}"


def variants() -> list[Variant]:
    """Caches at the paper's temperature, what others keep at two."""
    found = [Variant(ONLINE), Variant(ONLINE, micro_batches=8), *(Variant(kind) for kind in KINDS)]
    for temperature in TEMPERATURES:
        found += [Variant(kind, temperature) for kind in (ONLINE, *OTHERS)]
    return list(dict.fromkeys(found))


def likeliest(logits: Tensor, temperature: float) -> Tensor:
    """The likeliest tokens alone: the softmax gives them all of the mass."""
    del temperature
    least = logits.topk(KEPT, dim=-1).values[..., -1:]
    return logits.masked_fill(logits < least, -torch.inf)


def likeliest_and_tail(logits: Tensor, temperature: float) -> Tensor:
    """The likeliest tokens as they are, and the rest of the mass evenly over the others."""
    logs = functional.log_softmax(logits / temperature, dim=-1)
    top = logs.topk(KEPT, dim=-1)
    rest = (-top.values.exp().sum(-1, keepdim=True)).log1p()
    even = (rest - torch.tensor(logits.shape[-1] - KEPT).log()).expand_as(logs)
    return temperature * even.scatter(-1, top.indices, top.values)


def drawn(logits: Tensor, temperature: float) -> Tensor:
    """Draws from the softmax at the temperature, as a distribution."""
    chances = functional.softmax(logits / temperature, dim=-1)
    draws = chances.multinomial(SAMPLES, replacement=True)
    counts = torch.zeros_like(chances).scatter_add_(-1, draws, torch.ones_like(draws).float())
    return temperature * counts.log()


OTHERS: dict[str, Callable[[Tensor, float], Tensor]] = {
    f"top-{KEPT}": likeliest,
    f"top-{KEPT} and tail": likeliest_and_tail,
    f"{SAMPLES} draws": drawn,
}
# A token's id takes 2 bytes and its probability as many; a count of draws fits one.
BYTES = {
    f"top-{KEPT}": 4 * KEPT,
    f"top-{KEPT} and tail": 4 * KEPT + 2,
    f"{SAMPLES} draws": 3 * SAMPLES,
}


class Changed:
    """A signal whose pooled logits are changed before the student sees them."""

    weights: Sequence[float] = (1.0,)

    def __init__(self, exact: SignalSource, variant: Variant) -> None:
        self.exact, self.variant = exact, variant
        self.names = exact.names

    def signal(self, batch: Batch) -> list[Readout]:
        """The changed logits; draws depend on the place in the text alone, as kept ones do."""
        readouts = self.exact.signal(batch)
        logits = pooled_log_probabilities(
            [readout.logits(slice(None)) for readout in readouts],
            temperature=1.0,
            pool="logits",
            weights=self.exact.weights,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(batch.starts.sum()))
            changed = OTHERS[self.variant.signal](logits, self.variant.temperature)
        return [Readout(changed)]

    def described(self) -> dict[str, Any]:
        """As a note in training.json."""
        return {"kind": self.variant.signal}


@dataclass(frozen=True)
class Run:
    """A finished run, and where what is made of it is kept."""

    folder: Path
    work: Path
    recipe: Recipe
    name: str
    """Of the student."""

    def student(self, variant: Variant) -> Recipe:
        """The recipe with a variant's settings."""
        model = self.recipe.models[self.name]
        assert model.training
        assert model.distillation
        signal = variant.signal if variant.signal in KINDS else ONLINE
        asked: dict[str, Any] = {"signal": signal, "temperature": variant.temperature}
        size = max(1, model.training.batch_size // variant.micro_batches)
        training = model.training.model_copy(update={"micro_batch": size})
        distillation = model.distillation.model_copy(update=asked)
        changed = model.model_copy(update={"training": training, "distillation": distillation})
        return self.recipe.model_copy(update={"models": {**self.recipe.models, self.name: changed}})

    @property
    def teachers(self) -> dict[str, Path]:
        """Their folders."""
        names = sorted(self.recipe.models[self.name].teachers)
        return {name: (self.folder / "models" / name).resolve() for name in names}

    @property
    def tokens(self) -> Path:
        """Both splits."""
        return self.folder / "tokens"


def kept_signal(run: Run, kind: Kind) -> Kept:
    """The cache of a kind, built where it is not there yet."""
    made_from = {name: str(read_manifest(folder)["fingerprint"])
                 for name, folder in run.teachers.items()}  # fmt: skip
    recipe = run.student(Variant(kind))
    folder = Store(run.work).make(
        Identity("signal", 1, {"kind": kind}, made_from),
        lambda out, work: make_signal(
            recipe,
            run.name,
            tokens=run.tokens,
            teachers=run.teachers,
            made_from=made_from,
            out=out,
            work=work,
        ),
    )
    return Kept(folder, made_from)


def signal_of(run: Run, variant: Variant, device: torch.device, precision: str) -> SignalSource:
    """What the student of a variant learns from."""
    recipe = run.student(variant)
    if variant.signal in KINDS:
        kept = kept_signal(run, variant.signal)  # type: ignore[arg-type]
        return open_signal(
            recipe, run.name, kept, tokens=run.tokens, device=device, precision=precision
        )
    settings = recipe.models[run.name].distillation
    teachers = load_teachers(run.teachers, settings).to(device)
    return teachers if variant.signal == ONLINE else Changed(teachers, variant)


def job(run: Run, variant: Variant) -> Job:
    """The training of a variant's student."""
    recipe = run.student(variant)
    model, packed = recipe.models[run.name], read_packed(run.tokens, "train")
    assert model.training
    assert model.architecture
    device = pick_device(recipe.runtime.device)
    precision = resolve_precision(model.training.precision, device)
    tokenizer = load_tokenizer(run.folder / "tokenizer")
    special = (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
    config = model_config(model.architecture, len(tokenizer), special)
    seed = recipe.seed_of(model)
    order = chunk_order(recipe, model, packed, seed)
    return Job(
        name=variant.name,
        model=build_model(config, seed).to(device),
        settings=model.training,
        order=order,
        validation=validation_text(recipe, run.tokens),
        bytes_of_token=torch.tensor(token_bytes(tokenizer)),
        ledger=Ledger(order.batch_size * recipe.tokens.chunk_length, 1.0, 0.0, 0.0),
        tokenizer=run.folder / "tokenizer",
        seed=seed,
        precision=precision,
        device=device,
        signal=signal_of(run, variant, device, precision),
        distillation=model.distillation,
        compile=recipe.runtime.compile,
    )


def trained(run: Run, variant: Variant) -> Path:
    """The student's folder, with training.json; trained where it is not there yet."""
    folder = run.work / "students" / variant.name
    if not (folder / "training.json").exists():
        work = run.work / "training" / variant.name
        work.mkdir(parents=True, exist_ok=True)
        this = job(run, variant)
        told = train(this, work, StopRequest())
        save_model(this.model.cpu(), this.tokenizer, folder)
        write_json(folder / "training.json", told)
    return folder


@torch.no_grad()
def divergence(run: Run, one: Path, other: Path) -> float:
    """Mean KL(one || other) in nats, over the validation text."""
    models = [load_model(folder).eval() for folder in (one, other)]
    total, positions = 0.0, 0
    for batch in validation_text(run.recipe, run.tokens):
        logs = [
            functional.log_softmax(read_out(model, batch.input_ids).logits(slice(None)), dim=-1)
            for model in models
        ]
        total += float(functional.kl_div(logs[1], logs[0], reduction="sum", log_target=True))
        positions += len(logs[0])
    return total / positions


def table_of(run: Run) -> list[dict[str, Any]]:
    """A row a student."""
    rows = []
    for variant in variants():
        folder = trained(run, variant)
        told = json.loads((folder / "training.json").read_text("utf-8"))
        reference = trained(run, Variant(ONLINE, variant.temperature))
        base = json.loads((reference / "training.json").read_text("utf-8"))["validation"]
        own = told["validation"]["cross_entropy"]
        rows.append(
            {
                "student": variant.name,
                "bytes a token": bytes_a_token(run, variant),
                "degrees": degrees(run, variant),
                "cross-entropy": own,
                "more than online": own - base["cross_entropy"],
                "KL(online || this)": divergence(run, reference, folder),
                "seconds": told["seconds"],
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


@torch.no_grad()
def degrees(run: Run, variant: Variant) -> float:
    """The angle between exact and kept gradient, as in the certificate of a cache."""
    recipe, cpu = run.student(variant), torch.device("cpu")
    settings = recipe.models[run.name].distillation
    batch = make_batch(
        read_packed(run.tokens, "dev").ids,
        np.concatenate([b.starts.numpy() for b in validation_text(recipe, run.tokens)])[::STRIDE],
        recipe.tokens.chunk_length,
        "dev",
    )
    exact = load_teachers(run.teachers, settings)
    if variant.signal == ONLINE:
        return 0.0
    changed = signal_of(run, variant, cpu, "fp32")
    return certify(
        Pooling(exact.signal(batch), exact.weights),
        Pooling(changed.signal(batch), changed.weights),
        variant.temperature,
    ).angle


def bytes_a_token(run: Run, variant: Variant) -> float:
    """On disk."""
    if variant.signal in KINDS:
        header = kept_signal(run, variant.signal).folder / "header.json"  # type: ignore[arg-type]
        return float(json.loads(header.read_text("utf-8"))["bytes_per_token"])
    return BYTES.get(variant.signal, 0)


def caches(run: Run) -> list[dict[str, Any]]:
    """A row a cache: size, time and certificate."""
    rows = []
    for kind in KINDS:
        folder = kept_signal(run, kind).folder
        header = json.loads((folder / "header.json").read_text("utf-8"))
        certificate = {f"T={c['temperature']:g}": c for c in header["certificate"]}
        rows.append(
            {
                "signal": kind,
                "rank": header["rank"] or "",
                "bytes a token": header["bytes_per_token"],
                "MB": sum(f.stat().st_size for f in folder.iterdir()) / 1e6,
                "build, s": read_manifest(folder)["seconds"],
                **{f"degrees, {t}": c["angle"] for t, c in certificate.items()},
                **{f"KL, {t}": c["kl"] for t, c in certificate.items()},
            }
        )
    return rows


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """Print a table."""
    table = Table(*rows[0], title=title, box=None)
    for row in rows:
        table.add_row(*(v if isinstance(v, str) else f"{v:.5g}" for v in row.values()))
    Console(width=120).print(table)


def main() -> None:
    """Build, train, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--student", default="student")
    parser.add_argument("--work", type=Path, required=True, help="keeps caches and students")
    given = parser.parse_args()
    prepare_torch(pick_device("auto"), None)
    recipe = load_recipe(str(given.run / "recipe.yaml"))
    run = Run(given.run, given.work, recipe, given.student)
    result = {"caches": caches(run), "students": table_of(run)}
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    show("caches", result["caches"])
    show("students", result["students"])


if __name__ == "__main__":
    main()

"""What a run is: the typed, frozen recipe.

Each section belongs to the stage of the same name in `babyllama.pipeline`. A field marked
`WithoutEffect` is not part of any fingerprint: changing it makes nothing stale.
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator

from babyllama.recipe_distillation import Distillation
from babyllama.recipe_training import Training
from babyllama.section import Section, WithoutEffect, WithoutEffectAt

Prefix = Literal["none", "<s>", "</s>", "newline"]
Normalise = Literal["sum", "tokens"]
"""The sum of a sentence's log-probabilities, or their mean a token."""
ConventionName = Literal["babyllama", "lm-eval", "babylm-2023", "babylm-2025"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Seed = Annotated[int, Field(ge=0)]
LOGGED = (
    "cross_entropy",
    "kl",
    "cross_entropy_share",
    "masked_cross_entropy",
    "span_cross_entropy",
)
"""What the log of a model may hold of its loss, and `healthy` may give a range for."""


def _compiles(expression: str) -> str:
    try:
        re.compile(expression)
    except re.error as error:
        raise ValueError(f"{expression!r} is not a regular expression ({error})") from None
    return expression


Expression = Annotated[str, AfterValidator(_compiles)]


def _is_of_a_training(weights: str) -> str:
    if not re.fullmatch(r"last|ema|cycle-[1-9][0-9]*", weights):
        raise ValueError(f"expected last, ema or cycle-1 and so on, not {weights!r}")
    return weights


class OwnCleaner(Section):
    """A cleaner of one's own, of regular expressions that go line by line (see docs/corpus.md)."""

    base: str = "generic"
    """The cleaner whose rules follow, and whose definition of a document holds."""
    drop_lines: tuple[Expression, ...] = ()
    """A line with a match is dropped."""
    drop: tuple[Expression, ...] = ()
    """What matches is dropped."""
    replace: tuple[tuple[Expression, str], ...] = ()
    """Pairs of an expression and what stands in its place, `\\1` for its first group."""
    document: Expression | None = None
    """A line with a match starts a document."""


class Corpus(Section):
    """Where the text comes from. Its content is fingerprinted, not its path."""

    path: Annotated[str, WithoutEffect]
    """A folder of text files, or `builtin:bbe`."""
    dev_path: Annotated[str | None, WithoutEffect] = None
    """A folder of held-out text; without one, `*.dev` beside the text, or a split of it."""
    words: PositiveInt | None = None
    """Take a seeded, stratified part of about so many training words."""
    dev_share: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """The part held out where the corpus has no dev files."""
    clean: bool = True
    """Put every source through its cleaner."""
    clean_dev: bool | None = None
    """Whether the development text is cleaned; by default as `clean` says."""
    cleaners: dict[str, str | OwnCleaner] = {}
    """Source name -> a cleaner's name or one's own, where the source's own name says nothing."""
    bad_bytes: Literal["fail", "replace"] = "fail"
    """What to do with bytes that are not UTF-8: replaced ones are counted."""
    drop_overlap: bool = False
    """Drop training lines that share 12 words in a row with the dev text or a suite."""
    seed: Seed = 1
    """Seed of all that concerns the data: `words`, the split, the validation subset."""

    @property
    def cleans_dev(self) -> bool:
        """Whether the development text is cleaned."""
        return self.clean if self.clean_dev is None else self.clean_dev


class Tokenizer(Section):
    """Byte-level BPE trained on the training split."""

    vocabulary: Annotated[int, Field(ge=260, le=1_000_000)]
    """Number of ids, the three special tokens included."""


class Tokens(Section):
    """How text becomes chunks: the ids depend on `separators` alone, the rest concerns models."""

    chunk_length: Annotated[int, Field(ge=2)] = 128
    """Tokens a training sequence."""
    separators: bool = True
    """Start every document with `<s>`."""
    validation_chunks: PositiveInt = 500
    """Chunks of the dev split that every model is validated on, drawn once from the seed."""


class Architecture(Section):
    """A language model of transformers, by its `model_type`: causal, but `roberta` and `t5`."""

    type: str
    """The `model_type`, as `llama` or `gpt2`, or `switch`."""
    layers: PositiveInt
    """Transformer blocks."""
    heads: PositiveInt
    """Attention heads a layer; they divide the width."""
    width: PositiveInt
    """Size of the hidden states and the embedding."""
    feed_forward: PositiveInt
    """Inner size of the feed-forward layers."""
    positions: PositiveInt | None = None
    """Tokens that the model can look at; at least `tokens.chunk_length`. None where the type, as
    `t5`, has no table of them."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Wherever the architecture has dropout."""
    options: dict[str, Any] = {}
    """Further keys of the transformers configuration, by their own names."""


class Start(Section):
    """Another model of the recipe, whose weights a model takes over."""

    model: Name
    """Its name."""
    weights: Annotated[str, AfterValidator(_is_of_a_training)] = "last"
    """`last`: the model as it is; `ema`: the average of its weights; `cycle-1`: as it was then."""


class Model(Section):
    """One model of a run: trained here, an outside checkpoint, another model's weights, or both."""

    architecture: Architecture | None = None
    """What is built and trained from nothing."""
    checkpoint: Annotated[str | None, WithoutEffect] = None
    """A Hugging Face folder: a teacher as it is, or with `training` a start."""
    start: Annotated[Start | None, WithoutEffectAt((None,))] = None
    """Another model of the recipe: its weights as they are, or with `training` a start."""
    training: Training | None = None
    """How it is trained; with a checkpoint or a start and without this, it stays as it is."""
    teachers: list[Name] = []
    """Models that it is distilled from."""
    distillation: Distillation | None = None
    """How it learns from them."""
    seed: Seed | None = None
    """Seed of initialisation and data order; by default the recipe's."""
    healthy: Annotated[dict[str, tuple[float, float]], WithoutEffect] = {}
    """One of `LOGGED` -> the range of its mean over the last epoch in a healthy run."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if sum(map(bool, (self.architecture, self.checkpoint, self.start))) != 1:
            raise ValueError("give either an architecture or a checkpoint or a start")
        if self.architecture and not self.training:
            raise ValueError("a model with an architecture needs training settings")
        if self.teachers and not self.training:
            raise ValueError("a model with teachers needs training settings")
        if self.distillation and not self.teachers:
            raise ValueError("distillation has no effect without teachers: name some or drop it")
        if len(set(self.teachers)) != len(self.teachers):
            raise ValueError(f"a teacher is listed twice: {self.teachers}")
        return self


class Evaluation(Section):
    """Which minimal pairs are scored, and how."""

    suites: Annotated[dict[Name, str], WithoutEffect] = {"generated": "builtin:paradigms"}
    """Name -> folder of pair files, a name as `blimp` of a fetched suite (`evaluation/suites.py`),
    or `builtin:paradigms`: written from the corpus's words."""
    convention: ConventionName = "babyllama"
    """The rules of scoring: this project's own, or those of another tool."""
    prefix: Prefix | None = None
    """What stands before every sentence that is scored; by default what the convention has."""
    normalise: Normalise | None = None
    """The sum of a sentence's log-probabilities, or their mean a token; by default what the
    convention has, which is the sum in all of them."""
    checkpoints: bool = False
    """Validate and score what `training.save_at_words` saved, too: for `compare --correlate`."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Of the layers and of the products with the head, as in `training`; the softmax and a token's
    own logit are in float32 always, and so is all of a model that scales or caps its logits."""


class Pooled(Section):
    """Models that are measured as one, whether or not they teach anyone."""

    members: Annotated[list[Name], Field(min_length=2)]
    """Models, of equal weight."""
    pool: Literal["logits", "probabilities"] = "logits"
    """What is averaged over them."""


class Report(Section):
    """What the report shows beside the figures."""

    prompts: list[str] = ["Once upon a time", "The king", "I want", "She said"]
    """Beginnings that the students go on with."""
    sample_tokens: PositiveInt = 60
    """Tokens that they add to each, at most."""
    sample_temperature: PositiveFloat = 0.8
    """Below 1 the likelier tokens are preferred."""


class Runtime(Section):
    """The machine: nothing here changes a result beyond rounding."""

    device: Annotated[str, WithoutEffect] = "auto"
    """`cpu`, `cuda`, `cuda:1`, `mps`; `auto` takes a GPU where torch finds one."""
    threads: Annotated[PositiveInt | None, WithoutEffect] = None
    """Of torch on the CPU; by default all cores."""
    compile: Annotated[Literal["auto", "on", "off"], WithoutEffect] = "auto"
    """`auto`: in a long training the loss is compiled, in a longer one the layers too, where a
    compiler works; `on`: both in every training; see docs/distillation.md. A training that was
    begun keeps its own: they differ by rounding."""


class Recipe(Section):
    """A whole run, resolved: every model complete, nothing left to look up."""

    name: Annotated[Name, WithoutEffect]
    """The run lives in `runs/NAME` where the command does not say otherwise."""
    description: Annotated[str, WithoutEffect] = ""
    """What `babyllama recipes` says of it."""
    seed: Seed = 1
    """Seed of the models and of the samples from them."""
    corpus: Corpus
    """The text."""
    tokenizer: Tokenizer
    """Its vocabulary."""
    tokens: Tokens = Tokens()
    """Its chunks."""
    models: dict[Name, Model]
    """Name -> what is trained or taken from outside."""
    ensembles: dict[Name, Pooled] = {}
    """Name -> models that are validated and scored as one, beside the teachers of each student."""
    evaluation: Evaluation = Evaluation()
    """What the models are measured on."""
    report: Report = Report()
    """What is shown."""
    runtime: Runtime = Runtime()
    """The machine."""

    def seed_of(self, model: Model) -> int:
        """The seed of a model's initialisation, data order and dropout."""
        return self.seed if model.seed is None else model.seed

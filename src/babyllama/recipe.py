"""What a run is: the typed, frozen recipe.

Each section belongs to the stage of the same name in `babyllama.pipeline`. A field marked
`WithoutEffect` is not part of any fingerprint: changing it makes nothing stale.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

Prefix = Literal["none", "<s>", "</s>", "newline"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Share = Annotated[float, Field(ge=0, le=1)]
WithoutEffect = "without effect on the result"
"""Mark of a field that no fingerprint covers."""


class Section(BaseModel):
    """A part of a recipe: frozen, and every key known."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def effective(self) -> dict[str, Any]:
        """The settings that change what is computed: the part that a fingerprint covers."""
        return self.model_dump(mode="json", exclude=_silent(self))


def _silent(section: Section) -> dict[str, Any]:
    """Fields without effect, in the form that pydantic's `exclude` takes."""
    found: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if WithoutEffect in field.metadata:
            found[name] = True
        elif isinstance(value, Section):
            found[name] = _silent(value)
    return found


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
    cleaners: dict[str, str] = {}
    """Source name -> cleaner name, for sources whose own name says nothing."""
    seed: int = 1
    """Seed of all that concerns the data: `words`, the split, the validation subset."""


class Tokenizer(Section):
    """Byte-level BPE trained on the training split."""

    vocabulary: Annotated[int, Field(ge=260, le=1_000_000)]
    """Number of ids, the three special tokens included."""


class Tokens(Section):
    """How text becomes chunks."""

    chunk_length: Annotated[int, Field(ge=2)] = 128
    separators: bool = True
    """Start every document with `<s>`."""
    validation_chunks: PositiveInt = 500
    """Chunks of the dev split that every model is validated on, drawn once from the seed."""


class Architecture(Section):
    """A causal language model of transformers, by its `model_type`."""

    type: str
    layers: PositiveInt
    heads: PositiveInt
    width: PositiveInt
    feed_forward: PositiveInt
    positions: PositiveInt
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    options: dict[str, Any] = {}
    """Further keys of the transformers configuration, by their own names."""


class Training(Section):
    """How one model is trained. The defaults are the paper's where it gives them."""

    epochs: PositiveInt = 6
    batch_size: PositiveInt = 32
    """Sequences a step, over all micro-batches."""
    learning_rate: PositiveFloat = 3e-4
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_steps: Annotated[int, Field(ge=0)] = 200
    final_learning_rate: Share = 0.0
    """Where the cosine ends, as a share of the learning rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    betas: tuple[Share, Share] = (0.9, 0.999)
    epsilon: PositiveFloat = 1e-8
    clip_norm: PositiveFloat | None = 1.0
    random_offsets: bool = False
    """Shift the chunk grid by a random number of tokens every epoch."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """`auto`: bf16 autocast where the hardware has it, otherwise fp32."""
    keep: Literal["last", "best"] = "last"
    select_by: Literal["cross_entropy", "objective"] = "cross_entropy"
    """What `keep: best` compares at the end of every epoch."""
    save_at_words: Literal["babylm"] | list[PositiveInt] = []
    """Save the model when it has seen so many words; `babylm` is 1M to 9M, 10M to 100M."""
    micro_batch: Annotated[PositiveInt | None, WithoutEffect] = None
    """Sequences a forward pass; by default what fits a fixed budget of logits."""
    checkpoint_minutes: Annotated[PositiveFloat, WithoutEffect] = 5.0

    @model_validator(mode="after")
    def _betas_below_one(self) -> Self:
        if max(self.betas) >= 1:
            raise ValueError(f"betas must lie below 1, not {list(self.betas)}")
        return self


class Distillation(Section):
    """The loss of a model that has teachers: see `babyllama.distillation.loss`."""

    temperature: PositiveFloat = 2.0
    ce_weight: Share = 0.5
    """Weight of the cross-entropy; the rest is the weight of the KL."""
    pool: Literal["logits", "probabilities"] = "logits"
    kl_reduction: Literal["token", "sequence"] = "token"
    teacher_weights: dict[str, PositiveFloat] = {}
    """Teacher -> weight, normalised to sum to one; a teacher left out weighs 1."""


class Model(Section):
    """One model of a run: trained here, or an outside checkpoint, or both."""

    architecture: Architecture | None = None
    checkpoint: Annotated[str | None, WithoutEffect] = None
    """A Hugging Face folder: a teacher as it is, or with `training` a start."""
    training: Training | None = None
    teachers: list[Name] = []
    distillation: Distillation | None = None
    seed: int | None = None
    """Seed of initialisation and data order; by default the recipe's."""
    healthy: Annotated[dict[str, tuple[float, float]], WithoutEffect] = {}
    """Logged quantity -> the range that its mean over the last epoch has in a healthy run."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.architecture is None) == (self.checkpoint is None):
            raise ValueError("give either an architecture or a checkpoint")
        if self.architecture and not self.training:
            raise ValueError("a model with an architecture needs training settings")
        if self.teachers and not self.training:
            raise ValueError("a model with teachers needs training settings")
        if len(set(self.teachers)) != len(self.teachers):
            raise ValueError(f"a teacher is listed twice: {self.teachers}")
        return self


class Evaluation(Section):
    """Which minimal pairs are scored, and how."""

    suites: Annotated[dict[Name, str], WithoutEffect] = {"generated": "builtin:paradigms"}
    """Name -> folder of pair files, or `builtin:paradigms`: written from the corpus's words."""
    prefix: Prefix = "newline"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Of the layers; the head and the softmax are in float32 always."""


class Report(Section):
    """What the report shows beside the figures."""

    prompts: list[str] = ["Once upon a time", "The king", "I want", "She said"]
    sample_tokens: PositiveInt = 60
    sample_temperature: PositiveFloat = 0.8


class Runtime(Section):
    """The machine: nothing here changes a result beyond rounding."""

    device: Annotated[str, WithoutEffect] = "auto"
    threads: Annotated[PositiveInt | None, WithoutEffect] = None


class Recipe(Section):
    """A whole run, resolved: every model complete, nothing left to look up."""

    name: Annotated[Name, WithoutEffect]
    description: Annotated[str, WithoutEffect] = ""
    seed: int = 1
    """Seed of the models and of the samples from them."""
    corpus: Corpus
    tokenizer: Tokenizer
    tokens: Tokens = Tokens()
    models: dict[Name, Model]
    evaluation: Evaluation = Evaluation()
    report: Report = Report()
    runtime: Runtime = Runtime()

"""Named ways to score minimal pairs: what differs between the tools that people compare with.

Each was read in the tool's source, which is named beside it. All of them sum the log-probabilities
of a sentence's tokens and take the sentence with the larger sum.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from babyllama.recipe import ConventionName, Normalise, Prefix

Ties = Literal["half", "good"]
"""What two sentences that score the same count: half, or as correct."""
Headline = Literal["phenomena", "paradigms"]
"""What the one number is the mean over: BLiMP's 12 phenomena or its 67 paradigms."""


@dataclass(frozen=True)
class Convention:
    """Every rule that decides an accuracy on minimal pairs, the precision apart."""

    name: str
    prefix: Prefix
    leading_space: bool = False
    """Whether every sentence is encoded with a space before its first word."""
    normalise: Normalise = "sum"
    ties: Ties = "half"
    headline: Headline = "phenomena"

    def described(self, precision: str) -> dict[str, str]:
        """All of it in words, for the files with scores."""
        return {
            "name": self.name,
            "prefix": self.prefix,
            "leading_space": "yes" if self.leading_space else "no",
            "normalise": self.normalise,
            "ties": self.ties,
            "headline": self.headline,
            "precision": precision,
        }


CONVENTIONS: Mapping[ConventionName, Convention] = {
    "babyllama": Convention("babyllama", "newline"),
    # EleutherAI/lm-evaluation-harness 0.4.13. tasks/blimp/_template_yaml: an empty context, two
    # choices, the good one first, metric acc (not acc_norm); api/task.py: target_delimiter " "
    # before each choice, and np.argmax, which gives a tie to the first; models/huggingface.py,
    # prefix_token_id: <s>, or </s> for a tokenizer without; tasks/blimp/_blimp.yaml:
    # weight_by_size False.
    "lm-eval": Convention("lm-eval", "<s>", leading_space=True, ties="good", headline="paradigms"),
    # babylm/evaluation-pipeline-2023. lm_eval/models/huggingface.py: eot_token is eos_token;
    # lm_eval/api/task.py: text_target_separator " ", np.argmax, the good sentence first;
    # babylm_eval.py: twelve files, one a phenomenon, of pooled pairs.
    "babylm-2023": Convention("babylm-2023", "</s>", leading_space=True, ties="good"),
    # babylm/evaluation-pipeline-2025, evaluation_pipeline/sentence_zero_shot. dataset.py (commit
    # b9a0b93; since 5182e30 it takes what the tokenizer adds by itself): <s> before the sentence
    # as it stands; compute_results.py: torch.max, which gives a tie to the first, the good one;
    # run.py: the mean over UIDs.
    "babylm-2025": Convention("babylm-2025", "<s>", ties="good", headline="paradigms"),
}


def convention(
    name: ConventionName, prefix: Prefix | None = None, normalise: Normalise | None = None
) -> Convention:
    """A convention by name, with another prefix or normalisation if one is given."""
    chosen = CONVENTIONS[name]
    return replace(chosen, prefix=prefix or chosen.prefix, normalise=normalise or chosen.normalise)

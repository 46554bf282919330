"""How the weight of the cross-entropy changes over a training: a pure function of the step.

`constant`, `linear`, and `wsd` (warm-up, stable, decay), as "Pre-training Distillation for Large
Language Models: A Design Space Exploration" (Peng et al. 2024, arXiv 2410.16215, section 3.3) has
them for the weight of the teachers, which is 1 less that of the cross-entropy.
"""

import numpy as np

from babyllama.recipe_distillation import Distillation

# Parts of a training, its first and its last, in which the teachers' weight rises and falls.
WARM_UP = DECAY = 0.1


def ce_weight(step: int, total_steps: int, settings: Distillation) -> float:
    """The weight of the cross-entropy at a step, counted from 0.

    The first step is the start of a schedule and the last one its end. `linear` goes from
    `ce_weight` to `ce_weight_end`. `wsd` goes from 1, where the teachers weigh nothing, to
    `ce_weight` in the first tenth of the training, and to `ce_weight_end` in the last one. A
    training of a single step is at the start.
    """
    if settings.ce_weight_schedule == "constant":
        return settings.ce_weight
    progress = step / max(1, total_steps - 1)
    held, end = settings.ce_weight, settings.ce_weight_end
    if settings.ce_weight_schedule == "linear":
        return float(np.interp(progress, [0, 1], [held, end]))
    return float(np.interp(progress, [0, WARM_UP, 1 - DECAY, 1], [1, held, held, end]))

"""50 steps of a distilled student; `losses.json` has them as they were when this was last run.

    .venv/bin/python tests/invariants/golden/losses.py

writes them anew: after a change that is meant to alter what a training gives, and after no other.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch

FILE = Path(__file__).with_suffix(".json")
STEPS = 50


def measured(work: Path) -> list[dict[str, float]]:
    """Loss and gradient norm of every step: float32, exact products, one thread."""
    from babyllama.training.trainer import Trainer
    from tiny_jobs import new_job, new_model, new_teachers

    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    try:
        job = new_job(
            model=new_model("gpt2", width=32),
            teachers=new_teachers(),
            epochs=20,
            micro_batch=4,
            warmup_steps=5,
            learning_rate=3e-3,
            weight_decay=0.1,
        )
        trainer = Trainer(job, work)
        rows = [trainer.step() for _ in range(STEPS)]
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
    return [{key: row[key] for key in ("loss", "gradient_norm")} for row in rows]


if __name__ == "__main__":
    sys.path.insert(0, str(FILE.parents[2]))
    with tempfile.TemporaryDirectory() as scratch:
        lines = ",\n ".join(map(json.dumps, measured(Path(scratch))))
    FILE.write_text(f"[{lines}]\n", "utf-8")

"""What `babyllama finetune` found, beside the published baselines, as Markdown.

    .venv/bin/python benchmarks/finetuning.py tuned

Reads `rows.json` of a folder of results; scores in % with standard errors over items.
"""

import json
import sys
from pathlib import Path
from typing import Any

# README of babylm/evaluation-pipeline-2023, strict-small, after 17 October 2023.
PUBLISHED = {
    "OPT-125M": "cola 15.2, sst2 81.9, mrpc 72.5, qqp 60.4, mnli 57.6, mnli_mm 60.0, qnli 61.5,"
    " rte 60.0, boolq 63.3, multirc 55.2, wsc 60.2, CR 50.8, LC 53.6, MV 99.5, RP 99.9, SC 77.2,"
    " CR_LC 0.4, CR_RTP -70.3, MV_LC -72.1, MV_RTP -77.6, SC_LC 13.8, SC_RP -68.9",
    "RoBERTa-base": "cola 25.8, sst2 87.0, mrpc 79.2, qqp 73.7, mnli 73.2, mnli_mm 74.0, qnli 77.0,"
    " rte 61.6, boolq 66.3, multirc 61.4, wsc 61.4, CR 43.1, LC 100, MV 97.7, RP 76.7, SC 86.2,"
    " CR_LC -28.3, CR_RTP -77.7, MV_LC -99.3, MV_RTP -79.4, SC_LC 16.3, SC_RP -45.0",
    "T5-base": "cola 11.3, sst2 78.1, mrpc 80.5, qqp 66.2, mnli 48.0, mnli_mm 50.3, qnli 62.0,"
    " rte 49.4, boolq 66.0, multirc 47.1, wsc 61.4, CR 21.1, LC 100, MV 33.4, RP 82.5, SC 77.6,"
    " CR_LC -78.3, CR_RTP -62.0, MV_LC -100, MV_RTP -79.7, SC_LC -25.3, SC_RP -39.4",
}


def cell(row: dict[str, Any]) -> str:
    """A score and its error; what the signs mean stands below the table."""
    if row["not_run"]:
        return "–"
    sign = "\\*" if "split_of_reported True" in row["convention"] else ""
    dagger = "†" if row["erratic"] else ""
    error = row["standard_error"]
    shown = "" if error is None else f" ± {100 * error:.1f}"
    return f"{100 * row['value']:.1f}{shown}{sign}{dagger}"


def main() -> None:
    """Print the table."""
    rows = json.loads((Path(sys.argv[1]) / "rows.json").read_text("utf-8"))
    models = list(dict.fromkeys(row["model"] for row in rows))
    names = [Path(model).name for model in models]
    published = {
        name: dict(each.rsplit(" ", 1) for each in figures.split(", "))
        for name, figures in PUBLISHED.items()
    }
    print("|  |  | items |", " | ".join([*names, *published]), "|")
    print("| :-- | :-- | --: |", " | ".join(["--:"] * (len(names) + len(published))), "|")
    for task in dict.fromkeys(row["task"] for row in rows):
        found = {row["model"]: row for row in rows if row["task"] == task}
        first = next(iter(found.values()))
        cells = [cell(found[model]) if model in found else "–" for model in models]
        beside = [figures.get(task, "–") for figures in published.values()]
        print(
            f"| {task} | {first['metric']} | {first['n'] or '–'} |", " | ".join(cells + beside), "|"
        )


if __name__ == "__main__":
    main()

"""`log.jsonl`: a row a step and a row a validation, cut back to its checkpoint on resume."""

import json
from pathlib import Path
from typing import Any, TextIO


def write_row(log: TextIO, row: dict[str, Any]) -> None:
    """Append a row, visible at once to who reads along."""
    log.write(json.dumps(row) + "\n")
    log.flush()


def truncate_log(path: Path, step: int) -> None:
    """Keep the rows up to a step; a half-written last row goes too."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text("utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except ValueError:
            break
    beside = path.with_suffix(".new")
    beside.write_text("".join(kept), "utf-8")
    beside.replace(path)

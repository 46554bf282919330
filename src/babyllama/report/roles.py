"""What part each model of a run plays, by who teaches whom and whose weights start from whose."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

Role = Literal["control", "distilled", "teacher", "ensemble"]
ROLES: tuple[Role, ...] = ("control", "distilled", "teacher", "ensemble")
ENSEMBLE = "ensemble"


def roles(
    names: Iterable[str], teachers: Mapping[str, Sequence[str]], starts: Mapping[str, str]
) -> dict[str, Role]:
    """The part of every model; one that learns and teaches (a chain) counts as distilled.

    `starts` has the model that another one takes its weights from. It plays the part of that one:
    what was distilled stays so, and a run whose snapshots teach is a teacher.

    >>> roles(["run", "early", "pupil", "mean"], {"pupil": ["early"]}, {"early": "run",
    ...     "mean": "pupil"})
    {'run': 'teacher', 'early': 'teacher', 'pupil': 'distilled', 'mean': 'distilled'}
    """
    lines = {name: _line(name, starts) for name in names}
    teaching = {teacher for taught in teachers.values() for teacher in taught}
    teaching |= {name for teacher in teaching for name in lines.get(teacher, ())}
    return {name: _role(line, teachers, teaching) for name, line in lines.items()}


def _line(name: str, starts: Mapping[str, str]) -> list[str]:
    """A model, and those that its weights come from."""
    line = [name]
    while (before := starts.get(line[-1])) and before not in line:
        line.append(before)
    return line


def _role(
    line: Sequence[str], teachers: Mapping[str, Sequence[str]], teaching: Iterable[str]
) -> Role:
    if line[0] == ENSEMBLE or line[0].startswith(f"{ENSEMBLE}-"):
        return "ensemble"
    if any(teachers.get(name) for name in line):
        return "distilled"
    return "teacher" if {*line} & {*teaching} else "control"

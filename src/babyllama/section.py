"""What every section of a recipe is, and which of its keys a fingerprint covers."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
WithoutEffect = "without effect on the result"
"""Mark of a field that no fingerprint covers."""


@dataclass(frozen=True)
class WithoutEffectAt:
    """Mark of a field that no fingerprint covers while it has one of these values."""

    values: tuple[object, ...]
    """Of the field."""


class Section(BaseModel):
    """A part of a recipe: frozen, and every key known."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def effective(self) -> dict[str, Any]:
        """The settings that change what is computed: the part that a fingerprint covers."""
        return self.model_dump(mode="json", exclude=_silent(self))

    def idle(self) -> set[str]:
        """Keys that say nothing beside what others of the section say."""
        return set()


def _silent(section: Section) -> dict[str, Any]:
    """Fields without effect, in the form that pydantic's `exclude` takes."""
    found: dict[str, Any] = {}
    idle = section.idle()
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        marked = WithoutEffect in field.metadata or _is_silent_at(value, field.metadata)
        if marked or name in idle:
            found[name] = True
        elif isinstance(value, Section):
            found[name] = _silent(value)
    return found


def _is_silent_at(value: object, marks: Iterable[object]) -> bool:
    return any(isinstance(mark, WithoutEffectAt) and value in mark.values for mark in marks)

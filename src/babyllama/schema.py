"""The typed recipe as a tree of keys: what stands under a key, and what it takes."""

from collections.abc import Iterable
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section that an annotation is, or is a choice of."""
    options = (annotation, *get_args(annotation)) if _is_choice(annotation) else (annotation,)
    return next((a for a in options if isinstance(a, type) and issubclass(a, BaseModel)), None)


def under(annotation: Any, keys: Iterable[str]) -> Any:
    """What a path of keys leads to; `None` where a section has no such key."""
    for key in keys:
        section = section_of(annotation)
        if get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        elif section and key in section.model_fields:
            annotation = section.model_fields[key].annotation
        else:
            return None
    return annotation


def takes(annotation: Any, kind: type) -> bool:
    """Whether a key takes text, say, perhaps beside other things.

    >>> takes(str | None, str), takes(list[str], str), takes(str, type(None))
    (True, False, False)
    """
    return annotation is kind or (_is_choice(annotation) and kind in get_args(annotation))


def without_nulls(annotation: Any, raw: Any) -> Any:
    """A raw value without the keys whose `null` says: as if this were not given.

    A mapping of names is emptied by it. Where `null` is a value of the key (`clip_norm`: none), and
    where the key is unknown, it stays.
    """
    if not isinstance(raw, dict):
        return raw
    kept: dict[str, Any] = {}
    for key, value in raw.items():
        inner = under(annotation, [key])
        if value is None and get_origin(inner) is dict:
            kept[key] = {}
        elif value is not None or inner is None or takes(inner, type(None)):
            kept[key] = without_nulls(inner, value)
    return kept


def keys_of(annotation: Any, location: Iterable[str]) -> list[str]:
    """The keys in the place of an error, without the branches of a choice that pydantic names."""
    keys = []
    for part in location:
        tried = _is_choice(annotation) and len(_values(annotation)) > 1
        if tried:
            annotation = _branch(annotation, part)
        elif part != "[key]":
            keys.append(part)
            annotation = under(annotation, [part])
    return keys


def _is_choice(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, UnionType)


def _values(annotation: Any) -> list[Any]:
    return [option for option in get_args(annotation) if option is not type(None)]


def _branch(annotation: Any, name: str) -> Any:
    """The section of that name, where a choice has one; what else is chosen has no keys."""
    section = section_of(annotation)
    return section if section and section.__name__ == name else None


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys.

    >>> flatten({"a": {"b": 1}, "c": 2})
    {'a.b': 1, 'c': 2}
    """
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    return flat

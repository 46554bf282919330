"""Suites of minimal pairs by name: where `babyllama fetch` puts them below `data/`.

The filtered ones hold the pairs whose words all occur in the BabyLM corpus, the fast ones some of
those. Of the supplement only filtered pairs are published.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from babyllama.errors import RecipeError

FETCHED = Path("data")
"""Where `babyllama fetch` puts what it brings, if not told otherwise."""


@dataclass(frozen=True)
class KnownSuite:
    """A suite that can be fetched."""

    entry: str
    """What `babyllama fetch` calls the set that holds it (see corpus/fetching/registry.yaml)."""
    folder: str = "."
    """Where it lies in that set."""

    @property
    def place(self) -> Path:
        """Its folder below `data/`."""
        return Path(self.entry, self.folder)


SUITES: Mapping[str, KnownSuite] = {
    "blimp": KnownSuite("blimp"),
    "blimp-filtered": KnownSuite("babylm-evaluation", "blimp_filtered"),
    "blimp-fast": KnownSuite("babylm-evaluation-2025", "fast_eval/blimp_fast"),
    "blimp-2023": KnownSuite("babylm-evaluation-2023", "blimp_filtered"),
    "supplement": KnownSuite("babylm-evaluation", "supplement_filtered"),
    "supplement-filtered": KnownSuite("babylm-evaluation", "supplement_filtered"),
    "supplement-fast": KnownSuite("babylm-evaluation-2025", "fast_eval/supplement_fast"),
    "supplement-2023": KnownSuite("babylm-evaluation-2023", "supplement_filtered"),
}


def suite_folder(name: str, fetched: Path = FETCHED) -> Path:
    """A suite by its folder, by a name of `SUITES`, or by a folder below `data/`.

    A folder that has the name of a known suite is that folder.

    Raises:
        RecipeError: a known suite that is not fetched yet, or no suite at all.
    """
    known = SUITES.get(name)
    places = [Path(name), *([fetched / known.place] if known else []), fetched / name]
    for folder in places:
        if folder.is_dir():
            return folder
    if known:
        raise RecipeError(
            f"suite {name} is not at {fetched / known.place}: get it with babyllama fetch"
            f" {known.entry} --to {fetched}"
        )
    close = difflib.get_close_matches(name, SUITES, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise RecipeError(
        f"suite {name}: no such folder, here or in {fetched}/, and no suite of that name{hint};"
        f" known: {', '.join(SUITES)}"
    )

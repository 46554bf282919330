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
# babylm/evaluation-pipeline-2025, evaluation_pipeline/collate_preds.py: BLIMP_SIZES (its names in
# lower case) and SUPPLEMENT_SIZES.
FILTERED_PAIRS: Mapping[str, Mapping[str, int]] = {
    "blimp": {
        "adjunct_island": 928,
        "anaphor_gender_agreement": 971,
        "anaphor_number_agreement": 931,
        "animate_subject_passive": 895,
        "animate_subject_trans": 923,
        "causative": 818,
        "complex_NP_island": 846,
        "coordinate_structure_constraint_complex_left_branch": 906,
        "coordinate_structure_constraint_object_extraction": 949,
        "determiner_noun_agreement_1": 929,
        "determiner_noun_agreement_2": 931,
        "determiner_noun_agreement_irregular_1": 681,
        "determiner_noun_agreement_irregular_2": 820,
        "determiner_noun_agreement_with_adj_2": 941,
        "determiner_noun_agreement_with_adj_irregular_1": 718,
        "determiner_noun_agreement_with_adj_irregular_2": 840,
        "determiner_noun_agreement_with_adjective_1": 933,
        "distractor_agreement_relational_noun": 788,
        "distractor_agreement_relative_clause": 871,
        "drop_argument": 920,
        "ellipsis_n_bar_1": 802,
        "ellipsis_n_bar_2": 828,
        "existential_there_object_raising": 812,
        "existential_there_quantifiers_1": 930,
        "existential_there_quantifiers_2": 911,
        "existential_there_subject_raising": 924,
        "expletive_it_object_raising": 759,
        "inchoative": 855,
        "intransitive": 868,
        "irregular_past_participle_adjectives": 961,
        "irregular_past_participle_verbs": 942,
        "irregular_plural_subject_verb_agreement_1": 804,
        "irregular_plural_subject_verb_agreement_2": 892,
        "left_branch_island_echo_question": 947,
        "left_branch_island_simple_question": 951,
        "matrix_question_npi_licensor_present": 929,
        "npi_present_1": 909,
        "npi_present_2": 914,
        "only_npi_licensor_present": 882,
        "only_npi_scope": 837,
        "passive_1": 840,
        "passive_2": 903,
        "principle_A_c_command": 946,
        "principle_A_case_1": 912,
        "principle_A_case_2": 915,
        "principle_A_domain_1": 914,
        "principle_A_domain_2": 915,
        "principle_A_domain_3": 941,
        "principle_A_reconstruction": 967,
        "regular_plural_subject_verb_agreement_1": 890,
        "regular_plural_subject_verb_agreement_2": 945,
        "sentential_negation_npi_licensor_present": 919,
        "sentential_negation_npi_scope": 871,
        "sentential_subject_island": 961,
        "superlative_quantifiers_1": 979,
        "superlative_quantifiers_2": 986,
        "tough_vs_raising_1": 948,
        "tough_vs_raising_2": 920,
        "transitive": 868,
        "wh_island": 960,
        "wh_questions_object_gap": 859,
        "wh_questions_subject_gap": 898,
        "wh_questions_subject_gap_long_distance": 857,
        "wh_vs_that_no_gap": 861,
        "wh_vs_that_no_gap_long_distance": 875,
        "wh_vs_that_with_gap": 919,
        "wh_vs_that_with_gap_long_distance": 910,
    },
    "blimp_supplement": {
        "hypernym": 842,
        "qa_congruence_easy": 64,
        "qa_congruence_tricky": 165,
        "subject_aux_inversion": 3867,
        "turn_taking": 280,
    },
}
"""Task, as 2025 calls it -> file without its ending -> pairs that the filtered suite has."""


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

"""A cleaner of regular expressions that a recipe gives."""

import pytest

from babyllama.corpus.cleaners.cleaning import UNSETTLED, own_cleaner
from babyllama.errors import RecipeError


def test_a_cleaner_of_ones_own_runs_its_expressions_before_those_of_its_base() -> None:
    clean = own_cleaner(
        "mine",
        drop_lines=["(?i)^page"],
        drop=[r"\[\d+\]", "\t"],
        replace=[(r"(\w+), (\w+)$", r"\2 \1"), ("ß", "ss"), ("\\|", "\n")],
        base="aochildes",
    )
    text, effects = clean.traced("Page 3\nlook[1] at\tit .\nTom, Sam\nStraße | so ?\n")
    assert text == "look at it.\nSam Tom\nStrasse so?\n"
    assert effects["(?i)^page"]["dropped"] == 1
    assert effects["ß"]["examples"] == [("Straße | so ?", "Strasse | so ?")]
    assert clean(text) == text


@pytest.mark.parametrize(
    ("pair", "clean"),
    [
        ((r"(\d+)/(\d+)", r"\2/\1"), "on 24/12 , so\n"),
        (("1", "11"), "on 112/24 , so\n"),
        (("^", "> "), "> on 12/24 , so\n"),
    ],
)
def test_an_own_expression_is_applied_once_to_a_line_even_where_it_would_match_again(
    pair: tuple[str, str], clean: str
) -> None:
    mine = own_cleaner("mine", drop_lines=["^no"], replace=[pair])
    text, effects = mine.traced("on 12/24  , so\n\nnot 3\n")
    assert text == clean
    assert effects[pair[0]]["lines"] == 1
    assert effects["^no"]["dropped"] == 1
    assert effects[UNSETTLED]["lines"] == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"drop_lines": ["(so"]}, r"^mine: '\(so' is not a regular expression"),
        ({"replace": [("so", r"\1")]}, r"^mine: '\\\\1' cannot replace 'so'"),
        (
            {"base": "wikipdia"},
            "^mine: there is no cleaner 'wikipdia' to build on; did you mean 'wikipedia'",
        ),
    ],
)
def test_an_own_cleaner_that_cannot_be_meant_is_refused(
    wrong: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        own_cleaner("mine", **wrong)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)

import pytest

from babyllama.corpus.auditing.oddities import Oddities, Oddity
from babyllama.corpus.pieces import Piece


def found(*texts: str, source: str = "a") -> dict[str, Oddity]:
    oddities = Oddities()
    for text in texts:
        oddities.add(Piece(source, text + "\n", True))
    return {row.kind: row for row in oddities.found()}


@pytest.mark.parametrize(
    ("text", "kind", "count"),
    [
        ("a \ufffd b \ufffd", "replacement", 2),
        ("donâ€™t say cafÃ© â€œnoâ€\x9d", "mojibake", 4),
        ("Â£5 and ðŸ˜€", "mojibake", 2),
        ("salt &amp; pepper &#39;now&#x27; a&b; R&D", "entity", 3),
        ("icon \ue001 and \U000f0001", "private use", 2),
        ("bell \x07, escape \x1b, next \x85", "control", 3),
        ("zero\u200bwidth soft\u00adhyphen \ufeffmark", "invisible", 3),
        ("cafe\u0301\ncafé\nnai\u0308ve", "not NFC", 2),
        ("``So,'' he said. ´So.", "quotes", 3),
        ("don't won't can’t isn`t", "apostrophes", 2),
        ("Latin text " * 50 + "и ж", "rare script: Cyrillic", 2),
    ],
)
def test_signs_of_damage_are_counted(text: str, kind: str, count: int) -> None:
    assert found(text)[kind].count == count


@pytest.mark.parametrize(
    "text",
    [
        "Plain text, don't worry; tabs\tare fine.",
        "“Ein schöner Tag”, sagte Élodie – naïve façade, Ærø, Ångström, L’Haÿ.",
        "Мама мыла раму. " * 5,
        "నేను क्\u200dष می\u200cخواهم",
        "He said 'yes' and \"no\" & left; AT&T",
        "ENTRÉE « déjà » à Â; «Ã», „Ä“ und “Å”… ‘Ð’",
        "猫がいる。ー",
    ],
)
def test_sound_text_has_none(text: str) -> None:
    assert {kind for kind in found(text) if not kind.startswith("rare")} == set()


def test_every_kind_has_one_example_with_what_is_around_it() -> None:
    row = found("x" * 100 + " first\ufffd one " + "y" * 100, "second\ufffd")["replacement"]
    assert row.count == 2
    assert "first\ufffd one" in row.example
    assert len(row.example) <= 61


def test_the_example_of_an_apostrophe_is_one_inside_a_word() -> None:
    assert "can’t" in found("don't " * 9 + "’tis " + "z " * 40 + "can’t")["apostrophes"].example


def test_a_script_that_is_not_rare_is_not_odd() -> None:
    assert found("слово word " * 20) == {}


def test_signs_made_of_letters_are_of_no_other_script() -> None:
    assert found("Latin text " * 50 + "ℏ ℑ ˡ ʰ ː ﬁ Ａ") == {}


def test_sources_are_apart_and_the_most_frequent_kind_comes_first() -> None:
    oddities = Oddities()
    oddities.add(Piece("a", "fine\n", True))
    oddities.add(Piece("b", "\ufffd &amp; &lt;\n", True))
    oddities.add(Piece("c", "\ufffd\n", True))
    assert [(row.source, row.kind, row.count) for row in oddities.found()] == [
        ("b", "entity", 2),
        ("b", "replacement", 1),
        ("c", "replacement", 1),
    ]

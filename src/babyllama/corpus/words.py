"""What a word is: one rule, for every count in this package.

A word is what stands between white space (`str.split`), as BabyLM counts. Scripts that are
written without spaces have no such thing; there every letter counts as a word of its own, as
Unicode's default word boundaries have it for Han and Hiragana (UAX #29). Exactly these scripts:

* Han (CJK Unified Ideographs with all extensions, compatibility ideographs, `々〆〇`)
* Hiragana and Katakana (with the small letters for Ainu and the half-width forms, without the
  historic ones)
* Bopomofo (without its extended block)
* Yi
* Thai and Lao
* Burmese (U+1000 to 102A, U+103F and the letters for Sanskrit, U+1050 to 1055; not the further
  ones for Shan, Mon and Karen)
* Khmer

Marks and vowel signs over, under or behind a letter do not count, where Unicode has them as
marks, nor do the half-width voicing marks of Katakana. So a budget of words is a budget of
characters there, which is about 1.5 to 4 times as many as a dictionary would find. Any other
script goes by its spaces, also one that has few, such as Tibetan or Javanese.
"""

import re

SPACELESS = (
    "\u0e01-\u0e30\u0e32\u0e33\u0e40-\u0e46"  # Thai
    "\u0e81-\u0eb0\u0eb2\u0eb3\u0ebd-\u0ec6\u0edc-\u0edf"  # Lao
    "\u1000-\u102a\u103f\u1050-\u1055"  # Burmese
    "\u1780-\u17b3"  # Khmer
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua48c\uf900-\ufaff\uff66-\uff9d"
    "\U00020000-\U0003ffff"
)
"""Letters of scripts without spaces, for a set in a regular expression."""
_LETTER = re.compile(f"[{SPACELESS}]")
_KANA_MARKS = "\uff9e\uff9f"  # half-width: letters to Unicode, unlike their full-width forms
_ALSO_SPACED = re.compile(rf"[^\W{SPACELESS}{_KANA_MARKS}]")


def count_words(text: str) -> int:
    r"""Count the words of a text.

    >>> count_words("the cat's  hat\n"), count_words("猫が3匹いる。")
    (3, 6)
    """
    spaced = text.split()
    if text.isascii() or not _LETTER.search(text):
        return len(spaced)
    return sum(map(_word_or_letters, spaced))


def _word_or_letters(word: str) -> int:
    """The letters of spaceless scripts, and one for each run of anything else that is a word."""
    letters = len(_LETTER.findall(word))
    if not letters:
        return 1
    return letters + sum(bool(_ALSO_SPACED.search(run)) for run in _LETTER.split(word))

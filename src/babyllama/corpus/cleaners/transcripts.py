"""Cleaning rules for written-down speech: CHILDES, Switchboard, the BNC, film subtitles.

What becomes of who speaks and of what the transcriber noted, decided per source:

| source | speaker labels | notes, codes and signs | why |
| --- | --- | --- | --- |
| `switchboard` | kept (`A:`, `B:`) | spelling notes after `*` dropped | who speaks decides what \
"you" and "I" mean, which the turn-taking and question-answer items of the BabyLM supplement \
ask; those are written `Name: text` too |
| `childes` | kept, without the star (`*MOT:` becomes `MOT:`) | `[notes]`, `%tiers`, signs for \
overlaps and `xxx` dropped; `(un)spoken` parts of words, `com+pounds` spelt out | as above, and \
the label tells the grammar of a child of two from that of its mother. It costs a word a line, \
19 % of CHILDES |
| `aochildes` | the source has none | `xxx`, `yyy`, `www` dropped | nobody could write them down |
| `bnc_spoken` | the source has none | the stops around names taken out are closed up | the gap \
itself cannot be filled |
| `open_subtitles`, `qed` | dropped where in capitals (`NARRATOR:`) or a role (`Man #2:`) | cues \
in brackets, music signs, time codes, credits, dashes and `>>` that open a turn dropped | few \
films have labels, so they tell nothing reliable. A name in small letters is kept: nothing tells \
`Milo: no` from `Answer: no` |
"""

import re

from babyllama.corpus.cleaners.rules import needs

_CODES = re.compile(r"\b(?:xxx?|yyy?|www)\b")
_TIER = re.compile(r"\s*%[a-z]+:.*$")
_NOTE = re.compile(r"\[[^\]]*(?:\]|$)|\{[^}]*(?:\}|$)|[\]}]")
_RETRACED = re.compile(r"↫[^↫]*↫|[⌈⌉⌊⌋↫]")
_SHORTENED = re.compile(r"(?<=\w)\((['\w]+)\)|\((['\w]+)\)(?=['\w])")
_QUOTATION = re.compile(r"^(\*?[A-Z][A-Z0-9]*:\s*|\s*)\" +")
_STARRED = re.compile(r"\*([A-Z][A-Z0-9]*):\s*")
_SILENT = re.compile(r"^\*?[A-Z][A-Z0-9]*:[\W_]*$")
_COMMA_STOP = re.compile(r",(?= *[.?!](?:\s|$))|,(?=,)")
_REPEATED_STOP = re.compile(r"([,.?!])(?: +[,.])+(?=\s|$)|(?<!\.)(\.)\.(?!\.)")
_LEADING_STOP = re.compile(r"^(\*?[A-Z][A-Z0-9]*:\s)?(?:[,.;:]{1,2}\s+)+")
_REMARK = re.compile(r"\s*\*.*$")


@needs("xx", "yy", "www")
def drop_unintelligible(line: str) -> str:
    """Drop the codes for speech that nobody could write down.

    >>> drop_unintelligible("MOT: xxx want this")
    'MOT:  want this'
    >>> drop_unintelligible("xx yyy, taxx and Awww")
    ' , taxx and Awww'
    """
    return _CODES.sub("", line)


@needs("%")
def drop_tiers(line: str) -> str:
    """Drop comments on an utterance (addressee, tone) that run to the end of its line.

    >>> drop_tiers("*MOT: give it here. %add: BRO")
    '*MOT: give it here.'
    >>> drop_tiers("*MOT: 50 % of it")
    '*MOT: 50 % of it'
    """
    return _TIER.sub("", line)


@needs(r"\[", r"\]", "{", "}")
def drop_notes(line: str) -> str:
    """Drop what the transcriber saw, not what was said.

    >>> drop_notes("*CHI: haha. [giggles]")
    '*CHI: haha.  '
    >>> drop_notes("*MOT: oh [whispers it] no [to")
    '*MOT: oh   no  '
    """
    return _NOTE.sub(" ", line)


@needs(*"⌈⌉⌊⌋↫")
def drop_overlaps(line: str) -> str:
    """Drop the signs for speech that overlaps, and stuttered starts between two of `↫`.

    >>> drop_overlaps("no it was very ↫s↫slow. okay ⌈I'll see⌉")
    "no it was very slow. okay I'll see"
    >>> drop_overlaps("né (so)")
    'né (so)'
    """
    return _RETRACED.sub("", line)


@needs(r"\(")
def mend_shortenings(line: str) -> str:
    """Spell out a word whose part in brackets was not spoken.

    >>> mend_shortenings("didn('t) look, (it')s here (at school)")
    "didn't look, it's here (at school)"
    >>> mend_shortenings("(be)cause of an' (d)")
    "because of an' (d)"
    """
    return _SHORTENED.sub(lambda m: m[1] or m[2], line)


@needs(r"\+", "_")
def join_compounds(line: str) -> str:
    """Part words that CHAT binds with a plus or an underscore.

    >>> join_compounds("bow+wow said Santa_Claus")
    'bow-wow said Santa Claus'
    >>> join_compounds("sweet'_pie a + b")
    'sweet pie a + b'
    """
    line = re.sub(r"(?<=\w)\+(?=\w)", "-", line)
    return re.sub(r"'?_", " ", line)


@needs('"')
def join_quotation(line: str) -> str:
    """Put the signs for quoted speech at its first and last word.

    >>> join_quotation('*MOT: " calm down. "')
    '*MOT: "calm down."'
    >>> join_quotation('the end. "')
    'the end. "'
    """
    line = _QUOTATION.sub(r'\1"', line)
    if line.endswith(' "') and line.count('"') % 2 == 0:
        line = line[:-1].rstrip() + '"'
    return line


@needs(r"\*[A-Z]")
def plain_label(line: str) -> str:
    r"""Take the star off a CHILDES label.

    >>> plain_label("*MOT:\twell?")
    'MOT: well?'
    >>> plain_label("*KN: *R: go! 2 * 3")
    'KN: R: go! 2 * 3'
    """
    return _STARRED.sub(lambda m: f"{m[1]}: ", line)


@needs(r":(?:[^\w\n]|_)*$")
def drop_silent(line: str) -> str:
    """Drop a label with nothing said after it.

    >>> drop_silent("CHI: ."), drop_silent("CHI: no.")
    ('', 'CHI: no.')
    """
    return "" if _SILENT.match(line) else line


@needs(
    *(",(?= *[,.?!])", r"\. +[,.]", r"\? +[,.]", "! +[,.]", r"\.\."),
    r"\n(?:\*?[A-Z][A-Z0-9]*: )?[,.;:]",
)
def drop_gaps(line: str) -> str:
    """Drop stops that stood on both sides of a word that was taken out (names in the BNC).

    >>> drop_gaps("the audit time, please. ."), drop_gaps("hello, ."), drop_gaps("come on,, mum..")
    ('the audit time, please.', 'hello .', 'come on, mum.')
    >>> drop_gaps("A: , yes, that is so"), drop_gaps("*MOT: , look...")
    ('A: yes, that is so', '*MOT: look...')
    """
    line = _REPEATED_STOP.sub(lambda m: m[1] or m[2], _COMMA_STOP.sub("", line))
    return _LEADING_STOP.sub(lambda m: m[1] or "", line)


@needs(r"\*")
def drop_remarks(line: str) -> str:
    """Drop Switchboard's notes on spelling, from a star to the end of the line.

    >>> drop_remarks("B: it won't be too for from us. *sp: far")
    "B: it won't be too for from us."
    >>> drop_remarks("A: no remark.")
    'A: no remark.'
    """
    return _REMARK.sub("", line)

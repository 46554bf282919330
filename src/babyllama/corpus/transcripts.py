"""Cleaning rules for written-down speech: CHILDES, Switchboard, the BNC, film subtitles.

Speaker labels, decided per source:

* Switchboard (`A:`, `B:`) and CHILDES (`*MOT:` becomes `MOT:`): kept. Who speaks decides what
  "you" and "I" mean, which is what the turn-taking and question-answer items of the BabyLM
  supplement ask, and they are written `Name: text` too. In CHILDES the label also tells the
  grammar of a child of two from that of its mother. It costs one word a line (19 % of CHILDES).
* Subtitles (`NARRATOR:`): dropped. Few films have them, so they tell nothing reliable.
"""

import re

_CODES = re.compile(r"\b(?:xxx?|yyy?|www)\b")
_TIER = re.compile(r"\s*%[a-z]+:.*$")
_NOTE = re.compile(r"\[[^\]]*(?:\]|$)|\{[^}]*(?:\}|$)|[\]}]")
_RETRACED = re.compile(r"↫[^↫]*↫|[⌈⌉⌊⌋↫]")
_SHORTENED = re.compile(r"(?<=\w)\((['\w]+)\)|\((['\w]+)\)(?=['\w])")
_QUOTATION = re.compile(r"^(\*?[A-Z][A-Z0-9]*:\s*|\s*)\" +")
_STARRED = re.compile(r"\*([A-Z][A-Z0-9]*):\s*")
_SILENT = re.compile(r"^\*?[A-Z][A-Z0-9]*:[\W_]*$")
_COMMA_STOP = re.compile(r",(?= +[.?!](?:\s|$))")
_REPEATED_STOP = re.compile(r"([,.?!])(?: +[,.])+(?=\s|$)")
_LEADING_STOP = re.compile(r"^([AB]:\s)?(?:[,.;:]+\s+)+")
_REMARK = re.compile(r"\s*\*.*$")
_LOST_APOSTROPHE = re.compile(r" ?\ufffd(?=(?:s|m|d|t|re|ll|ve)\b)")
_OVERRIDE = re.compile(r"\{[^{}]*\}")
_CUE = re.compile(r"\(([^()]*)\)|\[([^\[\]]*)\]")
_MUSIC = re.compile(r"[♪♫♬♩¶*~]+|#(?!\d)")
_CREDIT = re.compile(
    r"\bsub(?:title)?(?:s|d)? (?:by|downloaded|created|edited)\b|\bsubtitles?:|subtitling@"
    r"|\b(?:re)?sync(?:ed|h?ro(?:ni[sz]ed)?)?(?:,? (?:and )?corrected|:| by)|\bcorrected by\b"
    r"|\btransl(?:ated|ation)(?: by|:)|\btranscript:|\b(?:ripped|encoded|captioned) by\b"
    r"|opensubtitles|addic7ed|yify|https?://|\bwww\.|==",
    re.IGNORECASE,
)
_CAPTION_SPEAKER = re.compile(r"(?:^|(?<=[.?!] )|(?<=- ))[A-Z][A-Z .'#\d-]{1,24}:(?:\s+|$)")
_DASH = re.compile(r"^[-–—]+\s*(?=\S)")
_LONE_L = re.compile(
    r"(?<![\w'’])l(?=(?:['’](?:m|d|s|ll|ve)\b)|[nfst]\b(?![’'](?!s\b))|\b(?!['’]))"
)
_UPPER_L = re.compile(r"\b(?:l[A-Z]+|(?=[A-Zl]*[A-Z]l*[A-Z])[A-Zl]*l[A-Zl]*)\b")


def drop_unintelligible(line: str) -> str:
    """Drop the codes for speech that nobody could write down.

    >>> drop_unintelligible("MOT: xxx want this")
    'MOT:  want this'
    """
    return _CODES.sub("", line)


def drop_tiers(line: str) -> str:
    """Drop comments on an utterance (addressee, tone) that run to the end of its line.

    >>> drop_tiers("*MOT: give it here. %add: BRO")
    '*MOT: give it here.'
    """
    return _TIER.sub("", line)


def drop_notes(line: str) -> str:
    """Drop what the transcriber saw, not what was said.

    >>> drop_notes("*CHI: haha. [giggles]")
    '*CHI: haha.  '
    """
    return _NOTE.sub(" ", line)


def drop_overlaps(line: str) -> str:
    """Drop the signs for speech that overlaps, and stuttered starts between two of `↫`.

    >>> drop_overlaps("no it was very ↫s↫slow. okay ⌈I'll see⌉")
    "no it was very slow. okay I'll see"
    """
    return line if line.isascii() else _RETRACED.sub("", line)


def mend_shortenings(line: str) -> str:
    """Spell out a word whose part in brackets was not spoken.

    >>> mend_shortenings("didn('t) look, (it')s here (at school)")
    "didn't look, it's here (at school)"
    """
    return _SHORTENED.sub(lambda m: m[1] or m[2], line) if "(" in line else line


def join_compounds(line: str) -> str:
    """Part words that CHAT binds with a plus or an underscore.

    >>> join_compounds("bow+wow said Santa_Claus")
    'bow-wow said Santa Claus'
    """
    line = re.sub(r"(?<=\w)\+(?=\w)", "-", line)
    return re.sub(r"'?_", " ", line)


def join_quotation(line: str) -> str:
    """Put the sign for quoted speech at its first word.

    >>> join_quotation('*MOT: " calm down."')
    '*MOT: "calm down."'
    """
    return _QUOTATION.sub(r'\1"', line)


def plain_label(line: str) -> str:
    r"""Take the star off a CHILDES label.

    >>> plain_label("*MOT:\twell?")
    'MOT: well?'
    """
    return _STARRED.sub(r"\1: ", line)


def drop_silent(line: str) -> str:
    """Drop a label with nothing said after it.

    >>> drop_silent("CHI: ."), drop_silent("CHI: no.")
    ('', 'CHI: no.')
    """
    return "" if _SILENT.match(line) else line


def drop_gaps(line: str) -> str:
    """Drop stops that stood on both sides of a word that was taken out (names in the BNC).

    >>> drop_gaps("the audit time, please. ."), drop_gaps("hello, .")
    ('the audit time, please.', 'hello .')
    >>> drop_gaps("A: , yes, that is so")
    'A: yes, that is so'
    """
    line = _REPEATED_STOP.sub(r"\1", _COMMA_STOP.sub("", line))
    return _LEADING_STOP.sub(lambda m: m[1] or "", line)


def drop_remarks(line: str) -> str:
    """Drop Switchboard's notes on spelling, from a star to the end of the line.

    >>> drop_remarks("B: it won't be too for from us. *sp: far")
    "B: it won't be too for from us."
    """
    return _REMARK.sub("", line)


def mend_lost_apostrophe(line: str) -> str:
    r"""Restore an apostrophe that a wrong encoding destroyed, where only an apostrophe can stand.

    >>> mend_lost_apostrophe("I \ufffdm sure you aren\ufffdt")
    "I'm sure you aren't"
    """
    return line if line.isascii() else _LOST_APOSTROPHE.sub("'", line)


def drop_overrides(line: str) -> str:
    r"""Drop position codes and cues in braces.

    >>> drop_overrides(r"{\\pos(192,220)}It's true. {ALL CHEER}")
    " It's true.  "
    """
    return _OVERRIDE.sub(" ", line)


def _cue(match: re.Match[str]) -> str:
    inner = str(match[1] if match[1] is not None else match[2]).strip()
    return f" {inner} " if inner.endswith((".", "!", "?")) else " "


def drop_cues(line: str) -> str:
    """Drop sounds and speakers in brackets; a bracketed sentence is speech and loses them only.

    >>> drop_cues("(SIGHS) Go on. [door opens]")
    '  Go on.  '
    >>> drop_cues("(This time I was the only one to help.)")
    ' This time I was the only one to help. '
    """
    return _CUE.sub(_cue, line)


def drop_music(line: str) -> str:
    """Drop the signs around sung lines; a number sign stays.

    >>> drop_music("♪ Tiger land ♪ # Who? # Man #2")
    ' Tiger land   Who?  Man #2'
    """
    return _MUSIC.sub("", line)


def drop_credits(line: str) -> str:
    """Drop a line that says who made the subtitles.

    >>> drop_credits("Subtitles by Anyone"), drop_credits("Her subtitle debut.")
    ('', 'Her subtitle debut.')
    """
    return "" if _CREDIT.search(line) else line


def drop_caption_speakers(line: str) -> str:
    """Drop a speaker's name in capitals at the start of what is said.

    >>> drop_caption_speakers("NARRATOR: The sea. MAN 2: Yes? At 5:30 PM: no.")
    'The sea. Yes? At 5:30 PM: no.'
    """
    return _CAPTION_SPEAKER.sub("", line)


def drop_leading_dash(line: str) -> str:
    """Drop the dash that opens a turn; the line itself is the turn.

    >>> drop_leading_dash("-Yes, sir."), drop_leading_dash("Well - no.")
    ('Yes, sir.', 'Well - no.')
    """
    return _DASH.sub("", line)


def read_l_as_i(line: str) -> str:
    """Put I for the l that character recognition read for it, where no l can stand.

    >>> read_l_as_i("l'll go, lt's late, SHERlFF. Hello, l said.")
    "I'll go, It's late, SHERIFF. Hello, I said."
    >>> read_l_as_i("HELLO, all is well, l'eau")
    "HELLO, all is well, l'eau"
    """
    if "l" not in line:
        return line
    return _UPPER_L.sub(lambda m: m[0].replace("l", "I"), _LONE_L.sub("I", line))

"""Cleaning rules for subtitles: credits, cues, music, speakers, and misread letters."""

import re

from babyllama.corpus.cleaners.rules import any_case, needs

_LOST_APOSTROPHE = re.compile(r" ?\ufffd(?=(?:s|m|d|t|re|ll|ve)\b)")
_DOUBLED_APOSTROPHE = re.compile(r"(?<=[^\W\d_])\"(?=(?:ll|re|ve|[dmst])\b)")
_OVERRIDE = re.compile(r"\{[^{}]*\}")
_TIME = r"\d{1,2}: ?\d{2}: ?\d{2}[.,]\d{1,3}"
_TIME_CODE = re.compile(rf"(?:\b\d{{1,4}} )?\b{_TIME}(?: ?-*>* ?{_TIME})?")
_CUE = re.compile(r"[(\[]([^()\[\]]*)[)\]]")
_MUSIC = re.compile(r"[♪♫♬♩¶*~]+|#(?!\d)")
_FRAMED_CREDIT = re.compile(r"-?==[^=]*==-?")
_CREDIT = re.compile(
    r"\bsub(?:title)?(?:s|d)? (?:by|downloaded|created|edited|conformed|made possible)\b"
    r"|\bsubtitles?:|subtitling@|\btranscript:|opensubtitles|addic7ed|yify|https?://|\bwww\.|=="
    r"|\b(?:re)?sync(?:ed|h?ro(?:ni[sz]ed)?)?(?:,? (?:and )?corrected|:| by)|\bcorrected by\b"
    r"|\btransl(?:ated|ation)(?: by|:)|\b(?:ripped|encoded|captioned) by\b"
    r"|\bcaptioning (?:by|sponsored|made possible)\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?]) ")
_SCENE = 200  # characters; a caption has two lines of about 40
_ROLE = (
    r"(?=[A-Z])(?i:(?:male |female |old |young )?(?:man|woman|boy|girl|narrator|announcer|reporter"
    r"|crowd|voice|both|all)(?: #?\d+)?)"
)
_CAPTION_SPEAKER = re.compile(
    rf"(?:^|(?<=[.?!] )|(?<=- ))(?:[A-Z][A-Z .'#\d-]{{1,24}}|{_ROLE})[:=](?:\s+|$)"
)
_CHEVRONS = re.compile(r">>+(?:\s*>>+)*")
_DASHES = re.compile(r"(?<!\S)-(?: -)+(?!\S)")
_DASH = re.compile(r"^[-–—]+\s*(?=\S)")
_LONE_L = re.compile(
    r"(?<!\w)(?<!\w['’])(?<!\d )l(?=['’](?:m|d|s|ll|ve)\b|[nfst]\b(?!['’](?!(?:s|d|ll)\b))"
    r"|\b(?!['’])|sn['’]t\b|(?!mf?ao\b)[bcdfgkmnprstvz][a-z]*[aeiouy])"
)
_UPPER_L = re.compile(r"\b(?:l[A-Z]+|(?=l*[A-Z]l*[A-Z])[A-Zl]+)\b")
_AFTER_L = (
    r"(?:ad(?:y|ies)|arge|ast|at(?:e|er|ely)|aw|awyer|ead|eader|earn(?:ed)?|eas[et]|eav(?:e|es|ing)"
    r"|eft|ess|et[st]?|etters?|i[fkv]e[ds]?|ies|ights?|ine|isten|ittle|iving|ong(?:er)?"
    r"|ook(?:s|ed|ing)?|os[est]|ots?|ov(?:e|es|ed|er|ing)|uck|ucky|unch|ying)\b"
)
_READ_I = re.compile(
    r"(?<=[a-z])(?<!\bMc)(?<!\bMac)I+(?=[a-z])|(?<=[a-z][aeiou])I\b|(?<=[a-z'’])II\b|(?<=\bA)II\b"
    rf"|(?<=\b[BCFGPS])I(?=[aeou][a-z])|\bI(?={_AFTER_L})"
)


@needs("\ufffd")
def mend_lost_apostrophe(line: str) -> str:
    r"""Restore an apostrophe that a wrong encoding destroyed, where only an apostrophe can stand.

    >>> mend_lost_apostrophe("I \ufffdm sure you aren\ufffdt")
    "I'm sure you aren't"
    >>> mend_lost_apostrophe("caf\ufffd")
    'caf\ufffd'
    """
    return _LOST_APOSTROPHE.sub("'", line)


@needs(r'"(?:ll|re|ve|[dmst])\b')
def mend_doubled_apostrophe(line: str) -> str:
    r"""Put an apostrophe for a quote inside a contraction.

    >>> mend_doubled_apostrophe('I"ll say "maybe" so you don"t')
    'I\'ll say "maybe" so you don\'t'
    >>> mend_doubled_apostrophe('the word "s" or "dog" there')
    'the word "s" or "dog" there'
    """
    return _DOUBLED_APOSTROPHE.sub("'", line)


@needs(r"\{")
def drop_overrides(line: str) -> str:
    r"""Drop position codes and cues in braces.

    >>> drop_overrides(r"{\\pos(192,220)}It's true. {ALL CHEER}")
    " It's true.  "
    >>> drop_overrides(r"{\i1}So{\i0}, {never closed")
    ' So , {never closed'
    """
    return _OVERRIDE.sub(" ", line)


@needs(r":(?= ?\d\d: ?\d\d[.,]\d)")
def drop_time_codes(line: str) -> str:
    """Drop the number and the times of a caption that ended up in its text.

    >>> drop_time_codes("250 00:16:00,826 --> 00:16:04,057 Today, at 5:30, it is so.")
    '  Today, at 5:30, it is so.'
    >>> drop_time_codes("00: 11: 33.635 Come on.")
    '  Come on.'
    """
    return _TIME_CODE.sub(" ", line)


def _cue(match: re.Match[str]) -> str:
    inner = match[1].strip()
    return f" {inner} " if inner.endswith((".", "!", "?")) else " "


@needs(r"\(", r"\[")
def drop_cues(line: str) -> str:
    """Drop sounds and speakers in brackets; a bracketed sentence is speech and loses them only.

    >>> drop_cues("(SIGHS) Go on. [door opens] (PHONE RINGS]")
    '  Go on.    '
    >>> drop_cues("(This time I was the only one to help.)")
    ' This time I was the only one to help. '
    """
    return _CUE.sub(_cue, line)


@needs(*"♪♫♬♩¶~#", r"\*")
def drop_music(line: str) -> str:
    """Drop the signs around sung lines; a number sign stays.

    >>> drop_music("♪ Tiger land ♪ # Who? # Man #2")
    ' Tiger land   Who?  Man #2'
    >>> drop_music("~ Who? ~ He * is")
    ' Who?  He  is'
    """
    return _MUSIC.sub("", line)


@needs(
    *any_case("ub(?<=sub)", "ync(?<=sync)", "yify", "lat(?:ed|ion)", "pt(?:ioned|ioning|:)"),
    *any_case("corrected by", "pped by", "coded by", "www"),
    *("://", "==", "7(?i:ed)"),
)
def drop_credits(line: str) -> str:
    """Drop a line that says who made the subtitles.

    What stands between rows of `=` is taken out alone. Of a line of more than 200 characters,
    which holds a scene, only the sentence with the credit goes.

    >>> drop_credits("Subtitles by Anyone"), drop_credits("Her subtitle debut.")
    ('', 'Her subtitle debut.')
    >>> drop_credits("Go! == sync, corrected by nobody == Where?")
    'Go!   Where?'
    >>> drop_credits("Translated by Nobody Stay! " + "Go on. " * 30).count("Go on.")
    30
    """
    line = _FRAMED_CREDIT.sub(" ", line)
    if not _CREDIT.search(line):
        return line
    sentences = _SENTENCE_END.split(line) if len(line) > _SCENE else []
    return " ".join(part for part in sentences if not _CREDIT.search(part))


@needs(":", "=")
def drop_caption_speakers(line: str) -> str:
    """Drop a speaker's name in capitals, or a role, at the start of what is said.

    >>> drop_caption_speakers("NARRATOR: The sea. MAN 2: Yes? At 5:30 PM: no. Male voice: Oh.")
    'The sea. Yes? At 5:30 PM: no. Oh.'
    >>> drop_caption_speakers("Answer: no. All I want: peace.")
    'Answer: no. All I want: peace.'
    """
    return _CAPTION_SPEAKER.sub("", line)


@needs(">>")
def mend_chevrons(line: str) -> str:
    """Put a dash for the arrows that television puts where the speaker changes.

    >>> mend_chevrons(">> No? >> >> No.")
    '- No? - No.'
    >>> mend_chevrons("a > b")
    'a > b'
    """
    return _CHEVRONS.sub("-", line)


@needs("- -")
def join_dashes(line: str) -> str:
    """Make the dashes of turns in which nothing is said one dash.

    >>> join_dashes("- - No. - - Why not - 5")
    '- No. - Why not - 5'
    >>> join_dashes("well- - no")
    'well- - no'
    """
    return _DASHES.sub("-", line)


@needs(r"\n[-–—]")
def drop_leading_dash(line: str) -> str:
    """Drop the dash that opens a turn; the line itself is the turn.

    >>> drop_leading_dash("-Yes, sir."), drop_leading_dash("Well - no.")
    ('Yes, sir.', 'Well - no.')
    """
    return _DASH.sub("", line)


@needs(r"l(?<!\wl)(?![aeiouyl])", "l[A-Z]", "l(?<=[A-Z]l)(?![a-km-z])")
def read_l_as_i(line: str) -> str:
    """Put I for the l that character recognition read for it, where no l can stand.

    >>> read_l_as_i("l'll go, lt's late, SHERlFF. Hello, l said. lsn't lndia hot?")
    "I'll go, It's late, SHERIFF. Hello, I said. Isn't India hot?"
    >>> read_l_as_i("HELLO, all is well, l'eau, 5 l, lbs, llama, lmao")
    "HELLO, all is well, l'eau, 5 l, lbs, llama, lmao"
    """
    return _UPPER_L.sub(lambda m: m[0].replace("l", "I"), _LONE_L.sub("I", line))


@needs("I(?<=[a-z]I)", "I(?<=[ABCFGPS]I)[Iaeou]", "II", f"I(?={_AFTER_L})")
def read_i_as_l(line: str) -> str:
    """Put l for the I that character recognition read for it, where no I can stand.

    >>> read_i_as_l("He wouId teII PauI aII he Iiked, AII of it.")
    'He would tell Paul all he liked, All of it.'
    >>> read_i_as_l("McIntosh, World War II, Iris and I")
    'McIntosh, World War II, Iris and I'
    """
    return _READ_I.sub(lambda m: m[0].replace("I", "l"), line)

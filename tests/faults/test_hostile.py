"""Text that wants to be a script, and secrets of the environment, through a whole run."""

import base64
import os
import random
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tiny import Finished, recipe, sentence, started, write_pairs, write_recipe

SECRET = "secret123"  # noqa: S105
ENVIRONMENT = {
    "HF_TOKEN": f"hf_{SECRET}",
    "HUGGING_FACE_HUB_TOKEN": f"hf_{SECRET}",
    "WANDB_API_KEY": f"wandb-{SECRET}",
    "AWS_SECRET_ACCESS_KEY": f"aws/{SECRET}",
    "BABYLLAMA_OTHER": f"any-{SECRET}",
    "HTTPS_PROXY": f"http://user:{SECRET}@proxy.invalid:1",
}
HOSTILE = [
    "<script>alert('x')</script>",
    "<img src=x onerror=alert(1)>",
    "</title></style></code></pre><svg/onload=alert(1)>",
    "<iframe src='https://elsewhere.invalid/'></iframe>",
    '"><a href="javascript:alert(1)" onmouseover="alert(1)">',
    "<link rel=stylesheet href=//elsewhere.invalid/a.css><base href=//elsewhere.invalid/>",
    "{{ 7 * 7 }}{% include 'page.html.jinja' %}",
    "`` ``` ```` [a](javascript:alert(1)) ![b](https://elsewhere.invalid/b.png)",
    "\u202egnp.txet\u202c \u2066a\u2069 a\u200bb \ufeff \U000e0041 \x1b[31mred\x1b[0m \x9b31m",
    "&lt;script&gt; &#60;script&#62; %3Cscript%3E \\x3cscript\\x3e ＜script＞",
]
LOADS = {"src", "srcset", "href", "action", "data", "poster", "formaction", "xlink:href", "ping"}
ALLOWED_TAGS = (
    " html head meta title style body header main nav section details summary h1 h2 h3 p ul li a"
    " img figure figcaption div span table thead tbody tr th td blockquote strong pre code dl dt dd"
    " del ins small "
)


def furnish() -> None:
    """Give the process an environment with secrets in it."""
    os.environ.update(ENVIRONMENT)


def command(folder: Path, *arguments: object) -> Finished:
    with started(folder, *arguments, first=furnish) as running:
        return running.finish()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    """A run whose text, file, prompt, model and recipe are hostile; its folder and its end."""
    folder, chance = tmp_path_factory.mktemp("hostile"), random.Random(1)  # noqa: S311
    lines = [f"{sentence(chance)}\n" for _ in range(500)]
    lines += [f"{chance.choice(HOSTILE)} {sentence(chance)}\n" for _ in range(200)]
    chance.shuffle(lines)
    (folder / "text").mkdir()
    (folder / "text" / "story.txt").write_text("".join(lines), "utf-8")
    odd = "".join(f"[{trick}] {sentence(chance)}\n" for trick in HOSTILE for _ in range(5))
    (folder / "text" / "<img src=x onerror=alert(1)>.txt").write_text(odd, "utf-8")
    write_pairs(folder / "pairs")
    raw = recipe(folder, description=HOSTILE[0])
    raw["corpus"]["cleaners"] = {"story": {"base": "cbt", "replace": [["king", HOSTILE[1]]]}}
    raw["report"]["prompts"] = [HOSTILE[0], HOSTILE[4]]
    raw["models"] = {"llama": raw["models"]["llama"]}
    write_recipe(folder / "r.yaml", raw)
    return folder, command(folder, "run", "r.yaml", "--run-dir", "runs/a")


class Parsed(HTMLParser):
    """Tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.policy = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        found = dict(attrs)
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"] or ""


def test_a_run_on_hostile_text_ends_well(hostile: tuple[Path, Finished]) -> None:
    assert hostile[1].code == 0, hostile[1].err


@pytest.mark.parametrize("name", ["index.html", "cleaning.html"])
def test_a_page_holds_no_script_and_loads_nothing(
    hostile: tuple[Path, Finished], name: str
) -> None:
    text = (hostile[0] / "runs" / "a" / "report" / name).read_text("utf-8")
    page = Parsed(text)
    assert "alert(1)" in text  # it is there, as text
    assert [tag for tag in page.tags if f" {tag} " not in ALLOWED_TAGS] == []
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    loads = [value for name, value in page.attributes if name in LOADS]
    allowed = r"#[\w-]*|(index|cleaning)\.html(#[\w-]*)?|data:image/svg\+xml;base64,[\w+/=]+"
    assert not [value for value in loads if not re.fullmatch(allowed, value)]
    assert "url(" not in text
    assert "@import" not in text
    assert page.policy.startswith("default-src 'none'")
    assert "script" not in page.policy


def test_a_picture_of_a_page_holds_no_script(hostile: tuple[Path, Finished]) -> None:
    text = (hostile[0] / "runs" / "a" / "report" / "index.html").read_text("utf-8")
    pictures = re.findall(r"data:image/svg\+xml;base64,([\w+/=]+)", text)
    assert pictures
    for picture in pictures:
        svg = base64.b64decode(picture).decode("utf-8").lower()
        assert "<script" not in svg
        assert "<foreignobject" not in svg
        assert not re.search(r"\son\w+=", svg)
        assert not re.search(r"(href|src)=[\"'](?!#)", svg)


def test_the_markdown_holds_no_tag_of_the_text(hostile: tuple[Path, Finished]) -> None:
    text = (hostile[0] / "runs" / "a" / "report" / "report.md").read_text("utf-8")
    outside_code = re.sub(r"^(`{3,}).*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert not re.search(r"(?<!\\)<(script|img|svg|iframe|a )", outside_code)
    assert not re.search(r"(?<!\\)\]\((?!\w+[\w-]*\.png\))", outside_code)


def test_no_secret_of_the_environment_is_written_or_told(hostile: tuple[Path, Finished]) -> None:
    folder, finished = hostile
    files = [path for path in (folder / "runs").rglob("*") if path.is_file()]
    assert len(files) > 20
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert SECRET not in finished.out + finished.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "r.yaml", "corpus.path=gone", "--run-dir", "runs/bad"),
        pytest.param(("run", "r.yaml", "--dry-run"), marks=pytest.mark.slow),
        pytest.param(("fetch", "blimp", "--to", "data"), marks=pytest.mark.slow),
    ],
)
def test_a_command_that_fails_tells_no_secret(
    hostile: tuple[Path, Finished], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    finished = command(hostile[0], *arguments)
    assert SECRET not in finished.out + finished.err

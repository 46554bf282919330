"""Calls that would let a file or an address run code here stand nowhere in the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
SHELLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
EXTRACTORS = {"extractall", "extract", "unpack_archive"}
HTTP = {"urllib", "http", "requests", "httpx", "aiohttp", "socket"}
ASKS_THE_NETWORK = {"corpus/fetching/download.py", "corpus/fetching/remote.py"}
NAMES_THE_MACHINE = {"store.py", "rundir.py", "status.py"}
"""They take `socket.gethostname`."""


def dotted(node: ast.expr) -> str:
    """The name that an expression reads as, as `torch.load`."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def keywords(call: ast.Call) -> dict[str, str]:
    return {word.arg or "**": ast.unparse(word.value) for word in call.keywords}


def faults_of_call(call: ast.Call, safe_loaders: set[str]) -> Iterator[str]:
    name, given = dotted(call.func), keywords(call)
    last = name.rpartition(".")[2]
    if name in {"eval", "exec", "compile", "__import__"} or name in SHELLS:
        yield name
    if last == "import_module" and not isinstance(call.args[0], ast.Constant):
        yield "a module by a name that is computed"
    if name == "torch.load" and given.get("weights_only") != "True":
        yield "torch.load without weights_only=True"
    if given.get("trust_remote_code", "False") != "False":
        yield "trust_remote_code"
    if name.startswith("yaml.") and last in {"load", "load_all", "unsafe_load", "full_load"}:
        loader = given.get("Loader") or (dotted(call.args[1]) if len(call.args) > 1 else "")
        if last not in {"load", "load_all"} or loader not in safe_loaders:
            yield f"{name} with {loader or 'no loader'}"
    if given.get("allow_pickle", "False") != "False":
        yield "allow_pickle"
    if given.get("shell", "False") != "False":
        yield "shell"
    if last in EXTRACTORS and name not in {"re.extract"}:
        yield f"{name} unpacks what is not trusted by itself"


def faults_of_import(node: ast.Import | ast.ImportFrom, place: str) -> Iterator[str]:
    names = (
        [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
    )
    for name in names:
        top = name.partition(".")[0]
        if top in PICKLES:
            yield name
        allowed = place in ASKS_THE_NETWORK or (top == "socket" and place in NAMES_THE_MACHINE)
        if top in HTTP and not allowed:
            yield f"{name} outside the module that downloads"


def faults(text: str, place: str = "") -> list[str]:
    """What a module does that it may not."""
    tree = ast.parse(text)
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    own = {c.name for c in classes if [dotted(base) for base in c.bases] == ["yaml.SafeLoader"]}
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            found += faults_of_call(node, own | {"yaml.SafeLoader"})
        if isinstance(node, ast.Import | ast.ImportFrom):
            found += faults_of_import(node, place)
    return found


BAD = [
    "eval(text)",
    "exec(text)",
    "import pickle",
    "from joblib import load",
    "os.system('ls')",
    "subprocess.run(line, shell=True)",
    "torch.load(path)",
    "torch.load(path, weights_only=False)",
    "AutoModel.from_pretrained(path, trust_remote_code=True)",
    "AutoModel.from_pretrained(path, trust_remote_code=settings.trust)",
    "yaml.load(text)",
    "yaml.load(text, yaml.Loader)",
    "yaml.load(text, Loader=yaml.UnsafeLoader)",
    "yaml.unsafe_load(text)",
    "np.load(path, allow_pickle=True)",
    "importlib.import_module(recipe.module)",
    "archive.extractall(folder)",
    "shutil.unpack_archive(path)",
    "from urllib.request import urlopen",
    "import requests",
]
GOOD = [
    "re.compile('a')",
    "torch.compile(model)",
    "torch.load(path, weights_only=True)",
    "yaml.safe_load(text)",
    "class L(yaml.SafeLoader): ...\nyaml.load(text, L)",
    "subprocess.run(['ls'])",
    "np.load(path, allow_pickle=False)",
    "AutoModel.from_pretrained(path, trust_remote_code=False)",
]


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.name)
def test_no_module_can_be_made_to_run_what_it_reads(path: Path) -> None:
    assert faults(path.read_text("utf-8"), str(path.relative_to(SOURCE / "babyllama"))) == []


@pytest.mark.parametrize("text", BAD)
def test_what_is_forbidden_would_be_found(text: str) -> None:
    assert len(faults(text)) == 1


@pytest.mark.parametrize("text", GOOD)
def test_what_is_allowed_is_not(text: str) -> None:
    assert faults(text) == []


def test_every_model_and_tokenizer_is_read_from_this_machine_without_its_code() -> None:
    """Each call of `from_pretrained` says so, by itself or through a mapping that does."""
    calls = [
        (path.name, call, path.read_text("utf-8"))
        for path in SOURCE.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call) and dotted(call.func).endswith("from_pretrained")
    ]
    assert len(calls) >= 4
    mapping = '{"local_files_only": True, "trust_remote_code": False}'
    for name, call, text in calls:
        given = keywords(call)
        if "**" in given:
            assert f"{given['**']}: dict[str, Any] = {mapping}" in text, name
        else:
            assert given["local_files_only"] == "True", name
            assert given["trust_remote_code"] == "False", name


def test_models_are_read_as_safetensors_alone() -> None:
    text = (SOURCE / "babyllama" / "models" / "folders.py").read_text("utf-8")
    name = "AUTO_CLASSES[kind].from_pretrained"
    (reader,) = [
        call
        for call in ast.walk(ast.parse(text))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == name
    ]
    assert keywords(reader)["use_safetensors"] == "True"

"""The project's own files agree with each other, and its wheel needs what it says."""

from __future__ import annotations

import ast
import contextlib
import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from importlib.resources import files
from pathlib import Path

import jupytext
import pytest
import torch
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from sphinx.util.matching import patmatch

import snnlib
from tools import chapters, licences

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book" / "_ext"))

import reading  # noqa: E402

CORE = ("surrogate", "neurons", "meanfield", "init", "membrane", "networks", "probe")


def read_yaml(name):
    return yaml.safe_load((ROOT / name).read_text())


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(name):
    """Names and versions of a file of pinned requirements."""
    found = {}
    for line in (ROOT / name).read_text().splitlines():
        if line and not line.startswith(("#", "-")):
            match = re.fullmatch(r"([\w.-]+)==([\w.]+)", line)
            assert match, f"{name}: not an exact pin: {line!r}"
            key = canonicalize_name(match[1])
            assert key not in found, f"{name}: {key} twice"
            found[key] = Version(match[2])
    return found


def with_dependencies(requirements):
    """Names of installed distributions that some requirements pull in here, themselves included."""
    todo = [(Requirement(text), ("",)) for text in requirements]
    seen: set[tuple[str, str]] = set()
    while todo:
        requirement, asked = todo.pop()
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in asked):
            continue
        name = canonicalize_name(requirement.name)
        extras = ("", *requirement.extras)
        new = [extra for extra in extras if (name, extra) not in seen]
        seen |= {(name, extra) for extra in new}
        if name == "snnlib":
            extra_groups = project()["optional-dependencies"]
            todo += [(Requirement(t), ("",)) for extra in extras[1:] for t in extra_groups[extra]]
        elif new and not _brought_by_torch(name):
            todo += [(Requirement(text), extras) for text in metadata.requires(name) or []]
    return {name for name, _ in seen if not _brought_by_torch(name)} - {"snnlib"}


def _brought_by_torch(name):
    """CUDA packages: torch pins each itself, and the CPU wheel has none."""
    return name.startswith(("nvidia-", "cuda-")) or name == "triton"


# --- environment ------------------------------------------------------------------------------


def test_lock_meets_every_requirement():
    lock = pins("requirements.txt")
    extras = project()["optional-dependencies"]
    for text in [*project()["dependencies"], *(t for group in extras.values() for t in group)]:
        requirement = Requirement(text)
        if requirement.name != "snnlib":
            name = canonicalize_name(requirement.name)
            assert name in lock, f"{name} is not in requirements.txt"
            assert lock[name] in requirement.specifier, f"{text} does not admit {lock[name]}"


def test_lock_is_complete():
    wanted = [*project()["dependencies"], "snnlib[dev]"]
    missing = with_dependencies(wanted) - set(pins("requirements.txt"))
    assert not missing, f"not in requirements.txt: {', '.join(sorted(missing))}"


def test_lock_has_nothing_else():
    wanted = with_dependencies([*project()["dependencies"], "snnlib[dev]"])
    surplus = set(pins("requirements.txt")) - wanted
    assert not surplus, f"in requirements.txt but needed by nothing: {', '.join(sorted(surplus))}"


def distributions(module):
    """Names of what installs a module."""
    return {canonicalize_name(d) for d in metadata.packages_distributions().get(module, ())}


def test_an_error_names_the_extra_that_installs_what_is_missing():
    asks = re.compile(r'require\("(\w+)[\w.]*", "(\w+)"\)')
    asked = {
        found
        for path in (ROOT / "snnlib").rglob("*.py")
        if path.name != "_extras.py"
        for found in asks.findall(path.read_text(encoding="utf-8"))
    }
    assert len(asked) > 10
    for module, extra in asked:
        assert distributions(module) & with_dependencies([f"snnlib[{extra}]"]), (module, extra)


def test_what_a_chapter_imports_is_installed_where_it_opens_alone():
    """On Colab: the extras of the configuration, the other libraries, and the book's folder."""
    extras = re.search(r'colab_extras: "(.+)"', (ROOT / "_config.yml").read_text())[1]
    wanted = [*project()["dependencies"], f"snnlib[{extras}]"]
    there = with_dependencies(wanted) | set(pins("requirements-peers.txt"))
    imports = re.compile(r"^(?:import|from) (\w+)", re.M)
    for path in (ROOT / "notebooks").glob("*.md"):
        cells = re.findall(r"^```\{code-cell\}.*?^```$", path.read_text(), flags=re.M | re.S)
        for module in {name for cell in cells for name in imports.findall(cell)}:
            local = (ROOT / module).is_dir() or module in sys.stdlib_module_names
            assert local or distributions(module) & there, f"{path.name}: {module}"


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-peers.txt"])
def test_hashed_lock_pins_the_same_versions(name):
    text = (ROOT / "hashes" / name).read_text().replace("\\\n", " ")
    hashed = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            pin, *hashes = line.split()
            assert hashes, f"{pin} has no hash"
            assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), pin
            found, version = pin.split("==")
            hashed[canonicalize_name(found)] = Version(version)
    by_index = {"torch", "torchvision"}  # their wheels differ between PyPI and torch's indexes
    assert hashed == {key: pin for key, pin in pins(name).items() if key not in by_index}
    assert not by_index & set(hashed)


def test_licence_of_every_pinned_package_is_listed():
    listed = list(csv.reader(licences.TABLE.read_text().splitlines()))
    assert all(licence for _, _, licence in listed)
    assert {name: version for name, version, _ in listed[1:]} == licences.pinned()
    by_index = {"torch", "torchvision"}  # the metadata of their wheels differ, too
    for name, _, licence in listed[1:]:
        assert name in by_index or licence == licences.licence(name), name


@pytest.mark.parametrize(
    "name", ["requirements-lab.txt", "requirements-peers.txt", "requirements-release.txt"]
)
def test_other_locks_do_not_contradict_the_lock(name):
    assert not set(pins(name)) & set(pins("requirements.txt"))


def test_extras_are_those_that_errors_name():
    named = set()
    for path in (ROOT / "snnlib").rglob("*.py"):
        named |= set(re.findall(r'require\(\s*"[\w.]+",\s*"(\w+)"\s*\)', path.read_text()))
    assert named - {"a_package"} <= set(project()["optional-dependencies"])
    assert named, "no optional import found"


def test_conda_environment_agrees_with_the_lock():
    environment = read_yaml("environment.yml")
    (from_pip,) = (d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    conda = dict(
        d.split("=", 1) if "=" in d else (d, None)
        for d in environment["dependencies"]
        if isinstance(d, str)
    )
    assert from_pip == ["-r requirements.txt", "-e ."]
    assert Version(conda.pop("python")) in Requirement(f"x{project()['requires-python']}").specifier
    conda.pop("pip")
    lock = pins("requirements.txt")
    for name, version in conda.items():
        locked = lock[canonicalize_name({"pytorch-cpu": "torch"}.get(name, name))]
        assert Version(version) == locked, f"{name}: {version} here, {locked} in the lock"
    assert "pytorch-cpu" in conda


def test_binder_opens_text_notebooks():
    post_build = ROOT / "postBuild"
    assert os.access(post_build, os.X_OK)
    assert "jupytext-config set-default-viewer markdown myst" in post_build.read_text()


def test_ci_script_is_executable():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


# --- book configuration -----------------------------------------------------------------------


def test_config_keys_are_known():
    package = files("jupyter_book")
    schema = json.loads((package / "config_schema.json").read_text())["properties"]
    default = yaml.safe_load((package / "default_config.yml").read_text())
    config = read_yaml("_config.yml")
    assert set(config) <= set(schema) | set(default)
    for key, value in config.items():
        if isinstance(value, dict):
            known = set(schema.get(key, {}).get("properties", {})) | set(default.get(key) or {})
            assert set(value) <= known, f"_config.yml, {key}: unknown {set(value) - known}"


def test_sphinx_settings_are_registered(tmp_path):
    """A misspelt key below ``sphinx: config:`` is registered by no extension."""
    code = """
import sys
from jupyter_book.config import get_final_config
from pathlib import Path
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils
import yaml
root, out = Path(sys.argv[1]), sys.argv[2]
config = root / "_config.yml"
cli = {"latex_individualpages": False}
settings, _ = get_final_config(user_yaml=config, cli_config=cli, sourcedir=root)
with patch_docutils(out), docutils_namespace():
    app = Sphinx(root, None, out, out, "html", settings, status=None)
ours = yaml.safe_load(config.read_text())["sphinx"]["config"]
unknown = sorted(set(ours) - set(app.config.values))
sys.exit(f"no such Sphinx setting: {', '.join(unknown)}" if unknown else 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT), str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_config_executes_once_and_fails_loudly():
    config = read_yaml("_config.yml")
    assert config["only_build_toc_files"] is True
    assert config["execute"]["execute_notebooks"] == "cache"
    assert config["sphinx"]["recursive_update"] is True
    assert config["sphinx"]["config"]["nb_execution_raise_on_error"] is True
    assert config["sphinx"]["config"]["nb_execution_show_tb"] is True


def in_toc():
    def walk(node):
        for key in ("file", "root"):
            if key in node:
                yield node[key]
        for key in ("parts", "chapters", "sections"):
            for child in node.get(key, []):
                yield from walk(child)

    return list(walk(read_yaml("_toc.yml")))


def test_toc_lists_every_page_once():
    listed = in_toc()
    assert len(listed) == len(set(listed))
    pages = [*chapters.chapters(), *(ROOT / "book").rglob("*.md")]
    names = {p.relative_to(ROOT).with_suffix("").as_posix() for p in pages}
    assert {name for name in listed if not name.startswith("book/claims/")} == names


def test_toc_has_each_claims_file_once():
    """Each file of claims is a page, listed by its name or by one pattern."""
    text = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    patterns = [*re.findall(r"glob: (\S+)", text), *re.findall(r"file: (book/claims/\S+)", text)]
    for path in (ROOT / "book" / "claims").rglob("*.yml"):
        name = path.relative_to(ROOT).with_suffix("").as_posix()
        assert sum(patmatch(name, pattern) is not None for pattern in patterns) == 1, name


@pytest.mark.parametrize("path", chapters.executable(), ids=chapters.slug)
def test_chapter_is_found_in_the_cache(path, tmp_path):
    """pytest reads chapters by jupytext, the book by MyST-NB: the cache's key must be the same."""
    from jupyter_cache import get_cache
    from myst_nb.core.config import NbParserConfig
    from myst_nb.core.read import create_nb_reader

    cache = get_cache(str(tmp_path))
    ours = jupytext.read(path)
    reader = create_nb_reader(str(path), None, NbParserConfig(), path.read_text())
    assert reader is not None, f"{path.name} is no text notebook for MyST-NB"
    keys = {cache.create_hashed_notebook(nb)[1] for nb in (ours, reader.read(path.read_text()))}
    assert len(keys) == 1


@pytest.mark.parametrize("path", chapters.executable(), ids=chapters.slug)
def test_every_code_cell_is_executed(path):
    """A cell inside another directive is neither executed nor shown."""
    read = sum(cell.cell_type == "code" for cell in jupytext.read(path).cells)
    assert len(re.findall(r"^`{3,}\{code-cell\}", path.read_text(), flags=re.M)) == read


HEADINGS = (
    "In short",
    "Claim",
    "Derivation",
    "In code",
    "Verification",
    "Where it breaks",
    "Exercises",
)


@pytest.mark.parametrize("path", chapters.chapters(), ids=chapters.slug)
def test_chapter_has_the_form_of_a_chapter(path):
    prose = "\n".join(c.source for c in jupytext.read(path).cells if c.cell_type == "markdown")
    assert tuple(re.findall(r"^## (.+)$", prose, flags=re.M)) == HEADINGS
    assert re.search(rf"^\({chapters.slug(path)}\)=\n# ", prose, flags=re.M), (
        "no label, or no title"
    )


@pytest.mark.parametrize("path", chapters.chapters(), ids=chapters.slug)
def test_chapter_is_read_in_one_sitting(path):
    text = path.read_text(encoding="utf-8")
    assert reading.read(text).minutes <= 25
    assert len(text.splitlines()) <= 1100


@pytest.mark.parametrize("path", chapters.chapters(), ids=chapters.slug)
def test_chapter_opens_with_its_answer_and_the_numbers_to_change(path):
    cells = jupytext.read(path).cells
    (place,) = (i for i, cell in enumerate(cells) if "## In short" in cell.source)
    answer = cells[place].source.partition("## In short")[2]
    text, directive, lines = answer.partition("```{in-short}")
    assert directive and re.match(r" \S+\n", lines), "no figure"
    claims = lines.partition("```")[0].split()[1:]
    assert 3 <= len(claims) <= 4
    question, _, answer = text.strip().partition("\n\n")
    assert re.fullmatch(r"\*[^*]+\?\*", question), question
    assert reading.read(answer).words <= 120
    # then the imports, folded, and one cell of numbers, before the claim
    head = cells[place + 1 : next(i for i, c in enumerate(cells) if "## Claim" in c.source)]
    tags = [cell.metadata.get("tags", []) for cell in head if cell.cell_type == "code"]
    assert tags == [["setup", "hide-input"], ["parameters"]]
    (numbers,) = (c.source for c in head if "parameters" in c.metadata.get("tags", []))
    assert "SEED = None" in numbers and "ledger.reseed(SEED)" in numbers


@pytest.mark.parametrize("path", chapters.chapters(), ids=chapters.slug)
def test_chapter_asks_some_questions_with_folded_checked_answers(path):
    """The answer opens in the page, and a cell behind it asserts or prints what it says."""
    text = path.read_text(encoding="utf-8").partition("\n## Exercises\n")[2]
    asked = re.findall(r"^`{3,}\{exercise\}\n:label: ([\w-]+)$", text, flags=re.M)
    assert 2 <= len(asked) <= 4, asked
    parts = re.split(r"^`{3,}\{exercise\}\n", text, flags=re.M)[1:]
    for label, part in zip(asked, parts, strict=True):
        answer = rf"^`{{3,}}\{{solution(-start)?\}} {label}\n:class: dropdown$"
        assert re.search(answer, part, flags=re.M), f"{label}: no folded answer"
        code = "\n".join(re.findall(r"^```\{code-cell\}.*?^```$", part, flags=re.M | re.S))
        checks = ("assert", "ledger.", "print(", "table(", "raises")
        assert any(word in code for word in checks), f"{label}: nothing checks the answer"


# --- package ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of the working tree, built without a network."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "snnlib", source / "snnlib", ignore=shutil.ignore_patterns("*.pyc"))
    options = ["--no-build-isolation", "--no-deps", "--no-index", "--quiet", "--wheel-dir"]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, str(out), str(source)], check=True
    )
    (built,) = out.glob("snnlib-*.whl")
    return built


def test_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"snnlib"}
    assert "snnlib/py.typed" in names
    modules = {p.relative_to(ROOT).as_posix() for p in (ROOT / "snnlib").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_wheel_says_what_it_needs(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
    header = metadata.PathDistribution(zipfile.Path(archive, name.rpartition("/")[0] + "/"))
    assert header.version == snnlib.__version__
    needed = [Requirement(text) for text in header.requires or []]
    assert {r.name for r in needed if r.marker is None} == {"torch", "numpy", "scipy"}


def test_wheel_imports_with_torch_numpy_scipy_alone(wheel, tmp_path):
    """Every other installed package is refused, sympy too, although torch requires it."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    allowed = with_dependencies(["torch", "numpy", "scipy"]) - {"sympy", "mpmath"}
    refused = [
        module
        for module, owners in metadata.packages_distributions().items()
        if not {canonicalize_name(owner) for owner in owners} & (allowed | {"snnlib"})
    ]
    assert {"sympy", "matplotlib", "IPython", "sklearn", "tqdm", "yaml"} <= set(refused)
    code = """
import importlib, json, pkgutil, sys

target, site, refused, core = sys.argv[1], *map(json.loads, sys.argv[2:])

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
sys.path[:] = [target, *(p for p in sys.path if "site-packages" not in p), *site]
import snnlib
assert snnlib.__file__.startswith(target), snnlib.__file__
assert "torch" not in sys.modules, "import snnlib must stay light"
for name in core:
    getattr(snnlib, name)
for module in pkgutil.walk_packages(snnlib.__path__, "snnlib."):
    if "._" in module.name:
        continue  # private: imported by a public module, which is asked here
    try:
        importlib.import_module(module.name)
    except ImportError as error:
        assert module.name.split(".")[1] not in core, module.name
        assert 'pip install "snnlib[' in str(error), f"{module.name}: {error}"
weight = snnlib.init.micheli2024_(importlib.import_module("torch").empty(4, 5))
assert weight.shape == (4, 5)
"""
    site = [p for p in sys.path if Path(p, "torch").is_dir() or Path(p, "numpy").is_dir()]
    arguments = [str(tmp_path), *map(json.dumps, (site, refused, CORE))]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_submodules_load_on_first_use():
    assert set(snnlib.__all__) <= set(dir(snnlib))
    for name in snnlib.__all__:
        if name != "__version__":
            assert getattr(snnlib, name).__name__ == f"snnlib.{name}"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        snnlib.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("figures", "page.figures", "use_house_style"),
        ("moments", "ledger.moments", "Algebra"),
        ("running", "dialects.running", "run"),
        ("tables", "page.tables", "table"),
    ],
)
def test_what_moved_is_still_found_and_says_so(old, new, name):
    code = (
        f"import snnlib\n"
        f"assert snnlib.{old}.__name__ == 'snnlib.{new}'\n"
        f"from snnlib.{old} import {name}\n"
        f"from snnlib.{new} import {name} as there\n"
        f"assert there is {name}\n"
    )
    command = [sys.executable, "-W", "always", "-c", code]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    says = f"DeprecationWarning: snnlib.{old} is snnlib.{new} now"
    assert done.returncode == 0 and done.stderr.count(says) == 2, done.stderr


# --- rooms ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("surrogate", "", ()),
        ("surrogate", "import snnlib.init", ("each room",)),
        ("fold", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import snnlib.training",
         ("each room",)),
        ("new", "import torch", ("each room",)),
        ("init.lsuv", "import snnlib.ledger", ("knows the ledger",)),
        ("data.raw", "import snnlib.data.digits", ("circles",)),
    ],
)  # fmt: skip
def test_an_import_against_the_layers_is_refused(tmp_path, module, line, broken):
    shutil.copytree(ROOT / "snnlib", tmp_path / "snnlib", ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    file = tmp_path / "snnlib" / (module.replace(".", "/") + ".py")
    if file.with_suffix("").is_dir():
        file = file.with_suffix("") / "__init__.py"
    with file.open("a", encoding="utf-8") as text:
        text.write(f"\n{line}\n")
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8"
    )
    found = [text for text in done.stdout.splitlines() if text.endswith("BROKEN")]
    assert (done.returncode != 0) == bool(broken), done.stdout
    for name in broken:
        assert any(name in text for text in found), done.stdout


def lines_of_code(path):
    """Lines of each function of a file, without docstrings, comments and blank lines."""
    text = path.read_text(encoding="utf-8")
    silent = {
        number
        for number, line in enumerate(text.splitlines(), start=1)
        if not line.strip() or line.lstrip().startswith("#")
    }
    nodes = list(ast.walk(ast.parse(text)))
    functions = [n for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    for node in [*functions, *(n for n in nodes if isinstance(n, ast.ClassDef))]:
        if ast.get_docstring(node) is not None:
            silent |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return {n.name: len(set(range(n.lineno, n.end_lineno + 1)) - silent) for n in functions}


@pytest.mark.parametrize("room", sorted({p.parent for p in (ROOT / "snnlib").rglob("*.py")}))
def test_a_file_is_read_in_one_sitting(room):
    for path in room.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        method = room.name == "init" and re.search(r"^METHOD\w* = ", text, flags=re.M)
        assert len(text.splitlines()) <= (250 if method else 500), path
        long = {name: n for name, n in lines_of_code(path).items() if n > 60}
        assert not long, f"{path}: {long}"


def test_an_error_inside_an_optional_package_is_passed_on(tmp_path, monkeypatch):
    from snnlib._extras import require

    (tmp_path / "broken_extra.py").write_text("import a_missing_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_missing_dependency"):
        require("broken_extra", "data")


# --- README -----------------------------------------------------------------------------------


README_EXAMPLES = re.findall(
    r"```python\n(.*?)```(?:[^`]|`[^`])*?```text\n(.*?)```", (ROOT / "README.md").read_text(), re.S
)


@pytest.mark.parametrize("place", range(len(README_EXAMPLES)))
def test_readme_examples_print_what_they_show(place):
    code, shown = README_EXAMPLES[place]
    for library in ("snntorch", "spikingjelly"):
        if f"import {library}" in code or f"from {library}" in code:
            pytest.importorskip(library)
    printed = io.StringIO()
    with torch.random.fork_rng(), contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    assert [line.rstrip() for line in printed.getvalue().splitlines()] == shown.splitlines()


def test_every_readme_example_shows_its_output():
    assert len(README_EXAMPLES) == (ROOT / "README.md").read_text().count("```python")


def test_readme_commands_exist():
    readme = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", readme, flags=re.M))
    assert {"book", "test"} <= named <= targets


def test_readme_links_exist():
    readme = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", readme):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("path", chapters.chapters(), ids=chapters.slug)
def test_no_check_needs_a_figure(path):
    # `make seeds` leaves figures out: what they alone define, no other cell may read.
    cells = [cell for cell in jupytext.read(path).cells if cell.cell_type == "code"]
    drawn, kept = [], []
    for cell in cells:
        figure = "figure" in cell.metadata.get("tags", [])
        (drawn if figure else kept).append(ast.parse(cell.source))

    def names(trees, context):
        found = set()
        for tree in trees:
            for node in ast.walk(tree):
                if isinstance(node, ast.Name) and isinstance(node.ctx, context):
                    found.add(node.id)
                elif context is ast.Store:
                    if isinstance(node, ast.FunctionDef | ast.ClassDef):
                        found.add(node.name)
                    elif isinstance(node, ast.arg):
                        found.add(node.arg)
                    elif isinstance(node, ast.alias):
                        found.add((node.asname or node.name).partition(".")[0])
        return found

    only_drawn = names(drawn, ast.Store) - names(kept, ast.Store)
    assert not only_drawn & names(kept, ast.Load)

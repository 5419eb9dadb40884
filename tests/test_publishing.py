"""What publishes the book and the package: workflows, environments, downloads, the citation."""

from __future__ import annotations

import datetime
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
import yaml

import snnlib
from tools import newest, pdf, pin_actions

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book" / "_ext"))

import downloads  # noqa: E402
import offline_assets  # noqa: E402

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))


def read_yaml(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


# --- workflows --------------------------------------------------------------------------------


def steps_of(path):
    return [step for job in read_yaml(path)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_the_documented_form(path):
    workflow = read_yaml(path)
    # YAML reads the key `on` as True.
    assert set(workflow) <= {"name", True, "permissions", "concurrency", "jobs", "env"}
    assert set(workflow[True]) <= {"push", "pull_request", "schedule", "workflow_dispatch"}
    assert workflow["permissions"] == {"contents": "read"}  # a job asks for what it needs
    for job in workflow["jobs"].values():
        assert {"runs-on", "steps"} <= set(job)
        assert set(job.get("permissions", {}).values()) <= {"read", "write"}
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
    identities = [step["id"] for step in steps_of(path) if "id" in step]
    named = re.findall(r"steps\.(\w+)\.", path.read_text())
    assert len(identities) == len(set(identities)) and set(named) <= set(identities)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_calls_what_exists(path):
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\bmake ([a-z-]+)", text):
        assert target in TARGETS, target
    for module in re.findall(r"-m (tools\.\w+)", text):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists(), module
    for script in re.findall(r"bash (\S+)", text):
        assert (ROOT / script).exists(), script


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_have_a_version(path):
    used = [step["uses"] for step in steps_of(path) if "uses" in step]
    assert used
    for name in used:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@(v\d+(\.\d+)*|[0-9a-f]{40})", name), name


def test_what_is_published_is_what_was_checked():
    build, publish = read_yaml(".github/workflows/book.yml")["jobs"].values()
    kept = [s["with"] for s in build["steps"] if "upload-artifact" in s.get("uses", "")]
    assert {k["name"]: k["path"] for k in kept} == {
        "site": "_build/html",
        "executed-notebooks": "_build/executed/**/*.ipynb",
        "pdf": pdf.TARGET.relative_to(ROOT).as_posix(),
        "package": "_build/dist/*",
    }
    runs = [step["run"] for step in build["steps"] if "run" in step]
    assert runs == ["bash .ci/run", "make pdf", "make dist"]
    assert publish["needs"] == "build" and "refs/heads/main" in publish["if"]
    branch = read_yaml("_config.yml")["sphinx"]["config"]["ipynb_branch"]
    assert publish["steps"][-1]["run"].split()[-1] == branch


# --- pins of the actions ------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path):
    """A git repository with a plain and an annotated tag."""

    def git(*arguments):
        command = ["git", "-c", "user.name=n", "-c", "user.email=e@x.org", *arguments]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "-m", "one")
    git("tag", "v1")
    git("commit", "--quiet", "--allow-empty", "-m", "two")
    git("tag", "-a", "v2", "-m", "annotated")
    return str(tmp_path), git("rev-parse", "v1"), git("rev-parse", "HEAD")


def test_a_tag_is_asked_of_its_repository(repository):
    address, first, second = repository
    assert pin_actions.commit_of(address, "v1") == first
    assert pin_actions.commit_of(address, "v2") == second  # not the tag's own object
    with pytest.raises(ValueError, match="got 'v3'"):
        pin_actions.commit_of(address, "v3")


def test_pins_are_renewed_by_the_tag_behind_them():
    asked = []

    def resolve(digit):
        return lambda name, tag: asked.append((name, tag)) or 40 * digit

    text = "  - uses: a/b@v1\n  - run: x@y\n  - uses: c/d/e@v2.1 # v9\n"
    once = pin_actions.pin(text, resolve("1"))
    assert pin_actions.loose(text) == ["a/b@v1", "c/d/e@v2.1"] and not pin_actions.loose(once)
    assert pin_actions.pin(once, resolve("2")) == once.replace(40 * "1", 40 * "2")
    assert asked == 2 * [("a/b", "v1"), ("c/d", "v2.1")]
    with pytest.raises(ValueError, match="must have its tag as a comment"):
        pin_actions.pin(f"uses: a/b@{40 * '1'}", resolve("3"))


# --- newer dependencies -------------------------------------------------------------------------


def executed(*outputs):
    cells = [nbformat.v4.new_markdown_cell("text")]
    for output in outputs:
        cells.append(nbformat.v4.new_code_cell("x", outputs=[output] if output else []))
    return nbformat.v4.new_notebook(cells=cells)


def test_a_report_says_what_newer_dependencies_changed():
    failed = nbformat.v4.new_output(
        "error", ename="ClaimFailed", evalue="a.eq1: no\nmore", traceback=[]
    )
    notebooks = {"good": executed(None), "bad": executed(None, failed)}
    text = newest.report(notebooks, ["a.eq1: no evidence"], ["numpy 1 → 2"])
    assert "* `bad`, code cell 2: ClaimFailed: a.eq1: no\n" in text
    assert "* a.eq1: no evidence" in text and "* numpy 1 → 2" in text and "good" not in text
    assert newest.report({"good": executed(None)}, [], ["numpy 1 → 2"]) == ""
    assert newest.other_versions(["torch==2.1"], {"torch": "2.1+cpu"}) == []
    assert newest.other_versions(["a.b==1"], {}) == ["a.b 1 → not installed"]


# --- environments -------------------------------------------------------------------------------


def test_conda_reads_the_environment():
    environment = read_yaml("environment.yml")
    assert set(environment) <= {"name", "channels", "dependencies", "variables", "prefix"}
    assert all(isinstance(name, str) for name in environment["channels"])
    *packages, from_pip = environment["dependencies"]
    for text in packages:  # a match specification: name, version, build
        assert re.fullmatch(r"[a-z0-9_.-]+(=[\w.*]+){0,2}", text), text
    assert "pip" in packages and set(from_pip) == {"pip"}
    for line in from_pip["pip"]:
        option, name = line.split()
        assert option in ("-r", "-e") and (ROOT / name).exists()


def test_binder_runs_what_comes_after():
    first = (ROOT / "postBuild").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("#!") and "bash" in first
    assert not (ROOT / "binder").exists() and not (ROOT / ".binder").exists()  # they would win
    syntax = subprocess.run(["bash", "-n", ROOT / "postBuild"], capture_output=True)
    assert syntax.returncode == 0, syntax.stderr


def test_the_first_cell_on_colab_fetches_the_book(tmp_path, monkeypatch):
    """The cell's Python, with the lines for the shell written down instead of run."""
    source = offline_assets.colab_cell(
        url="https://x.org/a/book", branch="main", folder="notebooks", extras="book,data"
    )
    called = []
    plain = re.sub(r"^( *)([!%].*)$", r"\1called.append(r'''\2''')", source, flags=re.M)
    moved = []
    monkeypatch.setattr("os.chdir", moved.append)
    monkeypatch.setattr("sys.path", list(sys.path))
    exec(plain, {"called": called})
    assert not called and not moved  # elsewhere it does nothing
    monkeypatch.setitem(sys.modules, "google.colab", object())
    exec(plain, {"called": called})
    assert [c.split()[0] for c in called] == ["!git", "%pip", "%pip"]
    assert called[0].endswith("--branch main https://x.org/a/book /content/book")
    assert '"/content/book[book,data]"' in called[1]
    assert called[2].endswith("--no-deps -r /content/book/requirements-peers.txt")
    assert sys.path[0] == "/content/book"
    assert moved == ["/content/book/notebooks"]


# --- citation, changelog, downloads ---------------------------------------------------------------


def test_the_citation_file_has_the_documented_form():
    citation = read_yaml("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert str(citation["version"]) == snnlib.__version__
    for author in citation["authors"]:
        assert set(author) <= {"name"} or {"family-names", "given-names"} <= set(author)
    entry = downloads.bibtex(citation, year="2026", version=snnlib.__version__)
    assert entry.startswith("@software{snnlib2026,") and entry.count("{") == entry.count("}")
    assert citation["title"] in entry


def test_the_changelog_knows_this_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heads = re.findall(r"^## (\S+) \((.+)\)$", text, flags=re.M)
    assert heads[0][0] == snnlib.__version__
    for _, day in heads:
        assert day == "not released yet" or datetime.date.fromisoformat(day)


def test_all_addresses_of_the_book_are_one():
    config = read_yaml("_config.yml")
    _, _, _, owner, name = config["repository"]["url"].split("/")
    online = config["html"]["baseurl"]
    assert online == f"https://{owner}.github.io/{name}/"
    assert online in (ROOT / "README.md").read_text(encoding="utf-8")
    cite = (ROOT / "book" / "cite.md").read_text(encoding="utf-8")
    assert f'href="../{pdf.TARGET.name}"' in cite  # a copy of the site links its own
    assert read_yaml("CITATION.cff")["repository-code"] == config["repository"]["url"]


def test_the_archive_holds_all_notebooks(tmp_path):
    sources = tmp_path / "_sources"
    for name in ("notebooks/a", "book/b"):
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        (sources / f"{name}.ipynb").write_text(json.dumps({"name": name}), encoding="utf-8")
    (sources / "notebooks" / "a.md").write_text("text", encoding="utf-8")
    names = downloads.pack(sources, tmp_path / "one.zip")
    assert names == ["book/b.ipynb", "notebooks/a.ipynb"]
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert archive.namelist() == names
        assert json.loads(archive.read("book/b.ipynb")) == {"name": "book/b"}
    downloads.pack(sources, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_the_release_checklist_names_what_exists():
    text = (ROOT / "RELEASING.md").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([a-z-]+)`", text):
        assert target in TARGETS
    for module in re.findall(r"python -m (tools\.\w+)", text):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists()
    for path in re.findall(r"`([\w./-]+\.(?:md|cff|toml|yml|py))`", text):
        assert (ROOT / path).exists(), path

"""Render the book: execute what is stale, build strictly, say where it is.

Usage: ``python -m tools.book [chapter ...]``.

An edit in the library, in a chapter, in the claims or in the lock file makes chapters stale;
pytest executes those.  Then Jupyter Book renders every page from their cached outputs, and any
warning is an error.  Nothing is done if neither executions nor pages are stale.

With names of chapters, only those are executed and rendered, for a look while writing: links to
the rest of the book lead nowhere, and warnings do not count.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools import chapters

SITE = chapters.BUILD / "html"
INDEX = SITE / "index.html"
STAMP = chapters.BUILD / "rendered"  # what the pages were made from


def wanted() -> str:
    """Hash everything that the pages depend on."""
    sources = chapters.files(
        "book", "notebooks", "snnlib", "results", "tools", skip=(".ipynb",)
    ) + chapters.files(*(f for f in ("_config.yml", "_toc.yml", "requirements.txt")))
    record = chapters.recorded_fingerprints()
    return chapters.fingerprint(sources, repr(sorted(record.items())), sys.version)


def execute(names: Sequence[str] = ()) -> None:
    """Run the stale chapters (of those named) as tests, which puts them into the book's cache."""
    stale = [p for p in chapters.stale_chapters() if not names or chapters.slug(p) in names]
    if stale:
        print(f"executing {len(stale)} of {len(chapters.executable())} chapters", flush=True)
        options = (f"-n{min(2, len(stale))}", "-q", "-p", "tools.progress", "--durations=0")
        from snnlib.experiments.pausing import paused

        with paused("a build of the book"):
            _call("-m", "pytest", *options, "--durations-min=60", *map(str, stale))


def render() -> None:
    """Build all pages anew: Sphinx would keep the pages of chapters whose text is unchanged."""
    STAMP.unlink(missing_ok=True)
    for folder in (SITE, chapters.BUILD / ".doctrees", chapters.BUILD / "jupyter_execute"):
        shutil.rmtree(folder, ignore_errors=True)
    program = Path(sys.executable).with_name("jupyter-book")
    _call("-W", "ignore", str(program), "build", ".", "-W", "--keep-going", "-q")


def render_part(names: Sequence[str]) -> Path:
    """Build the pages of some chapters alone; return the first one's."""
    import yaml

    folder = chapters.BUILD / "part"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    paths = {chapters.slug(path): path for path in chapters.executable()}
    files = [paths[n].relative_to(chapters.ROOT).with_suffix("").as_posix() for n in names]
    config = yaml.safe_load((chapters.ROOT / "_config.yml").read_text(encoding="utf-8"))
    config["execute"]["cache"] = str(chapters.CACHE)
    local = config["sphinx"]["local_extensions"]  # paths from where the configuration lies
    local.update({name: str(chapters.ROOT / place) for name, place in local.items()})
    others = [{"file": f} for f in [*files[1:], "book/references"]]
    toc = {"format": "jb-book", "root": files[0], "chapters": others}
    for name, content in (("_config.yml", config), ("_toc.yml", toc)):
        (folder / name).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    program = Path(sys.executable).with_name("jupyter-book")
    command = [sys.executable, "-W", "ignore", str(program), "build", ".", "-q"]
    command += ["--config", str(folder / "_config.yml"), "--toc", str(folder / "_toc.yml")]
    command += ["--path-output", str(folder)]
    done = subprocess.run(command, cwd=chapters.ROOT, capture_output=True, encoding="utf-8")
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return folder / "_build" / "html" / f"{files[0]}.html"


def _call(*arguments: str) -> None:
    """Run Python in the project's root and stop with its exit status if it fails."""
    with subprocess.Popen([sys.executable, *arguments], cwd=chapters.ROOT) as process:
        try:
            status = process.wait()
        except KeyboardInterrupt:  # the process got it too: let it end its own
            process.wait()
            sys.exit("interrupted: what was done is kept, and the next call goes on from there")
    if status:
        sys.exit(status)


def main(names: Sequence[str] = ()) -> None:
    """Bring the book, or the named chapters, up to date and print the path."""
    known = [chapters.slug(path) for path in chapters.executable()]
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"no chapter {', '.join(unknown)}; there are {', '.join(known)}")
    execute(names)
    if names:
        print(render_part(names))
        return
    target = wanted()
    if not (INDEX.exists() and STAMP.exists() and STAMP.read_text(encoding="utf-8") == target):
        render()
        STAMP.write_text(target, encoding="utf-8")
    print(INDEX)


if __name__ == "__main__":
    main(sys.argv[1:])

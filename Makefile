# make book    render the book (executes what is stale) and print its path
# make test    library tests and every chapter
# make browser open every page of the rendered book in Chromium (needs chromium, npm and java)
# make pdf     the whole book as one PDF, printed by Chromium
# make dist    source archive and wheel, and a check of their metadata
# make serve   render the book and serve it on localhost
# make lab     open the chapters in JupyterLab
# make profile where the chapters' time goes: the slowest cells
# make bench   time the library against products and other libraries, into results/benchmarks
# make bench-quick   the same at small sizes, in two minutes, kept in _build
# make audit   plant errors in the premises of the proofs that changed (CHAPTERS="..." for some)
# make mutants plant errors in the library's formulas: which do its tests notice (hours; goes on where it stopped)
# make seeds   repeat the checks under 20 other seeds, and once with other parameters
# make portability   the tests as on other machines: instructions, threads, interpreters, places
# make versions   environments of the oldest and the newest versions, which `make portability` tries
# make lock    hashes and licences of the pinned packages, into hashes/
# make lint    ruff, mypy, and the layers of the library
# make clean   remove what the builds made; distclean also removes the environment
#
# PYTHON=python3.12        the interpreter that makes the environment (3.11 or newer)
# PIP_OPTIONS="..."        passed to every pip install
# CHAPTERS="lif-neuron"    chapters that `make book` is to render alone, for a look (book)
# ARGS="..."               passed to pytest (test), to the runners (seeds, portability, bench) or to JupyterLab (lab)

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
PIP_OPTIONS ?=
ARGS ?=
CHAPTERS ?=

# What is imported once stays compiled: every chapter is a process, and starts in half of the time.
unexport PYTHONDONTWRITEBYTECODE

BIN := $(VENV)/bin
RUN := $(BIN)/python
LOCKS := requirements.txt requirements-peers.txt
INSTALL := $(RUN) -m pip install --disable-pip-version-check $(PIP_OPTIONS)

.PHONY: book test browser pdf dist serve lab profile bench bench-quick audit mutants seeds portability versions lint env lock clean distclean
.DELETE_ON_ERROR:

book: env
	@$(RUN) -m tools.book $(CHAPTERS)

test: env
	$(RUN) -m pytest $(ARGS)

# What is missing is a failure here; `make test` leaves out what cannot run.
browser: book _build/checks/ready
	BROWSER_CHECKS=1 $(RUN) -m pytest tests/test_browser.py tests/test_book_in_browser.py $(ARGS)

# axe and the Nu HTML checker, of the versions that the lock file pins.
_build/checks/ready: tools/browser/package.json tools/browser/package-lock.json
	mkdir -p $(@D)
	cp $^ $(@D)
	npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --silent
	@touch $@

pdf: book
	@$(RUN) -m tools.pdf $(ARGS)

dist: $(VENV)/release
	rm -rf _build/dist
	$(RUN) -m build --no-isolation --outdir _build/dist
	$(RUN) -m twine check --strict _build/dist/*

$(VENV)/release: $(VENV)/ready requirements-release.txt
	$(INSTALL) --quiet -r requirements-release.txt
	@touch $@

serve: book
	@echo "http://127.0.0.1:$(PORT)/ (Ctrl-C stops)"
	@$(RUN) -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

lab: $(VENV)/lab
	$(BIN)/jupyter-lab --notebook-dir=notebooks $(ARGS)

profile: env
	@$(RUN) -m tools.profile $(ARGS)

bench: env
	@$(RUN) -m benchmarks $(ARGS)

bench-quick: env
	@$(RUN) -m benchmarks --quick $(ARGS)

audit: env
	@$(RUN) -m tools.audit $(CHAPTERS) $(ARGS)

mutants: env
	@$(RUN) -m tools.mutants $(ARGS)

seeds: env
	$(RUN) -m tools.seeds $(ARGS)

portability: env
	$(RUN) -m tools.portability $(ARGS)

versions: .venv-oldest/made .venv-newest/made

.venv-%/made: constraints/%.txt pyproject.toml requirements-peers.txt
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --disable-pip-version-check $(PIP_OPTIONS) --quiet --no-compile \
	  --constraint $< --editable ".[dev]" torchvision
	.venv-$*/bin/python -m pip install --disable-pip-version-check $(PIP_OPTIONS) --quiet --no-deps \
	  -r requirements-peers.txt
	@touch $@

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

env: $(VENV)/ready

# By hash first what is the same on every index; then torch, whose wheels are not, and what its
# wheel pins. The project itself then finds every requirement met.
# The other spiking libraries come without their requirements, which would replace torch.
$(VENV)/ready: $(LOCKS) $(addprefix hashes/,$(LOCKS)) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 5) and "Python 3.11.5 or newer is needed; this is " + sys.version.split()[0] + ". Set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --quiet --no-compile --no-deps --require-hashes -r hashes/requirements.txt
	$(INSTALL) --quiet --no-compile -r requirements.txt
	$(INSTALL) --quiet --no-deps --require-hashes -r hashes/requirements-peers.txt
	$(INSTALL) --quiet --no-deps --no-build-isolation -e .
	@touch $@

# The hashes of every file of the pinned versions, for all platforms, by uv (an extra of releases).
# torch and torchvision stay out: their wheels differ between PyPI and torch's own indexes.
lock: $(VENV)/release
	mkdir -p _build
	for name in $(LOCKS); do \
	  grep -vE '^(#|torch(vision)?==)' $$name > _build/$$name; \
	  $(BIN)/uv pip compile --quiet --no-deps --generate-hashes --universal --python-version 3.11.5 \
	    --no-annotate --custom-compile-command "make lock" --output-file hashes/$$name _build/$$name \
	    || exit 1; \
	done
	$(RUN) -m tools.licences

# Text notebooks open as notebooks: a setting of this environment, not of the user.
$(VENV)/lab: $(VENV)/ready requirements-lab.txt
	$(INSTALL) --quiet -r requirements-lab.txt
	mkdir -p $(VENV)/share/jupyter/lab/settings
	$(BIN)/jupytext-config --settings-file $(VENV)/share/jupyter/lab/settings/overrides.json \
	  set-default-viewer markdown myst
	@touch $@

clean:
	rm -rf _build build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -not -path './.venv*/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) .venv-oldest .venv-newest

# make        format, lint, types, then all tests: what CI runs
# make run    the daemon in the foreground on config.toml: client "demo", everything under var/
# make test   all tests with branch coverage and a floor for it, three at a time; WORKERS=0 for one after the other
# make test-importer  those tests that need neither the daemon nor a server
# make check  format, lint, types
# make faults killed, refused and cut off from power at every step, an hour; make test takes a sample; ONLY=FILE for one
# make matrix every SFTP client in every situation, and hostile ones, half an hour; make test takes a sample
# make demo   a real sshd and the daemon on loopback, three uploads, everything they lead to; ends by itself;
#             CONSOLE=1 also serves the operator's web page, until Enter is pressed
# make bench  our speed beside that of others, half an hour; QUICK=1 for two minutes; START=1 for what starting takes;
#             GROWTH=1 for growth with users and clients, hours, PLOT=1 to draw it as well
# make lock   pin the newest versions of all dependencies, with hashes, and say what changed; by the oldest Python:
#             PYTHON=/usr/bin/python3; KEEP=1 pins what is new and leaves the others as they are
# make docs   the documents as a site in dist/docs/
# make deb    a package for the Debian it runs on in dist/; DEBIAN=trixie for another one; see docs/install.md
# make repo   those packages as a signed repository for apt in dist/apt/; KEY=FINGERPRINT of the key; see docs/install.md
# make clean  remove what make has made; var/ stays
#
# Needs Python 3.11 or newer with its venv module, PYTHON=python3.12 to choose one; tested on the 3.11 of Debian 12 and the
# 3.13 of Debian 13. All else comes into .venv.

PYTHON ?= python3
WORKERS ?= 3
# Without root some tests are skipped, and the floor of pyproject.toml cannot be reached.
ANY_COVERAGE := $(if $(filter 0,$(shell id -u)),,--cov-fail-under=0)
# What imports neither the daemon, nor its commands, nor a server of tests/lab.
IMPORTER_TESTS = $(shell grep -rLE --include='test_*.py' '^ *(from|import) (watcher|operate|tests\.lab\.)' tests/importer)
BIN := .venv/bin
PIP := $(BIN)/python -I -m pip install --quiet --disable-pip-version-check
PROJECT := $(PIP) --no-deps --no-build-isolation --editable .
# The lock holds what PyPI has, whatever indexes and folders this machine's pip looks into.
COMPILE := env -u PIP_FIND_LINKS -u PIP_EXTRA_INDEX_URL PIP_CONFIG_FILE=/dev/null .venv-lock/bin/pip-compile --quiet \
	$(if $(KEEP),,--upgrade) --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --no-emit-options --no-emit-trusted-host

# What a dependency group of pyproject.toml names, as a file for pip-compile.
GROUP = $(PYTHON) -I -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["$(1)"], sep="\n")' \
	> .venv-lock/$(1).in

.PHONY: all run test test-importer faults matrix check demo bench lock docs deb repo clean
.DELETE_ON_ERROR:

all: check test

run: .venv/.can-run
	@mkdir -p var/demo/upload
	@echo 'Drop a CSV file into  var/demo/upload/   (samples: cp tests/data/*.csv var/demo/upload/)'
	@echo 'Look for the answer in  var/demo/upload/.bak/  and in the mail,  var/state/mail/new/'
	@echo 'Ctrl-C ends.'
	@exec $(BIN)/rosterd run --config config.toml

test: .venv/.can-test
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadgroup --cov --cov-report=term $(ANY_COVERAGE)

test-importer: .venv/.can-test
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadgroup -k 'not postgresql' $(IMPORTER_TESTS)

faults: .venv/.can-test
	ROSTERD_FAULTS=full $(BIN)/python -m pytest --log-cli-level=INFO $(or $(ONLY),tests/faults tests/importer/store/postgresql/test_exactly_once.py)

matrix: .venv/.can-test
	ROSTERD_MATRIX=full ROSTERD_HOSTILE=full $(BIN)/python -m pytest tests/test_matrix.py tests/test_hostile.py

check: .venv/.can-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

demo: .venv/.can-run
	@CONSOLE=$(CONSOLE) $(BIN)/python -m deploy.demo

bench: .venv/.can-test
	@$(BIN)/python -I -m compileall -q watcher importer operate console
	PYTHONPATH=$(CURDIR) $(BIN)/python -m bench.$(if $(START),startup,$(if $(GROWTH)$(PLOT),growth $(if $(PLOT),--plot),run $(if $(QUICK),--quick)))

docs: .venv-docs/.can-build
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -I -m mkdocs build --quiet --strict

deb: .venv/.can-run
	bash deploy/deb/$(if $(DEBIAN),make_in.sh $(DEBIAN) deb,build.sh)

repo:
	@KEY='$(KEY)' bash deploy/apt/repository.sh

clean:
	rm -rf .venv .venv-docs .venv-lock dist .coverage* htmlcov .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.can-test: requirements-dev.lock .venv/.can-run
	$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

.venv/.can-run: requirements.lock pyproject.toml | .venv/bin/python
	$(PIP) --require-hashes -r requirements.lock
	$(PROJECT)
	@sed -i '1s|/python[0-9.]*$$|& -I|' $(BIN)/rosterd # wherever it is started, whatever PYTHONPATH says
	@$(BIN)/python -I -m compileall -q watcher importer operate console # or each start compiles them, where Python may not write
	@touch $@

.venv-docs/.can-build: requirements-docs.lock | .venv/bin/python
	$(PYTHON) -I -m venv .venv-docs
	.venv-docs/bin/python -I -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-docs.lock
	@touch $@

.venv/bin/python:
	@$(PYTHON) -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'rosterd needs Python 3.11 or newer as $(PYTHON); name another by: make PYTHON=python3.12'; exit 1; }
	@$(PYTHON) -I -c 'import ensurepip, venv' 2>/dev/null || \
		{ [ "$$(id -u)" -eq 0 ] && command -v apt-get >/dev/null && echo 'Debian keeps a part of Python in python3-venv:' && \
			apt-get update -qq && apt-get install -y --no-install-recommends python3-venv; } || \
		{ echo 'Python cannot make virtual environments here. On Debian and Ubuntu: apt-get install python3-venv'; exit 1; }
	$(PYTHON) -I -m venv .venv

lock:
	$(PYTHON) -I -m venv .venv-lock
	.venv-lock/bin/python -I -m pip install --quiet pip-tools
	$(COMPILE) --extra console --extra postgresql --build-deps-for editable --output-file requirements.lock pyproject.toml
	$(call GROUP,dev)
	$(COMPILE) --output-file requirements-dev.lock requirements.lock .venv-lock/dev.in
	$(call GROUP,docs)
	$(COMPILE) --output-file requirements-docs.lock .venv-lock/docs.in
	@git diff --unified=0 -- 'requirements*.lock' | sed -nE 's/^([-+])([A-Za-z0-9._-]+==[^ ]+).*/\1 \2/p' | sort -k2 -u

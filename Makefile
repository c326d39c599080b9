# Everything a fresh checkout needs, with git, make and Python 3.11 or later alone.
#   make venv    set up, and nothing else
#   make demo    set up, then judge the embedded relay: TAP on standard output, exit 0
#   make test    set up, then run every test of the project
#   make check   set up, then lint and types
#   make fuzz    set up, then a minute of made-up bytes for all that reads a peer's
#   make catalogue  write the list of the conformance cases anew
#   make peers   set up two relays that others wrote, where a Python 3.12 or 3.13 is found
#   make plugins set up pytest plugins that others wrote, beside the venv
#   make quic-peers install a QUIC implementation that others wrote, by apt
#   make quiche  set up another, where Node is found

# Each is the first that really runs: a version manager may leave commands on the PATH that do not.
runs = for p in $(1); do "$$p" -c 'import sys; sys.exit(not $(2))' 2>/dev/null && { command -v "$$p"; break; }; done
PYTHON ?= $(shell $(call runs,python3.11 python3 python3.12 python3.13 python,sys.version_info >= (3, 11)))
PEERS_PYTHON ?= $(shell $(call runs,python3.13 python3.12 $$(ls -d "$$(pyenv root 2>/dev/null)"/versions/3.1[23].*/bin/python 2>/dev/null),(3, 12) <= sys.version_info < (3, 14)))
VENV ?= .venv
PEERS ?= .venv-peers
PLUGINS ?= .venv-plugins
BIN := $(VENV)/bin
BESIDE := --quiet --disable-pip-version-check --no-deps --only-binary :all:
QUIC_PEERS := ngtcp2-client ngtcp2-server
QUICHE ?= .venv-quiche
QUICHE_PACKAGE := @matrixai/quic@2.0.9
AS_ROOT := $(shell test "$$(id -u)" = 0 || echo sudo --non-interactive)
ARGS ?=

.PHONY: venv demo test check fuzz catalogue peers plugins quic-peers quiche clean

# A venv counts as made only when the stamp at its end is there: a broken attempt is made again from nothing.
# Progress goes to standard error, since demo's standard output is TAP and nothing else.
$(VENV)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or later found; name one with PYTHON=" >&2; exit 1; }
	@echo "setting up $(VENV) (once)" >&2
	@rm -rf "$(VENV)"
	@"$(PYTHON)" -m venv "$(VENV)" >&2
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1' >&2
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --editable . --config-settings editable_mode=compat --group dev >&2
	@touch "$@"

venv: $(VENV)/.installed

demo: $(VENV)/.installed
	@"$(BIN)/moq-test-client" --relay embedded $(ARGS)

# Hundreds of tests start pytest. What it makes of our modules is kept before, even where PYTHONDONTWRITEBYTECODE
# is set, or each of those runs would make it anew. There is a worker more than cores: runs wait for a part of their time.
test: $(VENV)/.installed
	@"$(BIN)/python" -m compileall -q pytest_moqt interop_tests tests
	@PYTHONDONTWRITEBYTECODE= "$(BIN)/python" -m pytest interop_tests --relay embedded -q >/dev/null
	@PYTHONDONTWRITEBYTECODE= "$(BIN)/python" -m pytest interop_tests --profile all --collect-only -q >/dev/null
	"$(BIN)/python" -m pytest -n $$("$(BIN)/python" -c 'import os; print(1 + (os.cpu_count() or 1))') --dist loadfile $(ARGS)

check: $(VENV)/.installed
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/mypy"

# Of the same option twice the last one counts: make fuzz ARGS="--seconds 600 --target session".
fuzz: $(VENV)/.installed
	"$(BIN)/python" -m tests.fuzz --seconds 60 $(ARGS)

# What `--list` knows of the conformance cases, from the tests themselves.
catalogue: $(VENV)/.installed
	@"$(BIN)/python" -m tests.conformance_list

$(PEERS)/.installed: tests/peers/requirements.txt
	@test -n "$(PEERS_PYTHON)" || { echo "no Python 3.12 or 3.13 here: the outside relays cannot be installed" >&2; exit 1; }
	@rm -rf "$(PEERS)"
	@"$(PEERS_PYTHON)" -m venv "$(PEERS)" >&2
	@"$(PEERS)/bin/python" -m pip install --quiet --disable-pip-version-check -r tests/peers/requirements.txt >&2
	@touch "$@"

peers: $(PEERS)/.installed

# Folders and no venv: the tests put one on the PYTHONPATH of the runs under test, and of nothing else.
$(PLUGINS)/.installed: tests/odd_places/requirements.txt tests/odd_places/requirements-tap.txt | $(VENV)/.installed
	@rm -rf "$(PLUGINS)"
	@"$(BIN)/python" -m pip install $(BESIDE) --target "$(PLUGINS)/most" -r tests/odd_places/requirements.txt >&2
	@"$(BIN)/python" -m pip install $(BESIDE) --target "$(PLUGINS)/tap" -r tests/odd_places/requirements-tap.txt >&2
	@touch "$@"

plugins: $(PLUGINS)/.installed

# From the system's packages, since it is C; where they are installed already nothing is done.
quic-peers:
	@PATH="$$PATH:/usr/sbin"; command -v gtlsclient >/dev/null && command -v gtlsserver >/dev/null && exit 0; \
	  command -v apt-get >/dev/null || { echo "no apt-get here: ngtcp2 cannot be installed" >&2; exit 1; }; \
	  $(AS_ROOT) apt-get update -qq >&2 \
	  && $(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(QUIC_PEERS) >&2

$(QUICHE)/.installed: Makefile
	@command -v npm >/dev/null || { echo "no npm here: quiche cannot be installed" >&2; exit 1; }
	@rm -rf "$(QUICHE)"
	@mkdir -p "$(QUICHE)"
	@npm install --silent --no-audit --no-fund --prefix "$(QUICHE)" "$(QUICHE_PACKAGE)" >&2
	@touch "$@"

quiche: $(QUICHE)/.installed

clean:
	rm -rf "$(VENV)" "$(PEERS)" "$(PLUGINS)" "$(QUICHE)" build dist *.egg-info

# make run    a talking face on http://127.0.0.1:8080
# make test   everything that can be tested here, with its own set-up
# All of it works in .venv, which is made on first use.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
ARGS ?=

# OpenCV and MediaPipe load these; a desktop has them, a bare Debian does not.
SYSTEM_LIBRARIES = $(BIN)/python -c 'import ctypes, sys; sys.platform == "linux" and [ctypes.CDLL(n) for n in \
  ("libGL.so.1", "libgthread-2.0.so.0", "libEGL.so.1", "libGLESv2.so.2")]' 2>/dev/null || { \
  packages="libgl1 libglib2.0-0 libegl1 libgles2"; \
  if [ "`id -u`" = 0 ] && command -v apt-get >/dev/null; then \
    echo "Installing the system libraries $$packages ..."; apt-get update -qq; \
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$packages >/dev/null; \
  else echo "System libraries are missing. On Debian or Ubuntu: sudo apt install $$packages" >&2; exit 1; fi; }

.PHONY: help setup run test test-quick test-vcam bench lint format vendor clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Python 3.11 to 3.13 is needed; '$(PYTHON)' is `$(PYTHON) --version 2>&1`. Try: make PYTHON=python3.12 run" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV) ..."
	@$(PIP) --editable '.[calibrate]'
	@$(SYSTEM_LIBRARIES)
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV), with what the tests need ..."
	@$(PIP) --editable '.[test,dev]'
	@$(SYSTEM_LIBRARIES)
	@touch $@ $(VENV)/.installed

setup: $(VENV)/.installed
	@$(BIN)/avatar models fetch

run: setup
	@exec $(BIN)/avatar run $(ARGS)

test: $(VENV)/.installed-test
	@sh tests/setup_system.sh
	@$(BIN)/avatar models fetch
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(if $(ARGS),$(BIN)/python -m pytest $(ARGS),sh tests/all.sh $(BIN)/python)

# The fast half: no browser, no devices.
test-quick: $(VENV)/.installed-test
	@$(BIN)/avatar models fetch
	$(BIN)/python -m pytest tests/unit tests/contract $(ARGS)

# A real /dev/videoN inside a QEMU guest (Debian, root).
test-vcam: $(VENV)/.installed-test
	sh tests/vcam/run.sh $(BIN)/python

bench: $(VENV)/.installed-test
	@$(BIN)/avatar bench $(ARGS)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# three.js in one file, again (Node.js with npm, network); the result is in the tree.
vendor: $(VENV)/.installed
	$(BIN)/python -m avatar.streams.web.vendor

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache

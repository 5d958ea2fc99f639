# Two commands: `make app` opens the dashboard, `make test` runs every test. Both set up what they need, once.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2

.PHONY: app test lint format clean

app: $(VENV)/.app
	@echo "==> Dashboard on http://127.0.0.1:8501 (Ctrl-C stops it)"
	@exec $(BIN)/streamlit run app.py

test: $(VENV)/.dev $(VENV)/.chromium lint
	@echo "==> Tests"
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/.dev
	@echo "==> Style and types"
	@$(BIN)/ruff check .
	@$(BIN)/pyright

format: $(VENV)/.dev
	@$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis

$(VENV)/.python:
	@test -n "$(PYTHON)" || { echo "Error: Python 3.11 to 3.13 was not found. Install it, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "==> Virtual environment with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { echo "Error: no virtual environment could be made. On Debian: apt-get install python3-venv"; exit 1; }
	@$(BIN)/pip install -q --disable-pip-version-check uv || echo "    uv could not be installed: pip does the work, slower"
	@touch $@

# uv is many times faster; where it fails (an odd proxy, an old libc), pip does the same work.
define install
	@$(BIN)/uv pip install -q --python $(BIN)/python -r $(1) 2>/dev/null \
		|| $(BIN)/pip install -q --disable-pip-version-check -r $(1) \
		|| { echo "Error: the packages of $(1) could not be installed. Is there a network and 8 GB of disk?"; exit 1; }
endef

$(VENV)/.app: requirements.txt $(VENV)/.python
	@echo "==> Packages (PyTorch is large: a few minutes the first time)"
	$(call install,requirements.txt)
	@touch $@

$(VENV)/.dev: requirements.txt requirements-dev.txt $(VENV)/.python
	@echo "==> Packages, development ones included (PyTorch is large: a few minutes the first time)"
	$(call install,requirements-dev.txt)
	@touch $@ $(VENV)/.app

$(VENV)/.chromium: $(VENV)/.dev
	@$(BIN)/python tests/browser/find_chromium.py || { \
		echo "==> Chromium for the browser tests"; \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq >/dev/null && apt-get install -y -qq chromium >/dev/null 2>&1; \
		else $(BIN)/playwright install chromium; fi; \
		$(BIN)/python tests/browser/find_chromium.py \
			|| { echo "Error: Chromium could not be installed. Install it, or set CHROMIUM=/path/to/chromium"; exit 1; }; }
	@touch $@

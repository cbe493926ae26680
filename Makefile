# Every target installs what it needs into .venv first, so each works on a fresh checkout.

BIN := .venv/bin

# One OpenMP thread per process, asleep while it waits: two spinning pools on the same cores are
# several times slower than one.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= passive
export TOKENIZERS_PARALLELISM ?= false
export DAGSTER_DISABLE_TELEMETRY ?= 1
export MLFLOW_DISABLE_TELEMETRY ?= true
export DO_NOT_TRACK ?= 1

# Compiled files stay: the tests alone start a hundred processes that read them.
unexport PYTHONDONTWRITEBYTECODE

# Two tests at a time, those of a file on one worker, so that what they share is made once.
# Not by groups: pytest 9.2 passes over the ids by which pytest-xdist 3.8 tells them.
TWO := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help demo real real-finetuned ui test test-slow test-servers check bench docs

help:
	@echo 'make demo          the whole campaign on the embedded world, offline, with a report'
	@echo 'make real          real answers and a real language model (SmolLM2), in three settings'
	@echo 'make real-finetuned  SmolLM2 trained in all its weights, on original, curated and right labels'
	@echo 'make ui            Dagster, MLflow and the review page on loopback'
	@echo 'make test          the quick tests, no server'
	@echo 'make test-slow     the long tests: acceptance, kill -9, vLLM, Label Studio'
	@echo 'make test-servers  the tests against real servers: S3, Postgres, Ray, Dagster, browser'
	@echo 'make check         ruff, mypy, import directions, function length'
	@echo 'make docs          the docs as a site, into build/site'
	@echo 'make bench         all measurements of bench/, into bench/results/'

real:
	@scripts/install.sh gguf
	@scripts/real.sh

real-finetuned:
	@scripts/install.sh gguf
	@scripts/real_finetuned.sh

demo:
	@scripts/install.sh
	$(BIN)/synpref run --profile demo

ui:
	@scripts/install.sh
	scripts/ui.sh

test:
	@scripts/install.sh dev,postgres,retrieval,crowd,gguf
	$(BIN)/python -m pytest $(TWO) -m 'not slow and not servers'

test-slow:
	@scripts/install.sh dev,postgres,retrieval,crowd,gguf,bench
	@scripts/services/swift_s3.sh install
	@scripts/services/chromium.sh install
	@scripts/services/smollm2.sh install
	$(BIN)/python -m pytest $(TWO) -m slow

test-servers:
	@scripts/install.sh dev,postgres,retrieval,crowd,ray
	@scripts/services/swift_s3.sh install
	@scripts/services/chromium.sh install
	@scripts/services/postgres.sh install
	$(BIN)/python -m pytest $(TWO) -m 'servers and not slow'

check:
	@scripts/install.sh dev,postgres,retrieval,crowd
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_function_length.py

bench:
	@scripts/install.sh dev,bench,retrieval
	@for script in bench/*.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

docs:
	@scripts/install.sh docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

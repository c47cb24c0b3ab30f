# Thin names over real commands. Every target works as the first command after `git clone`:
# the tools are installed into .venv the first time, and again only when their list changes.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# The demo needs a quarter of it (300 MB); the rest comes into the same folder with the first target that
# needs it.
DEMO_STAMP := $(VENV)/.installed-demo
# The security tools bring a hundred packages; only `make lint` and `make audit` need them.
SECURITY := .venv-security
SECURITY_STAMP := $(SECURITY)/.installed
PYTEST := $(PYTHON) -m pytest
# A file of requests for the demo: make demo FILE=my-requests.jsonl
FILE ?= events/sample.jsonl
# More for pytest: make unit ARGS="-k polling -x"
ARGS ?=

export SAM_CLI_TELEMETRY := 0
export PYTHON_BIN
# Containers often set it, and then every process that a test starts compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(STAMP) ## Install the tools into .venv (the other targets do it themselves)

$(STAMP): requirements-dev.txt functions/requirements.txt local/setup.sh
	@sh local/setup.sh $(VENV) requirements-dev.txt
	@touch $(DEMO_STAMP) $@

$(DEMO_STAMP): requirements-demo.txt functions/requirements.txt local/setup.sh
	@sh local/setup.sh $(VENV) requirements-demo.txt
	@touch $@

$(SECURITY_STAMP): requirements-security.txt $(STAMP)
	@$(PYTHON) -m uv venv --quiet --clear --python $(PYTHON) $(SECURITY)
	@$(PYTHON) -m uv pip install --quiet --python $(SECURITY)/bin/python --require-hashes \
		--requirement requirements-security.txt
	@touch $@

.PHONY: demo
demo: $(DEMO_STAMP) ## Run the whole pipeline on this machine, without an AWS account [FILE=requests.jsonl]
	@$(PYTHON) -m local.demo "$(FILE)"

.PHONY: test
test: $(STAMP) ## Run all tests, in three processes (one of them mostly waits for the emulator)
	$(PYTEST) --numprocesses 3 --dist loadscope --no-loadscope-reorder $(ARGS)

.PHONY: unit
unit: $(STAMP) ## Run the unit tests (seconds; no sockets)
	$(PYTEST) tests/unit $(ARGS)

.PHONY: integration
integration: $(STAMP) ## Run the handlers against moto and the Groq simulator
	$(PYTEST) tests/integration $(ARGS)

.PHONY: infrastructure
infrastructure: $(STAMP) ## Check the transformed template and the state machine's text
	$(PYTEST) tests/infrastructure $(ARGS)

.PHONY: workflow
workflow: $(STAMP) ## Run the shipped state machine on the emulator
	$(PYTEST) tests/workflow $(ARGS)

.PHONY: e2e
e2e: $(STAMP) ## Run the deployed stack end to end on the emulator
	$(PYTEST) tests/e2e $(ARGS)

.PHONY: faults
faults: $(STAMP) ## Try the faults of a bad day on the deployed stack; writes docs/faults.md [ARGS=name]
	PYTHONPATH=functions:. $(PYTHON) -m tests.faults $(ARGS)

.PHONY: kills
kills: $(STAMP) ## Run jobs while the functions are killed at random [ARGS="--jobs 20"]
	PYTHONPATH=functions:. $(PYTHON) -m tests.faults.kills $(ARGS)

.PHONY: burst
burst: $(STAMP) ## Upload many files at once on the emulated stack; prints time and memory [ARGS="--uploads 150"]
	PYTHONPATH=functions:. $(PYTHON) -m tests.load.burst $(ARGS)

.PHONY: bench
bench: $(STAMP) ## Measure speed, memory, cost; writes docs/performance.md [ARGS="prepare cadence"]
	$(PYTHON) -m bench $(ARGS)

.PHONY: counts
counts: $(STAMP) ## Count the AWS calls of jobs again, for the model in bench/aws_model
	PYTHONPATH=functions:. $(PYTHON) -m tests.harness.aws_counts > /dev/null

.PHONY: soak
soak: $(STAMP) ## Every place of every death and twin, and 20,000 random lives, other ones each time (hours)
	WORKFLOW_EVERY_DEATH=1 WORKFLOW_EVERY_PLACE=1 $(PYTEST) tests/workflow/test_crashes.py \
	    tests/workflow/test_twins.py --timeout 0 $(ARGS)
	WORKFLOW_LIVES=20000 $(PYTEST) tests/workflow/test_lives.py --timeout 0 $(ARGS)

.PHONY: test-iam
test-iam: $(STAMP) ## Take each statement from the roles, one by one, and name the test that misses it [ARGS=--actions]
	PYTHONPATH=functions:. $(PYTHON) -m tests.iam_trial $(ARGS)

.PHONY: reference
reference: $(STAMP) ## Write the generated parts of the documentation
	$(PYTHON) -m local.reference $(ARGS)

.PHONY: pictures
pictures: $(STAMP) ## Create the pictures of a job for the documentation (needs Chromium)
	$(PYTHON) -m local.pictures

.PHONY: versions
versions: $(STAMP) ## Run unit and integration tests on every Python from 3.11 to 3.14 that is here
	@sh local/versions.sh $(PYTHON) $(ARGS)

.PHONY: coverage
coverage: $(STAMP) ## Run unit and integration tests with coverage of functions/
	$(PYTEST) tests/unit tests/integration --cov --cov-report=term-missing $(ARGS)

.PHONY: lint
lint: $(STAMP) $(SECURITY_STAMP) ## Check style, types, security, template and state machine
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	PYTHONPATH=functions:cli:. $(VENV)/bin/lint-imports --no-cache
	$(PYTHON) -m local.asl_check statemachine/batch_job.asl.json
	$(VENV)/bin/cfn-lint template.yaml
	env -u AWS_PROFILE $(PYTHON) -m samcli validate --lint --region us-east-1 --template template.yaml
	$(SECURITY)/bin/bandit --quiet --recursive --configfile pyproject.toml functions local cli
	$(SECURITY)/bin/checkov --config-file .checkov.yaml

.PHONY: audit
audit: $(SECURITY_STAMP) ## Check the functions' packages for known vulnerabilities (needs pypi.org)
	$(SECURITY)/bin/pip-audit --disable-pip --require-hashes --strict --requirement functions/requirements.txt

.PHONY: format
format: $(STAMP) ## Format the code and repair what can be repaired
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

PIN := $(PYTHON) -m uv pip compile --quiet --universal --python-version 3.11 --upgrade \
	--annotation-style line --custom-compile-command "make requirements"

.PHONY: requirements
requirements: $(STAMP) ## Pin the packages again: functions, development, security tools
	$(PIN) --generate-hashes functions/requirements.in --output-file functions/requirements.txt
	$(PIN) requirements-demo.in --output-file requirements-demo.txt
	$(PIN) requirements-dev.in --output-file requirements-dev.txt
	$(PIN) --generate-hashes requirements-security.in --output-file requirements-security.txt

.PHONY: roles
roles: $(STAMP) ## Write the tables of roles in docs/security.md from the template
	$(PYTHON) -m tests.infrastructure.role_tables

.PHONY: release
release: $(STAMP) ## Make the files of a release: VERSION=2.0.0 (needs the functions' Python, 3.13)
	$(PYTHON) -m local.release $(VERSION)

.PHONY: clean
clean: ## Remove everything that was built or installed here
	rm -rf $(VENV) $(SECURITY) .aws-sam .local .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
	find . -type d -name __pycache__ -prune -exec rm -rf {} +

# What a developer runs. Everything uses the environment that the launcher makes in .venv.
PYTHON ?= .venv/bin/python

.PHONY: help setup test fast lint format goldens docs

help:  ## List the targets
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/: .*## / - /'

setup: ## Make .venv with everything that the checks need, and download the models
	./docatlas test --version

test: ## Run every check: ruff, mypy, import-linter, all tests
	./docatlas test

fast: ## Run the tests that need no models, no LibreOffice and no server processes
	./docatlas test --fast

lint: ## Run ruff, mypy and import-linter
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy --strict
	$(PYTHON) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

format: ## Format the code
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

goldens: ## Write the golden files anew; read the difference before you commit it
	DOCATLAS_REWRITE_GOLDEN=1 ./docatlas test tests/services/formats
	git diff --stat -- tests/data/golden

docs: ## Write the generated pages of docs/ anew
	$(PYTHON) -m docs.build_api
	$(PYTHON) -m docs.build_formats
	$(PYTHON) -m docs.build_settings

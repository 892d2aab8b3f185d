# Shortcuts; `python3 manage.py demo` and `python3 manage.py test` need none of this.
PYTHON = .venv/bin/python
COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --only-binary :all: \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

.PHONY: run test lint lock

run:
	python3 manage.py demo

test:
	python3 manage.py test

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

# Needs uv. Add `UPGRADE=--upgrade` to take newer versions within what the .in files allow.
lock:
	$(COMPILE) $(UPGRADE) --output-file requirements.txt requirements.in
	$(COMPILE) $(UPGRADE) --output-file requirements-dev.txt requirements-dev.in

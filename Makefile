# Shortcuts; `python3 manage.py demo` and `python3 manage.py test` need none of this.
PYTHON = .venv/bin/python
COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --only-binary :all: \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

.PHONY: run test lint messages lang bench bench-idle bench-web bench-soak screenshots lock sbom

run:
	python3 manage.py demo

test:
	python3 manage.py test

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

# What there is to translate, brought into each language's file; needs gettext, as the next one does.
messages:
	$(PYTHON) manage.py makemessages --all --no-obsolete --add-location=file \
		--ignore=var --ignore=.venv --ignore=wheels --ignore=tests --ignore=benchmarks

# The languages' files, compiled into what the broker reads.
lang:
	$(PYTHON) manage.py compilemessages --ignore=.venv --ignore=var

# How fast the worklist answers, beside other servers; benchmarks/README.md says how to read it.
bench:
	$(PYTHON) -m benchmarks

# What scanners cost that stay associated and say nothing.
bench-idle:
	$(PYTHON) -m benchmarks.idle

# How fast the pages answer.
bench-web:
	$(PYTHON) -m benchmarks.web

# Scanners, clerks and faults together for a quarter of an hour: whether anything is amiss.
bench-soak:
	$(PYTHON) -m benchmarks.soak

# The pictures of docs/, of the demo's data, by an installed Chromium.
screenshots:
	$(PYTHON) -m tests.screenshots

# Needs uv. Add `UPGRADE=--upgrade` to take newer versions within what the .in files allow.
lock:
	$(COMPILE) $(UPGRADE) --output-file requirements.txt requirements.in
	$(COMPILE) $(UPGRADE) --output-file requirements-dev.txt requirements-dev.in

# What the broker is made of (sbom.json), after each `make lock`; the environment must be up to date.
sbom:
	$(PYTHON) -m tests.sbom

# Every target sets up what it needs. Nothing but Python 3.11+, make and git has to be there.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
MEMBERS := core console $(sort $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml)))
EDITABLE := -e "core[server,testing,vault]" $(foreach member,$(filter-out core,$(MEMBERS)),-e $(member))
STAMP := $(VENV)/.installed

DIST := dist

.PHONY: install compiled serve demo test soak lint texts bench lock release clean
.DEFAULT_GOAL := install

install: $(STAMP)

# As an installer does; what is installed editable is not, and a Python that may write no caches compiles it at every start.
COMPILE = $(BIN)/python -m compileall -q benchmarks core/connectory console/connectory_console $(wildcard plugins/*/connectory*) tests

$(VENV)/.uv: constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Connectory needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	touch $@

$(STAMP): $(VENV)/.uv pyproject.toml constraints.txt $(addsuffix /pyproject.toml,$(MEMBERS))
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt --group dev $(EDITABLE)
	$(COMPILE)
	touch $@

serve: install
	$(BIN)/connectory serve

demo: install
	PYTHONPATH=tests exec $(BIN)/python examples/demo.py

# What has changed since it was installed.
compiled: install
	$(COMPILE)

# Programs that tests start may keep what they compile for the next one, also where this machine's Python may not.
test soak: export PYTHONDONTWRITEBYTECODE :=

# Three at a time on two processors: for a part of its time each waits for servers that are slow or silent on purpose.
test: compiled
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

soak: compiled
	$(BIN)/python -m pytest -m soak $(ARGS)

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy -p connectory -p connectory_console -p connectory_mongodb -p connectory_saas -p connectory_sql $(foreach module,$(wildcard plugins/*/connectory_*.py),-m $(basename $(notdir $(module))))
	$(BIN)/lint-imports

# The texts of the console: from where they are marked into the catalogue, from there into each language, and compiled. What is
# compiled is kept in git: so a wheel, an sdist and an editable install all have it, and none needs Babel to be built or to run.
TEXTS := console/connectory_console/locale
texts: install
	cd console/connectory_console && ../../$(BIN)/pybabel --quiet extract --mapping-file ../pyproject.toml --add-location file --sort-by-file \
	  --no-wrap --project connectory-console --version "" --copyright-holder "The Connectory maintainers" \
	  --output-file locale/messages.new .
	sed '/^"POT-Creation-Date/d' $(TEXTS)/messages.new > $(TEXTS)/messages.pot # because of a date any two changes would conflict
	rm $(TEXTS)/messages.new
	$(BIN)/pybabel --quiet update --input-file $(TEXTS)/messages.pot --output-dir $(TEXTS) --no-wrap --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date
	$(BIN)/pybabel --quiet compile --directory $(TEXTS)

bench: compiled
	$(BIN)/python benchmarks/run.py

# The exact versions that `install` uses, good from Python 3.11.0 on. No index address goes into the file, so any mirror serves.
lock: $(VENV)/.uv
	$(UV) pip compile --quiet --upgrade --python-version 3.11 --no-emit-index-url --no-emit-package connectory --no-annotate --no-header \
	  --group dev $(addsuffix /pyproject.toml,$(MEMBERS)) --all-extras | sed '/^-e/d' > constraints.new
	mv constraints.new constraints.txt
	echo "uv==$$($(UV) --version | cut -d' ' -f2)" >> constraints.txt

# Everything that a release hands out: wheels, the exact files that they run with by their hashes, a list of those as CycloneDX 1.6.
release: install
	rm -rf $(DIST)
	for member in $(MEMBERS); do $(BIN)/python -m build --wheel --no-isolation --outdir $(DIST) $$member || exit 1; done
	$(UV) pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  -c constraints.txt $(patsubst %,--no-emit-package %,connectory connectory-console $(subst plugins/,connectory-,$(filter plugins/%,$(MEMBERS)))) \
	  $(addsuffix /pyproject.toml,$(MEMBERS)) --extra server --extra vault --output-file $(DIST)/requirements.txt
	cd $(DIST) && for wheel in *.whl; do version=$${wheel#*-}; \
	  echo "$${wheel%%-*}==$${version%%-*} --hash=sha256:$$(sha256sum $$wheel | cut -d' ' -f1)"; done >> requirements.txt
	$(UV) tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements --output-reproducible --sv 1.6 \
	  --output-file $(DIST)/sbom.cdx.json $(DIST)/requirements.txt

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

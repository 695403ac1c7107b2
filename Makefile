# Each target is one command, usable without make too: read it here and type it.
# PYTHON is the interpreter that .venv is made from.

PYTHON ?= python3
BIN := .venv/bin
IMAGE_PYTHON ?= $(shell $(BIN)/python -c "import sys; print('%d.%d' % sys.version_info[:2])")
MACHINE := $(shell uname -m)

.PHONY: run test test-all lint type bench single wheel wheelhouse engine clean

run: .venv/installed
	$(BIN)/python -m llamaswap --demo

test: .venv/installed
	$(BIN)/python -m pytest -q

# Core and single-file tests on every Python 3.9-3.13 of this machine.
test-all:
	$(PYTHON) tools/test_all.py

lint: .venv/installed
	$(BIN)/ruff check .

type: .venv/installed
	$(BIN)/mypy

bench: .venv/installed
	$(BIN)/python tools/bench_relay.py

single: .venv/installed
	$(BIN)/python tools/build_single.py

wheel: .venv/installed
	rm -f dist/llamaswap-*.whl
	$(BIN)/python -m pip wheel -q --no-deps --no-build-isolation -w dist .

# The wheel and those it needs, for a machine without network or a container. IMAGE_PYTHON: the version over there.
wheelhouse: wheel
	rm -rf dist/wheels
	$(BIN)/python -m pip download -q --only-binary=:all: --python-version $(IMAGE_PYTHON) --implementation cp \
		--platform manylinux2014_$(MACHINE) --platform manylinux_2_28_$(MACHINE) -d dist/wheels dist/llamaswap-*.whl

# A real llama.cpp server in .engine/, for the tests marked "engine". Compiles for some minutes; needs cmake and a compiler.
engine: .engine/llama-server

.engine/llama-server: | .venv/installed
	rm -rf .engine/source .engine/build && mkdir -p .engine/source
	$(BIN)/python -m pip download -q --no-deps --no-binary llama-cpp-python -d .engine llama-cpp-python
	tar -xzf .engine/llama_cpp_python-*.tar.gz -C .engine/source --strip-components 1
	cmake -S .engine/source/vendor/llama.cpp -B .engine/build -DCMAKE_BUILD_TYPE=Release -DLLAMA_CURL=OFF \
		-DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DGGML_NATIVE=OFF \
		-DBUILD_SHARED_LIBS=OFF >/dev/null
	cmake --build .engine/build --target llama-server -j "$$(nproc)" >/dev/null
	cp .engine/build/bin/llama-server $@
	rm -rf .engine/source .engine/build .engine/llama_cpp_python-*.tar.gz

clean:
	rm -rf build dist .engine *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .venv .venv-3.*

.venv/installed: requirements-dev.txt requirements-test.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -r requirements-dev.txt
	touch $@

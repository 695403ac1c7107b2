"""Packaging: the package, with static/ inside it as package data. `pip wheel --no-deps .` builds the wheel.

llamaswap.py is not listed: in a wheel the launcher would be dead weight beside the package of the same name.
"""
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


class BuildWithPages(build_py):
    """static/ lives beside the package, where people look for it, and is installed inside, where import finds it."""

    def run(self):
        if getattr(self, "editable_mode", False):
            super().run()    # a checkout finds its pages by itself (llamaswap/web/assets.py)
            return
        target = Path(self.build_lib, "llamaswap")
        # setuptools never cleans its build directory: a module removed since the last build would be shipped again.
        shutil.rmtree(target, ignore_errors=True)
        super().run()
        shutil.copytree(ROOT / "static", target / "static")


def version():
    source = (ROOT / "llamaswap" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"$', source, re.MULTILINE)[1]


def readme():
    path = ROOT / "README.md"
    return path.read_text(encoding="utf-8") if path.exists() else ""


setup(
    name="llamaswap",
    version=version(),
    description="One address and one YAML file in front of every model server on your machine",
    long_description=readme(),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.9",
    packages=find_packages(include=["llamaswap", "llamaswap.*"]),
    py_modules=[],
    install_requires=["PyYAML", "nvidia-ml-py", "prometheus-client", "waitress"],
    entry_points={"console_scripts": ["llamaswap = llamaswap.cli:main"]},
    cmdclass={"build_py": BuildWithPages},
    classifiers=[
        "Environment :: Console",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.9",
    ],
)

"""The web pages, wherever this program came from.

In a wheel, an installed package and the single file they are package data at llamaswap/static; in a checkout (also one
installed with `pip install -e`) they are the directory static/ beside the package.
"""
from __future__ import annotations

import os
import pkgutil
import re
from typing import Optional

PACKAGE = "llamaswap"
CHECKOUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, os.pardir, "static")
# One rule against every way out of the directory: a segment starts with a letter, a digit or "_", so "..", an empty
# segment, a hidden file, a drive letter, a backslash and a NUL are all no names.
SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*", re.ASCII)


def read_asset(name: str) -> Optional[bytes]:
    """The file `name` ("index.html", "js/app.js"), or None when there is none. It touches the disk: keep the result."""
    if not SAFE_NAME.fullmatch(name):
        return None
    try:
        return pkgutil.get_data(PACKAGE, "static/" + name)
    except OSError:
        return read_checkout(name)


def read_checkout(name: str) -> Optional[bytes]:
    root = os.path.realpath(CHECKOUT)
    # Beside an installed package, "static" in site-packages would be somebody else's.
    if not os.path.isfile(os.path.join(root, os.pardir, "setup.py")):
        return None
    # A symlink that leads out is not followed: the directory is what we serve, nothing else.
    path = os.path.realpath(os.path.join(root, *name.split("/")))
    if not path.startswith(root + os.sep):
        return None
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None

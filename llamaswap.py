#!/usr/bin/env python3
"""Start llamaswap: one address and one YAML file in front of every model server on your machine.

This file has two lives. In a checkout it is a launcher for the package beside it. `make single` fills PAYLOAD with
the package, its web pages and its dependencies (a zip, as text); then this one file is the whole program: copy it
anywhere and run `python3 llamaswap.py -c config.yaml`. Nothing is unpacked to disk.

It is written so that old Pythons can read it far enough to say what they lack.
"""
import os
import sys


class Payload:
    """The built-in modules and data files, as an import finder and loader. Nothing touches the disk.

    A server that lives for months must not depend on a file that an upgrade replaces or a sweep of /tmp removes, so
    everything stays in memory and is compiled when it is first imported.
    """

    def __init__(self, text, root):
        import binascii
        import io
        import zipfile
        from importlib.machinery import ModuleSpec
        self.spec_type = ModuleSpec    # find_spec itself must import nothing: it would ask find_spec
        self.archive = zipfile.ZipFile(io.BytesIO(binascii.a2b_base64(text)))
        self.names = frozenset(self.archive.namelist())
        self.root = root

    def find_spec(self, name, path=None, target=None):
        member = self.member(name)
        if member is None:
            return None
        origin = self.root + "/" + member
        spec = self.spec_type(name, self, origin=origin, is_package=self.is_package(name))
        spec.has_location = True    # sets __file__, which pkgutil.get_data builds its path from
        return spec

    def member(self, name):
        stem = name.replace(".", "/")
        for member in (stem + "/__init__.py", stem + ".py"):
            if member in self.names:
                return member
        return None

    def is_package(self, name):
        return (self.member(name) or "").endswith("/__init__.py")

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        exec(self.get_code(module.__name__), module.__dict__)

    def get_code(self, name):
        member = self.member(name)
        return compile(self.archive.read(member), self.root + "/" + member, "exec", dont_inherit=True)

    def get_source(self, name):
        """What makes tracebacks show lines although no such file exists."""
        member = self.member(name)
        return member and self.archive.read(member).decode("utf-8")

    def get_data(self, path):
        member = path[len(self.root) + 1:].replace(os.sep, "/")
        if not path.startswith(self.root) or member not in self.names:
            raise FileNotFoundError(2, "not in this file", path)
        return self.archive.read(member)


def find_package(payload):
    """Make `import llamaswap` mean the package: the one in this file, else the one beside it, else an installed one."""
    file = os.path.realpath(__file__)
    here = os.path.dirname(file)
    # Our own directory goes: left there, this file would be imported as `llamaswap` and hide an installed package.
    sys.path[:] = [entry for entry in sys.path if not entry or os.path.realpath(entry) != here]
    if payload:
        sys.meta_path.insert(0, Payload(payload, file))
    elif os.path.isfile(os.path.join(here, "llamaswap", "__init__.py")):
        sys.path.insert(0, here)


def main(payload):
    if sys.version_info < (3, 9):
        sys.exit("llamaswap needs Python 3.9 or newer; this is " + sys.version.split()[0] + " (" + sys.executable + ")")
    find_package(payload)
    try:
        from llamaswap.cli import main as run
    except ModuleNotFoundError as error:
        if error.name != "llamaswap":
            raise
        sys.exit("llamaswap.py: the llamaswap package is neither beside this file nor installed.\n"
                 "Run `make single` in a checkout and copy dist/llamaswap.py instead, or `pip install llamaswap`.")
    return run()


PAYLOAD = ""

if __name__ == "__main__":
    sys.exit(main(PAYLOAD))

"""Configuration files: found, read, and parsed into the tree that core/config.py understands.

PyYAML supplies the scanner and parser, its compiled form where it is installed; the composer below is ours because it
keeps source text and positions, refuses duplicate keys, bounds depth and aliases, and leaves types to core/tree.py.
"""
from __future__ import annotations

import os
import re
from itertools import takewhile
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, NoReturn, Optional, Set, Tuple

import yaml

from llamaswap.core.config import Build, build
from llamaswap.core.expand import NO_PORTS, Ports
from llamaswap.core.macros import ENV_REFERENCE
from llamaswap.core.tree import ListNode, MapNode, Mark, Node, Problem, Scalar, merge_keys

MAX_FILE_BYTES = 4 << 20      # a real file of 1,000 models is a tenth of this; more is a file of something else
MAX_DEPTH = 100
MAX_NODES = 500_000           # counted with every alias expanded, which is what stops alias bombs

_SURROGATE = re.compile("[\ud800-\udfff]")
# Inside [ ] and { } an unquoted ${env.X} is not YAML. For the parser its braces become private-use characters, one for
# one so that columns stay true, and the composer turns them back.
_OPEN, _CLOSE = "\ue000\ue001", "\ue002"
# The same for a ? within a word, for the one parser that takes it for a mark; a character that no text has.
_QUESTION = "\U0010fffe"
_INNER_QUESTION = re.compile(r"(?<=[^\s\[{,])\?")
_BREAKS = "\0\r\n\x85\u2028\u2029"


class FileFault(Exception):
    """A file that cannot become a tree; carries the problem as people should see it."""

    def __init__(self, message: str, mark: Optional[Mark] = None) -> None:
        super().__init__(message)
        self.problem = Problem((), message, mark=mark)


def load_config(config: Optional[str], config_dir: Optional[str], env: Mapping[str, str], *,
                builtins: Optional[Mapping[str, str]] = None, ports: Ports = NO_PORTS) -> Build:
    """The configuration in the named file and directory, or everything that is wrong with it."""
    roots: List[Node] = []
    problems: List[Problem] = []
    try:
        paths = find_sources(config, config_dir)
    except FileFault as fault:
        return Build(None, (fault.problem,))
    for path in paths:
        try:
            roots.append(parse(read_text(path), path))
        except FileFault as fault:
            problems.append(fault.problem)
    if problems:
        return Build(None, tuple(problems))
    return build(roots, env, builtins=builtins, ports=ports)


def find_sources(config: Optional[str], config_dir: Optional[str]) -> List[str]:
    """The files to read, in order: the named one, then the directory's *.yml and *.yaml by name."""
    paths = [config] if config else []
    if config_dir:
        try:
            names = sorted(os.listdir(config_dir), key=os.fsencode)
        except OSError as fault:
            raise FileFault(f"{config_dir}: cannot read the configuration directory: {fault.strerror}") from None
        found = [os.path.join(config_dir, name) for name in names if name.endswith((".yml", ".yaml"))]
        # Folders, and pipes, which could keep us waiting for ever, are none; a link into nowhere is, and says so later.
        paths += [path for path in found if os.path.isfile(path) or not os.path.exists(path)]
        if config and any(os.path.realpath(path) == os.path.realpath(config) for path in paths[1:]):
            raise FileFault(f"{config} is also in {config_dir}; name it once")
    if not paths:
        raise FileFault(f"no configuration sources found{f' in {config_dir}' if config_dir else ''}")
    return paths


def read_text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except IsADirectoryError:
        raise FileFault(f"{path} is a directory; name a file, or use --config-dir") from None
    except (OSError, ValueError) as fault:
        reason = getattr(fault, "strerror", None) or str(fault)
        raise FileFault(f"{path}: cannot read the configuration: {reason}") from None
    if len(data) > MAX_FILE_BYTES:
        raise FileFault(f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB; this is not a configuration file")
    return _decoded(data, path)


def _decoded(data: bytes, path: str) -> str:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start) + 1
        column = fault.start - data.rfind(b"\n", 0, fault.start)
        raise FileFault("this is not a text file: it is not valid UTF-8 here", Mark(path, line, column)) from None
    return text


def parse(text: str, source: str) -> Node:
    """The tree of one document. `source` is how messages name the file."""
    hidden = ENV_REFERENCE.sub(lambda found: found.group(0) if found.group(1)
                               else f"{_OPEN}env.{found.group(2)}{_CLOSE}", text)
    loader: Any = None
    try:
        loader = _Loader(hidden)
        return _Composer(_events(loader), source).document()
    except yaml.reader.ReaderError as fault:
        raise _character_fault(fault, text, source) from None
    except yaml.YAMLError as fault:
        raise _hinted(_syntax_fault(fault, source), text) from None
    except (ValueError, OverflowError):
        # The pure parser hands whatever an escape says to chr().
        raise FileFault("not valid YAML: an escape that names no character",
                        Mark(source, loader.line + 1, loader.column + 1)) from None
    finally:
        if loader is not None:
            loader.dispose()


class _PureLoader(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser):
    """PyYAML's own parser, for where it came without libyaml, as in the single file: same events, five times slower.

    By itself it knows tabs in fewer places than libyaml and Go do: not behind or between words, nor in front of values
    in brackets, where JSON files are full of them.
    """

    def __init__(self, stream: str) -> None:
        yaml.reader.Reader.__init__(self, _INNER_QUESTION.sub(_QUESTION, stream))
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)

    def scan_to_next_token(self) -> None:
        super().scan_to_next_token()
        while self.peek() == "\t" and (self.flow_level or not self.allow_simple_key):
            self._skip_blanks()
            super().scan_to_next_token()

    def scan_plain_spaces(self, indent: int, start_mark: Any) -> Any:
        length = 0
        while self.peek(length) in " \t":
            length += 1
        blanks = self.prefix(length)
        if "\t" in blanks:
            self.forward(length)
            if self.peek() not in _BREAKS:
                return [blanks]
        chunks = super().scan_plain_spaces(indent, start_mark)
        if chunks and self.column >= indent:
            self._skip_blanks()
        return chunks

    def scan_block_scalar_indicators(self, start_mark: Any) -> Any:
        length = 0
        while self.peek(length) in "+-0123456789":
            length += 1
        if self.peek(length) == "\t":
            at = self.pointer + length
            self.buffer = f"{self.buffer[:at]} {self.buffer[at + 1:]}"
        return super().scan_block_scalar_indicators(start_mark)

    def scan_block_scalar_ignored_line(self, start_mark: Any) -> Any:
        self._skip_blanks()
        return super().scan_block_scalar_ignored_line(start_mark)

    def _skip_blanks(self) -> None:
        while self.peek() in " \t":
            self.forward()


_Loader: Any = getattr(yaml.cyaml, "CParser") if yaml.__with_libyaml__ else _PureLoader  # noqa: B009 (untyped)


def _events(loader: Any) -> Iterator[Any]:
    while loader.check_event():
        yield loader.get_event()


def _mark(mark: Any, source: str) -> Optional[Mark]:
    return None if mark is None else Mark(source, mark.line + 1, mark.column + 1)


def _character_fault(fault: yaml.reader.ReaderError, text: str, source: str) -> FileFault:
    # The parsers count differently, one of them in bytes, so the place is looked up.
    char: Any = fault.character
    char = chr(char) if isinstance(char, int) else char
    at = text.find(char)
    mark = Mark(source, text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))
    return FileFault(f"this is not a text file: it contains the character #x{ord(char):04x}", mark)


def _syntax_fault(fault: yaml.YAMLError, source: str) -> FileFault:
    problem = (getattr(fault, "problem", None) or str(fault)).replace(ascii(_QUESTION), "'?'")
    context = getattr(fault, "context", None)
    mark = _mark(getattr(fault, "problem_mark", None) or getattr(fault, "context_mark", None), source)
    return FileFault(f"not valid YAML: {f'{context}, ' if context else ''}{problem}", mark or Mark(source, 1, 1))


def _hinted(fault: FileFault, text: str) -> FileFault:
    """libyaml does not say which character it does not like."""
    message, mark = fault.problem.message, fault.problem.mark
    if mark is None or not message.endswith("that cannot start any token"):
        return fault
    line = "".join(text.split("\n")[mark.line - 1:mark.line])
    hint = "indent with spaces, not tabs" if line[mark.column - 1:mark.column] == "\t" \
        else "a text that begins with it needs quotes"
    return FileFault(f"{message}; {hint}", mark)


class _Extent(NamedTuple):
    """What a node amounts to with its aliases expanded: how many values, and how many levels of them."""

    size: int = 1
    height: int = 0

    def around(self, child: _Extent) -> _Extent:
        return _Extent(self.size + child.size, max(self.height, child.height + 1))


class _Composer:
    """Events to nodes. Every node comes with its extent, so that a bomb is noticed while it is built."""

    def __init__(self, events: Iterator[Any], source: str) -> None:
        self._events = events
        self._source = source
        self._anchors: Dict[str, Tuple[Optional[Node], _Extent]] = {}
        self._depth = 0

    def document(self) -> Node:
        root: Optional[Node] = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                first = next(self._events)
                if root is None:
                    root, _ = self._node(first)
                elif not _is_nothing(first):     # a --- at the end hides nothing from anybody
                    self._fail("a second document begins here; put everything into one", event)
        if root is None:
            return Scalar("", mark=Mark(self._source, 1, 1))
        return root

    def _fail(self, message: str, event: Any) -> NoReturn:
        raise FileFault(message, _mark(event.start_mark, self._source))

    def _node(self, event: Any) -> Tuple[Node, _Extent]:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = (None, _Extent())
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node, extent = self._scalar(event), _Extent()
        else:
            self._depth += 1
            self._check_depth(0, event)
            node, extent = self._list(event) if isinstance(event, yaml.SequenceStartEvent) else self._map(event)
            self._depth -= 1
            if extent.size > MAX_NODES:
                self._fail(f"holds more than {MAX_NODES} values once its aliases are expanded", event)
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, extent)
        return node, extent

    def _check_depth(self, height: int, event: Any) -> None:
        if self._depth + height > MAX_DEPTH:
            self._fail(f"nested more than {MAX_DEPTH} levels deep", event)

    def _alias(self, event: Any) -> Tuple[Node, _Extent]:
        if event.anchor not in self._anchors:
            self._fail(f"the anchor &{event.anchor} is not defined before this", event)
        node, extent = self._anchors[event.anchor]
        if node is None:
            self._fail(f"the anchor &{event.anchor} contains itself", event)
        # Scar: a chain of short anchors, each holding the one before, is as deep as one long nest of brackets.
        self._check_depth(extent.height, event)
        return node, extent

    def _scalar(self, event: Any) -> Scalar:
        plain = event.style in (None, "")
        if not event.value.isascii() and _SURROGATE.search(event.value):
            self._fail("not valid YAML: half a character, as \\ud800 to \\udfff name", event)
        return Scalar(_shown(event.value), plain=plain, tag=event.tag, mark=_mark(event.start_mark, self._source))

    def _list(self, start: Any) -> Tuple[Node, _Extent]:
        items: List[Node] = []
        total = _Extent()
        for event in takewhile(lambda event: not isinstance(event, yaml.SequenceEndEvent), self._events):
            item, extent = self._node(event)
            items.append(item)
            total = total.around(extent)
        return ListNode(items, _mark(start.start_mark, self._source)), total

    def _map(self, start: Any) -> Tuple[Node, _Extent]:
        pairs: Dict[str, Node] = {}
        marks: Dict[str, Optional[Mark]] = {}
        merges: List[MapNode] = []
        anchored: Set[str] = set()
        total = _Extent()
        for event in takewhile(lambda event: not isinstance(event, yaml.MappingEndEvent), self._events):
            key = self._key(event)
            mark = _mark(event.start_mark, self._source)
            anchors = len(self._anchors)
            node, extent = self._node(next(self._events))
            total = total.around(extent)
            if len(self._anchors) > anchors:
                anchored.add(key)
            if key in marks:
                self._fail(f'the key "{key}" is already defined at line {_line(marks[key])}', event)
            marks[key] = mark
            if key == "<<" and event.style in (None, "") and not isinstance(event, yaml.AliasEvent):
                merges.extend(self._merged(node, event))
            else:
                pairs[key] = node
        entries = merge_keys(list(pairs.items()), merges)
        return MapNode(entries, _mark(start.start_mark, self._source), marks, frozenset(anchored)), total

    def _key(self, event: Any) -> str:
        node, _ = self._node(event)
        if not isinstance(node, Scalar):
            self._fail("a key must be a single word or text, not a list or a mapping", event)
        return node.text

    def _merged(self, node: Node, event: Any) -> List[MapNode]:
        sources = node.items if isinstance(node, ListNode) else [node]
        found = [source for source in sources if isinstance(source, MapNode)]
        if len(found) != len(sources):
            self._fail("<< needs a mapping or a list of mappings", event)
        return found


def _is_nothing(event: Any) -> bool:
    return isinstance(event, yaml.ScalarEvent) and not event.value and event.style in (None, "") and not event.tag


def _line(mark: Optional[Mark]) -> int:
    return mark.line if mark else 0


def _shown(text: str) -> str:
    """What was written there."""
    text = text.replace(_OPEN, "${").replace(_CLOSE, "}") if _OPEN in text else text
    return text.replace(_QUESTION, "?") if _QUESTION in text else text

"""Every key of the configuration file: its type, default and bounds, and one sentence about it.

The loader, the JSON Schema, the unknown-key check and the tests of the documentation all read this one table, so they
cannot disagree. A `Field` whose `fields` is set is a mapping with these keys; kind TABLE is a mapping from free names
to such mappings.
"""
from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Mapping, Optional, Tuple


class Kind(Enum):
    BOOL = "bool"
    INT = "int"
    STR = "str"
    STRINGS = "strings"        # a list of strings
    DURATION = "duration"      # 5s, 1m30s, 500ms
    FREE = "free"              # a mapping of the user's own shape
    FREE_TABLE = "free table"  # names to mappings of the user's own shape
    INTS = "ints"              # names to whole numbers
    TEXTS = "texts"            # names to strings
    STRUCT = "struct"
    TABLE = "table"
    MACROS = "macros"


@dataclass(frozen=True)
class Field:
    kind: Kind
    doc: str
    default: Any = None
    minimum: Optional[int] = None        # below it is an error
    soft_minimum: Optional[int] = None   # below it is accepted, as llama-swap does, with a warning
    choices: Tuple[str, ...] = ()
    soft_choices: Tuple[str, ...] = ()   # other words are accepted with a warning; case does not matter
    fields: Optional[Mapping[str, Field]] = None
    nullable: bool = False          # null is a value of its own (inherit), not the default
    null_empties: bool = False      # null empties the list instead of meaning its default
    refuse_empty: bool = False      # a list item that is null is an error instead of being dropped
    deprecated: str = ""            # what to use instead; the loader warns
    ours: bool = False              # unknown to llama-swap, which ignores it


def _int(doc: str, default: int, **more: Any) -> Field:
    return Field(Kind.INT, doc, default, **more)


def _bool(doc: str, default: Any = False, **more: Any) -> Field:
    return Field(Kind.BOOL, doc, default, **more)


def _str(doc: str, default: str = "", **more: Any) -> Field:
    return Field(Kind.STR, doc, default, **more)


def _strings(doc: str, **more: Any) -> Field:
    return Field(Kind.STRINGS, doc, (), **more)


def _struct(doc: str, fields: Mapping[str, Field], **more: Any) -> Field:
    return Field(Kind.STRUCT, doc, None, fields=fields, **more)


def _table(doc: str, fields: Mapping[str, Field], **more: Any) -> Field:
    return Field(Kind.TABLE, doc, None, fields=fields, **more)


def _timeouts(response_header: int) -> Mapping[str, Field]:
    return {
        "connect": _int("Seconds to open a connection; 0 waits without limit.", 30, soft_minimum=0),
        "keepalive": _int("Seconds between TCP keep-alive packets; 0 turns them off.", 30, soft_minimum=0),
        "responseHeader": _int("Seconds until the answer must begin; 0 waits without limit.", response_header,
                               soft_minimum=0),
        "tlsHandshake": _int("Seconds for the TLS handshake.", 10, soft_minimum=0),
        "expectContinue": _int("Has no effect: 100 Continue is said here, bodies are sent at once.", 1, soft_minimum=0),
        "idleConn": _int("Seconds an unused connection to the server is kept.", 90, soft_minimum=0),
    }


FILTERS = {
    "stripParams": _str("Parameters removed from JSON requests, separated by commas; model is never removed."),
    "strip_params": _str("Old spelling of stripParams.", deprecated="stripParams"),
    "setParams": Field(Kind.FREE, "Parameters set in every JSON request; a.b reaches into objects.", {}),
    "setParamsByID": Field(Kind.FREE_TABLE, "Parameters set when the request names this ID; each ID becomes an alias.",
                           {}),
}

CAPABILITIES = {
    "in": _strings("What the model reads: text, audio, image."),
    "out": _strings("What the model writes: text, audio, image."),
    "tools": _bool("The model can call tools."),
    "reranker": _bool("The model ranks documents."),
    "context": _int("Context length in tokens; 0 is unknown.", 0, minimum=0),
}

MODEL = {
    "cmd": _str("The command that starts the model server, split as a shell would but run without one. "
                "Lines that start with # are comments."),
    "cmdStop": _str("Command that stops the server; ${PID} is its process. Empty: SIGTERM to the whole process group."),
    "proxy": _str("Where the server listens.", "http://localhost:${PORT}"),
    "checkEndpoint": _str("Path that answers 200 when the model is ready; none only waits for the port.", "/health"),
    "env": _strings("NAME=value entries added to the server's environment."),
    "aliases": _strings("Further names for this model."),
    "ttl": _int("Seconds without requests until the model is unloaded; 0 never, -1 uses globalTTL.", -1, minimum=-1),
    "unloadTimeout": _int("Seconds a stop may take before the server is killed; 0 uses the global value.", 0,
                          minimum=0),
    "unlisted": _bool("Leave the model out of /v1/models; it can still be requested."),
    "useModelName": _str("Model name sent to the server instead of the requested one."),
    "name": _str("Name for people, shown in lists."),
    "description": _str("One sentence about the model, shown in lists."),
    "concurrencyLimit": _int("Most requests at a time, waiting ones included; beyond it 429. 0 means 10.", 0,
                             soft_minimum=0),
    "maxWaiting": _int("Requests that may wait for this model. When set, concurrencyLimit counts only running ones "
                       "and 429 comes when the waiting room is full. 0: waiting requests count as running.", 0,
                       minimum=0, ours=True),
    "filters": _struct("Changes to the parameters of JSON requests.", FILTERS),
    "macros": Field(Kind.MACROS, "Macros of this model; they win over global ones.", {}),
    "metadata": Field(Kind.FREE, "Anything you like; shown under meta.llamaswap in /v1/models.", {}),
    "sendLoadingState": _bool("Show loading progress inside streamed chat answers. Empty: the global value.", None,
                              nullable=True),
    "timeouts": _struct("Time limits towards the server, in seconds.", _timeouts(0)),
    "compat": _struct("Switches for unusual servers.", {
        "ignoreWebsockets": _bool("WebSocket connections neither start the model nor keep it loaded."),
    }),
    "capabilities": _struct("What the model can do, for /v1/models.", CAPABILITIES),
    "healthCheckTimeout": _int("Seconds this model may take to become ready; 0 uses the global value.", 0,
                               soft_minimum=0),
}

GROUP = {
    "swap": _bool("Only one member runs at a time.", True),
    "exclusive": _bool("Loading a member unloads the other groups.", True),
    "persistent": _bool("Other groups cannot unload the members.", False),
    "members": _strings("Model IDs in this group."),
}

MATRIX = {
    "vars": Field(Kind.TEXTS, "Short names for model IDs, for use in sets.", {}),
    "evict_costs": Field(Kind.INTS, "How much it hurts to unload a model; others cost 1.", {}),
    "sets": Field(Kind.TEXTS, "Which models may run together: & and, | or, +name another set.", {}),
}

PEER = {
    "proxy": _str("Address of the other server; the request path is appended."),
    "models": _strings("Model names requested there."),
    "apiKey": _str("Key sent to that server."),
    "filters": _struct("Changes to the parameters of JSON requests.", FILTERS),
    "timeouts": _struct("Time limits towards that server, in seconds.", _timeouts(60)),
}

SELECTOR = {
    "strategy": _str("How a target is chosen.", choices=("warm", "pin", "spillover")),
    "targets": _strings("Models to choose from, in order."),
    "settings": _struct("Settings of the strategy.", {
        "spillover": _int("Requests on a target before the next one is used.", 1),
    }),
    "name": _str("Name for people, shown in lists."),
    "description": _str("One sentence, shown in lists."),
    "unlisted": _bool("Leave it out of /v1/models."),
    "metadata": Field(Kind.FREE, "Anything you like; shown under meta.llamaswap in /v1/models.", {}),
}

PROFILE = {
    "description": _str("One sentence about the profile."),
    "pins": Field(Kind.TEXTS, "Requested name to the model that answers it; an empty target disables the name.", {}),
}

ROUTING = {
    "router": _struct("Which models may run together.", {
        "use": _str("Which rule decides.", choices=("group", "matrix")),
        "settings": _struct("The rules.", {
            "groups": _table("Groups of models that swap or coexist.", GROUP),
            "matrix": _struct("Sets of models that may run together.", MATRIX),
        }),
    }),
    "scheduler": _struct("Which waiting request is served next.", {
        "use": _str("Which order; fifo is the only one.", choices=("fifo",)),
        "settings": _struct("Settings of the order.", {
            "fifo": _struct("First in, first out, within a priority.", {
                "priority": Field(Kind.INTS, "Higher is served first; models not named have 0.", {}),
                "maxWait": _int("Seconds a request may wait behind a busy model before that model stops taking new "
                                "work; 0 waits without limit.", 15, minimum=0, ours=True),
            }),
        }),
    }),
}

LOG_LEVELS = ("debug", "info", "warn", "error")
LOG_TIME_FORMATS = ("ansic", "unixdate", "rubydate", "rfc822", "rfc822z", "rfc850", "rfc1123", "rfc1123z", "rfc3339",
                    "rfc3339nano", "kitchen", "stamp", "stampmilli", "stampmicro", "stampnano")

ROOT_FIELDS = {
    "healthCheckTimeout": _int("Seconds a model may take to become ready; at least 15.", 120),
    "globalTTL": _int("Seconds without requests until a model is unloaded; 0 never.", 0, minimum=0),
    "unloadTimeout": _int("Seconds a stop may take before the server is killed; 0 means 10.", 10, minimum=0),
    "startPort": _int("First port given to models that use ${PORT}.", 5800, minimum=1),
    "logLevel": _str("How much our own log says.", "info", soft_choices=LOG_LEVELS),
    "logTimeFormat": _str("Time in front of our own log lines; empty for none.", soft_choices=("", *LOG_TIME_FORMATS)),
    "logToStdout": _str("What goes to standard output and the combined log.", "proxy",
                        choices=("proxy", "upstream", "both", "none")),
    "logFiles": _struct("Log files, for logs that outlive the program.", {
        "dir": _str("Folder for proxy.log and one file per model; empty for none.", ours=True),
        "maxSizeMB": _int("MiB a file may have; then it is set aside and a new one begun.", 10, minimum=1, ours=True),
        "keep": _int("Files set aside that are kept of each log.", 3, minimum=0, ours=True),
    }, ours=True),
    "metricsMaxInMemory": _int("Activity rows kept when there is no store.", 1000, soft_minimum=0),
    "captureBuffer": _int("MiB for captured requests and answers; 0 keeps none.", 5, soft_minimum=0),
    "sendLoadingState": _bool("Show loading progress inside streamed chat answers."),
    "includeAliasesInList": _bool("List every alias as its own model in /v1/models."),
    "apiKeys": _strings("Keys of which a request must carry one; no keys leaves the server open.", refuse_empty=True),
    "adminListen": _str("Second address for management and the web UI; they then leave the main address.", ours=True),
    "corsOrigins": Field(Kind.STRINGS, "Web pages of these origins may use models from a browser; * is any, [] none.",
                         ("*",), ours=True),
    "trustedProxies": _strings("Addresses or networks of proxies whose X-Forwarded-For is believed.", ours=True),
    "maxBodySize": _int("MiB a request may have where we have to read it whole.", 1024, minimum=1, ours=True),
    "macros": Field(Kind.MACROS, "Values that ${name} stands for everywhere below.", {}),
    "hooks": _struct("What happens at certain moments.", {
        "on_startup": _struct("When the program starts.", {
            "preload": _strings("Models loaded at start."),
        }),
    }),
    "store": _struct("Where activity is kept.", {
        "path": _str("SQLite file for the activity history."),
        "maxRows": _int("Most requests kept in the file, the newest; 0 keeps all.", 1_000_000, minimum=0, ours=True),
        "maxAgeDays": _int("Days a request is kept in the file; 0 keeps it forever.", 90, minimum=0, ours=True),
    }, nullable=True),
    "ui": _struct("Web UI.", {
        "activity": _struct("The activity page.", {
            "session_id": Field(Kind.STRINGS, "Request headers that tell client sessions apart.",
                                ("X-Session-ID", "X-Litellm-Session-Id"), null_empties=True),
        }),
    }),
    "performance": _struct("Sampling of CPU, memory and GPUs.", {
        "disabled": _bool("Take no samples."),
        "every": Field(Kind.DURATION, "Time between samples, at least 5s.", "5s"),
        "enable": _bool("Old spelling; see disabled.", deprecated="disabled"),
    }),
    "upstream": _struct("The pass-through routes below /upstream.", {
        "ignorePaths": Field(Kind.STRINGS, "Paths (regular expressions) that never start a model. "
                             "A GET of one needs no place under concurrencyLimit and does not keep the model loaded. "
                             "[] for none.",
                             (r".*\.(js|json|css|png|gif|jpg|jpeg|ico|txt)$",)),
    }),
    "models": _table("The models, by ID.", MODEL),
    "groups": _table("Groups of models that swap or coexist. Same as routing.router.settings.groups.", GROUP),
    "matrix": _struct("Sets of models that may run together. Same as routing.router.settings.matrix.", MATRIX),
    "routing": _struct("Who runs together and who goes first.", ROUTING),
    "selectors": _table("Virtual models that choose among real ones.", SELECTOR),
    "profiles": _table("Named sets of pins; one can be active at a time.", PROFILE),
    "peers": _table("Other servers that requests are passed to.", PEER),
    "logRequests": _bool("Has no effect.", deprecated="logLevel"),
}
ROOT = _struct("llamaswap configuration", ROOT_FIELDS)

"""Whole configurations: what each rule of the format makes of them, in rows of the specification's own notation.

`@M` is a model that needs nothing else, `{@, k: v}` the same with more keys. A row that must load says which values it
gives; a row that must fail says which words its error contains.
"""
from __future__ import annotations

import math
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llamaswap.core import fields
from llamaswap.core.config import Build, build
from llamaswap.core.fields import Kind
from llamaswap.core.tree import ListNode, MapNode, Mark, Problem, Scalar, from_plain
from llamaswap.runtime.files import parse
from tests.support.vectors import differences, load, shown

BASE = 'cmd: srv, proxy: "http://h:1"'
T64 = "z" * 64
NINE = ["9:45", "12:30", "1:2:3"]


def text(notation):
    return notation.replace("@M", "{" + BASE + "}").replace("{@,", "{" + BASE + ",")


LOADS = [
    # --- scalars without a type
    *(("m: " + written, f"models: {{m: {{@, metadata: {{a: {written}}}}}}}", {"models.m.metadata": {"a": value}})
      for written, value in [
          ("true", True), ("True", True), ("TRUE", True), ("false", False), ("False", False), ("FALSE", False),
          ("tRUE", "tRUE"), ("yes", "yes"), ("No", "No"), ("on", "on"), ("OFF", "OFF"), ("y", "y"), ("N", "N"),
          ("~", None), ("null", None), ("Null", None), ("NULL", None), ("nULL", "nULL"), ('""', ""), ('"~"', "~"),
          ('"null"', "null"), ("12", 12), ("+5", 5), ("-3", -3), ("1_000", 1000), ("0x1F", 31), ("0X1f", 31),
          ("-0x10", -16), ("0b101", 5), ("024", 20), ("0o24", 20), ("-024", -20), ("08", 8.0), ("09.5", 9.5), ("0", 0),
          ("-0", 0), ("00", 0), ("0x", "0x"), ("0b2", "0b2"), ("0o8", "0o8"), ("1_", 1), ("_1", "_1"), ("1e3", 1000.0),
          ("1E+3", 1000.0), ("1.5e3", 1500.0), ("1.", 1.0), (".5", 0.5), ("3.14", 3.14), ("-.5", -0.5), ("1e-2", 0.01),
          ("+1.5", 1.5), ("1.2.3", "1.2.3"), ("1e", "1e"), ("e5", "e5"), (".", "."), ("+", "+"),
          ("99999999999999999999", 1e20), ("18446744073709551615", 18446744073709551615),
          ("18446744073709551616", 18446744073709551616.0), ("-9223372036854775808", -9223372036854775808),
          ("-9223372036854775809", -9223372036854775809.0), ("0xFFFFFFFFFFFFFFFF", 18446744073709551615),
          ("0xFFFFFFFFFFFFFFFFF", "0xFFFFFFFFFFFFFFFFF"), ("!tag x", "x"), ("!tag 5", "5"),
          ("!!str 5", "5"), ('!!int "5"', 5), ("!!float 5", 5.0), ('!!bool "true"', True), ('!!null ""', None),
          ("1e999", "1e999"), ("2024-01-02", "2024-01-02T00:00:00Z"), ("2024-1-2", "2024-01-02T00:00:00Z"),
          ("2024-01-02 03:04:05", "2024-01-02T03:04:05Z"), ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
          ("2024-01-02t3:4:5.120+01:30", "2024-01-02T03:04:05.12+01:30"), ("2024-13-02", "2024-13-02"),
          ("2024-02-29", "2024-02-29T00:00:00Z"), ("2023-02-29", "2023-02-29"), ("2000-02-29", "2000-02-29T00:00:00Z"),
          ("1900-02-29", "1900-02-29"), ("2024-04-31", "2024-04-31"), ("2024-01-02T25:00:00Z", "2024-01-02T25:00:00Z"),
          ('"2024-01-02"', "2024-01-02"), *((word, word) for word in NINE)]),
    ("equals sign", 'models: {m: {@, metadata: {a: "="}}}\nx: =', {"models.m.metadata.a": "="}),
    ("deep metadata", "models: {m: {@, metadata: {a: {b: [1, {c: [x, ~]}]}, e: {}, l: []}}}",
     {"models.m.metadata": {"a": {"b": [1, {"c": ["x", None]}]}, "e": {}, "l": []}}),
    # --- switches
    *((f"switch {word}", f"sendLoadingState: {word}", {"sendLoadingState": True})
      for word in ("true", "True", "TRUE", "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", '"yes"', "'ON'")),
    *((f"switch {word}", f"models: {{m: {{@, unlisted: {word}}}}}", {"models.m.unlisted": False})
      for word in ("false", "False", "FALSE", "n", "N", "no", "No", "NO", "off", "Off", "OFF", '"n"', "~", "")),
    # --- whole numbers
    *((f"number {word}", f"globalTTL: {word}", {"globalTTL": value}) for word, value in [
        ("0x1F", 31), ("0b11", 3), ("017", 15), ("0o17", 15), ("08", 8), ("1_0", 10), ("45.9", 45), ("1e2", 100),
        (".9", 0), ("-0.5", 0), ("null", 0), ("", 0), ('!!int "7"', 7), ("9223372036854775807", 9223372036854775807)]),
    # --- text
    *((f"text {word}", f"models: {{m: {{@, name: {word}}}}}", {"models.m.name": value}) for word, value in [
        ("true", "true"), ("12", "12"), ("-1", "-1"), ("~", ""), ('""', ""), ("' x '", " x "), ("yes", "yes"),
        ("!!str 1e3", "1e3"), ("1:2", "1:2")]),
    # --- lists
    ("lists drop nothing but nulls", "models: {m: {@, env: [A=1, ~, 5, true], aliases: [~, x]}}",
     {"models.m.env": ["A=1", "5", "true"], "models.m.aliases": ["x"]}),
    ("lists may be null", "{apiKeys: ~, models: {m: {@, aliases: ~, env: }}, hooks: {on_startup: {preload: ~}}}",
     {"apiKeys": [], "models.m.aliases": [], "models.m.env": [], "preload": []}),
    ("everything null", "\n".join(f"{key}: ~" for key in fields.ROOT_FIELDS),
     {"healthCheckTimeout": 120, "startPort": 5800, "logToStdout": "proxy", "session_id": ["X-Session-ID",
      "X-Litellm-Session-Id"], "store": None, "router": "group", "modelCount": 0, "performance.every": "5s"}),
    ("nulls inside", "{hooks: {on_startup: ~}, ui: {activity: ~}, performance: {disabled: ~, every: ~}, upstream: "
     "{ignorePaths: ~}, routing: {router: {use: ~, settings: ~}, scheduler: {use: ~, settings: {fifo: ~}}}}",
     {"performance.every": "5s", "router": "group", "scheduler": "fifo",
      "ignorePaths": [r".*\.(js|json|css|png|gif|jpg|jpeg|ico|txt)$"]}),
    ("no session headers", "ui: {activity: {session_id: ~}}", {"session_id": []}),
    ("no session headers either", "ui: {activity: {session_id: []}}", {"session_id": []}),
    ("timeouts overlay", "models: {m: {@, timeouts: {connect: ~, keepalive: 0, responseHeader: 7}}}",
     {"models.m.timeouts": {"connect": 30, "keepalive": 0, "responseHeader": 7, "tlsHandshake": 10,
                            "expectContinue": 1, "idleConn": 90}}),
    ("unknown keys everywhere", "{a: 1, models: {m: {@, b: 1, timeouts: {c: 1}, filters: {d: 1}, compat: {e: 1}}}, "
     "store: ~, ui: {f: 1}, performance: {g: 1}, upstream: {h: 1}, routing: {i: 1, router: {j: 1}, scheduler: {k: 1}}}",
     {"modelCount": 1}),
    ("unknown keys may hold references", 'x: "${nobody}"\ny-z: ["${PORT}"]', {"modelCount": 0}),
    # --- anchors and merges
    ("a model that is another", "models: {a: &a {cmd: \"x ${MODEL_ID} ${PORT}\"}, b: *a}",
     {"models.a.cmd": "x a 5800", "models.b.cmd": "x b 5801", "models.b.proxy": "http://localhost:5801"}),
    ("merge of a merge", "x: &x {ttl: 1, name: X}\ny: &y {<<: *x, ttl: 2}\nmodels: {m: {@, <<: *y}}",
     {"models.m.ttl": 2, "models.m.name": "X"}),
    ("own keys win wherever they stand", "x: &x {ttl: 1, name: X}\nmodels: {m: {ttl: 3, <<: *x, name: Y, cmd: a, "
     'proxy: "http://h"}}', {"models.m.ttl": 3, "models.m.name": "Y"}),
    ("merged macros", "x: &x {v: 1}\nmodels: {m: {macros: {<<: *x}, cmd: \"a ${v}\", proxy: \"http://h\"}}",
     {"models.m.cmd": "a 1"}),
    ("anchored scalars", "x: &n 7\nglobalTTL: *n\nmodels: {m: {@, ttl: *n}}", {"globalTTL": 7, "models.m.ttl": 7}),
    # --- macros
    ("typed chain", 'macros: {a: 5, b: "${a}", c: "${b}"}\nglobalTTL: "${c}"\nmodels: {m: {@, metadata: '
     '{a: "${c}", b: "${a}${b}", c: "x${c}", d: ["${c}"], e: {f: "${c}"}}}}',
     {"globalTTL": 5, "models.m.metadata": {"a": 5, "b": "55", "c": "x5", "d": [5], "e": {"f": 5}}}),
    ("plain reference", "macros: {a: 5}\nglobalTTL: ${a}", {"globalTTL": 5}),
    ("switch and words", 'macros: {t: true, w: "yes"}\nsendLoadingState: "${t}"\nincludeAliasesInList: "${w}"',
     {"sendLoadingState": True, "includeAliasesInList": True}),
    ("float into a number", 'macros: {f: 7.9}\nglobalTTL: "${f}"', {"globalTTL": 7}),
    ("Go's floats", 'macros: {a: 1048576.0, b: 999999.5, c: 3e6, d: 0.0001, e: 0.00001, f: -2500000.0, g: 1e21, '
     'h: 100000.0}\nmodels: {m: {@, name: "${a} ${b} ${c} ${d} ${e} ${f} ${g} ${h}"}}',
     {"models.m.name": "1.048576e+06 999999.5 3e+06 0.0001 1e-05 -2.5e+06 1e+21 100000"}),
    ("names", 'macros: {1: one, a-b: two, A_B: three, "-": four}\nmodels: {m: {@, name: "${1} ${a-b} ${A_B} ${-}"}}',
     {"models.m.name": "one two three four"}),
    ("a name of 63", f'macros: {{{T64[:63]}: v}}\nmodels: {{m: {{@, name: "${{{T64[:63]}}}"}}}}',
     {"models.m.name": "v"}),
    ("a long value", f"macros: {{v: {'w' * 5000}}}\nmodels: {{m: {{@, name: \"${{v}}\"}}}}",
     {"models.m.name": "w" * 5000}),
    ("case matters", 'macros: {port: 1, Pid: 2, model_id: 3}\nmodels: {m: {@, name: "${port}${Pid}${model_id}"}}',
     {"models.m.name": "123"}),
    ("model macro over global one", 'macros: {a: g, b: "<${a}>"}\nmodels: {m: {macros: {a: l}, cmd: "x ${b}", '
     'proxy: "http://h"}, n: {cmd: "x ${b}", proxy: "http://h"}}', {"models.m.cmd": "x <l>", "models.n.cmd": "x <g>"}),
    ("model macros may use PORT and MODEL_ID", 'models: {m: {macros: {a: "--port ${PORT} --id ${MODEL_ID}"}, '
     'cmd: "x ${a}"}}', {"models.m.cmd": "x --port 5800 --id m", "models.m.proxy": "http://localhost:5800"}),
    ("no rescan of values", 'macros: {a: "$", b: "{c}", c: no}\nmodels: {m: {@, name: "${a}${b}"}}',
     {"models.m.name": "${c}"}),
    ("what is no reference", 'models: {m: {@, name: "$x ${} ${a b} ${a.b} ${a[0]} ${x:-d} $(x) ${"}}',
     {"models.m.name": "$x ${} ${a b} ${a.b} ${a[0]} ${x:-d} $(x) ${"}),
    ("escape", 'macros: {a: 1}\nmodels: {m: {@, name: "$${a} $${env.HOME} \\\\${a}"}}',
     {"models.m.name": r"${a} ${env.HOME} \1"}),
    ("comment lines go before expansion", 'macros: {a: "x"}\nmodels: {m: {proxy: "http://h", cmd: "${a}\\n  # ${gone}'
     '\\n-y", cmdStop: "# ${gone}\\nkill ${PID}"}}', {"models.m.argv": ["x", "-y"], "models.m.cmdStop": "kill ${PID}"}),
    ("PID in cmdStop", 'macros: {s: "kill ${PID}"}\nmodels: {m: {@, cmdStop: "${s} ${MODEL_ID}"}}',
     {"models.m.cmdStop": "kill ${PID} m"}),
    ("every place of the file", 'macros: {w: w, n: 20, m: m}\nhealthCheckTimeout: "${n}"\nlogLevel: "${w}"\napiKeys: '
     '["k${w}"]\nhooks: {on_startup: {preload: ["${m}"]}}\nmodels: {m: @M}\ngroups: {g: {members: ["${m}"]}}\n'
     'profiles: {p: {description: "${w}", pins: {x: "${m}"}}}\nselectors: {s: {strategy: pin, targets: ["${m}"], '
     'metadata: {a: "${n}"}}}\nrouting: {scheduler: {settings: {fifo: {priority: {m: "${n}"}}}}}\n'
     'upstream: {ignorePaths: ["^/${w}$"]}\nperformance: {every: "${n}s"}',
     {"healthCheckTimeout": 20, "logLevel": "w", "apiKeys": ["kw"], "preload": ["m"], "groups.g.members": ["m"],
      "profiles.p.pins.x": "m", "selectors.s.targets": ["m"], "selectors.s.metadata": {"a": 20}, "priority": {"m": 20},
      "ignorePaths": ["^/w$"], "performance.every": "20s"}),
    ("matrix expressions", 'macros: {x: "a & b"}\nmodels: {a: @M, b: @M}\nmatrix: {sets: {s: "${x}"}}',
     {"sets": ["s"]}),
    ("every field of a model", 'macros: {w: w}\nmodels: {m: {env: ["A=${w}"], aliases: ["${w}"], useModelName: '
     '"${w}", description: "${w}", checkEndpoint: "/${w}", filters: {stripParams: "${w}", setParams: {a: "${w}"}}, '
     'capabilities: {context: "${PORT}"}, concurrencyLimit: "${PORT}", cmd: "x ${PORT}"}}',
     {"models.m.env": ["A=w"], "models.m.aliases": ["w"], "models.m.useModelName": "w", "models.m.description": "w",
      "models.m.checkEndpoint": "/w", "models.m.stripParams": "w", "models.m.setParams": {"a": "w"},
      "models.m.capabilities.context": 5800, "models.m.concurrencyLimit": 5800}),
    ("keys stay", 'macros: {k: v}\nmodels: {m: {@, metadata: {"${k}": 1}, filters: {setParams: {"${k}": "${k}"}}}}',
     {"models.m.metadata": {"${k}": 1}, "models.m.setParams": {"${k}": "v"}}),
    ("IDs under setParamsByID do not", 'models: {m: {cmd: "x ${PORT}", filters: {setParamsByID: {"m:${PORT}": {a: 1}, '
     '"${MODEL_ID}": {b: 2}}}}}', {"models.m.setParamsByID": {"m:5800": {"a": 1}, "m": {"b": 2}},
                                   "aliases": {"m:5800": "m"}}),
    # --- ports
    ("byte order", 'startPort: 10\nmodels: {ä: {cmd: "${PORT}"}, a9: {cmd: "${PORT}"}, a10: {cmd: "${PORT}"}, _x: '
     '{cmd: "${PORT}"}, Z: {cmd: "${PORT}"}, n: @M}', {"models.Z.cmd": "10", "models._x.cmd": "11",
     "models.a10.cmd": "12", "models.a9.cmd": "13", "models.ä.cmd": "14", "models.n.proxy": "http://h:1"}),
    ("startPort from a macro", 'macros: {p: 7000}\nstartPort: "${p}"\nmodels: {m: {cmd: "x ${PORT}"}}',
     {"models.m.cmd": "x 7000", "startPort": 7000}),
    ("startPort cut", 'startPort: 7000.9\nmodels: {m: {cmd: "x ${PORT}"}}', {"models.m.cmd": "x 7000"}),
    ("startPort too high for nobody", "startPort: 70000", {"startPort": 70000}),
    ("a port through a macro", 'macros: {p: "--port ${PORT}"}\nmodels: {a: {cmd: "x ${p}"}, b: {cmd: "x ${p}"}}',
     {"models.a.cmd": "x --port 5800", "models.b.cmd": "x --port 5801"}),
    ("a port in a quote", "models: {m: {cmd: \"x '${PORT}'\"}}", {"models.m.argv": ["x", "5800"]}),
    ("fixed ports take none", 'models: {a: {cmd: "x 5800", proxy: "http://h:5800"}, b: {cmd: "x ${PORT}"}}',
     {"models.b.cmd": "x 5800"}),
    ("an escaped port is none", 'models: {m: {cmd: "x $${PORT}", proxy: "http://h:1"}}', {"models.m.cmd": "x ${PORT}"}),
    # --- global keys
    ("health check is raised", "healthCheckTimeout: 14", {"healthCheckTimeout": 15}),
    ("health check is raised from below", "healthCheckTimeout: -1\nmodels: {m: @M}",
     {"healthCheckTimeout": 15, "models.m.healthCheckTimeout": 15}),
    ("health check at the edge", "healthCheckTimeout: 15", {"healthCheckTimeout": 15}),
    ("health check of one model", "models: {m: {@, healthCheckTimeout: 600}}", {"models.m.healthCheckTimeout": 600}),
    ("log words are kept as given", "{logLevel: \" WARN \", logTimeFormat: RFC3339}",
     {"logLevel": " WARN ", "logTimeFormat": "RFC3339"}),
    ("log words may be junk", "{logLevel: loud, logTimeFormat: never}", {"logLevel": "loud", "logTimeFormat": "never"}),
    *((f"logToStdout {word}", f"logToStdout: {word}", {"logToStdout": word})
      for word in ("proxy", "upstream", "both", "none")),
    *((f"every {word}", f"performance: {{every: {word}}}", {"performance.every": value}) for word, value in [
        ("90m", "1h30m0s"), ("5s", "5s"), ("1m", "1m0s"), ("5.5s", "5.5s"), ("1h2m3.5s", "1h2m3.5s"), ("6000ms", "6s"),
        ("+10s", "10s"), ("0s", "5s"), ("0h", "5s"), ('"0"', "5s"), ("10000000000ns", "10s"), ("7000000us", "7s")]),
    ("performance off", "performance: {disabled: yes, every: 6s, enable: true}", {"performance.disabled": True}),
    ("keys", "apiKeys: [a, b]", {"apiKeys": ["a", "b"]}),
    ("no keys", "apiKeys: []", {"apiKeys": []}),
    ("store", "store: {path: /tmp/x.db}", {"store": "/tmp/x.db"}),
    ("preload", "models: {a: {@, aliases: [x]}, b: @M}\nhooks: {on_startup: {preload: [b, ' x ', ' ', gone, ~]}}",
     {"preload": ["b", "a"]}),
    ("old words", "{logRequests: false, performance: {enable: false}}", {"modelCount": 0}),
    ("our own words", "{adminListen: '127.0.0.1:9', routing: {scheduler: {settings: {fifo: {maxWait: 3}}}}}",
     {"adminListen": "127.0.0.1:9", "maxWait": 3}),
    # --- models
    ("any ID", 'models: {"org/m:q 4": @M, "": @M}', {"modelCount": 2, "models.org/m:q 4.cmd": "srv"}),
    ("ttl", "globalTTL: 9\nmodels: {a: @M, b: {@, ttl: 0}, c: {@, ttl: -1}, d: {@, ttl: 4}, e: {@, ttl: ~}}",
     {"models.a.ttl": 9, "models.b.ttl": 0, "models.c.ttl": 9, "models.d.ttl": 4, "models.e.ttl": 9}),
    ("ComfyUI", "models: {comfyui_auto: {@, concurrencyLimit: 3}}",
     {"models.comfyui_auto.concurrencyLimit": 50, "models.comfyui_auto.ignoreWebsockets": True}),
    ("ComfyUI with more", "models: {comfyui_auto: {@, concurrencyLimit: 80}}",
     {"models.comfyui_auto.concurrencyLimit": 80}),
    ("websockets", "models: {m: {@, compat: {ignoreWebsockets: yes}}, n: {@, compat: ~}}",
     {"models.m.ignoreWebsockets": True, "models.n.ignoreWebsockets": False}),
    ("concurrency as written", "models: {m: {@, concurrencyLimit: -4}}", {"models.m.concurrencyLimit": -4}),
    ("text as written", "models: {m: {@, name: ' n ', description: ' d '}}",
     {"models.m.name": " n ", "models.m.description": " d "}),
    *((f"proxy {address}", f"models: {{m: {{cmd: x, proxy: '{address}'}}}}",
       {"models.m.proxy": address}) for address in [
        "http://h", "https://h:1/p?q=%zz#f", "localhost:8080", "host:port", "//h:1", "/only/path", "http://[::1]:80/",
        "http://u:p@h", "h", "http://h:99999", "http://h/a b", "unix:///x", "http://ä.de", "*", "http://h:"]),
    ("endpoint", "models: {a: {@, checkEndpoint: none}, b: {@, checkEndpoint: ''}, c: {@, checkEndpoint: "
     "'/v1/x?y=%zz'}}",
     {"models.a.checkEndpoint": "none", "models.b.checkEndpoint": "", "models.c.checkEndpoint": "/v1/x?y=%zz"}),
    ("no command", 'models: {m: {proxy: "http://h"}, n: {cmd: "# x", proxy: "http://h"}}',
     {"models.m.argvErr": "empty command", "models.n.argv": []}),
    # --- names
    ("an alias that is an ID is dead", "models: {a: {@, aliases: [b, a]}, b: @M}", {"aliases": {"b": "a", "a": "a"}}),
    ("the same alias twice over", "models: {a: {@, aliases: [x], filters: {setParamsByID: {x: {t: 1}, a: {t: 2}}}}}",
     {"aliases": {"x": "a"}, "models.a.aliases": ["x"]}),
    ("variants become aliases", "models: {a: {@, aliases: [y], filters: {setParamsByID: {x: {t: 1}, z: ~}}}}",
     {"models.a.aliases": ["y", "x", "z"], "aliases": {"y": "a", "x": "a", "z": "a"}}),
    # --- filters and capabilities
    ("strip list", "models: {m: {@, filters: {stripParams: 'b,a , a,,model,c d'}}}",
     {"models.m.stripList": ["a", "b", "c d"], "models.m.stripParams": "b,a , a,,model,c d"}),
    ("old strip list", "models: {m: {@, filters: {strip_params: 'b,a'}}}",
     {"models.m.stripList": ["a", "b"], "models.m.stripParams": "b,a"}),
    ("parameters", "models: {m: {@, filters: {setParams: {b: 1, model: x, a.c: [1, {d: ~}], l.-1: 2}}}}",
     {"models.m.setKeys": ["a.c", "b", "l.-1"]}),
    ("peers' filters", "peers: {p: {proxy: 'http://h', models: [x], filters: {stripParams: 'a', setParams: {b: 1}}}}",
     {"peers.p.stripParams": "a", "peers.p.setParams": {"b": 1}}),
    ("capabilities", "models: {m: {@, capabilities: {in: [text, text, ~], out: [], context: 4096.7, reranker: on}}}",
     {"models.m.capabilities": {"in": ["text", "text"], "out": [], "context": 4096, "reranker": True, "tools": False,
                                "empty": False}}),
    ("no capabilities", "models: {m: {@, capabilities: ~}, n: {@, capabilities: {context: 0}}}",
     {"models.m.capabilities.empty": True, "models.n.capabilities.empty": True}),
    # --- groups and routing
    ("group defaults", "models: {a: @M, b: @M}\ngroups: {g: {members: [b]}, h: ~, i: {}}",
     {"groups.g": {"swap": True, "exclusive": True, "persistent": False, "members": ["b"]}, "groups.h.members": [],
      "groups.i.swap": True, "groups.(default).members": ["a"]}),
    ("null members", "models: {a: @M}\ngroups: {g: {swap: ~, members: [~, a]}, h: {members: ~}}",
     {"groups.g.members": ["a"], "groups.g.swap": True, "groups.h.members": []}),
    ("new groups", "models: {a: @M}\nrouting: {router: {settings: {groups: {g: {members: [a]}}}}}",
     {"router": "group", "groups.g.members": ["a"]}),
    ("new groups by name", "models: {a: @M}\nrouting: {router: {use: group, settings: {groups: {g: {members: [a]}}}}}",
     {"router": "group", "groups.g.members": ["a"]}),
    ("nothing but a name", "models: {a: @M}\nrouting: {router: {use: group}}", {"groups.(default).members": ["a"]}),
    ("new matrix", "models: {a: @M}\nrouting: {router: {use: matrix, settings: {matrix: {sets: {s: a}}}}}",
     {"router": "matrix", "sets": ["s"], "groups": {}}),
    ("both sides, matrix rules", "models: {a: @M}\nrouting: {router: {use: matrix, settings: {matrix: {sets: {s: a}}, "
     "groups: {g: {members: [a]}}}}}", {"router": "matrix", "sets": ["s"], "groups": {}}),
    ("both sides, groups rule", "models: {a: @M}\nrouting: {router: {use: group, settings: {matrix: {sets: {s: a}}, "
     "groups: {g: {members: [a]}}}}}", {"router": "group", "groups.g.members": ["a"], "sets": []}),
    ("the side not in force may be wrong", "models: {a: @M}\nrouting: {router: {use: group, settings: "
     "{matrix: {sets: {s: gone}}}}}", {"router": "group", "sets": []}),
    ("the other side may be wrong",
     "models: {a: @M}\nrouting: {router: {use: matrix, settings: {matrix: {sets: {s: a}},"
     " groups: {g: {members: [gone, a, a]}}}}}", {"router": "matrix", "sets": ["s"]}),
    ("old matrix beside empty groups", "models: {a: @M}\ngroups: {}\nmatrix: {sets: {s: a}}", {"router": "matrix"}),
    ("null matrix beside groups", "models: {a: @M}\ngroups: {g: {members: [a]}}\nmatrix: ~",
     {"router": "group", "groups.g.members": ["a"]}),
    ("old groups beside an empty router", "models: {a: @M}\ngroups: {g: {members: [a]}}\nrouting: {router: {use: '', "
     "settings: {groups: {}, matrix: ~}}}", {"groups.g.members": ["a"]}),
    ("old groups beside a scheduler", "models: {a: @M}\ngroups: {g: {members: [a]}}\nrouting: {scheduler: {use: fifo}}",
     {"groups.g.members": ["a"], "scheduler": "fifo"}),
    ("old matrix beside priorities",
     "models: {a: @M}\nmatrix: {sets: {s: a}}\nrouting: {scheduler: {use: '', settings: "
     "{fifo: {priority: {a: -2.5}}}}}", {"router": "matrix", "priority": {"a": -2}}),
    ("priority of nobody in particular",
     "models: {a: @M}\nrouting: {scheduler: {settings: {fifo: {priority: {a: ~}}}}}",
     {"priority": {"a": 0}}),
    ("matrix order", "models: {a: @M, b: @M}\nmatrix: {sets: {z: '+y | b', y: a, x: '(a | b)'}}",
     {"sets": ["y", "z", "x"]}),
    ("a set that is a number", "models: {8: @M}\nmatrix: {sets: {s: 8}}", {"sets": ["s"]}),
    ("vars and costs", "models: {o/a: @M, b: @M}\nmatrix: {vars: {v: o/a, a-b.c: b}, evict_costs: {v: 2, b: 3}, sets: "
     "{s: 'v & a-b.c'}}", {"sets": ["s"]}),
    # --- peers
    ("peer", "peers: {p: {proxy: 'http://h', models: [x, y], apiKey: k, timeouts: {responseHeader: 0}}}",
     {"peers.p.models": ["x", "y"], "peers.p.apiKey": "k", "peers.p.timeouts.responseHeader": 0,
      "peers.p.timeouts.connect": 30}),
    ("who is believed and who may read",
     "trustedProxies: [10.0.0.0/8, '::1']\ncorsOrigins: [https://a.example]\nmaxBodySize: 5",
     {"trustedProxies": ["10.0.0.0/8", "::1"], "corsOrigins": ["https://a.example"], "maxBodySize": 5}),
    ("two peers, one name", "peers: {p: {proxy: 'http://h', models: [x]}, q: {proxy: 'http://h', models: [x, x]}}",
     {"peers.q.models": ["x", "x"]}),
    ("peer and model", "models: {x: @M}\npeers: {p: {proxy: 'http://h', models: [x]}}", {"modelCount": 1}),
    # --- selectors and profiles
    ("selector defaults", "models: {a: @M}\nselectors: {s: {strategy: warm, targets: [a]}}",
     {"selectors.s": {"strategy": "warm", "targets": ["a"], "settings": {"spillover": 1}, "name": "", "description": "",
                      "unlisted": False, "metadata": {}}}),
    ("pin to a peer",
     "peers: {p: {proxy: 'http://h', models: [x]}}\nselectors: {s: {strategy: pin, targets: [x, p/x]}}",
     {"selectors.s.targets": ["x", "p/x"]}),
    ("warm twice", "models: {a: {@, aliases: [b]}}\nselectors: {s: {strategy: warm, targets: [a, b, a]}}",
     {"selectors.s.targets": ["a", "b", "a"]}),
    ("spillover of one",
     "models: {a: @M}\nselectors: {s: {strategy: spillover, targets: [a], settings: {spillover: 3}}}",
     {"selectors.s.settings.spillover": 3}),
    ("spillover in a matrix",
     "models: {a: @M, b: @M}\nmatrix: {sets: {s: a & b}}\nselectors: {s: {strategy: spillover, "
     "targets: [a, b]}}", {"selectors.s.targets": ["a", "b"]}),
    ("spillover to peers", "peers: {p: {proxy: 'http://h', models: [x, y]}}\nselectors: {s: {strategy: spillover, "
     "targets: [x, p/y]}}", {"selectors.s.targets": ["x", "p/y"]}),
    ("a selector named like a profile", "models: {a: @M}\nselectors: {s: {strategy: pin, targets: [a]}}\nprofiles: {s: "
     "{pins: {a: s}}}", {"profiles.s.pins": {"a": "s"}}),
    ("pins of every kind", "models: {a: {@, aliases: [b]}}\npeers: {p: {proxy: 'http://h', models: [x]}}\nprofiles: "
     "{w: {description: d, pins: {a: b, b: x, c: p/x, d: ~, e: ''}}}",
     {"profiles.w": {"description": "d", "pins": {"a": "b", "b": "x", "c": "p/x", "d": "", "e": ""}}}),
    ("old profiles make a matrix", "models: {a: {@, aliases: [b]}, c: @M, d: @M}\nprofiles: {w: [b, c, c], v: []}",
     {"router": "matrix", "sets": ["p0"], "profiles.w.members": ["a", "c"]}),
    ("old profiles of nobody", "models: {a: @M}\nprofiles: {w: [gone]}", {"router": "group", "profiles.w.members": []}),
    ("old profiles beside groups", "models: {a: @M, b: @M}\nprofiles: {w: [a, b]}\ngroups: {g: {members: [a]}}",
     {"router": "group", "profiles.w.members": ["a", "b"], "groups.g.members": ["a"]}),
]

ENVIRONMENT = {"N": "77", "E": "", "S": " pad ", "W": "on", "Q": 'a "b" \\c', "P": "${PORT}", "M": "${m}",
               "D": "${env.N}",
               "D2": "${env.D}", "D3": "${env.D2}", "LF": "a\nb", "CR": "a\rb", "C": "a: b # c", "L": "[a, b]",
               "_x1": "u", "BYTES": "a\udcff", "STAR": "*x"}
ENV_LOADS = [
    ("number", "globalTTL: ${env.N}", {"globalTTL": 77}),
    ("number in brackets", "{globalTTL: ${env.N}}", {"globalTTL": 77}),
    ("switch", "sendLoadingState: ${env.W}", {"sendLoadingState": True}),
    ("switch in quotes", 'sendLoadingState: "${env.W}"', {"sendLoadingState": True}),
    ("empty is null", "globalTTL: ${env.E}\nmodels: {m: {@, sendLoadingState: ${env.E}}}", {"globalTTL": 0}),
    ("part of a text", "models: {m: {@, name: a${env.N}b${env.E}c}}", {"models.m.name": "a77bc"}),
    ("number made of parts", "globalTTL: 1${env.N}", {"globalTTL": 177}),
    ("spaces around a plain value", "models: {m: {@, name: ${env.S}, description: '${env.S}'}}",
     {"models.m.name": "pad", "models.m.description": " pad "}),
    ("quotes and backslashes", "models: {m: {@, name: ${env.Q}, description: \"${env.Q}\"}}",
     {"models.m.name": 'a "b" \\c', "models.m.description": 'a "b" \\c'}),
    ("values that YAML would take apart", "models: {m: {@, name: ${env.C}, description: ${env.L}, aliases: [${env.L}, "
     "${env.STAR}]}}", {"models.m.name": "a: b # c", "models.m.description": "[a, b]",
                        "models.m.aliases": ["[a, b]", "*x"]}),
    ("keys", "models: {${env.N}: @M, 'b${env.N}': @M}", {"models.b77.cmd": "srv", "modelCount": 2}),
    ("macro values", "macros: {m: ${env.N}, t: '${env.N}'}\nmodels: {m: {@, metadata: {a: \"${m}\", b: \"${t}\"}}}",
     {"models.m.metadata": {"a": 77, "b": "77"}}),
    ("references in values", "macros: {m: x}\nmodels: {m: {cmd: '${env.P} ${env.M}'}}", {"models.m.cmd": "5800 x"}),
    ("references to variables", "globalTTL: ${env.D}", {"globalTTL": 77}),
    ("odd names", "models: {m: {@, name: '${env._x1} ${env.1} ${env.} ${env.a-b}'}}",
     {"models.m.name": "u ${env.1} ${env.} ${env.a-b}"}),
    ("comments may name anything", "globalTTL: 1 # ${env.GONE}\n# ${env.GONE}", {"globalTTL": 1}),
    ("escaped", 'models: {m: {@, name: "$${env.GONE}"}}', {"models.m.name": "${env.GONE}"}),
    ("block text", "models:\n  m:\n    proxy: http://h\n    cmd: |\n      a ${env.N}\n      # ${env.GONE}\n      b",
     {"models.m.argv": ["a", "77", "b"]}),
    ("undecodable bytes", "models: {'${env.BYTES}': {@, name: '${env.BYTES}'}}", {"modelCount": 1}),
    ("shared by an alias", "x: &x ['${env.N}']\nmodels: {m: {@, aliases: *x}}", {"models.m.aliases": ["77"]}),
]

FAILS = [
    ("a folder that none can have", 'logFiles: {dir: "a\\0b"}', "logFiles.dir: a path cannot contain a null byte"),
    ("a proxy that is no address", "trustedProxies: [10.0.0.0/33]", "trustedProxies[0]"),
    # --- types
    *((f"switch {word}", f"sendLoadingState: {word}", "sendLoadingState: expected true or false")
      for word in ('"true"', '"false"', "yEs", "1", "0", "maybe", "1.0", "[]", "{}", '"Y "', "2024-01-02")),
    *((f"number {word}", f"globalTTL: {word}", "globalTTL: expected a whole number")
      for word in ("soon", '"5"', "true", "yes", "[]", "{}", "12:30", "2024-01-02", ".nan", "-.inf", "1 2", "!!str 5",
                   "18446744073709551615")),
    *((f"list {word}", f"apiKeys: {word}", "apiKeys: expected a list of texts") for word in ("a", "5", "true", "{}")),
    *((f"item {word}", f"models: {{m: {{@, aliases: [a, {word}]}}}}", "aliases[1]: expected text")
      for word in ("[b]", "{b: c}", "[]")),
    *((f"text {word}", f"models: {{m: {{@, name: {word}}}}}", "name: expected text") for word in ("[]", "{}", "[a]")),
    *((f"mapping {key} {word}", f"{key}: {word}", f"{key}: expected a mapping")
      for key in ("hooks", "store", "ui", "performance", "upstream", "models", "groups", "matrix", "routing",
                  "selectors", "profiles", "peers") for word in ("5", "x", "[]", "false")),
    *((f"duration {word}", f"performance: {{every: {word}}}", "performance.every: expected a duration")
      for word in ("30", "5", "soon", '""', "5 s", "5S", "s", "1d", "[]", "true", "5.5", "1h-5m")),
    ("a model that is text", "models: {m: x}", "models.m: expected a mapping"),
    ("a group that is a list", "models: {a: @M}\ngroups: {g: [a]}", "groups.g: expected a mapping"),
    ("a tag that does not fit", "globalTTL: !!int x", '"x" is not a int'),
    ("a tag on text", "models: {m: {@, name: !!float x, metadata: {a: !!bool 7}, env: [!!int q]}}",
     '"7" is not a bool'),
    ("infinity for JSON", "models: {m: {@, metadata: {a: [{b: .inf}]}}}", "metadata.a[0].b: .inf cannot be expressed"),
    ("not a number for JSON", "models: {m: {@, filters: {setParams: {a: .nan}}}}", "setParams.a: .nan cannot be"),
    ("infinity from a macro", 'macros: {i: .inf}\nmodels: {m: {@, metadata: {a: "${i}"}}}',
     "cannot be expressed in JSON"),
    ("parameters that are text", "models: {m: {@, filters: {setParams: x}}}", "setParams: expected a mapping"),
    ("parameters by ID that are text", "models: {m: {@, filters: {setParamsByID: {a: x}}}}",
     "setParamsByID.a: expected"),
    ("parameters by ID in a list", "models: {m: {@, filters: {setParamsByID: [a]}}}",
     "setParamsByID: expected a mapping"),
    ("metadata in a list", "models: {m: {@, metadata: [a]}}", "metadata: expected a mapping"),
    ("priorities in a list", "routing: {scheduler: {settings: {fifo: {priority: [a]}}}}",
     "priority: expected a mapping"),
    ("pins in a list", "profiles: {p: {pins: [a]}}", "profiles.p.pins: expected a mapping"),
    ("a pin that is a list", "profiles: {p: {pins: {a: [b]}}}", "profiles.p.pins.a: expected text"),
    # --- macros
    ("macros in a list", "macros: [a]", "macros: macros must be a mapping"),
    ("macros that are text", "macros: a", "macros must be a mapping"),
    ("a model's macros in a list", "models: {m: {@, macros: [a]}}", "models.m.macros: macros must be a mapping"),
    *((f"macro value {word}", f"macros: {{a: {word}}}", "macro 'a' must be text, a number or a switch")
      for word in ("[]", "{}", "~", "", "2024-01-02")),
    *((f"macro name {word}", f"macros: {{{word}: 1}}", "may contain only letters")
      for word in ("a.b", "a b", '""', "ä", '"a\\n"', "a/b")),
    ("macro name of 64", f"macros: {{{T64}: 1}}", "longer than 63"),
    ("macro name of 64 bytes", "macros: {" + "ä" * 32 + ": 1}", "longer than 63"),
    *((f"reserved {word}", f"macros: {{{word}: 1}}", f"macro name '{word}' is reserved")
      for word in ("PORT", "PID", "MODEL_ID")),
    ("reserved in a model", "models: {m: {@, macros: {PID: 1}}}", "models.m.macros.PID: macro name 'PID' is reserved"),
    ("itself", 'macros: {a: "x${a}"}', "macro 'a' refers to itself"),
    ("itself, unused, in a model", 'models: {m: {@, macros: {a: "${a}"}}}', "models.m.macros.a: macro 'a' refers to"),
    ("circle", 'macros: {a: "${b}", b: "${c}", c: "${a}"}\nlogLevel: "${b}"', "in a circle: b -> c -> a -> b"),
    ("text in a number", 'macros: {a: "5"}\nglobalTTL: "${a}"', "globalTTL: expected a whole number"),
    ("two numbers are text", 'macros: {a: 5}\nglobalTTL: "${a}${a}"', "globalTTL: expected a whole number"),
    ("number in a switch", 'macros: {a: 1}\nsendLoadingState: "${a}"', "sendLoadingState: expected true or false"),
    *((f"unknown in {key}", f'models: {{m: {{@, {key}: "${{X}}"}}}}', f"models.m.{key}: unknown macro '${{X}}'")
      for key in ("name", "description", "cmdStop", "checkEndpoint", "useModelName", "ttl", "anything", "timeouts")),
    ("unknown in cmd", 'models: {m: {cmd: "${X}", proxy: "http://h"}}', "models.m.cmd: unknown macro '${X}'"),
    ("unknown in proxy", 'models: {m: {cmd: x, proxy: "http://${X}"}}', "models.m.proxy: unknown macro '${X}'"),
    ("unknown deep in a list", 'models: {m: {@, metadata: {a: [0, {b: "${X}"}]}}}',
     "metadata.a[1].b: unknown macro '${X}'"),
    ("unknown in an ID", 'models: {m: {@, filters: {setParamsByID: {"${X}": ~}}}}', "unknown macro '${X}'"),
    ("colliding IDs", 'macros: {a: k}\nmodels: {m: {@, filters: {setParamsByID: {k: {t: 1}, "${a}": {t: 2}}}}}',
     'keys "k" and "${a}" both become "k"'),
    *((f"{name} in {key}", f'{key}: "${{{name}}}"', f"unknown macro '${{{name}}}'")
      for name in ("PORT", "MODEL_ID", "PID") for key in ("logLevel", "apiKeys", "hooks")),
    ("PID in cmd", 'models: {m: {cmd: "x ${PID}", proxy: "http://h"}}', "only available in cmdStop"),
    ("PID in a macro outside", 'macros: {a: "${PID}"}\nmodels: {m: {@, cmdStop: "${a}", name: "${a}"}}',
     "models.m.name"),
    ("a sibling's macro", 'models: {a: {@, macros: {x: 1}}, b: {@, name: "${x}"}}', "models.b.name: unknown macro"),
    ("a model's macro outside", 'models: {a: {@, macros: {x: 1}}}\nlogLevel: "${x}"', "logLevel: unknown macro '${x}'"),
    # --- ports
    ("no port in cmd", "models: {m: {cmd: x}}", "models.m.proxy: proxy uses ${PORT} but cmd does not"),
    ("null model", "models: {m: ~}", "models.m.proxy: proxy uses ${PORT} but cmd does not"),
    ("port through a macro in proxy", 'macros: {p: "${PORT}"}\nmodels: {m: {cmd: x, proxy: "http://h:${p}"}}',
     "proxy uses ${PORT} but cmd does not"),
    ("port in a comment", 'models: {m: {cmd: "x\\n # ${PORT}"}}', "proxy uses ${PORT} but cmd does not"),
    ("escaped port", 'models: {m: {cmd: "x $${PORT}"}}', "proxy uses ${PORT} but cmd does not"),
    *((f"port only in {key}", f'models: {{m: {{@, {key}: "${{PORT}}"}}}}', f"models.m.{key}: unknown macro '${{PORT}}'")
      for key in ("cmdStop", "name", "ttl", "checkEndpoint")),
    ("port only in env", 'models: {m: {@, env: ["A=${PORT}"]}}', "models.m.env[0]: unknown macro '${PORT}'"),
    *((f"startPort {word}", f"startPort: {word}", "startPort: ") for word in ("0", "-1", '"5"', "x", "[]", "true",
                                                                              "0.5")),
    ("command in a list", 'models: {m: {cmd: [x, "${PORT}"], proxy: "http://h"}}', "models.m.cmd: expected text"),
    # --- values
    *((f"{key} {value}", f"{key}: {value}", f"{key}: must be at least") for key, value in
      [("globalTTL", -1), ("unloadTimeout", -1), ("startPort", 0)]),
    ("ttl", "models: {m: {@, ttl: -2}}", "models.m.ttl: must be at least -1, found -2"),
    ("unload", "models: {m: {@, unloadTimeout: -1}}", "models.m.unloadTimeout: must be at least 0"),
    ("context", "models: {m: {@, capabilities: {context: -1}}}", "capabilities.context: must be at least 0"),
    *((f"modality {word}", f"models: {{m: {{@, capabilities: {{out: [text, {word}]}}}}}}",
       "capabilities.out[1]: invalid")
      for word in ("Text", "video", '""', "5")),
    *((f"logToStdout {word}", f"logToStdout: {word}", "logToStdout: unknown value") for word in ("Both", '""', "all",
                                                                                                 "1")),
    *((f"every {word}", f"performance: {{disabled: true, every: {word}}}", "performance.every: must be at least 5s")
      for word in ("4999ms", "-5s", "1ns", "4.9s")),
    *((f"key {word}", f"apiKeys: [good, {word}]", "apiKeys[1]: ") for word in ('""', '"a b"', '" "', "~", "[a]")),
    *((f"store {word}", f"store: {word}", "store.path: must not be empty") for word in
      ("{}", '{path: ""}', '{path: " "}', "{path: ~}")),
    *((f"expression {word}", f"upstream: {{ignorePaths: ['{word}']}}", "upstream.ignorePaths[0]: ")
      for word in ("a(b", "[", "*", "(?=x)", "(?!x)", "(?<=x)y", r"(a)\1", "(?P=n)", "a**", "x{3,2}")),
    *((f"proxy {address}", f"models: {{m: {{cmd: x, proxy: '{address}'}}}}", "models.m.proxy: ") for address in [
        "http://a b", "127.0.0.1:8080", "http://[::1", "http://h:p", ":x", "http://h/%zz", "http://h%41", "http://a|b",
        "http://h#%z", "http://u@p a@h", "http://u%z@h", "1.2.3.4:5/x", "http://a\\b"]),
    ("proxy with a control character", 'models: {m: {cmd: x, proxy: "http://h\\x01"}}', "control character"),
    ("endpoint escape", "models: {m: {@, checkEndpoint: /%zz}}", "models.m.checkEndpoint: "),
    ("endpoint space", "models: {m: {@, checkEndpoint: '/a b'}}", "it contains white space"),
    ("null byte in env", 'models: {m: {@, env: ["A=\\0"]}}', "models.m.env[0]: a value cannot contain a null byte"),
    ("null byte in cmdStop", 'models: {m: {@, cmdStop: "a\\0"}}', "models.m.cmdStop: a command cannot contain"),
    ("filter pattern", "models: {m: {@, filters: {setParams: {'*': 1}}}}", "models.m.filters.setParams.*"),
    ("stripped pattern", "models: {m: {@, filters: {stripParams: 'a,*'}}}", "filters.stripParams: "),
    ("filter pattern by ID", "models: {m: {@, filters: {setParamsByID: {x: {'*': 1}}}}}", "setParamsByID.x.*"),
    ("peer filter pattern", "peers: {p: {proxy: 'http://h', models: [x], filters: {setParams: {'*': 1}}}}",
     "peers.p.filters"),
    # --- names
    ("alias twice", "models: {a: {@, aliases: [x]}, b: {@, aliases: [x]}}", 'models.b.aliases[0]: duplicate alias "x"'),
    ("alias twice in one", "models: {a: {@, aliases: [x, y, x]}}", 'models.a.aliases[2]: duplicate alias "x"'),
    ("variant is an ID", "models: {a: {@, filters: {setParamsByID: {b: ~}}}, b: @M}", '"b" conflicts with an existing'),
    ("variant is an ID and our alias", "models: {a: {@, aliases: [b], filters: {setParamsByID: {b: ~}}}, b: @M}",
     '"b" conflicts with an existing'),
    ("two variants", "models: {a: {@, filters: {setParamsByID: {x: ~}}}, b: {@, filters: {setParamsByID: {x: ~}}}}",
     'duplicate alias "x", already an alias of model "a"'),
    # --- groups and routing
    ("member twice", "models: {a: @M}\ngroups: {g: {members: [a, a]}}", 'groups.g.members[1]: "a" is listed twice'),
    ("member by alias and ID", "models: {a: {@, aliases: [x]}}\ngroups: {g: {members: [a, x]}}", '"x" is listed twice'),
    ("member of two", "models: {a: @M}\ngroups: {g: {members: [a]}, h: {members: [a]}}",
     'already a member of group "g"'),
    ("new member of two",
     "models: {a: @M}\nrouting: {router: {settings: {groups: {g: {members: [a]}, h: {members: [a]}}}}}",
     "routing.router.settings.groups.h.members[0]"),
    ("unknown member", "models: {apple: @M}\ngroups: {g: {members: [aple]}}", 'no model "aple"; did you mean "apple"?'),
    *((f"old and new {index}", f"models: {{a: @M}}\n{old}\nrouting: {{router: {{{new}}}}}",
       "move the top-level keys into")
      for index, (old, new) in enumerate([
          ("groups: {g: {members: [a]}}", "use: group"), ("groups: {g: {members: [a]}}", "use: matrix"),
          ("groups: {g: {members: [a]}}", "settings: {groups: {h: ~}}"),
          ("groups: {g: ~}", "settings: {matrix: {sets: {s: a}}}"), ("matrix: {sets: {s: a}}", "use: matrix"),
          ("matrix: {sets: {s: a}}", "settings: {groups: {h: ~}}"),
          ("matrix: {}", "settings: {matrix: {sets: {s: a}}}")])),
    ("groups and matrix", "models: {a: @M}\ngroups: {g: ~}\nmatrix: {sets: {s: a}}", "cannot both be used"),
    ("matrix without", "routing: {router: {use: matrix}}", "routing.router.use: use is matrix, but"),
    ("matrix with groups only", "models: {a: @M}\nrouting: {router: {use: matrix, settings: {groups: {g: ~}}}}",
     "routing.router.settings.matrix is not set"),
    *((f"router {word}", f"routing: {{router: {{use: {word}}}}}", "routing.router.use: unknown value")
      for word in ("lru", "Group", "groups")),
    *((f"scheduler {word}", f"routing: {{scheduler: {{use: {word}}}}}", "routing.scheduler.use: unknown value")
      for word in ("lifo", "FIFO")),
    ("priority", "routing: {scheduler: {settings: {fifo: {priority: {gone: 1}}}}}", 'priority.gone: no model "gone"'),
    ("priority of text", "models: {a: @M}\nrouting: {scheduler: {settings: {fifo: {priority: {a: x}}}}}",
     "priority.a: expected"),
    # --- matrix
    *((f"matrix {name}", f"models: {{a: @M, b: @M, o/x: @M, y: {{@, aliases: [al]}}}}\nmatrix: {rule}", piece)
      for name, rule, piece in [
          ("empty", "{}", "matrix"), ("no sets", "{sets: {}}", "matrix"), ("null sets", "{sets: ~}", "matrix"),
          ("list of sets", "{sets: [a]}", "matrix.sets: expected a mapping"),
          ("blank", "{sets: {s: ' '}}", "matrix.sets.s"), ("null", "{sets: {s: ~}}", "matrix.sets.s"),
          ("list as a set", "{sets: {s: [a]}}", "matrix.sets.s: expected text"),
          ("var name", "{vars: {a_b: a}, sets: {s: a}}", "matrix.vars.a_b"),
          ("long var", "{vars: {" + "v" * 33 + ": a}, sets: {s: a}}", "matrix.vars.v"),
          ("empty var", "{vars: {'': a}, sets: {s: a}}", "matrix.vars"),
          ("var with a line end", '{vars: {"v\\n": a}, sets: {s: a}}', "matrix.vars"),
          ("var of an alias", "{vars: {v: al}, sets: {s: a}}", "matrix.vars.v"),
          ("var of nobody", "{vars: {v: ~}, sets: {s: a}}", "matrix.vars.v"),
          ("var of a var", "{vars: {v: a, w: v}, sets: {s: a}}", "matrix.vars.w"),
          ("cost 0", "{evict_costs: {a: 0}, sets: {s: a}}", "matrix.evict_costs.a"),
          ("cost null", "{evict_costs: {a: ~}, sets: {s: a}}", "matrix.evict_costs.a"),
          ("cost below", "{evict_costs: {a: -1}, sets: {s: a}}", "matrix.evict_costs.a"),
          ("cost of text", "{evict_costs: {a: x}, sets: {s: a}}", "matrix.evict_costs.a: expected a whole number"),
          ("cost of nobody", "{evict_costs: {q: 2}, sets: {s: a}}", "matrix.evict_costs.q"),
          ("cost of an alias", "{evict_costs: {al: 2}, sets: {s: a}}", "matrix.evict_costs.al"),
          ("unknown leaf", "{sets: {s: a & gone}}", "gone"), ("alias leaf", "{sets: {s: a & al}}", "al"),
          ("unknown set", "{sets: {s: '+gone'}}", "gone"),
          ("circle", "{sets: {s: '+t', t: '+u', u: '+s'}}", "matrix.sets"),
          ("itself", "{sets: {s: a | +s}}", "matrix.sets.s"), ("slash", "{sets: {s: o/x}}", "matrix.sets.s"),
          ("comma", "{sets: {s: 'a, b'}}", "matrix.sets.s"), ("plus alone", "{sets: {s: 'a & +'}}", "matrix.sets.s"),
          ("plus apart", "{sets: {s: '+ s'}}", "matrix.sets.s"),
          ("doubled and", "{sets: {s: a && b}}", "matrix.sets.s"),
          ("doubled or", "{sets: {s: 'a || b'}}", "matrix.sets.s"), ("trailing", "{sets: {s: 'a &'}}", "matrix.sets.s"),
          ("leading", "{sets: {s: '| a'}}", "matrix.sets.s"), ("neighbours", "{sets: {s: a b}}", "matrix.sets.s"),
          ("open", "{sets: {s: '(a'}}", "matrix.sets.s"), ("closed", "{sets: {s: 'a)'}}", "matrix.sets.s"),
          ("hollow", "{sets: {s: '()'}}", "matrix.sets.s")]),
    ("new matrix", "models: {a: @M}\nrouting: {router: {use: matrix, settings: {matrix: {sets: {s: gone}}}}}",
     "routing.router.settings.matrix.sets.s"),
    # --- peers
    ("peer without proxy", "peers: {p: {models: [x]}}", 'peers.p.proxy: peer "p" needs proxy'),
    ("peer without models", "peers: {p: {proxy: 'http://h', models: [~]}}",
     'peers.p.models: peer "p" needs at least one'),
    ("peer proxy", "peers: {p: {proxy: 'http://a b', models: [x]}}", "peers.p.proxy: "),
    ("ambiguous", "peers: {a/b: {proxy: 'http://h', models: [c]}, a: {proxy: 'http://h', models: [b/c]}}",
     '"a/b/c" could mean a model of peer "a/b" as well'),
    *((f"taken by {what}", f"{rest}\npeers: {{p: {{proxy: 'http://h', models: [x]}}}}", piece) for what, rest,
      piece in [
        ("an ID", "models: {p/x: @M}", "but a model has that ID"),
        ("an alias", "models: {a: {@, aliases: [p/x]}}", 'but model "a" has that alias'),
        ("a variant", "models: {a: {@, filters: {setParamsByID: {p/x: ~}}}}", 'but model "a" has that alias'),
        ("a selector", "models: {a: @M}\nselectors: {p/x: {strategy: pin, targets: [a]}}",
         "but a selector has that name"),
        ("a pin", "models: {a: @M}\nprofiles: {w: {pins: {p/x: a}}}", 'but profile "w" pins that name')]),
    # --- selectors
    *((f"selector {name}", "models: {a: {@, aliases: [al]}, b: @M}\npeers: {p: {proxy: 'http://h', models: [x]}, q: "
       "{proxy: 'http://h', models: [y]}, r: {proxy: 'http://h', models: [y]}}\nselectors: " + rows, piece)
      for name, rows, piece in [
          ("null", "{s: ~}", "selectors.s.strategy: is required"), ("empty", "{s: {}}", "strategy: is required"),
          ("no strategy", "{s: {targets: [a]}}", "strategy: is required"),
          ("case", "{s: {strategy: Pin, targets: [a]}}", 'selectors.s.strategy: unknown value "Pin"'),
          ("no targets", "{s: {strategy: pin, targets: []}}", "selectors.s.targets: must contain at least one"),
          ("null targets", "{s: {strategy: pin, targets: [~]}}", "selectors.s.targets: must contain at least one"),
          ("unknown", "{s: {strategy: spillover, targets: [a, gone]}}", 'selectors.s.targets[1]: no model "gone"'),
          ("ambiguous", "{s: {strategy: pin, targets: [y]}}", 'no model "y"'),
          ("blank name", "{' ': {strategy: pin, targets: [a]}}", "a selector needs a name"),
          ("an ID", "{b: {strategy: pin, targets: [a]}}", 'selectors.b: conflicts with model ID "b"'),
          ("an alias", "{al: {strategy: pin, targets: [a]}}", "selectors.al: conflicts with an alias"),
          ("chain", "{s: {strategy: pin, targets: [t]}, t: {strategy: pin, targets: [a]}}", "a selector cannot choose"),
          ("shadowed", "{x: {strategy: pin, targets: [a]}, s: {strategy: pin, targets: [x]}}",
           "a selector cannot choose"),
          ("warm peer", "{s: {strategy: warm, targets: [a, p/x]}}", "targets[1]: "),
          ("threshold", "{s: {strategy: spillover, targets: [a], settings: {spillover: 0}}}",
           "spillover: must be at least 1"),
          ("same twice", "{s: {strategy: spillover, targets: [a, al]}}", '"a" is named more than once'),
          ("same peer twice", "{s: {strategy: spillover, targets: [x, p/x]}}", '"p/x" is named more than once'),
          ("swapping", "{s: {strategy: spillover, targets: [a, b]}}", 'but "(default)" swaps')]),
    ("spillover over two groups", "models: {a: @M, b: @M}\ngroups: {g: {swap: false, members: [a]}}\nselectors: {s: "
     "{strategy: spillover, targets: [a, b]}}", "must share one group, found them in (default), g"),
    ("spillover in a swapping group", "models: {a: @M, b: @M}\ngroups: {g: {members: [a, b]}}\nselectors: {s: "
     "{strategy: spillover, targets: [a, b]}}", "must share a group with swap: false"),
    ("spillover over two sets", "models: {a: @M, b: @M}\nmatrix: {sets: {s: a | b}}\nselectors: {s: {strategy: "
     "spillover, targets: [a, b]}}", "must all appear together in one matrix set"),
    # --- profiles
    *((f"profile {name}", "models: {apple: @M}\npeers: {q: {proxy: 'http://h', models: [y]}, r: {proxy: 'http://h', "
       "models: [y]}}\nprofiles: " + rows, piece) for name, rows, piece in [
          ("null", "{p: ~}", "profiles.p.pins: must contain"),
           ("empty", "{p: {pins: {}}}", "profiles.p.pins: must contain"),
          ("blank", "{'': {pins: {x: apple}}}", "a profile needs a name"),
          ("blank pin", "{p: {pins: {' ': apple}}}", "profiles.p.pins: a pin needs a name"),
          ("unknown", "{p: {pins: {x: aple}}}", 'profiles.p.pins.x: no model "aple"; did you mean "apple"?'),
          ("ambiguous", "{p: {pins: {x: y}}}", 'no model "y"; write q/y or r/y'),
          ("text", "{p: x}", "profiles.p: expected a mapping"),
           ("chain", "{p: {pins: {x: apple, y2: x}}}", 'no model "x"')]),
]

ENV_FAILS = [
    ("unset", "globalTTL: ${env.GONE}", "a.yaml:1:12: globalTTL: environment variable 'GONE' is not set"),
    ("unset in brackets", "apiKeys: [a, ${env.GONE}]", "a.yaml:1:14: apiKeys[1]: environment variable 'GONE'"),
    ("unset in a macro nobody uses", "macros: {a: '${env.GONE}'}", "macros.a: environment variable 'GONE' is not set"),
    ("unset in an unknown key", "any: {a: ['${env.GONE}']}", "any.a[0]: environment variable 'GONE' is not set"),
    ("unset in a key", "models: {'${env.GONE}': @M}", "environment variable 'GONE' is not set"),
    ("line feed", "logLevel: ${env.LF}", "environment variable 'LF' contains newlines"),
    ("carriage return", "logLevel: '${env.CR}'", "environment variable 'CR' contains newlines"),
    ("quoted number", "globalTTL: '${env.N}'", "globalTTL: expected a whole number"),
    ("empty key", "apiKeys: ['${env.E}']", "apiKeys[0]: ${env.E} is empty"),
    ("empty key by an alias", "x: &x ${env.E}\napiKeys: *x", "apiKeys: ${env.E} is empty"),
    ("empty key by a merge", "x: &x {apiKeys: '${env.E}'}\n<<: *x", "apiKeys: ${env.E} is empty"),
    ("too deep", "logLevel: ${env.D3}", "refers to further variables too many times"),
    ("same key twice", "models: {'77': @M, '${env.N}': @M}", 'the key "77" appears twice'),
    ("command in a nest", "models: {m: {cmd: '${env.GONE}', proxy: 'http://h'}}", "models.m.cmd: environment variable"),
]


def names(rows):
    return [row[0] for row in rows]


@pytest.mark.parametrize("row", LOADS, ids=names(LOADS))
def test_it_loads(row):
    _, notation, values = row
    assert differences(load(text(notation)), values.items()) == []


@pytest.mark.parametrize("row", ENV_LOADS, ids=names(ENV_LOADS))
def test_it_loads_with_the_environment(row):
    _, notation, values = row
    assert differences(load(text(notation), env=ENVIRONMENT), values.items()) == []


@pytest.mark.parametrize("row", FAILS + ENV_FAILS, ids=names(FAILS + ENV_FAILS))
def test_it_fails_and_says_where(row):
    _, notation, piece = row
    loaded = load(text(notation), env=ENVIRONMENT)
    assert loaded.config is None
    assert any(piece in str(problem) for problem in loaded.errors), [str(problem) for problem in loaded.problems]
    assert all(problem.mark for problem in loaded.problems)


# --- more than one finding -------------------------------------------------------------------------------------

def findings(notation, env=None):
    return [str(problem) for problem in load(text(notation), env=env or {}).problems]


def test_all_errors_come_in_the_order_of_the_file():
    found = findings("globalTTL: x\nmodels:\n  a: {@, ttl: x}\n  b: {@, aliases: y}\nlogToStdout: z\n")
    assert [line.split(": ")[1] for line in found] == ["globalTTL", "models.a.ttl", "models.b.aliases", "logToStdout"]


def test_one_mistake_is_one_message():
    assert len(findings('globalTTL: "${gone}"')) == 1
    assert len(findings('models: {m: {cmd: "x ${gone} ${PORT}"}}')) == 1
    assert len(findings("apiKeys: [${env.E}]", {"E": ""})) == 1
    assert len(findings("globalTTL: ${env.GONE}")) == 1
    assert len(findings("models: {m: {cmd: x}}")) == 1
    assert len(findings("models: {m: text}\ngroups: {g: {members: [m]}}")) == 1
    assert len(findings("models: {m: @M}\npeers: {p: text}\nselectors: {s: [m]}")) == 2
    assert len(findings("models: {m: {cmd: [a], proxy: 'http://h'}}\npeers: {p: {proxy: [x], models: z}}")) == 3
    assert len(findings("models: {m: @M}\nselectors: {s: {strategy: Warm, targets: m}}\nstore: {path: []}")) == 3
    assert len(findings("profiles: {p: {pins: [a]}}\nmatrix: {sets: [a], evict_costs: 5}")) == 3


def warned(notation, env=None):
    loaded = load(text(notation), env=env or {})
    assert loaded.config is not None, [str(problem) for problem in loaded.problems]
    return [str(problem) for problem in loaded.warnings]


@pytest.mark.parametrize(("notation", "piece"), [
    ("globalTtl: 5", 'a.yaml:1:1: warning: globalTtl: unknown key "globalTtl"; did you mean "globalTTL"?'),
    ("models: {m: {@, cmdstop: x}}", 'models.m.cmdstop: unknown key "cmdstop"; did you mean "cmdStop"?'),
    ("profiles: {p: {pins: {a: ''}, pinz: 1}}", 'did you mean "pins"?'),
    ("whatever: 1", 'unknown key "whatever"'),
    ("healthCheckTimeout: 3", "healthCheckTimeout: 3 is raised to 15"),
    ("globalTTL: 1.9", "globalTTL: 1.9 is cut to the whole number 1"),
    ("captureBuffer: -1", "captureBuffer: -1 makes no sense; 0 is meant"),
    ("metricsMaxInMemory: -1", "metricsMaxInMemory: -1 makes no sense"),
    ("models: {m: {@, concurrencyLimit: -1}}", "concurrencyLimit: -1 makes no sense"),
    ("models: {m: {@, timeouts: {connect: -1}}}", "timeouts.connect: -1 makes no sense"),
    ("logLevel: loud", 'logLevel: "loud" is not known'),
    ("logTimeFormat: iso", 'logTimeFormat: "iso" is not known'),
    ("logRequests: true", "logRequests: logRequests is an old key; use logLevel"),
    ("performance: {enable: true}", "enable is an old key; use disabled"),
    ("performance: {every: 0s}", "performance.every: 0s is replaced by 5s"),
    ("models: {m: {@, filters: {strip_params: a}}}", "strip_params is an old key; use stripParams"),
    ("apiKeys: [a, a]", "apiKeys[1]: this API key is listed twice"),
    ("models: {m: {@, aliases: [~]}}", "aliases[0]: empty list item is ignored"),
    ("models: {m: {@, aliases: [m]}}", 'alias "m" is never used'),
    ("models: {' ': @M}", "a model without a name"),
    ("models: {m: {@, env: [A]}}", 'env[0]: "A" has no ='),
    ("models: {m: {proxy: 'http://h'}}", "models.m.cmd: empty command: the model cannot be started"),
    ("models: {m: {cmd: \"a 'b\", proxy: 'http://h'}}", "models.m.cmd: a quote is opened and never closed"),
    ("models: {m: {@, cmdStop: \"a # b\"}}", "models.m.cmdStop: a lone #"),
    ("models: {m: {cmd: x, proxy: ''}}", "models.m.proxy: is empty"),
    ("models: {m: {cmd: x, proxy: 'localhost:80'}}", "does not begin with http:// or https://"),
    ("models: {m: {cmd: x, proxy: 'http://:80'}}", "names no host"),
    ("models: {m: {cmd: x, proxy: 'http://h:0'}}", "port 0 is not between"),
    ("peers: {p: {proxy: 'http://h', models: [' ']}}", "peers.p.models[0]: a model without a name"),
    ("hooks: {on_startup: {preload: [gone]}}", 'preload[0]: "gone" is not a local model and is not loaded'),
    ("models: {a: @M}\nhooks: {on_startup: {preload: [a, a]}}", 'preload[1]: "a" is already in the list'),
    ("models: {a: @M}\ngroups: {(default): {members: [a]}}", "groups.(default): "),
    ("models: {a: @M}\nrouting: {router: {settings: {groups: {g: ~}, matrix: {sets: {s: a}}}}}",
     "routing.router.settings.matrix: is not used while groups are set as well"),
    ("models: {a: @M}\nrouting: {router: {use: group, settings: {matrix: {sets: {s: gone}}}}}",
     "warning: routing.router.settings.matrix.sets.s"),
    ("models: {a: @M}\nrouting: {router: {use: matrix, settings: {groups: {g: {members: [gone]}}, matrix: {sets: {s: "
     "a}}}}}",
     'warning: routing.router.settings.groups.g.members[0]: no model "gone"'),
    ("models: {apple: @M}\nprofiles: {p: [aple]}", 'profiles.p[0]: no model "aple"; did you mean "apple"?'),
    ("models: {a: @M}\nprofiles: {p: [a]}", "profiles.p: a list of models is the old form"),
])
def test_a_silent_loss_becomes_a_warning(notation, piece):
    assert any(piece in line for line in warned(notation)), warned(notation)


def test_shared_snippets_are_not_unknown_keys():
    assert warned("x-base: 1\nshared: &a {ttl: 1}\nmodels: {m: {@, <<: *a}}") == []


def test_ours_is_what_the_documentation_calls_unknown_to_llama_swap():
    assert warned("adminListen: ':1'\nrouting: {scheduler: {settings: {fifo: {maxWait: 1}}}}") == []


# --- plain data ------------------------------------------------------------------------------------------------

def test_plain_data_needs_no_file():
    loaded = build({"models": {"m": {"cmd": "x ${PORT}", "ttl": 5}}, "startPort": 9000}, {})
    assert loaded.config is not None
    assert loaded.config.models["m"].proxy == "http://localhost:9000"
    assert build(None, {}).config is not None
    assert build([], {}).config is not None
    assert build(from_plain({"globalTTL": 3}), {}).config.global_ttl == 3


def test_problems_of_plain_data_have_a_path_and_no_place():
    problem, = build({"globalTTL": "x"}, {}).problems
    assert problem.mark is None
    assert str(problem) == 'globalTTL: expected a whole number, found the text "x"'


def test_findings_from_outside_are_placed_and_an_error_takes_the_configuration_away():
    loaded = load(text("models:\n  m: @M\n"))
    more = loaded.with_problems([Problem(("models", "m", "cmd"), "no", "warning")])
    assert more.config is not None
    assert str(more.warnings[0].mark) == "a.yaml:2:7"
    assert more.with_problems([Problem(("models",), "no")]).config is None
    assert Build(None, ()).with_problems([Problem((), "x")]).problems[0].mark is None


# --- several files ---------------------------------------------------------------------------------------------

def test_files_complete_one_another():
    loaded = load(text("macros: {a: x}\nmodels: {m: @M}\napiKeys: [k]"),
                  text('models: {n: {@, name: "${a}"}}\ngroups: {g: {members: [m, n]}}\napiKeys: [l]'))
    wanted = [("models.n.name", "x"), ("groups.g.members", ["m", "n"]), ("apiKeys", ["k", "l"])]
    assert differences(loaded, wanted) == []


def test_ports_follow_the_names_and_not_the_files():
    loaded = load('models: {b: {cmd: "${PORT}"}}', 'models: {a: {cmd: "${PORT}"}}')
    assert differences(loaded, [("models.a.cmd", "5800"), ("models.b.cmd", "5801")]) == []


def test_old_and_new_routing_in_two_files():
    assert load(text("models: {a: @M}\ngroups: {g: ~}"), "routing: {router: {use: group}}").config is None


# --- anything at all -------------------------------------------------------------------------------------------

WRONG = ["5", "x", "[a]", "{a: b}", "~", "true", "[[a]]", "-7", "1.5", "'${gone}'", "{a: {b: [c]}}", ".inf", "[~]",
         "''"]


def paths(table, prefix=()):
    """Every key of the field table, with a name for the user's own."""
    for key, field in table.items():
        yield (*prefix, key), field
        if field.fields:
            yield from paths(field.fields, (*prefix, key, "n") if field.kind is Kind.TABLE else (*prefix, key))


@pytest.mark.parametrize("path", [path for path, _ in paths(fields.ROOT_FIELDS)], ids=".".join)
def test_every_kind_of_value_in_every_place(path):
    for value in WRONG:
        loaded = load("{" + ": {".join(path) + ": " + value + "}" * len(path))
        assert (loaded.config is None) == bool(loaded.errors)
        assert all(problem.mark and problem.message for problem in loaded.problems)
        if loaded.config is not None:
            shown(loaded)


@pytest.mark.parametrize(("kind", "refused"), [
    (Kind.BOOL, ["5", "x", "[a]", "{a: b}", "1.5"]), (Kind.INT, ["x", "[a]", "{a: b}", "true", ".inf"]),
    (Kind.STR, ["[a]", "{a: b}"]), (Kind.STRINGS, ["5", "x", "{a: b}", "true", "[[a]]"]),
    (Kind.STRUCT, ["5", "x", "[a]", "true"]), (Kind.TABLE, ["5", "x", "true"]), (Kind.FREE, ["5", "x", "[a]"]),
    (Kind.FREE_TABLE, ["5", "x", "[a]"]), (Kind.INTS, ["5", "x", "[a]"]), (Kind.TEXTS, ["5", "x", "[a]", "{a: [b]}"]),
    (Kind.MACROS, ["5", "x", "[a]", "{a: [b]}"]), (Kind.DURATION, ["5", "x", "[a]", "true"])])
def test_every_key_refuses_what_is_not_its_type(kind, refused):
    for path, field in paths(fields.ROOT_FIELDS):
        for value in refused if field.kind is kind else ():
            loaded = load("{" + ": {".join(path) + ": " + value + "}" * len(path))
            shortest = [problem for problem in loaded.errors if problem.path[:len(path)] == path]
            assert shortest, (path, value)


KEYS = sorted({part for path, _ in paths(fields.ROOT_FIELDS) for part in path} | {"a", "m", "(default)", "${PORT}", ""})
WORDS = st.sampled_from(["", "a", "m", "x ${PORT}", "${PORT}", "${a}", "${env.A}", "${env.Z}", "$${a}", "http://h:1",
                         "none",
                         "group", "matrix", "pin", "warm", "spillover", "fifo", "5s", "a & m", "+a", "#", "'", "\0",
                         "\udcff",
                         "1e999", "0x10", "2024-01-02", "yes", "true", "~", "-1", "99999", "a" * 70, "a,b,*", "m/a"])
MARK = Mark("f", 1, 1)
SCALARS = st.builds(lambda word, plain: Scalar(word, plain=plain, mark=MARK), WORDS, st.booleans())
NODES = st.recursive(SCALARS, lambda children: st.one_of(
    st.builds(lambda items: ListNode(items, MARK), st.lists(children, max_size=3)),
    st.builds(lambda entries: MapNode(entries, MARK, dict.fromkeys(entries, MARK)),
              st.dictionaries(st.sampled_from(KEYS), children, max_size=4))), max_leaves=12)


def mapping(children):
    """A mapping with any of these keys, and sometimes something else instead."""
    return st.builds(lambda entries: MapNode({key: node for key, node in entries.items() if node is not None}, MARK,
                                             dict.fromkeys(entries, MARK)),
                     st.fixed_dictionaries({}, optional=children))


def shaped(field):
    """Trees that mostly have the shape of the table, so that the checks behind the types are reached as well."""
    if field.fields is None:
        return st.one_of(NODES, SCALARS)
    inner = mapping({key: shaped(child) for key, child in field.fields.items()})
    if field.kind is Kind.TABLE:
        inner = st.builds(lambda rows: MapNode(rows, MARK, dict.fromkeys(rows, MARK)),
                          st.dictionaries(st.sampled_from(["a", "m", "(default)", "p", ""]), inner, max_size=3))
    return st.one_of(inner, inner, inner, NODES)


ROOTS = mapping({key: shaped(field) for key, field in fields.ROOT_FIELDS.items()})


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(ROOTS, min_size=1, max_size=2), st.dictionaries(st.sampled_from("AZ"), WORDS, max_size=2))
def test_build_never_raises_and_every_finding_has_a_place(roots, env):
    loaded = build(roots, env)
    assert all(problem.mark for problem in loaded.problems)
    assert (loaded.config is None) == bool(loaded.errors)
    for problem in loaded.problems:
        assert str(problem).isprintable()
    if loaded.config is not None:
        shown(loaded)


@settings(max_examples=200, deadline=None)
@given(NODES)
def test_no_tree_is_too_strange(root):
    build(root, {})


# --- size ------------------------------------------------------------------------------------------------------

def test_a_thousand_models(capsys):
    models = "".join(f"""
  model-{i:04}:
    name: "Model number {i}"
    cmd: |
      ${{srv}}
      # the weights
      -m ${{base}}/model-{i}.gguf --ctx-size 8192
    aliases: [alias-{i}, "org/alias:{i}"]
    env: [CUDA_VISIBLE_DEVICES={i % 8}]
    filters: {{stripParams: "temperature, top_p", setParams: {{temperature: 0.7}}}}
    metadata: {{family: test, size: {i}}}""" for i in range(1000))
    tree = parse("macros: {base: /srv, srv: 'server --port ${PORT}'}\nmodels:" + models, "a.yaml")
    began = time.process_time()
    loaded = build([tree], {})
    spent = time.process_time() - began
    with capsys.disabled():
        print(f" [1,000 models built in {spent:.2f} s]", end="")
    assert loaded.problems == ()
    assert loaded.config.models["model-0999"].argv[2] == "6799"
    assert spent < 20


def test_sampling_is_never_below_the_bound():
    assert math.isclose(load("performance: {every: 5.000000001s}").config.performance.every, 5.0)


@pytest.mark.parametrize("written, limits", [
    ("", (None, 1_000_000, 90)), ("store: ~", (None, 1_000_000, 90)), ("store: {path: x}", ("x", 1_000_000, 90)),
    ("store: {path: x, maxRows: 0, maxAgeDays: 0}", ("x", 0, 0)), ("store: {path: x, maxRows: 5}", ("x", 5, 90)),
    ('store: {path: " x\\n"}', ("x", 1_000_000, 90))])
def test_limits_of_the_store(written, limits):
    config = load(written).config
    assert (config.store_path, config.store_max_rows, config.store_max_age_days) == limits

"""The table holds every key of the format, each with a sentence, a fitting default and no contradiction."""
from __future__ import annotations

import pytest

from llamaswap.core.fields import ROOT, ROOT_FIELDS, Kind


def every_field(fields=ROOT_FIELDS, prefix=""):
    for key, field in fields.items():
        yield prefix + key, field
        if field.fields:
            yield from every_field(field.fields, f"{prefix}{key}.")


ALL = dict(every_field())
TYPES = {Kind.BOOL: (bool, type(None)), Kind.INT: int, Kind.STR: str, Kind.STRINGS: tuple, Kind.DURATION: str,
         Kind.FREE: dict,
         Kind.FREE_TABLE: dict, Kind.INTS: dict, Kind.TEXTS: dict, Kind.MACROS: dict, Kind.STRUCT: type(None),
         Kind.TABLE: type(None)}
# The format's keys, from the specification's tables; ours are added.
EXPECTED = {
    "": "healthCheckTimeout globalTTL unloadTimeout startPort logLevel logTimeFormat logToStdout metricsMaxInMemory "
    "captureBuffer "
        "sendLoadingState includeAliasesInList apiKeys macros hooks store ui performance upstream models groups "
    "matrix routing "
        "selectors profiles peers logRequests logFiles adminListen corsOrigins trustedProxies maxBodySize",
    "models.": "cmd cmdStop proxy checkEndpoint env aliases ttl unloadTimeout unlisted useModelName name description "
    "concurrencyLimit maxWaiting "
               "filters macros metadata sendLoadingState timeouts compat capabilities healthCheckTimeout",
    "models.timeouts.": "connect keepalive responseHeader tlsHandshake expectContinue idleConn",
    "models.filters.": "stripParams strip_params setParams setParamsByID",
    "models.capabilities.": "in out tools reranker context",
    "groups.": "swap exclusive persistent members",
    "matrix.": "vars evict_costs sets",
    "peers.": "proxy models apiKey filters timeouts",
    "selectors.": "strategy targets settings name description unlisted metadata",
    "profiles.": "description pins",
}


@pytest.mark.parametrize("prefix", EXPECTED)
def test_every_key_of_the_format_is_there(prefix):
    level = {key[len(prefix):] for key in ALL if key.startswith(prefix) and "." not in key[len(prefix):]}
    assert level == set(EXPECTED[prefix].split())


@pytest.mark.parametrize("key", ALL)
def test_a_field_is_consistent(key):
    field = ALL[key]
    assert field.doc.endswith((".", "macros.")) and field.doc[0].isupper()
    assert isinstance(field.default, TYPES[field.kind])
    assert (field.fields is not None) == (field.kind in (Kind.STRUCT, Kind.TABLE))
    if field.minimum is not None:
        assert field.default >= field.minimum
    if field.choices and field.default:
        assert field.default in field.choices


def test_our_own_keys_are_marked():
    assert {key for key, field in ALL.items() if field.ours} == {
        "adminListen", "corsOrigins", "trustedProxies", "maxBodySize", "models.maxWaiting",
        "logFiles", "logFiles.dir", "logFiles.maxSizeMB", "logFiles.keep",
        "store.maxRows", "store.maxAgeDays", "routing.scheduler.settings.fifo.maxWait"}


def test_both_spellings_of_routing_are_one_table():
    assert ALL["groups"].fields is ALL["routing.router.settings.groups"].fields
    assert ALL["matrix"].fields is ALL["routing.router.settings.matrix"].fields
    assert ROOT.fields is ROOT_FIELDS

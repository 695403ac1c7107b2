"""A JSON Schema of the configuration file, for editors. Derived from the field table, so it cannot disagree with us.

It accepts what the loader accepts: values may be macros wherever the loader expands them, a scalar may stand in a text
field, and unknown keys are refused only where the loader would warn about them.
"""
from __future__ import annotations

from typing import Any, Callable, Dict, Mapping

from llamaswap.core.fields import ROOT_FIELDS, Field, Kind
from llamaswap.core.macros import MAX_NAME_LENGTH

_MACRO = {"type": "string", "pattern": r"\$\{[A-Za-z0-9_.-]+\}"}
_DURATION = r"^[-+]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$|^[-+]?0$|\$\{"
_SCALAR = ["string", "number", "boolean", "null"]


def json_schema() -> Dict[str, Any]:
    schema = _struct(ROOT_FIELDS)
    # Top-level x- keys hold snippets for YAML aliases.
    schema["patternProperties"] = {"^x-": {}}
    schema["properties"]["profiles"] = _profiles(schema["properties"]["profiles"])
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "llamaswap configuration", **schema}


def _struct(fields: Mapping[str, Field]) -> Dict[str, Any]:
    return {"type": ["object", "null"], "additionalProperties": False,
            "properties": {key: _with_doc(_field(field), field) for key, field in fields.items()}}


def _with_doc(schema: Dict[str, Any], field: Field) -> Dict[str, Any]:
    described = {"description": field.doc, **schema}
    if field.deprecated:
        described["deprecated"] = True
    if field.default is not None and field.default != () and field.default != {}:
        described["default"] = list(field.default) if isinstance(field.default, tuple) else field.default
    return described


def _field(field: Field) -> Dict[str, Any]:
    if field.kind is Kind.STRUCT:
        return _struct(field.fields or {})
    if field.kind is Kind.TABLE:
        return {"type": ["object", "null"], "additionalProperties": _struct(field.fields or {})}
    by_kind: Dict[Kind, Callable[[], Dict[str, Any]]] = {
        Kind.BOOL: lambda: {"anyOf": [{"type": ["boolean", "null"]}, _MACRO, {"enum": [
            "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off", "OFF"]}]},
        Kind.INT: lambda: _int(field),
        Kind.STR: lambda: _text(field),
        Kind.STRINGS: lambda: {"type": ["array", "null"], "items": {"type": _SCALAR}},
        Kind.DURATION: lambda: {"type": ["string", "null"], "pattern": _DURATION},
        Kind.FREE: lambda: {"type": ["object", "null"]},
        Kind.FREE_TABLE: lambda: {"type": ["object", "null"], "additionalProperties": {"type": ["object", "null"]}},
        Kind.INTS: lambda: {"type": ["object", "null"], "additionalProperties": _int(field)},
        Kind.TEXTS: lambda: {"type": ["object", "null"], "additionalProperties": {"type": _SCALAR}},
        Kind.MACROS: lambda: {"type": ["object", "null"],
                              "propertyNames": {"pattern": f"^[A-Za-z0-9_-]{{1,{MAX_NAME_LENGTH}}}$",
                                                "not": {"enum": ["PORT", "MODEL_ID", "PID"]}},
                              "additionalProperties": {"type": ["string", "number", "boolean"]}},
    }
    return by_kind[field.kind]()


def _int(field: Field) -> Dict[str, Any]:
    number: Dict[str, Any] = {"type": ["integer", "null"]}
    if field.minimum is not None:
        number["minimum"] = field.minimum
    return {"anyOf": [number, _MACRO]}


def _text(field: Field) -> Dict[str, Any]:
    if field.choices:
        return {"anyOf": [{"enum": [*dict.fromkeys((*field.choices, field.default)), None]}, _MACRO]}
    if field.soft_choices:
        # Any word loads; the list is what an editor offers.
        return {"anyOf": [{"enum": list(field.soft_choices)}, {"type": _SCALAR}]}
    return {"type": _SCALAR}


def _profiles(schema: Dict[str, Any]) -> Dict[str, Any]:
    """A profile may also be a list of models, the form from before groups existed."""
    return {**schema, "additionalProperties": {"anyOf": [
        schema["additionalProperties"], {"type": "array", "items": {"type": _SCALAR}, "deprecated": True}]}}

"""The last look at a hardware snapshot: does it have the shape that programs rely on?"""
from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, Mapping

Check = Callable[[Any], bool]

ARCHITECTURES = ("x86_64", "arm64", "armv7", "ppc64le", "riscv64", "s390x", "other")
FAMILIES = ("linux", "macos", "windows", "other")
ENVIRONMENTS = ("native", "container", "virtual_machine", "wsl", "other", "unknown")
KINDS = ("gpu", "npu", "other")
MEMORY_KINDS = ("dedicated", "unified", "shared_system", "unknown")


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _watts(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def _or_null(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _one_of(*allowed: str) -> Check:
    return lambda value: value in allowed


SHAPE: Dict[str, Check] = {
    "schema_version": lambda value: value == 1, "captured_at": _text, "capture.scope": _one_of("inference_host"),
    "capture.method": _one_of("detected"), "capture.detector.name": _text, "capture.detector.version": _text,
    "architecture.name": _one_of(*ARCHITECTURES), "architecture.raw_name": _or_null(_text),
    "operating_system.family": _one_of(*FAMILIES), "operating_system.name": _or_null(_text),
    "operating_system.version": _or_null(_text), "operating_system.kernel": _or_null(_text),
    "environment.kind": _one_of(*ENVIRONMENTS), "environment.name": _or_null(_text),
    "environment.version": _or_null(_text), "cpu.vendor": _or_null(_text), "cpu.model": _or_null(_text),
    "cpu.socket_count": _or_null(_count), "cpu.physical_core_count": _or_null(_count),
    "cpu.logical_thread_count": _or_null(_count), "memory.capacity_bytes": _or_null(_count),
    "accelerators": lambda value: isinstance(value, list),
}
ACCELERATOR_SHAPE: Dict[str, Check] = {
    "kind": _one_of(*KINDS), "vendor": _or_null(_text), "model": _or_null(_text), "architecture": _or_null(_text),
    "memory.kind": _one_of(*MEMORY_KINDS), "memory.capacity_bytes": _or_null(_count),
    "driver": lambda value: value is None or _text(value.get("name")) and _or_null(_text)(value.get("version")),
    "power_limit_watts": _or_null(_watts),
}


def problems_of(snapshot: Mapping[str, Any]) -> List[str]:
    """Empty when all is well."""
    problems = list(_problems(snapshot, SHAPE, ""))
    accelerators = snapshot.get("accelerators")
    for index, each in enumerate(accelerators if isinstance(accelerators, list) else ()):
        if each.get("index") != index:
            problems.append(f"accelerators[{index}].index is {each.get('index')!r}")
        problems.extend(_problems(each, ACCELERATOR_SHAPE, f"accelerators[{index}]."))
    cpu = snapshot.get("cpu") or {}
    cores, threads = cpu.get("physical_core_count"), cpu.get("logical_thread_count")
    if isinstance(cores, int) and isinstance(threads, int) and cores > threads:
        problems.append(f"{cores} cores cannot run {threads} threads")
    return problems


def _problems(found: Any, shape: Mapping[str, Check], prefix: str) -> Iterator[str]:
    for path, check in shape.items():
        value = found
        for name in path.split("."):
            value = value.get(name, _MISSING) if isinstance(value, Mapping) else _MISSING
        if value is _MISSING:
            yield f"{prefix}{path} is missing"
        elif not check(value):
            yield f"{prefix}{path} is {value!r}"


_MISSING = object()

"""NVIDIA GPUs through the driver's own library: no process is started, and one sample of one GPU takes under a
millisecond.

A value that a GPU does not support is None; other values of the same GPU, and other GPUs, are not affected. When no GPU
answers any more the library is shut down, and the next read begins with a new handshake: that is what it takes after a
driver has been replaced.
"""
from __future__ import annotations

from typing import Any, Callable, Collection, Iterator, List, Optional, TypeVar

from llamaswap.runtime.gpus import GpuFacts, GpuStats, Usage, add_usage, pci_address, scaled, share

MIB = 1 << 20
Value = TypeVar("Value")

# nvmlDeviceArchitecture_t
ARCHITECTURES = {2: "Kepler", 3: "Maxwell", 4: "Pascal", 5: "Volta", 6: "Turing", 7: "Ampere", 8: "Ada Lovelace",
                 9: "Hopper", 10: "Blackwell", 13: "Rubin"}


def load_pynvml() -> Optional[Any]:
    """The binding, None where it or the driver is not installed. It costs 5 MB and 24 ms, so machines without the
    driver do not import it."""
    import ctypes
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
        import pynvml
    except (OSError, ImportError):
        return None
    return pynvml


class _Device:
    """A handle, and what never changes."""

    def __init__(self, index: int, handle: Any) -> None:
        self.index = index
        self.handle = handle
        self.name = ""
        self.uuid = ""
        self.power_limit_w: Optional[float] = None
        self.temp_limit_c: Optional[int] = None


class Nvml:
    name = "nvml"

    def __init__(self, load: Callable[[], Optional[Any]] = load_pynvml) -> None:
        self._load = load
        self._lib: Any = None
        self._errors: Any = ()
        self._devices: Optional[List[_Device]] = None

    def __repr__(self) -> str:
        return f"Nvml({'closed' if self._devices is None else len(self._devices)})"

    # --- the source

    def read(self) -> Optional[List[GpuStats]]:
        if not self._open():
            return None
        count = self._ask(self._lib.nvmlDeviceGetCount)
        if count is not None and self._devices is not None and count != len(self._devices):
            self._devices = self._find_devices(count)       # one was added, or has come back
        gpus = [self._read(device) for device in self._devices or ()]
        # Nothing at all from anybody: the driver has gone away under us.
        if not any(gpu.mem_total_mb is not None or gpu.temp_c is not None for gpu in gpus):
            self.close()
            return None
        return gpus

    def usage(self, pids: Optional[Collection[int]]) -> Optional[Usage]:
        usage: Usage = {}
        is_known = False
        for device in self._devices or ():
            lists = [rows for handle in self._handles(device) for rows in self._process_lists(handle)]
            is_known = is_known or bool(lists)
            for rows in lists:
                for row in rows:
                    add_usage(usage, row.pid, device.index, row.usedGpuMemory)
        return usage if is_known else None

    def facts(self) -> List[GpuFacts]:
        if not self._open():
            return []
        driver = _text(self._ask(self._lib.nvmlSystemGetDriverVersion)) or None
        return [self._facts(device, driver) for device in self._devices or ()]

    def abort(self) -> None:
        """A call into the driver cannot be cut short."""

    def close(self) -> None:
        if self._devices is not None:
            self._devices = None
            self._ask(self._lib.nvmlShutdown)

    # --- the library

    def _open(self) -> bool:
        if self._devices is not None:
            return True
        if self._lib is None:
            self._lib = self._load()
        if self._lib is None:
            return False
        # AttributeError: the binding is older than the question.
        self._errors = (self._lib.NVMLError, AttributeError)
        try:
            self._lib.nvmlInit()
        except self._errors:
            return False
        count = self._ask(self._lib.nvmlDeviceGetCount)
        self._devices = self._find_devices(count or 0)
        if not self._devices:
            self.close()
            return False
        return True

    def _ask(self, question: Callable[..., Value], *args: Any) -> Optional[Value]:
        """None when the driver will not or cannot say."""
        try:
            return question(*args)
        except self._errors:
            return None

    def _field(self, name: str, *args: Any) -> Any:
        """Like _ask, for what older bindings do not have."""
        question = getattr(self._lib, name, None)
        return None if question is None else self._ask(question, *args)

    def _find_devices(self, count: int) -> List[_Device]:
        handles = ((index, self._ask(self._lib.nvmlDeviceGetHandleByIndex, index)) for index in range(count))
        return [self._describe(_Device(index, handle)) for index, handle in handles if handle is not None]

    def _describe(self, device: _Device) -> _Device:
        lib, handle = self._lib, device.handle
        device.name = _text(self._ask(lib.nvmlDeviceGetName, handle))
        device.uuid = _text(self._ask(lib.nvmlDeviceGetUUID, handle))
        limit = self._field("nvmlDeviceGetEnforcedPowerLimit", handle)
        device.power_limit_w = scaled(limit, 1e-3)
        slowdown = getattr(lib, "NVML_TEMPERATURE_THRESHOLD_SLOWDOWN", None)
        if slowdown is not None:
            device.temp_limit_c = self._field("nvmlDeviceGetTemperatureThreshold", handle, slowdown)
        return device

    # --- one GPU

    def _read(self, device: _Device) -> GpuStats:
        lib, handle = self._lib, device.handle
        memory = self._memory(handle)
        rates = self._ask(lib.nvmlDeviceGetUtilizationRates, handle)
        power = self._ask(lib.nvmlDeviceGetPowerUsage, handle)
        return GpuStats(
            id=device.index, name=device.name, uuid=device.uuid,
            temp_c=self._ask(lib.nvmlDeviceGetTemperature, handle, lib.NVML_TEMPERATURE_GPU),
            vram_temp_c=self._memory_temperature(handle),
            gpu_util_pct=None if rates is None else float(rates.gpu),
            mem_util_pct=None if memory is None else share(memory.used, memory.total),
            mem_used_mb=None if memory is None else memory.used // MIB,
            mem_total_mb=None if memory is None else memory.total // MIB,
            fan_speed_pct=_float(self._ask(lib.nvmlDeviceGetFanSpeed, handle)), power_draw_w=scaled(power, 1e-3),
            power_limit_w=device.power_limit_w, temp_limit_c=device.temp_limit_c)

    def _memory(self, handle: Any) -> Any:
        """The newer form does not count what the driver keeps for itself as used; older drivers do not have it."""
        version = getattr(self._lib, "nvmlMemory_v2", None)
        newer = None if version is None else self._ask(self._lib.nvmlDeviceGetMemoryInfo, handle, version)
        return newer if newer is not None else self._ask(self._lib.nvmlDeviceGetMemoryInfo, handle)

    def _memory_temperature(self, handle: Any) -> Optional[int]:
        """Data centre GPUs have a sensor there; the others answer 0 or an error."""
        field = getattr(self._lib, "NVML_FI_DEV_MEMORY_TEMP", None)
        values = None if field is None else self._field("nvmlDeviceGetFieldValues", handle, [field])
        if not values or values[0].nvmlReturn != 0:
            return None
        return int(values[0].value.uiVal) or None

    def _handles(self, device: _Device) -> Iterator[Any]:
        """The GPU and, if it is partitioned, its parts: without privileges the GPU itself names no processes then."""
        yield device.handle
        mode = self._field("nvmlDeviceGetMigMode", device.handle)
        if mode and mode[0]:
            for index in range(self._field("nvmlDeviceGetMaxMigDeviceCount", device.handle) or 0):
                part = self._field("nvmlDeviceGetMigDeviceHandleByIndex", device.handle, index)
                if part is not None:
                    yield part

    def _process_lists(self, handle: Any) -> Iterator[Any]:
        for name in ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses"):
            rows = self._field(name, handle)
            if rows is not None:
                yield rows

    def _facts(self, device: _Device, driver: Optional[str]) -> GpuFacts:
        handle = device.handle
        memory = self._memory(handle)
        pci = self._field("nvmlDeviceGetPciInfo", handle)
        return GpuFacts(
            pci=pci_address(_text(pci.busId)) if pci is not None else "", vendor="NVIDIA", model=device.name or None,
            architecture=ARCHITECTURES.get(self._field("nvmlDeviceGetArchitecture", handle)),
            memory_kind=None if memory is None else "dedicated",
            capacity_bytes=None if memory is None else int(memory.total), driver_name="nvidia", driver_version=driver,
            power_limit_watts=device.power_limit_w)


def _text(value: Any) -> str:
    """Older bindings answer in bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def _float(value: Any) -> Optional[float]:
    return None if value is None else float(value)

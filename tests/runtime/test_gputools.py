from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from llamaswap.runtime.gputools import (
    MAX_OUTPUT_BYTES,
    SMI_FIELDS,
    NvidiaSmi,
    RocmSmi,
    Tool,
    architecture_of,
)
from llamaswap.runtime.threads import spawn
from tests.support.machines import tool

LONG = 60.0


@pytest.fixture
def bin_dir(tmp_path, monkeypatch):
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    return directory


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_alive(pid)


# --- the tool

def test_what_it_prints(bin_dir):
    tool(bin_dir, "ask", 'echo "$1 $LC_ALL"; echo "complaint" >&2')
    assert Tool("ask").run("hello") == "hello C\n"


def test_missing_or_failed_is_no_answer(bin_dir):
    tool(bin_dir, "fails", "echo nonsense; exit 9")
    assert Tool("fails").run() is None
    assert Tool("not-there-at-all").run() is None
    (bin_dir / "broken").write_bytes(b"\x7fELF")
    (bin_dir / "broken").chmod(0o755)
    assert Tool("broken").run() is None


def test_its_whole_group_is_ended_when_it_takes_too_long(bin_dir, tmp_path):
    tool(bin_dir, "hangs", f"sleep {LONG:.0f} & echo $! > {tmp_path}/pid; echo started; sleep {LONG:.0f}")
    hanging = Tool("hangs", timeout=0.5)
    began = time.monotonic()
    assert hanging.run() is None and hanging.timed_out
    assert time.monotonic() - began < LONG / 4
    assert gone(int((tmp_path / "pid").read_text()))
    tool(bin_dir, "hangs", "echo well")
    assert hanging.run() == "well\n" and not hanging.timed_out


def test_a_grandchild_that_keeps_the_output_open(bin_dir, tmp_path):
    tool(bin_dir, "leaves", f"sleep {LONG:.0f} & echo $! > {tmp_path}/pid; exit 0")
    assert Tool("leaves", timeout=0.5).run() is None
    assert gone(int((tmp_path / "pid").read_text()))


def test_output_without_end(bin_dir):
    tool(bin_dir, "floods", "exec yes")
    assert Tool("floods", timeout=LONG).run() is None
    tool(bin_dir, "floods", f"head -c {MAX_OUTPUT_BYTES} /dev/zero")
    assert len(Tool("floods").run()) == MAX_OUTPUT_BYTES


def test_one_that_closes_its_output_and_stays(bin_dir):
    tool(bin_dir, "stays", f"exec >&-; exec sleep {LONG:.0f}")
    began = time.monotonic()
    assert Tool("stays", timeout=0.7).run() is None
    assert time.monotonic() - began < LONG / 4


def test_the_end_of_the_program_ends_it(bin_dir, tmp_path):
    tool(bin_dir, "hangs", f"echo $$ > {tmp_path}/pid; exec sleep {LONG:.0f}")
    hanging = Tool("hangs", timeout=LONG)
    answers = []
    thread = spawn("asks", lambda: answers.append(hanging.run()))
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        time.sleep(0.01)
    hanging.abort()
    thread.join(LONG / 4)
    assert answers == [None]
    assert gone(int((tmp_path / "pid").read_text()))
    assert hanging.run() is None                        # and no other is started


def test_no_second_is_started_while_one_cannot_be_killed(bin_dir, tmp_path):
    class Unkillable:
        code = None

        def poll(self):
            return self.code

    tool(bin_dir, "asks", f"echo x >> {tmp_path}/runs")
    asked = Tool("asks")
    asked._stuck = Unkillable()
    assert asked.run() is None and not (tmp_path / "runs").exists()
    assert "stuck" in repr(asked)
    asked._stuck.code = -9
    assert asked.run() == ""


# --- nvidia-smi

GPU_LINE = "{0}, GPU-{0}, 60, 50, 6144, 24576, 30, 250.12, 350.00, [N/A], NVIDIA Test, 24 GB"


def test_nvidia_smi_tells_of_every_gpu_and_names_may_have_commas(bin_dir):
    tool(bin_dir, "nvidia-smi", f"echo '{GPU_LINE.format(0)}'; echo '{GPU_LINE.format(1)}'")
    first, second = NvidiaSmi().read()
    assert (first.id, first.name, first.uuid) == (0, "NVIDIA Test, 24 GB", "GPU-0")
    assert (first.temp_c, first.vram_temp_c, first.gpu_util_pct) == (60, None, 50.0)
    assert (first.mem_used_mb, first.mem_total_mb, first.mem_util_pct) == (6144, 24576, 25.0)
    assert (first.fan_speed_pct, first.power_draw_w, first.power_limit_w) == (30.0, 250.12, 350.0)
    assert second.id == 1


def test_what_nvidia_smi_does_not_know_is_unknown(bin_dir):
    tool(bin_dir, "nvidia-smi", "echo '0, GPU-0, [N/A], [Not Supported], [Unknown Error], N/A, ERR!, [N/A], , -, GB10'")
    assert NvidiaSmi().read() == [(0, "GB10", "GPU-0", *[None] * 10)]


def test_a_lost_gpu_of_nvidia_smi_keeps_its_number_and_has_no_name(bin_dir):
    lost = ", [GPU is lost]"
    tool(bin_dir, "nvidia-smi", f"echo '{GPU_LINE.format(0)}'; echo '1{10 * lost}'")
    assert NvidiaSmi().read()[1] == (1, "NVIDIA GPU", "", *[None] * 10)
    tool(bin_dir, "nvidia-smi", f"echo '00000000:01:00.0{5 * lost}'")
    assert NvidiaSmi().facts()[0][:3] == ("0000:01:00.0", "NVIDIA", None)


def test_an_old_nvidia_smi_that_does_not_know_all_fields(bin_dir, tmp_path):
    tool(bin_dir, "nvidia-smi", f"""
echo x >> {tmp_path}/runs
case "$1" in *enforced*) echo 'Field "enforced.power.limit" is not a valid field to query.'; exit 2;; esac
echo '0, GPU-0, 60, 50, 6144, 24576, 30, 250.12, Old'""")
    smi = NvidiaSmi()
    assert smi.read()[0].name == "Old"
    assert smi.read()[0].power_draw_w == 250.12
    assert (tmp_path / "runs").read_text() == "x\n" * 3         # what it knows is learned once


def test_an_nvidia_smi_without_a_driver(bin_dir):
    tool(bin_dir, "nvidia-smi", "echo 'NVIDIA-SMI has failed'; exit 9")
    assert NvidiaSmi().read() is None
    tool(bin_dir, "nvidia-smi", "echo 'No devices were found'")
    assert NvidiaSmi().read() is None
    assert NvidiaSmi().facts() == []


def test_an_nvidia_smi_that_hangs_is_asked_once(bin_dir, tmp_path):
    tool(bin_dir, "nvidia-smi", f"echo x >> {tmp_path}/runs; exec sleep {LONG:.0f}")
    assert NvidiaSmi(Tool("nvidia-smi", timeout=0.5)).read() is None
    assert (tmp_path / "runs").read_text() == "x\n"


def test_processes_of_nvidia_smi(bin_dir):
    tool(bin_dir, "nvidia-smi", f"""
case "$1" in --query-compute-apps*)
  echo 'GPU-0, 10, 100'; echo 'GPU-1, 10, 50'; echo 'GPU-0, 11, [N/A]'; echo 'GPU-9, 12, 5'; echo 'rubbish'; exit;;
esac
echo '{GPU_LINE.format(0)}'; echo '{GPU_LINE.format(1)}'""")
    smi = NvidiaSmi()
    smi.read()
    assert smi.usage([10, 11]) == {10: {0: 100 << 20, 1: 50 << 20}}
    tool(bin_dir, "nvidia-smi", "exit 1")
    assert smi.usage([10]) is None


def test_facts_of_nvidia_smi(bin_dir):
    tool(bin_dir, "nvidia-smi", "echo '00000000:01:00.0, 24576, 570.00, 350.00, 8.9, NVIDIA Test'\n"
                                "echo '00000000:02:00.0, [N/A], [N/A], [N/A], [N/A], NVIDIA GB10'")
    first, second = NvidiaSmi().facts()
    assert (first.pci, first.capacity_bytes, first.driver_version, first.architecture, first.power_limit_watts) == (
        "0000:01:00.0", 24 << 30, "570.00", "Ada Lovelace", 350.0)
    assert (second.capacity_bytes, second.driver_version, second.architecture, second.memory_kind) == (None,) * 4


@pytest.mark.parametrize("capability, name", [
    ("7.0", "Volta"), ("7.5", "Turing"), ("8.6", "Ampere"), ("8.9", "Ada Lovelace"), ("9.0", "Hopper"),
    ("12.0", "Blackwell"), ("2.1", None), ("99.0", None), ("[N/A]", None)])
def test_architectures(capability, name):
    assert architecture_of(capability) == name


def test_the_name_comes_last():
    assert all(fields[-1] == "name" for fields in SMI_FIELDS)


# --- rocm-smi

CARDS = {
    "card1": {"GPU use (%)": "0", "VRAM Total Memory (B)": "1024", "VRAM Total Used Memory (B)": "256"},
    "card0": {"Card Series": "AMD Radeon Test", "Card Model": "0x744c", "Unique ID": "0xabc", "GPU use (%)": "37",
              "VRAM Total Memory (B)": str(24 << 30), "VRAM Total Used Memory (B)": str(6 << 30),
              "Temperature (Sensor edge) (C)": "45.0", "Temperature (Sensor memory) (C)": "61.0",
              "Fan speed (%)": "20", "Average Graphics Package Power (W)": "123.5",
              "Max Graphics Package Power (W)": "300.0", "PCI Bus": "0000:03:00.0", "GFX Version": "gfx1100"},
    "system": {"Driver version": "6.8.5"}}


def test_rocm_smi_in_json(bin_dir, tmp_path):
    (tmp_path / "cards").write_text("WARNING: no root\n" + json.dumps(CARDS))
    tool(bin_dir, "rocm-smi", f"cat {tmp_path}/cards")
    first, second = RocmSmi().read()
    assert (first.id, first.name, first.uuid, first.gpu_util_pct) == (0, "AMD Radeon Test", "GPU-abc", 37.0)
    assert (first.mem_used_mb, first.mem_total_mb, first.mem_util_pct) == (6144, 24576, 25.0)
    assert (first.temp_c, first.vram_temp_c, first.fan_speed_pct) == (45, 61, 20.0)
    assert (first.power_draw_w, first.power_limit_w) == (123.5, 300.0)
    assert (second.id, second.name, second.uuid, second.temp_c, second.power_draw_w) == (1, "AMD GPU", "", None, None)


def test_rocm_smi_in_csv_when_it_cannot_do_better(bin_dir, tmp_path):
    tool(bin_dir, "rocm-smi", f"""
echo x >> {tmp_path}/runs
case "$*" in *--json*|*--showmaxpower*) echo 'unrecognized arguments' >&2; exit 2;; esac
echo 'device,Temperature (Sensor junction) (C),GPU use (%),VRAM Total Memory (B),VRAM Total Used Memory (B),Card Series'
echo 'card0,52.0,37,2097152,1048576,"Radeon, Test"'
echo
echo 'card1,N/A,N/A'""")
    rocm = RocmSmi()
    first, second = rocm.read()
    assert (first.temp_c, first.gpu_util_pct, first.mem_util_pct, first.name) == (52, 37.0, 50.0, "Radeon, Test")
    assert (second.id, second.temp_c, second.gpu_util_pct) == (1, None, None)
    assert (tmp_path / "runs").read_text() == "x\n" * 4
    assert len(rocm.read()) == 2
    assert (tmp_path / "runs").read_text() == "x\n" * 5         # it begins with what worked


@pytest.mark.parametrize("script", ["exit 1", "echo '{'", "echo '{}'", "echo '[1]'", "echo device,x",
                                    "echo '{\"card0\": 1}'"])
def test_a_rocm_smi_that_makes_no_sense(bin_dir, script):
    tool(bin_dir, "rocm-smi", script)
    assert RocmSmi().read() is None
    assert RocmSmi().facts() == []
    assert RocmSmi().usage([1]) is None


def test_facts_of_rocm_smi(bin_dir, tmp_path):
    (tmp_path / "cards").write_text(json.dumps(CARDS))
    tool(bin_dir, "rocm-smi", f"cat {tmp_path}/cards")
    facts = RocmSmi().facts()[0]
    assert (facts.pci, facts.model, facts.architecture, facts.capacity_bytes, facts.driver_version,
            facts.power_limit_watts) == ("0000:03:00.0", "AMD Radeon Test", "gfx1100", 24 << 30, "6.8.5", 300.0)


def test_aborting_twice_or_with_nothing_to_abort(bin_dir):
    for source in (NvidiaSmi(), RocmSmi()):
        source.abort()
        source.abort()
        source.close()
        assert source.read() is None

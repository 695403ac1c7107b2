"""A real Prometheus reads us, its own tool has no complaint, and the board asks only for what is there."""
from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from llamaswap.runtime.threads import spawn
from tests.support.program import chat, demo, free_ports, run_program
from tests.support.scraped import filled

CONTRIB = Path(__file__).resolve().parents[2] / "contrib"
BOARD, PROMETHEUS = CONTRIB / "grafana" / "llamaswap.json", CONTRIB / "prometheus"
RULES, EXAMPLE = PROMETHEUS / "llamaswap.rules.yml", PROMETHEUS / "prometheus.example.yml"
PATIENCE = 60.0
VARIABLES = {"$__rate_interval": "20s", "$instance": ".*", "$job": ".*", "$model": ".*"}
NAME = re.compile(r"\b(?:llamaswap|process)_[a-z0-9_]+\b")

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")


def board_queries():
    board = json.loads(BOARD.read_text(encoding="utf-8"))
    return [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", ())]


def alerts():
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [(rule["alert"], rule["expr"]) for group in groups for rule in group["rules"]]


def exported():
    text, _ = filled().render()
    return {sample.name for family in text_string_to_metric_families(text.decode()) for sample in family.samples}


# --- the board and the alerts ----------------------------------------------------------------------------------------


def test_board_and_alerts_ask_for_what_we_export():
    there = exported()
    asked = {name: where for where, expr in board_queries() + alerts() for name in NAME.findall(expr)}
    assert len(asked) > 30
    assert {name: where for name, where in asked.items() if name not in there} == {}


def test_the_board_shows_all_that_we_export():
    asked = {name for _, expr in board_queries() for name in NAME.findall(expr)}
    ours = {re.sub("_(bucket|sum|count)$", "", name) for name in exported() if name.startswith("llamaswap_")}
    assert ours - {re.sub("_bucket$", "", name) for name in asked} == {"llamaswap_build_info"}


def test_the_board_is_one():
    board = json.loads(BOARD.read_text(encoding="utf-8"))
    assert [variable["name"] for variable in board["templating"]["list"]] == ["datasource", "job", "instance", "model"]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["datasource"]["uid"] == "${datasource}"


# --- promtool --------------------------------------------------------------------------------------------------------


def promtool(*arguments, text=b""):
    done = subprocess.run(["promtool", *arguments], input=text, capture_output=True, timeout=PATIENCE, check=False)
    return done.returncode, (done.stdout + done.stderr).decode()


@needs_promtool
def test_promtool_has_nothing_to_say_about_the_metrics():
    assert promtool("check", "metrics", text=filled().render()[0]) == (0, "")


@needs_promtool
def test_promtool_would_complain():
    code, said = promtool("check", "metrics", text=b"# TYPE bad_count counter\nbad_count 1\n")
    assert code and "bad_count" in said


@needs_promtool
@pytest.mark.parametrize("kind, path", [("rules", RULES), ("config", EXAMPLE)])
def test_promtool_accepts_the_examples(kind, path):
    code, said = promtool("check", kind, str(path))
    assert code == 0, said


@needs_promtool
@pytest.mark.parametrize("answered, fires", [(None, True), ("7x80", True), ("0+1x80", False)])
def test_a_queue_that_is_stuck_is_told(tmp_path, answered, fires):
    """Also where nothing has ever been answered, so that there is no counter of it."""
    series = [{"series": 'llamaswap_model_requests_queued{instance="i",model="m"}', "values": "0x10 1x70"}]
    if answered:
        series.append({"series": 'llamaswap_requests_total{instance="i",model="n"}', "values": answered})
    summary = "Requests wait for m, and nothing has been answered for half an hour"
    told = [{"exp_labels": {"severity": "critical", "instance": "i", "model": "m"},
             "exp_annotations": {"summary": summary}}] if fires else []
    checks = [{"alertname": "LlamaswapQueueStuck", "eval_time": at, "exp_alerts": found}
              for at, found in (("20m", []), ("45m", told))]
    test = tmp_path / "test.yml"
    test.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [
        {"interval": "1m", "input_series": series, "alert_rule_test": checks}]}), encoding="utf-8")
    code, said = promtool("test", "rules", str(test))
    assert code == 0, said


# --- a real Prometheus -----------------------------------------------------------------------------------------------


class Exporter(BaseHTTPRequestHandler):
    """Stands for the program: /metrics, and nothing else."""

    metrics = filled()
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        text, kind = self.metrics.render(self.headers.get("Accept", ""))
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def exporter():
    """Where /metrics is answered: host and port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Exporter) as server:
        server.daemon_threads = True
        serving = spawn("exporter", server.serve_forever, 0.05)
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        serving.join(PATIENCE)


@pytest.fixture(scope="module")
def program():
    with run_program({"models": {"real": demo()}, "performance": {"disabled": True}}) as running:
        assert running.ask("POST", "/v1/chat/completions", chat("real")).status == 200
        yield running


class Prometheus:
    def __init__(self, base):
        self.base = base

    def fetch(self, path, **parameters):
        """Raises HTTPError, an OSError, for what it refuses."""
        url = f"{self.base}{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10.0) as answer:
            return answer.read()

    def get(self, path, **parameters):
        try:
            return json.loads(self.fetch(path, **parameters))["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def await_ready(self, process):
        """It answers 503 while it reads its own data."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and process.poll() is None:
            try:
                return self.fetch("/-/ready")
            except urllib.error.HTTPError as error:
                error.close()
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"prometheus is not ready; exit code {process.poll()}")

    def query(self, expr):
        """The values it has now, of every series."""
        return [float(found["value"][1]) for found in self.get("/api/v1/query", query=expr)["result"]]

    def await_value(self, expr, wanted):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = self.query(expr)
            if found == [wanted]:
                return
            time.sleep(0.1)
        raise AssertionError(f"{expr} is {found}, not {wanted}")


@pytest.fixture(scope="module")
def prometheus(exporter, program, tmp_path_factory):
    """Reads the exporter and the program every second, with the example's configuration otherwise."""
    home = tmp_path_factory.mktemp("prometheus")
    config = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    config["global"].update(scrape_interval="1s", evaluation_interval="1s")
    config["scrape_configs"][0]["static_configs"] = [{"targets": [exporter]}]
    config["scrape_configs"].append({"job_name": "program", "static_configs": [
        {"targets": [f"127.0.0.1:{program.port}"]}]})
    (home / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    shutil.copy(RULES, home)
    address = f"127.0.0.1:{free_ports(1)}"
    command = ["prometheus", f"--config.file={home / 'prometheus.yml'}", f"--storage.tsdb.path={home / 'data'}",
               f"--web.listen-address={address}", "--log.level=warn"]
    with open(home / "log", "wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            found = Prometheus(f"http://{address}")
            found.await_ready(process)
            yield found
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


@needs_prometheus
def test_it_is_scraped(prometheus):
    prometheus.await_value('up{job="llamaswap"}', 1.0)
    prometheus.await_value('llamaswap_tokens_total{model="m",type="output"}', 7.0)
    prometheus.await_value('llamaswap_network_bytes_total{interface="eth0",direction="sent"}', 2000.0)
    prometheus.await_value('llamaswap_request_duration_seconds_bucket{model="m",le="2.5"}', 1.0)
    prometheus.await_value('up{job="program"}', 1.0)         # the other target begins a second later
    for target in prometheus.get("/api/v1/targets")["activeTargets"]:
        assert target["health"] == "up" and not target["lastError"]


@needs_prometheus
def test_the_program_is_scraped(prometheus, program):
    prometheus.await_value('up{job="program"}', 1.0)
    prometheus.await_value('sum(llamaswap_requests_total{job="program",model="real",outcome="ok"})', 1.0)
    assert program.ask("POST", "/v1/chat/completions", chat("real")).status == 200
    prometheus.await_value('sum(llamaswap_requests_total{job="program",model="real",outcome="ok"})', 2.0)
    prometheus.await_value('llamaswap_models{job="program",state="ready"}', 1.0)
    prometheus.await_value('llamaswap_model_starts_total{job="program",model="real"}', 1.0)


@needs_promtool
def test_promtool_has_nothing_to_say_about_the_program(program):
    assert promtool("check", "metrics", text=program.ask("GET", "/metrics").body) == (0, "")


@needs_prometheus
def test_every_panel_gets_an_answer(prometheus):
    prometheus.await_value('count_over_time(up{job="llamaswap"}[1m]) > bool 2', 1.0)
    for title, expr in board_queries():
        for name, value in VARIABLES.items():
            expr = expr.replace(name, value)
        # Panels that show only what is above zero are asked for the rest too.
        assert prometheus.query(re.sub(r" > 0$", "", expr)), f"{title}: {expr}"


@needs_prometheus
def test_every_alert_can_be_judged(prometheus):
    prometheus.await_value('up{job="llamaswap"}', 1.0)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        rules = [rule for group in prometheus.get("/api/v1/rules")["groups"] for rule in group["rules"]]
        if rules and all(rule["health"] != "unknown" for rule in rules):
            break
        time.sleep(0.2)
    assert [(rule["name"], rule["health"]) for rule in rules] == [(name, "ok") for name, _ in alerts()]

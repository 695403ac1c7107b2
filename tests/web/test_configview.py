"""The configuration as the API shows it."""
from __future__ import annotations

from llamaswap.core.tree import Mark, Problem
from llamaswap.web.configview import ConfigView, Reading
from tests.support.asked import asked, config_of, loaded


def test_secrets_are_masked_and_problems_are_placed():
    config = config_of(models={"m": {"cmd": "server --port ${PORT} --api-key geheim"}}, apiKeys=["geheim"])
    problems = [Problem(("models", "m", "ttl"), "must be a number", mark=Mark("/etc/c.yaml", 3, 7)),
                Problem((), "nothing to do", severity="warning")]
    reading = Reading(config, ["/etc/c.yaml"], problems, False, 20.0, 10.0)
    answer = ConfigView(lambda: reading).show(asked("GET", "/api/config"), "")
    shown = loaded(answer)
    assert b"geheim" not in answer.body and shown["config"]["apiKeys"] == ["***"]
    assert (shown["valid"], shown["paths"]) == (False, ["/etc/c.yaml"])
    assert (shown["loaded_at"], shown["read_at"]) == (10.0, 20.0)
    first, second = shown["problems"]
    assert (first["file"], first["line"], first["column"], first["key"]) == ("/etc/c.yaml", 3, 7, "models.m.ttl")
    assert (first["severity"], first["message"]) == ("error", "must be a number")
    assert (second["file"], second["line"], second["key"], second["severity"]) == (None, None, None, "warning")

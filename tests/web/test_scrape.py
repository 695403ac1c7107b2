"""GET /metrics."""
from __future__ import annotations

from llamaswap.core.headers import Headers
from llamaswap.web.scrape import Scrape
from tests.support.asked import asked, header
from tests.support.scraped import filled


def test_the_text_and_its_type():
    response = Scrape(filled().render).metrics(asked("GET", "/metrics"), "")
    assert response.status == 200 and b"\nllamaswap_requests_in_flight 2.0\n" in response.body
    assert header(response, "content-type") == "text/plain; version=0.0.4; charset=utf-8"
    assert header(response, "cache-control") == "no-store"


def test_the_client_chooses_the_format():
    request = asked("GET", "/metrics")
    request.headers = Headers([("Accept", "text/plain;q=0.5"), ("accept", "application/openmetrics-text")])
    response = Scrape(filled().render).metrics(request, "")
    assert header(response, "content-type").startswith("application/openmetrics-text")
    assert response.body.endswith(b"# EOF\n")

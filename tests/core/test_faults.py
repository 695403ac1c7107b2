"""A fault says whose it is, what to tell people and programs, and when trying again makes sense."""
from __future__ import annotations

import pytest

from llamaswap.core.faults import ClientFault, ConfigFault, Fault, Refused, UpstreamFault


@pytest.mark.parametrize("kind, status, code", [
    (ClientFault, 400, "bad_request"), (UpstreamFault, 502, "bad_gateway"), (Refused, 503, "service_unavailable"),
    (ConfigFault, 500, "configuration"), (Fault, 500, "internal_error"),
])
def test_each_kind_has_its_own_status_and_code(kind, status, code):
    fault = kind("no")
    assert (fault.status, fault.code, fault.message, str(fault)) == (status, code, "no", "no")
    assert (fault.retry_after, fault.headers) == (None, ())
    assert repr(fault) == f"{kind.__name__}({status}, {code!r}, 'no')"


def test_what_is_given_wins():
    fault = ClientFault("gone", status=404, code="model_not_found", retry_after=2.5, headers=(("Allow", "GET"),))
    assert (fault.status, fault.code, fault.retry_after) == (404, "model_not_found", 2.5)
    assert fault.headers == (("Allow", "GET"),)
    again = fault.again()
    assert again is not fault and type(again) is ClientFault and vars(again) == vars(fault)
    assert ClientFault.status == 400

"""The values say what they are."""
from __future__ import annotations

from llamaswap.core.settings import Model
from llamaswap.core.tickets import DEFAULT_CONCURRENCY, Spec, Ticket, spec_of


def test_spec_of_a_model():
    model = Model("m", concurrency_limit=3, ttl=60, unload_timeout=7, health_check_timeout=30)
    assert spec_of(model, 5) == Spec(3, 0, 60, 7, 30, 5)


def test_no_limit_means_the_default():
    assert spec_of(Model("m", concurrency_limit=-1)).concurrency == DEFAULT_CONCURRENCY == 10


def test_a_waiting_room():
    assert spec_of(Model("m", concurrency_limit=2, max_waiting=7)) == Spec(2, 7, 0, 10, 120, 0)


def test_an_uncounted_ticket_neither_holds_nor_starts():
    ticket = Ticket("m", counted=False)
    assert (ticket.holds, ticket.may_start) == (False, False)

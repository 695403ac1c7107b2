"""The machine, as scripts: no thread, no socket, no sleep."""
from __future__ import annotations

import pytest

from llamaswap.core.lifecycle import State
from llamaswap.core.scheduler import KILL_AGAIN_AFTER, Scheduler
from llamaswap.core.tickets import (
    Cause,
    Completion,
    Finish,
    Kill,
    ModelFailed,
    Place,
    Plan,
    Refuse,
    Spec,
    Start,
    StateChanged,
    Stop,
    SwapStarted,
    Ticket,
    TicketState,
    Wake,
)
from tests.support.playbook import Playbook, exclusive, one_of, play, refused, rooms, specs, tickets, together


def machine(names="abc", evict=exclusive, max_wait=15.0, **fields):
    return Scheduler(specs(names, **fields), evict, max_wait=max_wait)


def ready(book: Playbook, model: str, gen: int = 1) -> Ticket:
    """Start `model` and hold it."""
    ticket = Ticket(model)
    return_to = book.submit(ticket).expect(Start(model, gen)).on_ready(model, gen).expect(Wake(ticket))
    assert return_to is book
    return ticket


def idle(book: Playbook, model: str, gen: int = 1) -> None:
    book.release(ready(book, model, gen)).expect()


# --- serving ---------------------------------------------------------------------------------------------------------

def test_first_request_starts_and_is_woken_when_ready():
    a = Ticket("a")
    book = play(machine()).at(0).submit(a).expect(Start("a", 1)).at(2).on_ready("a", 1).expect(Wake(a))
    assert (a.state, a.gen, a.left_at, a.queued_at) == (TicketState.GRANTED, 1, 2.0, 0.0)
    assert book.events == [StateChanged("a", 1, State.STOPPED, State.STARTING, "requested", Cause.REQUESTED),
                           StateChanged("a", 1, State.STARTING, State.READY, "answers its health check", Cause.READY)]


def test_ready_model_serves_at_once():
    book = play(machine())
    ready(book, "a")
    second = Ticket("a")
    book.submit(second).expect(Wake(second))


def test_fifty_requests_are_one_start():
    many = tickets("a" * 50)
    book = play(machine(concurrency=50))
    book.submit(many[0]).expect(Start("a", 1))
    for ticket in many[1:]:
        book.submit(ticket).expect()
    book.on_ready("a", 1).expect(*map(Wake, many))


def test_unknown_model_is_refused():
    ticket = Ticket("nobody")
    play(machine()).submit(ticket).expect(
        Refuse(ticket, 404, "model_not_found", "no local server found for requested model"))
    assert ticket.state is TicketState.REFUSED


def test_models_that_may_coexist_start_side_by_side():
    a, b = tickets("ab")
    play(machine(evict=together)).submit(a).expect(Start("a", 1)).submit(b).expect(Start("b", 1))


def test_impossible_requests_of_the_caller_are_loud():
    ticket = Ticket("a")
    scheduler = machine()
    with pytest.raises(AssertionError, match="new"):
        scheduler.release(ticket, 0)
    scheduler.submit(ticket, 0)
    with pytest.raises(AssertionError, match="queued"):
        scheduler.submit(ticket, 0)


# --- limits ----------------------------------------------------------------------------------------------------------

def test_the_limit_counts_who_waits_and_who_is_served():
    one, two, three = tickets("aaa")
    book = play(machine(concurrency=2)).submit(one).expect(Start("a", 1)).submit(two).expect()
    book.submit(three).expect(Refuse(three, 429, "concurrency_limit", "Too many requests", 1.0))
    book.on_ready("a", 1).expect(Wake(one), Wake(two))
    book.submit(four := Ticket("a")).expect(refused(four, 429, "concurrency_limit"))
    book.release(one).expect().submit(five := Ticket("a")).expect(Wake(five))


def test_a_cancelled_ticket_frees_its_place():
    one, two = tickets("aa")
    play(machine(concurrency=1)).submit(one).expect(Start("a", 1)).cancel(one).expect().submit(two).expect()
    assert one.state is TicketState.GONE


def test_release_is_right_in_every_later_state():
    one, two = tickets("aa")
    book = play(machine(concurrency=1)).submit(one).expect(Start("a", 1)).on_ready("a", 1).expect(Wake(one))
    book.submit(two).expect(refused(two, 429, "concurrency_limit"))
    book.release(two).expect().cancel(one).expect().release(one).expect().release(one).expect()
    assert book.scheduler.statuses(["a"])[0].in_flight == 0
    book.submit(three := Ticket("a")).expect(Wake(three))


# --- the waiting room ------------------------------------------------------------------------------------------------

def test_beyond_the_limit_requests_wait_and_are_served_in_order_as_others_finish():
    one, two, three, four, five = tickets("aaaaa")
    book = play(machine(concurrency=2, max_waiting=2)).submit(one).expect(Start("a", 1))
    book.on_ready("a", 1).expect(Wake(one)).submit(two).expect(Wake(two)).submit(three).expect().submit(four).expect()
    assert book.scheduler.place(four) == Place("queued", 2, "a serves as many requests as it may (2)")
    plan = book.scheduler.plan("a", 0)
    assert plan.action == "refuse" and plan.reason.startswith("Too many requests: the waiting room of a is full; ")
    book.submit(five).expect(Refuse(
        five, 429, "concurrency_limit", "Too many requests: the waiting room of a is full; "
        "a serves as many requests as it may (2)", 1.0))
    book.release(two).expect(Wake(three)).cancel(four).expect().submit(six := Ticket("a")).expect()
    book.release(one).expect(Wake(six)).release(three).expect().submit(seven := Ticket("a")).expect(Wake(seven))
    assert book.scheduler.statuses(["a"])[0].in_flight == 2


def test_a_cold_model_lets_in_as_many_as_a_busy_one_and_begins_with_as_many_as_it_may():
    line = tickets("aaaa")
    book = play(machine(concurrency=2, max_waiting=1)).submit(line[0]).expect(Start("a", 1))
    book.submit(line[1]).expect().load(load := Ticket("a", holds=False)).expect().submit(line[2]).expect()
    book.submit(line[3]).expect(refused(line[3], 429, "concurrency_limit"))
    book.on_ready("a", 1).expect(Wake(line[0]), Wake(line[1]), Wake(load)).release(line[0]).expect(Wake(line[2]))


def test_a_load_and_an_uncounted_lease_need_no_place_and_a_peek_does_not_wait_for_one():
    book = play(machine(concurrency=1, max_waiting=5))
    held = ready(book, "a")
    book.submit(waits := Ticket("a")).expect().submit(peek := Ticket("a", may_start=False)).expect(
        refused(peek, 429, "concurrency_limit"))
    book.load(load := Ticket("a", holds=False)).expect(Wake(load))
    book.submit(socket := Ticket("a", counted=False)).expect(Wake(socket)).release(held).expect(Wake(waits))


def test_the_gate_goes_before_the_waiting_room():
    book = play(machine(concurrency=1, max_waiting=5))
    held = ready(book, "a")
    waits, b = Ticket("a"), Ticket("b")
    book.submit(waits).expect().submit(b).expect().at(15).on_timer().expect()
    book.release(held).expect(Stop("a", 1, 10)).on_exit("a", 1, 0, "").expect(Start("b", 1))
    book.on_ready("b", 1).expect(Wake(b)).release(b).expect(Stop("b", 1, 10))
    book.on_exit("b", 1, 0, "").expect(Start("a", 2)).on_ready("a", 2).expect(Wake(waits))


def test_a_gate_that_opens_again_fills_the_places_that_are_free():
    book = play(machine(concurrency=2, max_waiting=5))
    held, b = ready(book, "a"), Ticket("b")
    line = tickets("aaa")
    book.submit(b).expect().at(15).on_timer().expect()
    for ticket in line:
        book.submit(ticket).expect()
    book.cancel(b).expect(Wake(line[0])).release(held).expect(Wake(line[1])).release(line[0]).expect(Wake(line[2]))


def test_a_crash_lets_the_waiting_room_wait_on_within_the_limit():
    book = play(machine(concurrency=1, max_waiting=2))
    held = ready(book, "a")
    one, two = tickets("aa")
    book.submit(one).expect().submit(two).expect().on_exit("a", 1, 9, "").expect(Start("a", 2))
    book.on_ready("a", 2).expect(Wake(one)).release(held).expect().release(one).expect(Wake(two))


def test_a_reload_that_changes_the_limit():
    book = play(machine("a", concurrency=1, max_waiting=5))
    held = ready(book, "a")
    line = tickets("aaaa")
    for ticket in line:
        book.submit(ticket).expect()
    reload(book, "a", unchanged="a", concurrency=3, max_waiting=5).expect(Wake(line[0]), Wake(line[1]))
    reload(book, "a", unchanged="a", concurrency=1, max_waiting=5).expect().release(held).expect()
    book.release(line[0]).expect().release(line[1]).expect(Wake(line[2]))


# --- swapping --------------------------------------------------------------------------------------------------------

def test_a_swap_starts_when_everything_in_its_way_is_stopped():
    book = play(machine(evict=one_of("ab", "c"), unload_timeout=7))
    idle(book, "a")
    idle(book, "b")
    c = Ticket("c")
    book.submit(c).expect(Stop("a", 1, 7), Stop("b", 1, 7))
    book.on_exit("a", 1, 0, "").expect().on_exit("b", 1, 0, "").expect(Start("c", 1))
    assert SwapStarted("c", ("a", "b")) in book.events
    assert StateChanged("a", 1, State.READY, State.STOPPING, "making room for c", Cause.EVICTED, "c") in book.events


def test_a_busy_model_is_not_stopped_for_a_fresh_request():
    book = play(machine())
    held = ready(book, "a")
    b = Ticket("b")
    book.submit(b).expect()
    book.submit(more := Ticket("a")).expect(Wake(more))
    book.release(held).expect().release(more).expect(Stop("a", 1, 10)).on_exit("a", 1, 0, "").expect(Start("b", 1))


def test_abcabc_costs_two_swaps():
    line = tickets("abcabc")
    book = play(machine()).submit(line[0]).expect(Start("a", 1))
    for ticket in line[1:]:
        book.submit(ticket).expect()
    for name, first, second in zip("abc", line, line[3:]):
        book.on_ready(name, 1).expect(Wake(first), Wake(second)).release(first).expect()
        if name == "c":
            book.release(second).expect()
        else:
            following = chr(ord(name) + 1)
            book.release(second).expect(Stop(name, 1, 10)).on_exit(name, 1, 0, "").expect(Start(following, 1))


def test_a_load_that_others_wait_for_is_not_evicted():
    a, b = tickets("ab")
    book = play(machine()).submit(a).expect(Start("a", 1)).submit(b).expect()
    assert book.scheduler.place(b) == Place("draining", 2, "waiting for a to finish")


def test_a_load_nobody_waits_for_is_abandoned_when_room_is_needed():
    a, b = tickets("ab")
    book = play(machine()).submit(a).expect(Start("a", 1)).cancel(a).expect()
    book.submit(b).expect(Stop("a", 1, 10)).on_ready("a", 1).expect().on_exit("a", 1, None, "").expect(Start("b", 1))


def test_a_load_nobody_waits_for_is_finished_otherwise_and_idle_from_ready():
    a = Ticket("a")
    book = play(machine(ttl=5)).submit(a).expect(Start("a", 1)).at(1).cancel(a).expect()
    book.at(50).on_ready("a", 1).expect().at(54.9).on_timer().expect().on_deadline().expect(Stop("a", 1, 10))
    assert book.now == 55


def test_the_last_waiter_leaving_gives_the_room_back():
    book = play(machine())
    held = ready(book, "a")
    b, c = tickets("bc")
    book.release(held).expect().submit(b).expect(Stop("a", 1, 10))
    book.cancel(b).expect().on_exit("a", 1, 0, "").expect()
    book.submit(c).expect(Start("c", 1))


def test_who_made_room_gets_it_before_a_higher_priority():
    scheduler = Scheduler({"a": Spec(), "b": Spec(), "vip": Spec(priority=9)}, exclusive)
    book = play(scheduler)
    idle(book, "a")
    b, vip = Ticket("b"), Ticket("vip")
    book.submit(b).expect(Stop("a", 1, 10)).submit(vip).expect()
    assert scheduler.place(vip) == Place("queued", 1, "waiting for b, which goes first")
    book.on_exit("a", 1, 0, "").expect(Start("b", 1)).on_ready("b", 1).expect(Wake(b))


def test_a_request_for_a_stopping_model_waits_and_starts_it_again():
    book = play(machine())
    idle(book, "a")
    again = Ticket("a")
    book.unload(done := Completion(), ["a"]).expect(Stop("a", 1, 10)).submit(again).expect()
    assert book.scheduler.place(again) == Place("stopping", 1, "a is stopping")
    book.on_exit("a", 1, 0, "").expect(Finish(done), Start("a", 2)).on_ready("a", 2).expect(Wake(again))


def test_a_swap_waits_for_the_memory_of_a_model_that_was_stopping_already():
    book = play(machine(evict=rooms(x="ab")))
    idle(book, "a")
    b = Ticket("b")
    book.unload(done := Completion(), ["a"]).expect(Stop("a", 1, 10)).submit(b).expect()
    assert book.scheduler.place(b) == Place("stopping", 1, "waiting for a to stop")
    book.on_exit("a", 1, 0, "").expect(Finish(done), Start("b", 1))


def test_two_swaps_that_do_not_collide_run_side_by_side():
    book = play(machine("abcd", evict=rooms(x="ab", y="cd")))
    idle(book, "a")
    idle(book, "c")
    b, d = tickets("bd")
    book.submit(b).expect(Stop("a", 1, 10)).submit(d).expect(Stop("c", 1, 10))
    book.on_exit("c", 1, 0, "").expect(Start("d", 1)).on_exit("a", 1, 0, "").expect(Start("b", 1))


def test_who_came_later_waits_until_the_room_that_was_made_is_taken():
    """The policy is not symmetric: loading `guest` evicts nobody, loading `owner` evicts everybody."""
    def evict(target, live):
        return [name for name in live if target in ("owner", "old")]
    book = play(Scheduler(specs(["old", "owner", "guest"]), evict))
    idle(book, "old")
    owner, guest = Ticket("owner"), Ticket("guest")
    book.submit(owner).expect(Stop("old", 1, 10)).submit(guest).expect().on_exit("old", 1, 0, "").expect(
        Start("owner", 1), Start("guest", 1))


def test_who_has_no_obstacle_is_not_held_up_by_who_has():
    book = play(machine("abcd", evict=rooms(x="ab")))
    ready(book, "a")
    b, c = tickets("bc")
    book.submit(b).expect().submit(c).expect(Start("c", 1))


# --- priority and fairness -------------------------------------------------------------------------------------------

def test_priority_then_arrival_decides_who_is_next():
    scheduler = Scheduler({"a": Spec(), "low": Spec(), "low2": Spec(), "high": Spec(priority=5)}, exclusive)
    book = play(scheduler)
    held = ready(book, "a")
    low, low2, high = Ticket("low"), Ticket("low2"), Ticket("high")
    book.submit(low).expect().submit(low2).expect().submit(high).expect()
    assert [scheduler.place(ticket).position for ticket in (high, low, low2)] == [1, 2, 3]
    book.release(held).expect(Stop("a", 1, 10)).on_exit("a", 1, 0, "").expect(Start("high", 1))
    book.on_ready("high", 1).expect(Wake(high)).release(high).expect(Stop("high", 1, 10))
    book.on_exit("high", 1, 0, "").expect(Start("low", 1))


def test_an_overdue_ticket_closes_the_gate():
    book = play(machine())
    held = ready(book, "a")
    b, more = Ticket("b"), Ticket("a")
    book.at(1).submit(b).expect().at(15.9).submit(more).expect(Wake(more)).on_deadline().expect()
    assert book.now == 16
    late = Ticket("a")
    book.submit(late).expect()
    assert book.scheduler.place(late) == Place("draining", 2, "a finishes its requests so that b can run")
    assert book.scheduler.plan("a", book.now) == Plan(
        "a", "wait", (), ("a",), "a finishes its requests so that b can run")
    book.submit(peek := Ticket("a", may_start=False)).expect(refused(peek, 409, "conflict"))
    book.release(held).expect().release(more).expect(Stop("a", 1, 10)).on_exit("a", 1, 0, "").expect(Start("b", 1))
    book.on_ready("b", 1).expect(Wake(b)).at(17).release(b).expect(Stop("b", 1, 10))
    book.on_exit("b", 1, 0, "").expect(Start("a", 2)).on_ready("a", 2).expect(Wake(late))


def test_the_gate_opens_again_when_the_overdue_ticket_leaves():
    book = play(machine())
    ready(book, "a")
    b, late = Ticket("b"), Ticket("a")
    book.submit(b).expect().at(15).on_timer().expect().submit(late).expect().cancel(b).expect(Wake(late))


def test_the_gate_closes_on_everybody_in_the_way():
    book = play(machine(evict=one_of("ab", "c")))
    a, b = ready(book, "a"), ready(book, "b")
    c = Ticket("c")
    book.submit(c).expect().at(15).on_timer().expect().release(a).expect()
    book.submit(again := Ticket("a")).expect().release(b).expect(Stop("a", 1, 10), Stop("b", 1, 10))
    assert again.state is TicketState.QUEUED


def test_without_a_bound_a_busy_model_holds_its_place_for_ever():
    book = play(machine(max_wait=0))
    held = ready(book, "a")
    b = Ticket("b")
    book.submit(b).expect()
    for second in range(1, 1000):
        book.at(second).submit(following := Ticket("a")).expect(Wake(following)).release(held).expect()
        held = following
    assert book.scheduler.next_deadline() is None


def test_a_model_serves_its_batch_before_it_makes_room():
    a, b, join = tickets("aba")
    book = play(machine()).submit(a).expect(Start("a", 1)).submit(b).expect().at(40).submit(join).expect()
    book.on_ready("a", 1).expect(Wake(a), Wake(join)).submit(late := Ticket("a")).expect()
    book.release(a).expect().release(join).expect(Stop("a", 1, 10)).on_exit("a", 1, 0, "").expect(Start("b", 1))
    assert late.state is TicketState.QUEUED


def test_an_overdue_ticket_goes_before_priority_and_keeps_its_room():
    scheduler = Scheduler({**specs("abx"), "vip": Spec(priority=9)}, one_of("ab", "x", "vip"))
    book = play(scheduler)
    a, b = ready(book, "a"), ready(book, "b")
    x, vip = Ticket("x"), Ticket("vip")
    book.submit(x).expect().at(14).submit(vip).expect().at(15).on_timer().expect()
    assert scheduler.place(vip).reason == "waiting for x, which goes first"
    book.release(a).expect().release(b).expect(Stop("a", 1, 10), Stop("b", 1, 10))
    book.on_exit("a", 1, 0, "").expect().on_exit("b", 1, 0, "").expect(Start("x", 1))


def test_overdue_tickets_are_served_in_the_order_of_arrival():
    book = play(machine("abcd"))
    held = ready(book, "a")
    b, c, d = tickets("bcd")
    book.submit(b).expect().at(1).submit(c).expect().at(2).submit(d).expect().at(20).on_timer().expect()
    assert book.scheduler.place(d).reason == "waiting for b, c, which goes first"
    book.release(held).expect(Stop("a", 1, 10)).on_exit("a", 1, 0, "").expect(Start("b", 1))


def test_a_waiting_queue_of_a_ready_model_counts_as_busy_for_a_fresh_request():
    """a's gate reopens while it is idle and has a queue: x, no longer overdue, must not stop it under their feet."""
    book = play(machine("abx", evict=one_of("ab", "x")))
    a, b = ready(book, "a"), ready(book, "b")
    x = Ticket("x")
    book.submit(x).expect().at(15).on_timer().expect().release(a).expect().submit(waits := Ticket("a")).expect()
    book.at(16).submit(second := Ticket("x")).expect().cancel(x).expect(Wake(waits)).release(b).expect()
    assert second.state is TicketState.QUEUED


# --- time ------------------------------------------------------------------------------------------------------------

def test_ttl_counts_from_the_last_end():
    book = play(machine(ttl=10))
    held = ready(book, "a")
    book.at(30).on_timer().expect().release(held).expect().at(35).submit(again := Ticket("a")).expect(Wake(again))
    book.at(36).release(again).expect().at(40).on_timer().expect().on_deadline().expect(Stop("a", 1, 10))
    assert book.now == 46
    assert book.events[-1].reason == "idle for 10s"


def test_a_load_of_what_is_loaded_counts_as_use():
    book = play(machine(ttl=10))
    idle(book, "a")
    load = Ticket("a", holds=False)
    book.at(9).load(load).expect(Wake(load)).at(10).on_timer().expect().on_deadline().expect(Stop("a", 1, 10))
    assert (load.state, book.now) == (TicketState.DONE, 19)


def test_without_ttl_nothing_expires():
    book = play(machine())
    idle(book, "a")
    assert book.scheduler.next_deadline() is None


def test_a_stop_that_takes_too_long_is_a_kill_and_again():
    book = play(machine(unload_timeout=3))
    idle(book, "a")
    book.at(5).unload(done := Completion(), None).expect(Stop("a", 1, 3)).on_deadline().expect(Kill("a", 1))
    assert book.now == 8
    book.on_deadline().expect(Kill("a", 1))
    assert book.now == 8 + KILL_AGAIN_AFTER
    book.on_exit("a", 1, -9, "").expect(Finish(done))


def test_a_start_has_a_deadline():
    a = Ticket("a")
    book = play(machine(health_check_timeout=20)).at(1).submit(a).expect(Start("a", 1)).on_deadline()
    assert book.now == 21
    book.expect(Refuse(a, 503, "model_start_failed", "model a failed to start: health check timed out after 20s", 1.0,
                       ("a", 1)), Stop("a", 1, 10))
    book.on_exit("a", 1, -15, "").expect().submit(again := Ticket("a")).expect(Start("a", 2))
    assert again.state is TicketState.QUEUED


def test_every_stop_has_the_grace_of_the_model():
    """Not that of its health check, and no other one for a load that is given up or cut short."""
    book = play(machine("abcde", evict=rooms(x="ab"), unload_timeout=7, ttl=3, health_check_timeout=20))
    for name in "ace":
        idle(book, name)
    book.submit(b := Ticket("b")).expect(Stop("a", 1, 7)).unload(Completion(), ["c"]).expect(Stop("c", 1, 7))
    book.submit(d := Ticket("d")).expect(Start("d", 1)).on_deadline().expect(Stop("e", 1, 7))
    book.on_exit("a", 1, 0, "").expect(Start("b", 1)).unload(Completion(), ["b"]).expect(
        refused(b, 503, "model_unloaded"), Stop("b", 1, 7))
    for name in "bce":
        book.on_exit(name, 1, 0, "")
        book._effects.clear()       # the ends of the unloads
    book.at(20).on_timer().expect(refused(d, 503, "model_start_failed"), Stop("d", 1, 7))


def test_times_beyond_all_measure():
    book = play(machine(ttl=2 ** 62, unload_timeout=2 ** 62, health_check_timeout=2 ** 62))
    idle(book, "a")
    assert book.scheduler.next_deadline() == 2.0 ** 62
    book.unload(Completion(), None).expect(Stop("a", 1, 2 ** 62))


# --- failures --------------------------------------------------------------------------------------------------------

def test_a_start_that_exits_refuses_who_waits():
    a, join = tickets("aa")
    book = play(machine()).submit(a).expect(Start("a", 1)).submit(join).expect()
    book.on_exit("a", 1, 3, "").expect(
        Refuse(a, 503, "model_start_failed", "model a failed to start: exited (exit code 3)", 1.0, ("a", 1)),
        refused(join, 503, "model_start_failed"))
    assert ModelFailed("a", 1, "exited (exit code 3)", 1, 0.0, "start_failed", 3, None) in book.events
    assert book.scheduler.statuses(["a"])[0].last_error == "exited (exit code 3)"


def test_a_start_that_never_ran_is_stopping_until_the_exit_is_reported():
    a = Ticket("a")
    book = play(machine()).submit(a).expect(Start("a", 1)).on_start_failed("a", 1, "no such file").expect(
        refused(a, 503, "model_start_failed"), Stop("a", 1, 10))
    book.submit(again := Ticket("a")).expect().on_start_failed("a", 1, "no such file").expect()
    book.on_exit("a", 1, None, "never ran").expect(Start("a", 2)).cancel(again).expect()


def test_a_crash_ends_the_generation_and_the_next_request_starts_another():
    book = play(machine())
    held = ready(book, "a")
    book.on_exit("a", 1, 9, "killed").expect()
    assert not book.scheduler.is_serving("a", 1)
    book.submit(again := Ticket("a")).expect(Start("a", 2)).release(held).expect().on_ready("a", 2).expect(Wake(again))
    assert book.scheduler.statuses(["a"])[0].in_flight == 1
    assert again.gen == 2


def test_a_crash_lets_who_waits_behind_a_gate_wait_on():
    book = play(machine())
    ready(book, "a")
    b, late = Ticket("b"), Ticket("a")
    book.submit(b).expect().at(15).on_timer().expect().submit(late).expect()
    book.on_exit("a", 1, 1, "").expect(Start("b", 1))
    assert late.state is TicketState.QUEUED


def test_reports_about_another_generation_or_model_are_dropped():
    book = play(machine())
    held = ready(book, "a")
    book.on_exit("a", 1, 1, "").expect().on_exit("a", 1, 1, "").expect().submit(Ticket("a")).expect(Start("a", 2))
    book.on_ready("a", 1).expect().on_start_failed("a", 1, "").expect().on_exit("a", 1, 0, "").expect()
    book.on_ready("a", 3).expect().on_ready("nobody", 1).expect().release(held).expect()
    assert book.scheduler.statuses(["a"])[0].state == "starting"


def fail_starts(book: Playbook, times: int, model: str = "a", first_gen: int = 1) -> None:
    for gen in range(first_gen, first_gen + times):
        ticket = Ticket(model)
        book.submit(ticket).expect(Start(model, gen)).on_exit(model, gen, 1, "").expect(
            refused(ticket, 503, "model_start_failed"))


def test_a_crash_loop_is_paused_longer_and_longer():
    book = play(machine())
    fail_starts(book, 4)
    early = Ticket("a")
    book.at(0.5).submit(early).expect(Refuse(
        early, 503, "model_crash_loop",
        "model a failed 4 times in a row and is tried again in 2s; last error: exited (exit code 1)", 1.5))
    book.at(2)
    fail_starts(book, 1, first_gen=5)
    book.at(5.9).submit(early := Ticket("a")).expect(refused(early, 503, "model_crash_loop"))
    book.at(6)
    fail_starts(book, 1, first_gen=6)
    assert book.events[-2].retry_after == 8.0


def test_an_explicit_load_calls_the_pause_off():
    book = play(machine())
    fail_starts(book, 4)
    book.load(Ticket("a", holds=False)).expect(Start("a", 5))
    book.load(ghost := Ticket("nobody", holds=False)).expect(refused(ghost, 404, "model_not_found"))


def test_a_good_run_ends_the_count():
    book = play(machine())
    fail_starts(book, 3)
    idle(book, "a", 4)
    book.unload(done := Completion(), ["a"]).expect(Stop("a", 4, 10)).on_exit("a", 4, 0, "").expect(Finish(done))
    fail_starts(book, 3, first_gen=5)


def test_a_long_run_that_crashes_is_the_first_failure():
    book = play(machine())
    fail_starts(book, 3)
    ready(book, "a", 4)
    book.at(100).on_exit("a", 4, 1, "").expect()
    fail_starts(book, 2, first_gen=5)


def test_a_crash_that_begins_a_pause_refuses_who_waited_behind_the_gate():
    book = play(machine())
    fail_starts(book, 3)
    ready(book, "a", 4)
    b, late = Ticket("b"), Ticket("a")
    book.submit(b).expect().at(15).on_timer().expect().submit(late).expect()
    book.on_exit("a", 4, 1, "").expect(refused(late, 503, "model_crash_loop"), Start("b", 1))


# --- unload ----------------------------------------------------------------------------------------------------------

def test_unload_of_nothing_is_finished_at_once():
    play(machine()).unload(done := Completion(), None).expect(Finish(done)).unload(
        again := Completion(), ["a", "nobody"]).expect(Finish(again))


def test_unload_while_ready_does_not_wait_for_requests():
    book = play(machine())
    held = ready(book, "a")
    book.unload(done := Completion(), ["a"]).expect(Stop("a", 1, 10)).unload(second := Completion(), ["a"]).expect()
    assert "a" in repr(done)
    book.release(held).expect().on_exit("a", 1, 0, "").expect(Finish(done), Finish(second))


def test_unload_while_starting_refuses_who_waits():
    a = Ticket("a")
    book = play(machine()).submit(a).expect(Start("a", 1))
    book.unload(done := Completion(), ["a"]).expect(
        Refuse(a, 503, "model_unloaded", "model a was unloaded; the request was waiting: a is loading", 1.0),
        Stop("a", 1, 10))
    book.on_ready("a", 1).expect().on_exit("a", 1, -15, "").expect(Finish(done))
    assert book.scheduler.statuses(["a"])[0].last_error is None


def test_unload_while_room_is_being_made_is_not_undone():
    book = play(machine())
    idle(book, "a")
    b = Ticket("b")
    book.submit(b).expect(Stop("a", 1, 10)).unload(done := Completion(), ["b"]).expect(
        refused(b, 503, "model_unloaded"), Finish(done)).on_exit("a", 1, 0, "").expect()


def test_unload_of_several_waits_for_all():
    book = play(machine(evict=together))
    idle(book, "a")
    idle(book, "b")
    book.unload(done := Completion(), None).expect(Stop("a", 1, 10), Stop("b", 1, 10))
    book.on_exit("a", 1, 0, "").expect().on_exit("b", 1, 0, "").expect(Finish(done))


def test_unload_says_what_the_refused_waited_for():
    book = play(machine())
    ready(book, "a")
    b = Ticket("b")
    book.submit(b).expect().unload(done := Completion(), ["b"]).expect(Refuse(
        b, 503, "model_unloaded", "model b was unloaded; the request was waiting: waiting for a to finish", 1.0),
        Finish(done))


def test_a_drain_lets_requests_end_and_who_waits_gets_the_next_generation():
    book = play(machine("ab", evict=together))
    held = ready(book, "a")
    book.unload(done := Completion(), ["a", "b"], drain_timeout=60).expect().submit(late := Ticket("a")).expect()
    assert book.scheduler.place(late) == Place("draining", 1, "a finishes its requests to be unloaded")
    assert book.scheduler.statuses(["a"])[0].leaving
    book.release(held).expect(Stop("a", 1, 10)).on_exit("a", 1, 0, "").expect(Finish(done), Start("a", 2))
    assert book.events[-3].reason == "unload"
    book.on_ready("a", 2).expect(Wake(late)).release(late).expect()
    assert not book.scheduler.statuses(["a"])[0].leaving


def test_a_drain_ends_in_time_and_a_plain_unload_ends_it_at_once():
    book = play(machine("ab", evict=together))
    ready(book, "a")
    ready(book, "b")
    book.unload(first := Completion(), None, drain_timeout=60).expect().at(1).unload(now := Completion(), ["b"]).expect(
        Stop("b", 1, 10)).on_exit("b", 1, 0, "").expect(Finish(now)).on_deadline().expect(Stop("a", 1, 10))
    assert book.now == 60
    book.on_exit("a", 1, 0, "").expect(Finish(first))


def test_a_drain_of_what_is_idle_stopping_or_loading():
    book = play(machine("abc", evict=together))
    idle(book, "a")
    idle(book, "b")
    c = Ticket("c")
    book.submit(c).expect(Start("c", 1)).unload(gone := Completion(), ["b"]).expect(
        Stop("b", 1, 10))
    book.unload(done := Completion(), None, drain_timeout=60).expect(Stop("a", 1, 10), Stop("c", 1, 10))
    book.on_exit("a", 1, 0, "").expect().on_exit("b", 1, 0, "").expect(Finish(gone))
    book.on_exit("c", 1, 0, "").expect(Finish(done), Start("c", 2)).on_ready("c", 2).expect(Wake(c))


def test_in_use_is_who_serves_or_is_waited_for():
    book = play(machine())
    idle(book, "a")
    assert book.scheduler.in_use(None) == ()
    book.submit(a := Ticket("a")).expect(Wake(a)).submit(Ticket("b")).expect()
    assert book.scheduler.in_use(None) == ("a", "b")
    assert book.scheduler.in_use(["b", "c", "nobody"]) == ("b",)


# --- a load that is called off ---------------------------------------------------------------------------------------

def test_a_cancelled_load_refuses_who_waits_and_blames_nobody():
    book = play(machine())
    a, join, load = *tickets("aa"), Ticket("a", holds=False)
    book.submit(a).expect(Start("a", 1)).submit(join).expect().load(load).expect()
    book.cancel_load("a").expect(
        *[Refuse(each, 503, "load_cancelled", "the load of model a was cancelled") for each in (a, join, load)],
        Stop("a", 1, 10))
    assert told(book)[-1] == ("a", "starting", "stopping", Cause.CANCELLED)
    book.cancel_load("a").expect().on_ready("a", 1).expect().on_exit("a", 1, -15, "was ended by SIGTERM").expect()
    assert told(book)[-1] == ("a", "stopping", "stopped", Cause.CANCELLED)
    status = book.scheduler.statuses(["a"])[0]
    assert (status.state, status.last_error) == ("stopped", None)
    assert not any(isinstance(event, ModelFailed) for event in book.events)
    book.submit(Ticket("a")).expect(Start("a", 2))


def test_loads_that_are_cancelled_again_and_again_are_no_crash_loop():
    book = play(machine())
    for gen in range(1, 9):
        book.submit(a := Ticket("a")).expect(Start("a", gen)).cancel_load("a").expect(
            refused(a, 503, "load_cancelled"), Stop("a", gen, 10)).on_exit("a", gen, -9, "").expect()


def test_only_a_load_is_cancelled():
    book = play(machine())
    book.cancel_load("a").expect().cancel_load("nobody").expect()
    held = ready(book, "a")
    book.cancel_load("a").expect().submit(waits := Ticket("b")).expect().cancel_load("b").expect()
    assert (held.state, waits.state) == (TicketState.GRANTED, TicketState.QUEUED)
    book.release(held).expect(Stop("a", 1, 10)).cancel_load("a").expect()
    assert [book.scheduler.state_of(name) for name in ("a", "b", "nobody")] == [State.STOPPING, State.STOPPED, None]


def test_a_cancelled_load_makes_room_for_the_next():
    a, b = tickets("ab")
    book = play(machine()).submit(a).expect(Start("a", 1)).submit(b).expect()
    book.cancel_load("a").expect(refused(a, 503, "load_cancelled"), Stop("a", 1, 10)).at(9.9).on_timer().expect()
    book.on_deadline().expect(Kill("a", 1)).on_exit("a", 1, -9, "").expect(Start("b", 1))


# --- what is told ----------------------------------------------------------------------------------------------------

def told(book: Playbook):
    """Model, state before, state after, cause."""
    return [(event.model, event.old.value, event.new.value, event.cause)
            for event in book.events if isinstance(event, StateChanged)]


def test_every_end_has_a_cause_that_is_told_twice():
    book = play(machine("abcdefgh", evict=rooms(x="ab"), ttl=5))
    idle(book, "a")
    book.submit(b := Ticket("b")).expect(Stop("a", 1, 10)).on_exit("a", 1, 0, "").expect(Start("b", 1))
    book.on_exit("b", 1, 3, "").expect(refused(b, 503, "model_start_failed"))
    ready(book, "c")
    book.on_exit("c", 1, -11, "was ended by SIGSEGV").expect()
    idle(book, "d")
    book.on_deadline().expect(Stop("d", 1, 10)).on_exit("d", 1, 0, "").expect()
    idle(book, "e")
    book.unload(done := Completion(), ["e"]).expect(Stop("e", 1, 10)).on_exit("e", 1, 0, "").expect(Finish(done))
    idle(book, "f")
    reload(book, "gh", unchanged="").expect(Stop("f", 1, 10)).on_exit("f", 1, 0, "").expect()
    book.submit(g := Ticket("g")).expect(Start("g", 1)).on_start_failed("g", 1, "port taken").expect(
        refused(g, 503, "model_start_failed"), Stop("g", 1, 10)).on_exit("g", 1, None, "").expect()
    idle(book, "h")
    book.close(done := Completion(), 9).expect(Stop("h", 1, 10)).on_exit("h", 1, -15, "").expect(Finish(done))
    ends = [(model, cause) for model, old, new, cause in told(book) if old in ("starting", "ready") and new != "ready"]
    assert ends == [("a", Cause.EVICTED), ("b", Cause.START_FAILED), ("c", Cause.CRASHED), ("d", Cause.IDLE),
                    ("e", Cause.UNLOADED), ("f", Cause.RELOAD), ("g", Cause.START_FAILED), ("h", Cause.SHUTDOWN)]
    gone = [event for event in book.events if isinstance(event, StateChanged) and event.new is State.STOPPED]
    assert [(event.model, event.cause) for event in gone] == ends
    assert [(event.code, event.signal) for event in gone] == [
        (0, None), (3, None), (None, 11), (0, None), (0, None), (0, None), (None, None), (None, 15)]
    assert [event.evicted_for for event in gone] == ["b", *[""] * 7]
    assert [(event.model, event.kind, event.code, event.signal) for event in book.events
            if isinstance(event, ModelFailed)] == [
        ("b", "start_failed", 3, None), ("c", "exited", None, 11), ("g", "start_failed", None, None)]


def test_a_drain_keeps_the_cause_it_ends_with():
    book = play(machine("abc", evict=together))
    for name in "abc":
        ready(book, name)
    book.unload(Completion(), ["a"], drain_timeout=1).expect().at(1).on_timer().expect(Stop("a", 1, 10))
    reload(book, "abc", unchanged="ac", drain_timeout=1).expect().at(2).on_timer().expect(Stop("b", 1, 10))
    book.close(Completion(), 1).expect().at(3).on_timer().expect(Stop("c", 1, 10))
    assert [(event.model, event.cause, event.reason) for event in book.events
            if isinstance(event, StateChanged) and event.new is State.STOPPING] == [
        ("a", Cause.UNLOADED, "unload"), ("b", Cause.RELOAD, "configuration changed"),
        ("c", Cause.SHUTDOWN, "shutdown")]


def test_a_crash_after_a_stop_of_an_earlier_life_is_a_crash():
    book = play(machine())
    idle(book, "a")
    book.unload(Completion(), ["a"]).expect(Stop("a", 1, 10)).on_exit("a", 1, 0, "")
    book._effects.clear()
    held = ready(book, "a", 2)
    book.on_exit("a", 2, 1, "").expect().release(held).expect()
    assert told(book)[-1] == ("a", "ready", "stopped", Cause.CRASHED)


def test_status_says_since_when_and_when_it_was_used():
    book = play(machine())

    def status():
        found = book.scheduler.statuses(["a"])[0]
        return found.since, found.last_used_at
    assert status() == (None, None)
    a = Ticket("a")
    book.at(1).submit(a).expect(Start("a", 1))
    assert status() == (1, None)
    book.at(3).on_ready("a", 1).expect(Wake(a))
    assert status() == (3, 3)
    book.at(5).submit(socket := Ticket("a", counted=False)).expect(Wake(socket))
    book.at(6).load(load := Ticket("a", holds=False)).expect(Wake(load))
    assert status() == (3, 3), "neither is a request"
    book.at(8).release(a).expect()
    assert status() == (3, 8)
    book.at(9).unload(done := Completion(), ["a"]).expect(Stop("a", 1, 10))
    assert status() == (9, 8)
    book.at(10).on_exit("a", 1, 0, "").expect(Finish(done))
    assert status() == (10, 8)


def test_a_request_that_was_cut_has_still_used_the_model():
    book = play(machine())
    held = ready(book, "a")
    book.at(4).on_exit("a", 1, 1, "").expect().at(5).release(held).expect()
    assert book.scheduler.statuses(["a"])[0].last_used_at == 5


# --- what was waited for ---------------------------------------------------------------------------------------------

def shares(book: Playbook, ticket: Ticket):
    """Seconds for others, seconds for the own model."""
    until = book.now if ticket.state is TicketState.QUEUED else ticket.left_at
    loading = book.scheduler.load_seconds(ticket, book.now)
    return until - ticket.queued_at - loading, loading


def test_a_wait_is_for_others_and_then_for_the_own_model():
    book = play(machine())
    held = ready(book, "a")
    b, late = tickets("bb")
    book.at(1).submit(b).expect().at(3).release(held).expect(Stop("a", 1, 10))
    assert shares(book, b) == (2, 0)
    book.at(4).on_exit("a", 1, 0, "").expect(Start("b", 1)).at(6).submit(late).expect().at(7)
    assert (shares(book, b), shares(book, late)) == ((3, 3), (0, 1))
    book.at(9).on_ready("b", 1).expect(Wake(b), Wake(late)).at(20)
    assert (shares(book, b), shares(book, late)) == ((3, 5), (0, 3))
    book.submit(ready_now := Ticket("b")).expect(Wake(ready_now))
    assert shares(book, ready_now) == (0, 0)


def test_a_wait_for_a_place_is_a_wait_for_others():
    book = play(machine(concurrency=1, max_waiting=2))
    first, second = tickets("aa")
    book.submit(first).expect(Start("a", 1)).at(1).submit(second).expect().at(3).on_ready("a", 1).expect(Wake(first))
    assert shares(book.at(4), second) == (1, 2)
    book.at(8).release(first).expect(Wake(second))
    assert shares(book, second) == (5, 2)


def test_a_wait_that_ends_without_a_grant_has_its_shares_too():
    book = play(machine())
    gone, failed = tickets("aa")
    book.submit(gone).expect(Start("a", 1)).submit(failed).expect().at(2).cancel(gone).expect()
    book.at(5).on_exit("a", 1, 1, "").expect(refused(failed, 503, "model_start_failed")).at(50)
    assert (shares(book, gone), shares(book, failed)) == ((0, 2), (0, 5))
    book.submit(nobody := Ticket("nobody")).expect(refused(nobody, 404, "model_not_found"))
    assert shares(book, nobody) == (0, 0)


def test_an_earlier_life_is_not_the_load_of_the_next():
    book = play(machine("ab", evict=exclusive))
    a, b = tickets("ab")
    book.submit(a).expect(Start("a", 1)).at(3).cancel_load("a").expect(
        refused(a, 503, "load_cancelled"), Stop("a", 1, 10))
    book.submit(again := Ticket("a")).expect().at(5)
    assert shares(book, again) == (2, 0), "a stop is no load"
    book.on_exit("a", 1, 0, "").expect(Start("a", 2)).at(6).cancel(again).expect()
    assert shares(book, again) == (2, 1)
    book.submit(b).expect(Stop("a", 2, 10)).on_exit("a", 2, 0, "").expect(Start("b", 1))
    book.on_ready("b", 1).expect(Wake(b))
    book.at(7).submit(third := Ticket("a")).expect().at(9)
    assert shares(book, third) == (2, 0)


# --- tickets of another kind -----------------------------------------------------------------------------------------

def test_an_uncounted_lease_does_not_start_hold_or_fill_a_model():
    socket = Ticket("a", counted=False)
    book = play(machine(concurrency=1, ttl=5)).submit(socket).expect(Refuse(
        socket, 409, "conflict", "model a is not loaded; ignored websocket requests cannot start it"))
    held = ready(book, "a")
    book.at(1).release(held).expect().submit(socket := Ticket("a", counted=False)).expect(Wake(socket))
    book.on_deadline().expect(Stop("a", 1, 10)).release(socket).expect()
    assert (book.now, socket.state) == (6, TicketState.DONE)


def test_a_peek_is_refused_unless_the_model_serves():
    peek = Ticket("a", may_start=False)
    book = play(machine()).submit(peek).expect(Refuse(peek, 409, "conflict", "model a is not loaded"))
    held = ready(book, "a")
    book.submit(peek := Ticket("a", may_start=False)).expect(Wake(peek)).release(held).expect()
    book.submit(Ticket("b")).expect().release(peek).expect(Stop("a", 1, 10))


def test_a_load_is_over_when_the_model_is_ready():
    load = Ticket("a", holds=False)
    book = play(machine(concurrency=1)).load(load).expect(Start("a", 1)).submit(a := Ticket("a")).expect()
    book.on_ready("a", 1).expect(Wake(load), Wake(a))
    assert (load.state, a.state) == (TicketState.DONE, TicketState.GRANTED)
    book.release(load).expect()
    assert book.scheduler.statuses(["a"])[0].in_flight == 1


def test_a_load_can_be_given_up():
    load = Ticket("a", holds=False)
    book = play(machine(concurrency=1)).load(load).expect(Start("a", 1)).cancel(load).expect()
    book.submit(b := Ticket("b")).expect(Stop("a", 1, 10)).on_exit("a", 1, 0, "").expect(Start("b", 1))
    book.submit(a := Ticket("a")).expect().cancel(b).expect(Stop("b", 1, 10))
    assert a.state is TicketState.QUEUED


# --- shutdown --------------------------------------------------------------------------------------------------------

def test_close_refuses_the_queue_drains_and_stops():
    book = play(machine("abcd", evict=rooms(x="ab")))
    held = ready(book, "a")
    idle(book, "c")
    b, d = tickets("bd")
    book.submit(b).expect().submit(d).expect(Start("d", 1))
    book.close(done := Completion(), 30).expect(
        Refuse(b, 503, "shutting_down", "llamaswap is shutting down", 5.0), refused(d, 503, "shutting_down"),
        Stop("c", 1, 10), Stop("d", 1, 10))
    book.submit(late := Ticket("a")).expect(Refuse(late, 503, "shutting_down", "llamaswap is shutting down", 5.0))
    book.at(5).release(held).expect(Stop("a", 1, 10))
    for name in "acd":
        book.on_exit(name, 1, 0, "").expect(*[Finish(done)] if name == "d" else [])


def test_close_stops_what_does_not_end_in_time():
    book = play(machine())
    ready(book, "a")
    book.close(done := Completion(), 30).expect().at(29).on_timer().expect().on_deadline().expect(Stop("a", 1, 10))
    assert book.now == 30
    assert book.events[-1].reason == "shutdown"
    book.on_exit("a", 1, 0, "").expect(Finish(done))


def test_a_second_close_may_be_less_patient():
    book = play(machine())
    ready(book, "a")
    book.close(first := Completion(), 30).expect().at(1).close(second := Completion(), 0).expect(Stop("a", 1, 10))
    book.on_exit("a", 1, 0, "").expect(Finish(first), Finish(second))
    book.close(third := Completion(), 0).expect(Finish(third))


# --- reload ----------------------------------------------------------------------------------------------------------

def reload(book: Playbook, names, *, unchanged, evict=exclusive, drain_timeout=1000.0, **fields) -> Playbook:
    return book.reconfigure(specs(names, **fields), evict, unchanged=unchanged, max_wait=15.0,
                            drain_timeout=drain_timeout)


def test_an_unchanged_model_keeps_running_with_its_new_settings():
    book = play(machine("ab", ttl=0))
    idle(book, "a")
    reload(book, "ab", unchanged="ab", ttl=3).expect().on_deadline().expect(Stop("a", 1, 10))
    assert book.now == 3


def test_a_changed_model_drains_and_is_replaced_at_next_need():
    book = play(machine("a"))
    held = ready(book, "a")
    reload(book, "a", unchanged="", unload_timeout=1).expect().submit(late := Ticket("a")).expect()
    assert book.scheduler.place(late) == Place("draining", 1, "a finishes its requests to be replaced")
    assert book.scheduler.statuses(["a"])[0].leaving
    book.release(held).expect(Stop("a", 1, 10)).on_exit("a", 1, 0, "").expect(Start("a", 2))
    book.on_ready("a", 2).expect(Wake(late)).unload(Completion(), None).expect(Stop("a", 2, 1))


def test_an_idle_changed_model_stops_at_once_and_a_changed_load_begins_again():
    book = play(machine("ab", evict=together))
    idle(book, "a")
    b = Ticket("b")
    book.submit(b).expect(Start("b", 1))
    reload(book, "ab", unchanged="", evict=together).expect(Stop("a", 1, 10), Stop("b", 1, 10))
    book.on_exit("a", 1, 0, "").expect().on_exit("b", 1, 0, "").expect(Start("b", 2)).on_ready("b", 2).expect(Wake(b))
    assert [event.reason for event in book.events if event.new is State.STOPPING] == ["configuration changed"] * 2


def test_those_that_may_not_run_together_any_more_are_parted():
    book = play(machine("abc", evict=together))
    held = ready(book, "a")
    idle(book, "b")
    book.at(1).submit(c := Ticket("c")).expect(Start("c", 1)).at(2)
    reload(book, "abc", unchanged="abc", evict=one_of("ab", "bc")).expect()     # c was loaded last, so a has to go
    assert [(status.id, status.leaving) for status in book.scheduler.statuses()] == [
        ("a", True), ("b", False), ("c", False)]
    book.submit(late := Ticket("a")).expect().on_ready("c", 1).expect(Wake(c)).release(c).expect()
    book.release(held).expect(Stop("a", 1, 10)).on_exit("a", 1, 0, "").expect(Stop("c", 1, 10))
    book.on_exit("c", 1, 0, "").expect(Start("a", 2)).on_ready("a", 2).expect(Wake(late))


def test_a_reload_parts_nobody_whom_the_policy_would_have_let_in():
    def evict(target, live):        # a needs the machine for itself, but whoever comes later may stay
        return [name for name in live if target == "a" and name != "a"]
    book = play(machine("ab", evict=evict))
    idle(book, "a")
    book.at(1)
    idle(book, "b")
    reload(book, "ab", unchanged="ab", evict=evict).expect()
    assert not any(status.leaving for status in book.scheduler.statuses())


def test_a_change_forgives_failures():
    book = play(machine("a"))
    fail_starts(book, 4)
    reload(book, "a", unchanged="a").expect().submit(no := Ticket("a")).expect(refused(no, 503, "model_crash_loop"))
    reload(book, "a", unchanged="").expect().submit(Ticket("a")).expect(Start("a", 5))


def test_a_removed_model_finishes_its_requests_and_is_unknown():
    book = play(machine("ab"))
    held = ready(book, "a")
    b = Ticket("b")
    book.submit(b).expect()
    reload(book, "c", unchanged="").expect(Refuse(b, 404, "model_not_found", "model b is no longer configured"))
    book.submit(late := Ticket("a")).expect(refused(late, 404, "model_not_found"))
    book.release(held).expect(Stop("a", 1, 10)).on_exit("a", 1, 0, "").expect()
    assert [status.id for status in book.scheduler.statuses()] == ["c"]
    book.submit(c := Ticket("c")).expect(Start("c", 1)).on_ready("c", 1).expect(Wake(c))


def test_a_removed_model_that_is_back_goes_on_counting_generations():
    book = play(machine("a"))
    held = ready(book, "a")
    reload(book, "", unchanged="").expect()
    reload(book, "a", unchanged="a").expect().submit(late := Ticket("a")).expect()
    book.release(held).expect(Stop("a", 1, 10)).on_exit("a", 1, 0, "").expect(Start("a", 2))
    book.cancel(late).expect().on_exit("a", 2, 0, "").expect()
    reload(book, "", unchanged="").expect()
    reload(book, "a", unchanged="").expect().submit(Ticket("a")).expect(Start("a", 3)).on_ready("a", 2).expect()


def test_a_drain_can_have_an_end():
    book = play(machine("a"))
    ready(book, "a")
    reload(book, "a", unchanged="", drain_timeout=5).expect().on_deadline().expect(Stop("a", 1, 10))
    assert book.now == 5


# --- questions -------------------------------------------------------------------------------------------------------

def test_statuses_tell_what_an_operator_asks():
    book = play(machine("ab", ttl=10))
    ready(book.at(3), "a")
    book.submit(Ticket("b")).expect()
    a, b = book.scheduler.statuses()
    assert (a.id, a.state, a.generation, a.in_flight, a.queued, a.started_at, a.ready_at, a.idle_deadline, a.pid) == (
        "a", "ready", 1, 1, 0, 3.0, 3.0, None, None)
    assert (b.state, b.queued, b.started_at, b.waiting_for) == ("stopped", 1, None, "waiting for a to finish")
    assert book.scheduler.statuses(["nobody"]) == []


def test_idle_deadline_is_shown():
    book = play(machine("a", ttl=10))
    idle(book.at(4), "a")
    assert book.scheduler.statuses()[0].idle_deadline == 14


def test_place_of_tickets_that_do_not_wait():
    book = play(machine())
    held = ready(book, "a")
    assert book.scheduler.place(held) == Place("ready", 0, "")
    book.release(held).expect()
    assert book.scheduler.place(held) == Place("done", 0, "")
    assert book.scheduler.place(Ticket("a")) == Place("new", 0, "")


def test_place_while_loading():
    a = Ticket("a")
    scheduler = play(machine()).submit(a).expect(Start("a", 1)).scheduler
    assert scheduler.place(a) == Place("loading", 1, "a is loading")


def test_plan_answers_what_would_happen():
    book = play(machine("abc", evict=rooms(x="ab")))

    def plan(name):
        return book.scheduler.plan(name, book.now)
    assert plan("nobody") is None
    assert plan("a") == Plan("a", "start", (), (), "nothing is in the way of a")
    held = ready(book, "a")
    assert (plan("a"), plan("b"), plan("c")) == (
        Plan("a", "serve", (), (), "a is ready"),
        Plan("b", "wait", ("a",), ("a",), "b has to wait for a to finish"),
        Plan("c", "start", (), (), "nothing is in the way of c"))
    book.release(held).expect()
    assert plan("b") == Plan("b", "swap", ("a",), (), "a has to make room for b")
    book.submit(Ticket("c")).expect(Start("c", 1))
    assert plan("c") == Plan("c", "join", (), (), "c is loading")
    book.unload(Completion(), ["a"]).expect(Stop("a", 1, 10))
    assert plan("a") == Plan("a", "wait", (), ("a",), "a is stopping")
    assert plan("b") == Plan("b", "wait", (), ("a",), "b has to wait for a to stop"), "its memory is not free yet"
    book.submit(Ticket("b")).expect()
    assert plan("b") == Plan("b", "wait", (), ("a",), "waiting for a to stop")


def test_plan_of_a_model_with_many_in_its_way():
    book = play(machine("abcd", evict=one_of("abc", "d")))
    for name in "abc":
        idle(book, name)
    assert book.scheduler.plan("d", 0) == Plan("d", "swap", ("a", "b", "c"), (), "a, b, c have to make room for d")
    book.submit(a := Ticket("a")).expect(Wake(a)).unload(Completion(), ["c"]).expect(Stop("c", 1, 10))
    assert book.scheduler.plan("d", 0) == Plan(
        "d", "wait", ("a", "b"), ("a", "c"), "d has to wait for a to finish and for c to stop")


def test_plan_says_why_a_request_would_be_refused():
    book = play(machine("ab", evict=together, concurrency=1))
    held = ready(book, "a")
    assert book.scheduler.plan("a", 0) == Plan("a", "refuse", (), (), "Too many requests")
    for gen in (1, 2, 3, 4):
        book.submit(b := Ticket("b")).expect(Start("b", gen)).on_exit("b", gen, 1, "").expect(
            refused(b, 503, "model_start_failed"))
    plan = book.scheduler.plan("b", 0)
    assert plan.action == "refuse" and plan.reason.startswith("model b failed 4 times in a row and is tried again in ")
    assert book.scheduler.plan("b", 2).action == "start"
    reload(book, "b", unchanged="b", evict=together).expect()
    assert book.scheduler.plan("a", 0) is None, "it only finishes what it serves"
    book.release(held).expect(Stop("a", 1, 10)).close(Completion(), 0).expect()
    assert book.scheduler.plan("b", 0) == Plan("b", "refuse", (), (), "llamaswap is shutting down")


def test_reprs_show_state():
    book = play(machine())
    held = ready(book, "a")
    book.submit(Ticket("b")).expect()
    assert "<Record a ready gen=1 serving=1 queued=0>" in repr(book.scheduler)
    assert "<Record b stopped gen=0 serving=0 queued=1>" in repr(book.scheduler)
    assert repr(held) == "<Ticket a granted>"


def test_the_answers_of_the_policy_are_kept_but_not_without_bound():
    asked = []

    def evict(target, live):
        asked.append(target)
        return []
    names = [f"m{number}" for number in range(4200)]
    scheduler = Scheduler(specs(["hub", *names]), evict)
    scheduler.submit(Ticket("hub"), 0.0)
    for name in names:
        scheduler.plan(name, 0.0)
        scheduler.plan(name, 0.0)
    assert asked == names
    assert len(scheduler._decisions) < 4200

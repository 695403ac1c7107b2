"""Publish and subscribe: snapshots, resuming, slow followers, and what costs nothing."""
from __future__ import annotations

import json
import math
import random
import threading
import time

import pytest

from llamaswap.runtime.events import MAX_EVENTS, MAX_TEXT, EventHub, encode
from llamaswap.runtime.threads import spawn

PATIENCE = 20.0


def parsed(frames):
    """[(seq, topic, data)]"""
    found = []
    for frame in frames:
        first, event, data, *rest = frame.decode().split("\n")
        assert rest == ["", ""] and first.startswith("id: ") and event.startswith("event: ")
        found.append((int(first.rpartition("-")[2]), event[7:], json.loads(data[6:])))
    return found


def told(subscriber, timeout=0.0):
    return [(topic, data) for _, topic, data in parsed(subscriber.get(timeout))]


@pytest.fixture
def hub():
    made = EventHub()
    made.state = {"n": 0}
    made.provide("models", lambda: {"op": "snapshot", **made.state})
    made.provide("profile", lambda: {"active": None})
    return made


def test_a_snapshot_then_what_happens(hub):
    follower = hub.subscribe(["models", "profile"])
    assert told(follower) == [("models", {"op": "snapshot", "n": 0}), ("profile", {"active": None})]
    assert follower.get(0.0) == []
    hub.publish("models", {"op": "upsert", "n": 1})
    hub.publish("perf", {"x": 1})
    hub.publish("profile", {"active": "day"})
    assert told(follower) == [("models", {"op": "upsert", "n": 1}), ("profile", {"active": "day"})]
    follower.close()
    assert follower.get(0.0) is None


def test_frames_carry_ids_of_this_run(hub):
    follower = hub.subscribe(["models"])
    follower.get(0.0)
    hub.publish("models", {"text": "caf\u00e9\nline"})
    frame, = follower.get(0.0)
    assert frame == f'id: {hub.run}-2\nevent: models\ndata: {{"text":"caf\u00e9\\nline"}}\n\n'.encode()


def test_nothing_is_made_while_nobody_follows(hub):
    hub.publish("models", lambda: pytest.fail("made for nobody"))
    assert not hub.wants("models") and hub.seq == 1
    with_profile = hub.subscribe(["profile"])
    hub.publish("models", lambda: pytest.fail("made for nobody"))
    assert hub.wants("profile") and not hub.wants("models") and hub.subscribers == 1
    with_profile.close()
    with_profile.close()
    assert not hub.wants("profile") and hub.subscribers == 0


def test_an_event_is_made_and_encoded_once_for_everybody(hub):
    followers = [hub.subscribe(["models"]) for _ in range(5)]
    for follower in followers:
        follower.get(0.0)
    made = []
    hub.publish("models", lambda: made.append(1) or {"n": 1})
    frames = [follower.get(0.0)[0] for follower in followers]
    assert made == [1] and len(set(frames)) == 1
    events = []
    hub.publish("models", {"n": 2})
    for follower in followers:
        events += follower.take(0.0)
    assert events[0].body() is events[4].body()


def test_what_the_snapshot_contains_is_not_told_again(hub):
    follower = hub.subscribe(["models", "profile"])
    hub.state["n"] = 1
    hub.publish("models", {"op": "upsert", "n": 1})
    hub.publish("profile", {"active": "day"})
    assert told(follower) == [("models", {"op": "snapshot", "n": 1}), ("profile", {"active": None})]
    # A change while the snapshot is being made is told again: twice is better than never.
    made = hub._snapshots["profile"]
    hub.provide("profile", lambda: hub.publish("profile", {"active": "late"}) or made())
    second = hub.subscribe(["profile"])
    assert told(second) == [("profile", {"active": None})]
    assert told(second) == [("profile", {"active": "late"})]


def test_resuming(hub):
    follower = hub.subscribe(["models", "profile"])
    last = parsed(follower.get(0.0))[-1][0]
    hub.publish("models", {"n": 1})
    hub.publish("profile", {"active": "day"})
    seen = parsed(follower.get(0.0))
    hub.publish("models", {"n": 2})
    follower.close()
    hub.publish("models", {"n": 3})
    again = hub.subscribe(["models", "profile"], last_id=f"{hub.run}-{seen[0][0]}")
    assert told(again) == [("profile", {"active": "day"}), ("models", {"n": 2}), ("models", {"n": 3})]
    assert told(hub.subscribe(["models"], last_id=f"{hub.run}-{last}")) == [("models", {"n": n}) for n in (1, 2, 3)]
    nothing_new = hub.subscribe(["models"], last_id=f"{hub.run}-{hub.seq}")
    assert nothing_new.get(0.0) == []


@pytest.mark.parametrize("last_id", [None, "", "x", "other-5", "{run}", "{run}-", "{run}-x", "{run}--1", "{run}-99999",
                                     "{run}-0", "{run}-\u0665", "{run}-" + "9" * 400])
def test_ids_that_say_nothing_give_a_snapshot(hub, last_id):
    hub.subscribe(["models"])
    hub.publish("models", {"n": 1})
    follower = hub.subscribe(["models"], last_id=last_id and last_id.format(run=hub.run))
    assert told(follower) == [("models", {"op": "snapshot", "n": 0})]


def test_too_long_ago_gives_a_snapshot():
    hub = EventHub(replay=3)
    hub.provide("models", lambda: {"op": "snapshot"})
    hub.subscribe(["models"]).close()
    for number in range(5):
        hub.publish("models", {"n": number})
    assert told(hub.subscribe(["models"], last_id=f"{hub.run}-2")) == [("models", {"op": "snapshot"})]
    assert told(hub.subscribe(["models"], last_id=f"{hub.run}-3")) == [("models", {"n": n}) for n in (2, 3, 4)]


def test_who_is_cut_off_between_two_snapshots_misses_none(hub):
    """The id of the first one must not promise what only the second brings."""
    hub.subscribe(["models"])
    hub.publish("models", {"n": 1})
    follower = hub.subscribe(["models", "profile"])
    first, second = parsed(follower.get(0.0))
    again = hub.subscribe(["models", "profile"], last_id=f"{hub.run}-{first[0]}")
    assert [topic for topic, _ in told(again)] == ["models", "profile"]
    third = hub.subscribe(["models", "profile"], last_id=f"{hub.run}-{second[0]}")
    assert third.get(0.0) == []


def test_a_slow_follower_loses_the_oldest_and_starts_afresh(hub):
    slow, quick = hub.subscribe(["models", "profile"]), hub.subscribe(["models"])
    slow.get(0.0)
    hub.publish("profile", {"active": "day"})
    hub.state["n"] = 7
    for number in range(MAX_EVENTS + 10):
        hub.publish("models", {"n": number})
        if number % 100 == 0:
            quick.get(0.0)
    (gap, what), *rest = told(slow)
    assert gap == "gap" and what == {"topics": ["models", "profile"], "dropped": 11} and hub.dropped == 11
    assert rest == [("profile", {"active": None}), ("models", {"op": "snapshot", "n": 7})]
    hub.publish("models", {"n": "new"})
    assert told(slow) == [("models", {"n": "new"})]
    assert told(quick)[-1] == ("models", {"n": "new"})


def test_only_topics_that_lost_something_start_afresh(hub):
    slow = hub.subscribe(["models", "profile"])
    slow.get(0.0)
    for number in range(MAX_EVENTS):
        hub.publish("models", {"n": number})
    hub.publish("profile", {"active": "day"})
    assert told(slow) == [("gap", {"topics": ["models"], "dropped": 1}), ("models", {"op": "snapshot", "n": 0}),
                          ("profile", {"active": "day"})]


def text(content, gap=0):
    return {"text": content, "reset": False, "gap": gap}


def test_logs_are_bounded_by_size_and_their_losses_counted_in_lines(hub):
    hub.provide_logs(lambda topic: ([{"text": "old\n", "reset": True, "gap": 0}], hub.mark()))
    slow = hub.subscribe(["log:m", "models"])
    assert [topic for topic, _ in told(slow)] == ["log:m", "models"]
    hub.publish("models", {"n": 1})
    for number in range(20):
        hub.publish("log:m", text("x" * (MAX_TEXT // 10 - 2) + "\n\n", gap=number == 0))
    hub.publish("log:m", text("last\n"))
    gap, lines, *rest = told(slow)
    assert gap == ("gap", {"topics": ["log:m"], "dropped": 10})
    assert lines == ("log:m", text("", gap=21))
    assert rest[0] == ("models", {"n": 1}) and rest[-1] == ("log:m", text("last\n")) and len(rest) == 12
    assert slow._text == 0


def test_logs_are_not_replayed(hub):
    hub.provide_logs(lambda topic: ([{"text": topic, "reset": True, "gap": 0}], hub.mark()))
    first = hub.subscribe(["log:m", "models"])
    first.get(0.0)
    hub.publish("log:m", text("x"))
    hub.publish("models", {"n": 1})
    again = hub.subscribe(["models", "log:m"], last_id=f"{hub.run}-{hub.seq - 1}")
    assert told(again) == [("log:m", {"text": "log:m", "reset": True, "gap": 0}), ("models", {"n": 1})]
    assert hub.log_topics() == ["log:m"]


def test_without_anybody_who_knows_the_logs(hub):
    follower = hub.subscribe(["log:m"])
    assert follower.get(0.0) == []


def test_a_frame_for_one_follower_is_at_its_place(hub):
    follower = hub.subscribe(["models"])
    assert follower.frame("hello", {}) == f"id: {hub.run}-0\nevent: hello\ndata: {{}}\n\n".encode()
    follower.get(0.0)
    assert follower.frame("hello", {}).startswith(f"id: {hub.run}-1\n".encode())


def test_waiting_and_being_woken(hub):
    follower = hub.subscribe(["models"])
    follower.get(0.0)
    seen = []
    reader = spawn("reader", lambda: [seen.append(follower.get(PATIENCE)) for _ in range(2)])
    hub.publish("models", {"n": 1})
    deadline = time.monotonic() + PATIENCE
    while not seen and time.monotonic() < deadline:
        time.sleep(0.001)
    follower.close()
    reader.join(PATIENCE)
    assert parsed(seen[0])[0][2] == {"n": 1} and seen[1] is None


def test_topics_cannot_break_out_of_their_line(hub):
    follower = hub.subscribe(["log:a\nb"])
    follower.get(0.0)
    hub.publish("log:a\nb", text("x"))
    assert follower.get(0.0)[0].split(b"\n")[1] == b"event: log:a b"


def test_numbers_that_json_cannot_say_are_unknown():
    assert json.loads(encode({"a": math.nan, "b": [1.5, -math.inf, (math.inf,)], "c": "\udcff"})) == {
        "a": None, "b": [1.5, None, [None]], "c": "?"}


def test_many_publishers_and_followers_agree_in_the_end():
    """Followers come, go, dawdle and resume while state changes; whoever stays ends with the true state."""
    hub, lock, state = EventHub(replay=200), threading.Lock(), dict.fromkeys(range(8), 0)
    hub.provide("models", lambda: {"op": "snapshot", "models": dict(state)})
    deadline, over = time.monotonic() + PATIENCE, threading.Event()
    problems = []

    def publish(key):
        for number in range(1, 1500):
            with lock:
                state[key] = number
            hub.publish("models", lambda: {"op": "upsert", "key": key, "n": state[key]})
            if number % 100 == 0:
                time.sleep(0.001)

    def follow(number):
        chance, known, last_id, subscriber = random.Random(number), {}, None, hub.subscribe(["models"])
        try:
            while time.monotonic() < deadline:
                frames = subscriber.get(0.05)
                for seq, topic, data in parsed(frames):
                    last_id = f"{hub.run}-{seq}"
                    if topic == "models" and data["op"] == "snapshot":
                        known = {int(key): value for key, value in data["models"].items()}
                    elif topic == "models":
                        known[data["key"]] = data["n"]
                if not frames and over.is_set() and known == state:
                    return
                if chance.random() < 0.05:
                    subscriber.close()
                    subscriber = hub.subscribe(["models"], last_id=last_id)
                if chance.random() < 0.1:
                    time.sleep(chance.random() / 20)
            problems.append((number, known))
        finally:
            subscriber.close()

    followers = [spawn(f"follow-{number}", follow, number) for number in range(6)]
    publishers = [spawn(f"publish-{key}", publish, key) for key in state]
    for thread in publishers:
        thread.join(PATIENCE)
    over.set()
    for thread in followers:
        thread.join(PATIENCE)
    assert not problems and not any(thread.is_alive() for thread in followers)
    assert hub.subscribers == 0 and not hub.wants("models")

"""The loading stream: a streamed answer that begins before its model is ready and tells what it waits for.

Chat clients see it as reasoning, in complete chunks, so that it is shown apart from the answer; everybody else gets
SSE comments, which clients skip and which keep the connection alive. The status is sent with the first frame; what
goes wrong later is an error event in the shape of the API.
"""
from __future__ import annotations

import json
import time
from typing import Callable, Iterator

from llamaswap.core.faults import Fault, UpstreamFault
from llamaswap.core.messages import Request, Response
from llamaswap.core.routing import is_anthropic
from llamaswap.core.settings import Model
from llamaswap.runtime import relay
from llamaswap.runtime.inflight import Visit
from llamaswap.runtime.registry import Lease, Progress
from llamaswap.runtime.upstream import Exchange
from llamaswap.web.errors import sse_error_event
from llamaswap.web.replies import now_epoch

CHAT_PATHS = ("/v1/chat/completions", "/chat/completions")
# As a model server sees them: without the /v of versionless routes.
PATHS = (*CHAT_PATHS, "/v1/completions", "/completions", "/v1/responses", "/responses", "/v1/messages", "/messages")
TICK = 0.75                 # seconds between signs of life
TICKS_PER_TIME = 8          # after so many dots the elapsed time is said again
MAX_ERROR_BYTES = 64 * 1024
HEADERS = [("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache"), ("X-Accel-Buffering", "no")]
DONE = b"data: [DONE]\n\n"

Frame = Callable[[str], bytes]
Opened = Callable[[], Exchange]


def wants_loading_stream(model: Model, path: str) -> bool:
    return model.send_loading_state and path in PATHS


def loading_stream(visit: Visit, model: Model, path: str, *, exchange: Opened,
                   renew: Callable[[UpstreamFault], Lease]) -> Response:
    """`exchange` talks to the model leased last; `renew` gives another lease after a crash, or raises the fault it got.
    The visit ends with the stream."""
    frame, request = _chat_frame(model.id) if path in CHAT_PATHS else _comment, visit.request

    def frames() -> Iterator[bytes]:
        visit.leave()       # what it stays at when nobody asks for the rest
        try:
            yield from _waiting(request, model, visit.lease, frame)
            try:
                opened = exchange()
            except UpstreamFault as fault:
                yield from _waiting(request, model, renew(fault), frame)
                opened = exchange()
            opened = _checked(opened)
        except Fault as fault:
            told = visit.fail(fault)
            # Nothing of an answer has been generated, so the stream may end in order.
            yield sse_error_event(told, path) + (b"" if is_anthropic(path) else DONE)
            return
        visit.leave()
        try:
            yield from relay.payload(request, opened, tap=visit.tap,
                                     last_word=lambda fault: sse_error_event(visit.explain(fault), path))
        except UpstreamFault as fault:
            visit.fail(fault)
            raise
        visit.complete()

    return Response(200, list(HEADERS), frames(), on_close=visit.close)


def _waiting(request: Request, model: Model, lease: Lease, frame: Frame) -> Iterator[bytes]:
    """Frames until the lease is granted, and not a moment longer."""
    begun, last, dots = time.monotonic(), "", 0
    with request.connection.watch(lease.cancel):
        for progress in lease.progress(TICK):
            if not last:
                yield frame(f"━━━━━\nllamaswap loading model: {model.id}\n")
            text = _describe(progress)
            dots = dots + 1 if text == last else 0
            if dots:
                yield frame(f". ({progress.elapsed:.0f} s) " if dots % TICKS_PER_TIME == 0 else ".")
            else:
                yield frame(f"\n{text} ")
            last = text
        lease.wait()
    if last:
        yield frame(f"\nDone! ({time.monotonic() - begun:.2f}s)\n━━━━━\n \n")


def _describe(progress: Progress) -> str:
    is_queued = progress.position > 1 or (progress.position == 1 and progress.phase != "loading")
    place = f"Queue position: #{progress.position}" if is_queued else ""
    return ", ".join(part for part in (place, progress.reason) if part) or progress.phase


def _chat_frame(model_id: str) -> Frame:
    def frame(text: str) -> bytes:
        chunk = {"id": f"loading-{model_id}", "object": "chat.completion.chunk", "created": now_epoch(),
                 "model": model_id,
                 "choices": [{"index": 0, "delta": {"reasoning_content": text}, "finish_reason": None}]}
        return b"data: " + json.dumps(chunk, ensure_ascii=False).encode("utf-8", "replace") + b"\n\n"
    return frame


def _comment(text: str) -> bytes:
    return f": {' '.join(text.split())}\n\n".encode("utf-8", "replace")


def _checked(exchange: Exchange) -> Exchange:
    """The exchange, if it streams. Its status can no longer be passed on, so any other answer becomes an error."""
    if exchange.status == 200 and exchange.is_event_stream:
        return exchange
    with exchange:
        said = exchange.read_all(MAX_ERROR_BYTES).decode("utf-8", "replace")
    raise UpstreamFault(f"the model server answered {exchange.status}: {said[:2000]}", code="model_answered_error",
                        status=exchange.status if exchange.status >= 400 else 502)

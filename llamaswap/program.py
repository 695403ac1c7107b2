"""The running program: builds the object graph, waits for signals, reloads, and ends in order.

The main thread does nothing but wait. A signal handler only puts a byte into a pipe (Python's wakeup fd), so nothing is
ever locked or logged inside one; the file watcher puts the same byte there, so a reload has one cause and one path.
"""
from __future__ import annotations

import argparse
import gc
import logging
import os
import select
import signal
import ssl
import sys
import time
from contextlib import contextmanager
from typing import Any, Dict, Iterator, Mapping, NamedTuple, Optional, Tuple, Union

from llamaswap import __version__
from llamaswap.control import Control
from llamaswap.core.config import Build, Config, Model, build
from llamaswap.core.expand import NO_PORTS, Ports
from llamaswap.core.faults import Fault
from llamaswap.core.groups import Groups
from llamaswap.core.http1 import Limits
from llamaswap.core.matrix import Matrix
from llamaswap.core.tickets import Event, ModelFailed, SwapStarted
from llamaswap.runtime.address import format_address, free_ports, is_loopback, own_names, parse_address
from llamaswap.runtime.breaker import Breakers
from llamaswap.runtime.current import Current
from llamaswap.runtime.files import load_config
from llamaswap.runtime.guardian import Guardian
from llamaswap.runtime.logfiles import LogFiles
from llamaswap.runtime.logformat import level_of, make_formatter
from llamaswap.runtime.logs import LogBook, LogBookHandler, StdoutSink
from llamaswap.runtime.preflight import port_problems, store_problems
from llamaswap.runtime.process import Launcher
from llamaswap.runtime.registry import Registry, launches_alike
from llamaswap.runtime.reservations import Reservations
from llamaswap.runtime.server import Server
from llamaswap.runtime.systemd import Notifier, take_notifier, take_sockets
from llamaswap.runtime.threads import spawn
from llamaswap.runtime.upstream import Endpoint, UpstreamPool
from llamaswap.runtime.watch import Signature, Watcher, signature_of
from llamaswap.web.accesslog import AccessLog
from llamaswap.web.admin import Admin
from llamaswap.web.app import App, Parts
from llamaswap.web.configview import Reading
from llamaswap.web.errors import fault_response
from llamaswap.web.inference import Inference
from llamaswap.web.profiles import Profiles
from llamaswap.web.sites import Site, make_site
from llamaswap.web.ui import Pages
from llamaswap.web.wsgi import AdminServer

log = logging.getLogger("llamaswap")

EXIT_OK, EXIT_FAILED = 0, 1
DRAIN_TIMEOUT = 30.0            # for requests that are being answered or wait when the program is told to stop
LAST_WORD = 1.0                 # of it, to refuse those who still wait
DRAIN_PAUSE = 0.05
RELOAD_DRAIN_TIMEOUT = 600.0    # for those of a model that a reload has changed; then they are cut
SIGNAL_ECHO = 0.02              # between two signals that are one wish
FALLBACK_PORT = 8080
# A relayed chunk needs the interpreter for microseconds, but a thread that computes keeps it for the whole interval: at
# the default 5 ms one busy thread makes every stream wait that long. Shorter is dearer where many threads want it: with
# 32 connections 0.5 ms gave 3,700 requests/s, 1 ms 4,000, 2 ms and 5 ms 4,900 (one run, two cores).
SWITCH_INTERVAL = 0.002
# What is there from the start is never looked at again, and the young are looked at less often: at the defaults
# collecting took 3 to 4 % of the time of a busy program, with these 1 %. Requests leave no cycles behind.
COLLECT_AFTER = (5000, 20, 50)
_CRASHED = 0              # not a signal number: a vital thread died


class Loaded(NamedTuple):
    """`seen` is what the files looked like before they were read, so that a later change is noticed in any case."""

    built: Build
    seen: Signature


def run(options: argparse.Namespace, *, builtins: Mapping[str, str]) -> int:
    """Serve until told to stop; the exit code."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    built, seen = load(options, builtins)
    for problem in built.problems:
        print(f"llamaswap: {problem}", file=sys.stderr)
    if built.config is None:
        print("llamaswap: failed to load the configuration", file=sys.stderr)
        return EXIT_FAILED
    try:
        program = Program(options, built, builtins, seen=seen)
        program.take_signals()
        program.bind()
    except (OSError, ValueError) as fault:
        print(f"llamaswap: cannot listen: {fault}", file=sys.stderr)
        return EXIT_FAILED
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    return program.serve()


def load(options: argparse.Namespace, builtins: Mapping[str, str], *, used_store: Optional[str] = None,
         ports: Ports = NO_PORTS) -> Loaded:
    """`used_store` is the path of a store that is open, and copes with whatever happens to its file; `ports` are those
    of the models there are."""
    if options.demo:
        return Loaded(build(demo_config(), os.environ, builtins=builtins), {})
    seen = signature_of(options.config, options.config_dir)
    built = load_config(options.config, options.config_dir, os.environ, builtins=builtins, ports=ports)
    if built.config is not None:
        is_new = built.config.store_path != used_store
        built = built.with_problems([*port_problems(built.config), *(store_problems(built.config) if is_new else ())])
    return Loaded(built, seen)


def demo_config() -> Dict[str, Any]:
    """Three small models of which one runs at a time, on ports that are free now."""
    models = {}
    for name, port in zip(("demo-one", "demo-two", "demo-three"), free_ports(3)):
        models[name] = {"cmd": f"${{llamaswap}} demo-model --port {port} --name {name}",
                        "proxy": f"http://127.0.0.1:{port}", "name": name.replace("-", " ").title(),
                        "description": "Repeats what you say; runs without a GPU."}
    return {"models": models}


def make_pool(model: Model) -> UpstreamPool:
    return UpstreamPool(Endpoint.parse(model.proxy), model.timeouts)


def _policy(config: Config) -> Union[Matrix, Groups]:
    return config.matrix if config.matrix is not None else Groups(config.groups)


class Program:
    """Owns every long-lived object. Used by the main thread only, but for what says otherwise."""

    def __init__(self, options: argparse.Namespace, built: Build, builtins: Mapping[str, str], *,
                 seen: Optional[Signature] = None) -> None:
        config = built.config
        assert config is not None, "there is nothing to run"
        self._options = options
        self._reading = _reading_of(config, built, options)
        self._builtins = builtins
        self._ports = built.ports
        self._seen = seen
        self._is_ending = False
        tls = _tls(options)
        self._sink = StdoutSink()
        self._log_files = LogFiles()
        self._logs = LogBook(to_stdout=config.log_to_stdout, sink=self._sink, files=self._log_files)
        self._handler = LogBookHandler(self._logs)
        self._notifier: Notifier = take_notifier(os.environ)
        self._sockets = take_sockets(os.environ)
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._guardian = Guardian()
        launcher = Launcher(logs=self._logs, environ=os.environ, guardian=self._guardian, pool_factory=make_pool)
        self._set_up_logging(config)
        self.config = config
        self._admin_address = str(options.admin_listen or config.admin_listen)
        self._registry = Registry(config.models, _policy(config).evict, launcher=launcher, tell=self._tell,
                                  max_wait=config.max_wait, priority=config.priority, on_crash=self._crashed)
        self._site = Current(make_site(config, UpstreamPool))
        pages = Pages()
        self._control = Control(config, lambda: self._reading, site=self._site, registry=self._registry,
                                logs=self._logs, is_ending=lambda: self._is_ending, build=lambda: pages.build)
        self._server = Server(lambda request: self._app.handle(request), fault_response=fault_response,
                              limits=Limits(), ssl_context=tls, on_crash=self._crashed,
                              on_done=AccessLog(self._handler.info))
        self._app = App(self._parts(pages), site=self._site, has_admin_listener=bool(self._admin_address),
                        own_names=own_names)
        self._admin_server: Optional[AdminServer] = None
        self._watcher: Optional[Watcher] = None

    def _parts(self, pages: Pages) -> Parts:
        control = self._control
        inference = Inference(self._registry, self._site, Reservations(), Breakers(), control.inflight)
        return Parts(admin=Admin(self._registry, self._site, control.tell_models),
                     profiles=Profiles(self._site, self._select_profile), inference=inference, pages=pages,
                     models=control.models, logs=control.logs, feed=control.feed, activity=control.activity,
                     insight=control.insight, scrape=control.scrape(self._server), config=control.config)

    def _set_up_logging(self, config: Config) -> None:
        # No line shows where in the code it was written or by which thread, and finding out costs every request 5 us.
        logging._srcfile = None  # type: ignore[attr-defined]
        logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
        root = logging.getLogger()
        root.handlers[:] = [self._handler]
        root.setLevel(level_of(config.log_level))
        self._handler.setFormatter(make_formatter(self._options.log_format, config.log_time_format))
        self._logs.show(config.log_to_stdout)
        self._log_files.reconfigure(config.log_files)

    def _crashed(self) -> None:
        """Any thread."""
        os.write(self._wake_write, bytes([_CRASHED]))

    def _select_profile(self, name: Optional[str]) -> bool:
        """Any thread. False when it is the active one already; KeyError when there is none of that name."""
        before: Site = self._site.replace(lambda site: site.with_profile(name))
        if before.profile != name:
            self._control.tell_profile()
        return before.profile != name

    def _tell(self, event: Event) -> None:
        """The timer thread."""
        _log_event(event)
        self._control.note(event)

    # --- start

    def take_signals(self) -> None:
        """Before anybody can take us for running; they are looked at once we are."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, _ignore)

    def bind(self) -> None:
        """Take the addresses before any model is started; OSError or ValueError when that is not possible."""
        if self._admin_address:
            with _naming(self._admin_address):
                self._admin_server = AdminServer(self._app.handle_admin, *parse_address(self._admin_address),
                                                 on_crash=self._crashed, on_done=AccessLog(self._handler.info))
        if self._sockets:
            for _, sock in self._sockets:
                self._server.bind_socket(sock)
            return
        if self._options.listen or not self._options.demo:
            address = self._options.listen or (":8443" if self._options.tls_cert_file else f":{FALLBACK_PORT}")
            with _naming(address):
                self._server.bind(*parse_address(address))
            return
        try:
            self._server.bind("127.0.0.1", FALLBACK_PORT)
        except OSError:
            self._server.bind("127.0.0.1", 0)

    def serve(self) -> int:
        # What an earlier life left behind holds memory and ports that the first load needs.
        self._guardian.reap_leftovers()
        self._guardian.start()
        self._control.start(self._crashed)
        self._server.start()
        if self._admin_server is not None:
            self._admin_server.start()
        self._announce()
        if self._options.watch_config and not self._options.demo:
            self._watcher = Watcher(lambda: signature_of(self._options.config, self._options.config_dir),
                                    lambda: os.write(self._wake_write, bytes([signal.SIGHUP])), seen=self._seen)
            spawn("watch", self._watcher.run)
        self._notifier.ready(f"serving {len(self.config.models)} models")
        self._preload(self.config.preload)
        return self._wait()

    def _announce(self) -> None:
        scheme = "https" if self._options.tls_cert_file else "http"
        for host, port in self._server.addresses:
            log.info("llamaswap %s listening on %s://%s", __version__, scheme, format_address(host, port))
        for path in self._server.paths:
            log.info("llamaswap %s listening on %s+unix:%s", __version__, scheme, path)
        managed = self._admin_server.addresses if self._admin_server is not None else []
        for host, port in managed:
            log.info("management listening on http://%s", format_address(host, port))
        for addresses, flag, what in ((self._server.addresses, "--listen", "use"),
                                      (managed, "--admin-listen", "manage")):
            if not self.config.api_keys and not all(is_loopback(host) for host, _ in addresses):
                log.warning("anybody who reaches this machine can %s it: no apiKeys are set; "
                            "%s 127.0.0.1:PORT keeps it to this machine", what, flag)
        if self._options.demo and self._server.addresses:
            print(_demo_hint(self._server.addresses[0]), flush=True)

    def _preload(self, model_ids: Tuple[str, ...]) -> None:
        """All at once; what may not run together swaps."""
        if not _policy(self.config).can_coexist(self.config.preload):
            log.warning("not all models under hooks.on_startup.preload can run together: some will be unloaded again")
        for model_id in model_ids:
            log.info("preloading model: %s", model_id)
            try:
                self._registry.load(model_id)
            except Fault as fault:
                log.warning("failed to preload model %s: %s", model_id, fault.message)

    # --- run

    def _wait(self) -> int:
        while True:
            number = self._next_event()
            if number in (signal.SIGTERM, signal.SIGINT, _CRASHED):
                self._skip_echo()
                log.info("received %s, shutting down", signal.Signals(number).name if number else "a crash report")
                is_clean = self._shut_down()
                return EXIT_OK if is_clean and number != _CRASHED else EXIT_FAILED
            if number == signal.SIGHUP:
                self.reload()

    def _next_event(self) -> int:
        """The next byte of the pipe; meanwhile the service manager hears that we live."""
        pause = self._notifier.watchdog_timeout / 2 or None
        while True:
            # Before the first wait too: signals that come faster than the pings must not put them off for ever.
            if pause:
                self._notifier.ping()
            if select.select([self._wake_read], [], [], pause)[0]:
                return os.read(self._wake_read, 1)[0]

    def _skip_echo(self) -> None:
        """One wish can come as two signals: `timeout`, like some process managers, tells the program and then its
        group. Who has read in the log that we are stopping, and says it again, means it."""
        time.sleep(SIGNAL_ECHO)
        while select.select([self._wake_read], [], [], 0)[0]:
            os.read(self._wake_read, 64)

    def reload(self) -> None:
        """All or nothing: a file with an error changes nothing. Models that did not change are not touched."""
        if self._options.demo:
            return
        log.info("reloading configuration")
        self._notifier.reloading()
        # Removed models that are still at work count among them.
        held = self._ports.of({status.id for status in self._registry.snapshot()})
        built, _ = load(self._options, self._builtins, used_store=self.config.store_path, ports=held)
        for problem in built.problems:
            log.log(logging.ERROR if problem.is_error() else logging.WARNING, "%s", problem)
        if built.config is None:
            log.error("failed to reload config; the previous one stays in force")
            now = time.time()
            self._reading = self._reading._replace(problems=built.problems, is_valid=False, read_at_epoch=now)
        else:
            self._reading = _reading_of(built.config, built, self._options)
            self._ports = held.joined(built.ports)
            self._apply(built.config)
            log.info("configuration reloaded")
        self._control.tell_reading()
        self._notifier.ready(f"serving {len(self.config.models)} models")

    def _apply(self, config: Config) -> None:
        before, self.config = self.config, config
        self._set_up_logging(config)
        if config.admin_listen != before.admin_listen and not self._options.admin_listen:
            log.warning("adminListen takes effect at the next start")
        site = make_site(config, UpstreamPool)
        # First the models, then the names: no request may find a name whose model is not known yet.
        self._registry.reconfigure(config.models, _policy(config).evict, max_wait=config.max_wait,
                                   priority=config.priority, drain_timeout=RELOAD_DRAIN_TIMEOUT)
        self._site.replace(site.continuing).close()
        self._control.reconfigure(config)
        self._preload(tuple(name for name in config.preload if name not in before.preload or name not in before.models
                            or not launches_alike(before.models[name], config.models[name])))

    # --- end

    def _shut_down(self) -> bool:
        """Stop accepting, let answers end, stop the models. A second signal skips the waiting."""
        self._is_ending = True
        deadline = time.monotonic() + DRAIN_TIMEOUT
        self._notifier.stopping()
        if self._watcher is not None:
            self._watcher.close()
        spawn("hurry", self._await_second_signal)
        draining = spawn("drain", self._server.stop, DRAIN_TIMEOUT)
        # Who waits for a model came before the signal, so it gets its turn too; a load that no client waits for does
        # not count. Who is still waiting at the end has to be told in time.
        while draining.is_alive() and self._registry.is_in_use() and time.monotonic() < deadline - LAST_WORD:
            draining.join(DRAIN_PAUSE)
        is_clean = self._registry.close(max(0.0, deadline - time.monotonic()))
        # Answers of peers may go on until the same deadline; stop() cuts what is left and needs a moment for it.
        draining.join(max(0.0, deadline - time.monotonic()) + 3.0)
        if self._admin_server is not None:
            self._admin_server.stop()
        self._site().close()
        self._control.close()
        self._guardian.close()
        log.info("shutdown complete")
        self._log_files.close()
        self._handler.write_held()
        self._sink.close()
        return is_clean

    def _await_second_signal(self) -> None:
        while os.read(self._wake_read, 1)[0] not in (signal.SIGTERM, signal.SIGINT):
            pass
        log.warning("told to stop twice: not waiting for running requests and models")
        self._handler.write_held()
        self._sink.close(0.2)
        # The guardian ends every model process as soon as our end of its pipe is gone.
        os._exit(EXIT_FAILED)


def _reading_of(config: Config, built: Build, options: argparse.Namespace) -> Reading:
    paths = [] if options.demo else [path for path in (options.config, options.config_dir) if path]
    now = time.time()
    return Reading(config, paths, built.problems, True, now, now)


def _ignore(number: int, frame: Any) -> None:
    """The byte in the wakeup pipe is the message."""


def _log_event(event: Event) -> None:
    """What the scheduler tells, for people."""
    if isinstance(event, SwapStarted):
        log.info("%s: making room, unloading %s", event.target, ", ".join(event.evicted))
    elif isinstance(event, ModelFailed):
        pause = f"; next start in {event.retry_after:.0f} s at the earliest" if event.retry_after else ""
        log.warning("%s: %s (failure %d)%s", event.model, event.why, event.failures, pause)
    else:
        log.info("%s: %s (%s)", event.model, event.new.value, event.reason)


def _tls(options: argparse.Namespace) -> Optional[ssl.SSLContext]:
    if not options.tls_cert_file:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # What ends a message is said by its framing. Without this (OpenSSL 3) every client that just closes, and every idle
    # connection that we close, gets a fatal alert; Python knows the name from 3.10 on.
    context.options |= getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    with _naming(f"{options.tls_cert_file}, {options.tls_key_file}"):
        context.load_cert_chain(options.tls_cert_file, options.tls_key_file)
    return context


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """The system's errors do not say which of them it is about."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{what}: {error}") from None


def _demo_hint(address: Tuple[str, int]) -> str:
    base = f"http://{format_address(*address)}"
    return f"""
  The demo is running at {base}  (Ctrl-C ends it)

  Try:
    curl {base}/v1/chat/completions \\
      -d '{{"model": "demo-one", "messages": [{{"role": "user", "content": "Hello!"}}]}}'
  then ask demo-two and watch it take the place of demo-one:
    curl {base}/running
"""

"""The arbiter: binds, keeps a fleet of workers, and obeys signals.

One thread, one loop: wait for a signal, a report or a deadline; take in what happened; have the fleet act on it. It
never imports the application (unless told to preload it) nor the native core, so that whatever crashes there takes
one worker only.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable

from .. import __version__
from ..config import Loaded, Settings
from ..config.hooks import ServerFacts
from ..config.tls import speaks_tls
from ..errors import EXIT_BOOT, EXIT_FAILURE, EXIT_OK, ConfigError, FerruleError
from ..importer import Application
from ..logs import Log, format_traceback, open_log
from ..worker.context import WorkerContext
from ..worker.report import ReportWriter
from .fleet import Fleet
from .generation import Generation
from .inheritance import load_for_workers
from .process import (
    Background,
    PidFile,
    go_to_background,
    name_process,
    raise_descriptor_limit,
    resolve_identity,
)
from .runtime import RuntimeDirectory
from .scoreboard import Scoreboard
from .signals import Interrupted, SignalQueue
from .sockets import Sockets
from .systemd import Notifier
from .upgrade import Successor, start_successor
from .workers import WorkerProcess, reap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .certificates import Certificates
    from .control import ControlSocket
    from .reloader import Reloader

QUICK_GRACE = 1.0  # s that INT and QUIT leave to a worker
FEWEST_SLOTS = 32  # of the scoreboard, so that TTIN has room from the start
OLD_PID_SUFFIX = ".oldbin"  # of the pid file, while a new generation of the server runs beside this one
FIXED = ("user", "group", "umask", "daemon", "pid", "preload", "control_socket", "reload", "proc_name")
"""Settings that a reload cannot change: they shaped the process when it started."""


class Arbiter:
    """Runs a server until it is told to stop. `loaded` are the settings to start with, `load` reads them again on HUP;
    `directory` is where the program was started. An `application` that is there already is not imported."""

    def __init__(
        self,
        load: Callable[[], Loaded],
        directory: str,
        *,
        loaded: Loaded,
        log: Log,
        application: Application | None = None,
    ) -> None:
        self._load = load
        self._directory = directory
        self._pid = os.getpid()
        self.log = log
        self._generation = Generation(1, loaded)
        self._fallback: Generation | None = None  # what goes on when a reload does not come up
        self._newest = 1
        target = worker_count(loaded.settings)
        self.board = Scoreboard(max(FEWEST_SLOTS, 4 * target))
        self._fleet = Fleet(self, self._generation, target, self.board)
        self._sockets = Sockets()
        self._signals = SignalQueue()
        self._lifeline, self._lifeline_end = os.pipe()
        self._identity = resolve_identity(loaded.settings.user, loaded.settings.group)
        self._notifier = Notifier(os.environ, os.getpid())
        self._runtime = RuntimeDirectory()
        self._background: Background | None = None
        self._pid_file: PidFile | None = None
        self._control: ControlSocket | None = None
        self._reloader: Reloader | None = None
        self._successor: Successor | None = None
        self._application = application
        self._stop_at: float | None = None  # when the delay before draining is over
        self._stopping = False
        self._quick = False
        self._final_code = EXIT_OK  # what the server will exit with once its workers are gone
        self._exit_code: int | None = None

    @property
    def settings(self) -> Settings:
        return self._generation.settings

    @property
    def _ending(self) -> bool:
        """Whether it was told to stop, be it that it still accepts for a while."""
        return self._stopping or self._stop_at is not None

    @property
    def _certificates(self) -> Certificates | None:
        return self._generation.certificates

    def run(self) -> int:
        """Serve until stopped; returns the exit code. Raises `FerruleError` when the server cannot be set up, and
        `Forked` in every worker process."""
        try:
            self._start()
        except Exception as error:
            self._clean_up(error.exit_code if isinstance(error, FerruleError) else EXIT_FAILURE)
            raise
        except Interrupted as interrupted:
            self._signals.install()
            self.log.info("Stopped before it served", by=interrupted.name)
            self._clean_up(EXIT_OK)
            return EXIT_OK
        try:
            while self._exit_code is None:
                self._tick()
        except Exception:
            # A defect of the arbiter itself: workers must not outlive it.
            self.log.exception("The arbiter failed")
            self._fleet.send(signal.SIGKILL)
            self._exit_code = EXIT_FAILURE
        self._clean_up(self._exit_code)
        self.call_hook("on_exit", self.facts())
        self.log.info("Stopped", pid=os.getpid())
        return self._exit_code

    # Start and finish

    def _start(self) -> None:
        settings = self.settings
        if settings.umask is not None:
            os.umask(settings.umask)
        self._say_warnings(self._generation.loaded)
        self.call_hook("on_starting", self.facts())
        self._sockets.take_over(os.environ)
        if settings.daemon and not self._sockets.predecessor.pid:
            self._background = go_to_background()
            self._pid = os.getpid()
        self._signals.install_for_start()
        if too_low := raise_descriptor_limit(settings.connections):
            self.log.warning("Open files are limited below --connections", limit=too_low[0], needed=too_low[1])
        self._prepare_listeners(self._generation, self.log)
        self._generation.open_access_log(self._identity)
        if settings.pid is not None:
            self._pid_file = PidFile(settings.pid)
            self._pid_file.write()
        if settings.preload and self._application is None:
            from .preload import preload

            self._application = preload(settings, self.log)
        if settings.control_socket is not None:
            from .control import ControlSocket

            self._control = ControlSocket(settings.control_socket, self._execute)
        name_process(self._title("arbiter"), f"{settings.proc_name or 'ferrule'}-arbiter"[-15:])
        self._signals.install()
        if settings.reload:
            from .reloader import Reloader

            self._reloader = Reloader(settings, self._lifeline, self._leave_in_child, self.log)
        self._say_listening(self._generation)

    def _clean_up(self, code: int) -> None:
        if self._reloader is not None:
            self._reloader.stop()
        if self._control is not None:
            self._control.close()
        self._sockets.close_all(keep_files=self._successor is not None)
        if self._pid_file is not None:
            self._pid_file.remove()
        self._runtime.remove()
        self._signals.restore()
        if self._background is not None:
            self._background.failed(code)

    def _prepare_listeners(self, generation: Generation, log: Log) -> None:
        """Certificates first: what is wrong with them is to be known before anything is listened on."""
        settings, origins = generation.settings, generation.loaded.origins
        generation.binds = self._sockets.wanted(settings)
        if any(speaks_tls(settings, bind) for bind in generation.binds):
            from .certificates import Certificates

            generation.certificates = Certificates(settings, origins, self._directory, self._leave_in_child, log)
        generation.listeners = self._sockets.open(settings, self._identity)
        if self._sockets.activated and origins["bind"] != "default":
            log.warning("Sockets come from the service manager, bind is not used")

    def _say_listening(self, generation: Generation) -> None:
        for url, bind in zip(generation.urls, generation.binds, strict=True):
            tls = "on" if url.startswith("unix:") and speaks_tls(generation.settings, bind) else None
            self.log.info("Listening", url=url, tls=tls)

    # The loop

    def _tick(self) -> None:
        self._wait()
        for number in self._signals.take():
            self._on_signal(number)
        reaped = reap()
        self._fleet.observe(reaped)
        self._look_after_successor(reaped)
        if self._control is not None:
            self._control.serve()
        if self._reloader is not None:
            self._reload_on_change(self._reloader)
        if self._certificates is not None and not self._stopping and self._certificates.look(self.log):
            self.describe()
        now = time.monotonic()
        self._notifier.watchdog(now)
        if self._stop_at is not None and now >= self._stop_at:
            self._stop(self.settings.graceful_timeout or float("inf"), "stop")
        if self._stopping and not len(self._fleet):
            self._exit_code = self._final_code
        if self._exit_code is None:
            self._fleet.act()

    def _wait(self) -> None:
        wakes = [self._fleet.wake]
        poller = select.poll()
        poller.register(self._signals.fileno(), select.POLLIN)
        for descriptor in self._fleet.descriptors():
            poller.register(descriptor, select.POLLIN)
        if self._control is not None:
            for descriptor in self._control.descriptors():
                poller.register(descriptor, select.POLLIN)
            wakes.append(self._control.wake)
        if self._reloader is not None:
            poller.register(self._reloader.fileno(), select.POLLIN)
        if self._successor is not None and self._successor.ready_fd is not None:
            poller.register(self._successor.ready_fd, select.POLLIN)
        if self._stop_at is not None:
            wakes.append(self._stop_at)
        if self._certificates is not None and not self._stopping:
            wakes.append(self._certificates.wake)
        now = time.monotonic()
        if self._notifier.watchdog_interval is not None:
            wakes.append(now + self._notifier.watchdog_interval)
        poller.poll(max(0.0, min(wakes) - now) * 1000)

    # Signals and commands

    def _on_signal(self, number: signal.Signals) -> None:
        match number:
            case signal.SIGTERM:
                self._stop_gracefully(number.name)
            case signal.SIGINT | signal.SIGQUIT:
                self._stop_quickly(number.name)
            case _ if self._ending:
                pass  # too late for anything else
            case signal.SIGHUP:
                self.log.info("Reloading", signal=number.name)
                self._reload()
            case signal.SIGTTIN:
                self._scale(self._fleet.target + 1)
            case signal.SIGTTOU:
                self._scale(self._fleet.target - 1)
            case signal.SIGUSR1:
                self.log.reopen()
                self._reopen_access_logs()
                self._fleet.send(signal.SIGUSR1)
            case signal.SIGUSR2:
                self._upgrade()
            case signal.SIGWINCH if self.settings.daemon:
                self.log.info("Retiring all workers", signal=number.name)
                self._fleet.target = 0

    def _execute(self, words: list[str]) -> str:
        """A command from the control socket."""
        match words:
            case ["reload"] | ["scale", _] if self._ending:
                return "error: the server is stopping"
            case ["reload"]:
                self._reload()
            case ["stop"]:
                self._stop_gracefully("control socket")
            case ["scale", amount] if amount.lstrip("+-").isascii() and amount.lstrip("+-").isdigit():
                target = int(amount) + (self._fleet.target if amount[0] in "+-" else 0)
                if not self._scale(target):
                    return f"error: expected 1 to {self.board.slots // 2} workers"
            case _:
                return "error: expected reload, stop, or scale N|+N|-N"
        return "ok"

    def _scale(self, target: int) -> bool:
        old = self._fleet.target
        if not 1 <= target <= self.board.slots // 2:
            self.log.warning("Number of workers stays", workers=old, most=self.board.slots // 2)
            return False
        self._fleet.target = target
        self.log.info("Number of workers changed", workers=target, before=old)
        self.call_hook("nworkers_changed", self.facts(), target, old)
        self.describe()
        return True

    def _stop_gracefully(self, why: str) -> None:
        if self._ending:
            return
        # Whoever reads that the server is stopping finds it so: readiness says 503 before the log says why.
        self._fleet.unready()
        self._stop_at = time.monotonic() + self.settings.drain_delay
        self.log.info("Stopping", by=why)
        self._notifier.stopping()

    def _stop_quickly(self, why: str) -> None:
        if self._quick:
            self.log.info("Stopping at once", by=why)
            self._fleet.send(signal.SIGKILL)
            return
        self.log.info("Stopping quickly", by=why)
        self._notifier.stopping()
        self._quick = True
        self._fleet.send(
            signal.SIGQUIT
        )  # first: an idle worker is gone as soon as it is told to drain, without its hook
        self._stop(QUICK_GRACE, "quick stop")

    def _stop(self, grace: float, cause: str) -> None:
        """Accept no more; have every worker leave within `grace` seconds."""
        self._stop_at = None
        self._stopping = True
        self._sockets.close_all(keep_files=self._successor is not None)
        self._fleet.stop(grace, cause)

    # Reload

    def _reload_on_change(self, reloader: Reloader) -> None:
        try:
            changed = reloader.changed()
        except EOFError:
            self.log.error("Files are not watched any more: restart, or send HUP after a change")
            reloader.close()
            self._reloader = None
            return
        if changed is not None and not self._ending:
            self.log.info("Change detected", path=changed)
            self._reload()

    def _reload(self) -> None:
        """Read the configuration again and replace every worker, or say why not and go on as before."""
        self._notifier.reloading()
        try:
            generation = self._next_generation()
        except Exception as error:
            # Whatever a configuration file, or a defect of ours, has come up with: those who serve go on serving.
            self._keep_listening()
            traceback = None if isinstance(error, FerruleError | OSError) else format_traceback(error)
            self.log.error("Reload failed, the old workers go on", reason=str(error), traceback=traceback)
            self._notifier.ready(self._status())
            return
        if self._fallback is None and self._generation.proven:
            self._fallback = self._generation
        else:
            self._generation.release()
        self._generation = self._fleet.generation = generation
        self._fleet.target = worker_count(generation.settings)
        self._fleet.retry_at_once()

    def _next_generation(self) -> Generation:
        loaded = self._load()
        for name in FIXED:
            if getattr(loaded.settings, name) != getattr(self.settings, name):
                self.log.warning("A setting needs a restart to change", setting=name)
        log = open_log(loaded.settings)
        generation = Generation(self._newest + 1, loaded)
        try:
            self._prepare_listeners(generation, log)
            generation.open_access_log(self._identity)
        except BaseException:
            log.close()
            raise
        self._newest += 1
        self.log.close()
        self.log = log
        self._say_warnings(loaded)
        if generation.urls != self._generation.urls:
            self._say_listening(generation)
        return generation

    def on_proven(self, generation: Generation, worker: WorkerProcess) -> None:
        """The first worker of a generation is ready: it is what the server is from now on."""
        self._drop_fallback()
        self._sockets.keep_only(generation.listeners)
        pid = os.getpid()
        self.log.info("Ready", pid=pid, workers=self._fleet.target, **worker.facts, version=__version__)
        self._notifier.ready(self._status())
        self._sockets.predecessor.tell_ready()
        self.describe()
        self.call_hook("when_ready", self.facts())
        if self._background is not None:
            if self.settings.log_file is None:
                self.log.warning("Without --log-file nobody will see the log of a daemon from here on")
            self._background.succeeded()
        load_for_workers(worker.facts.get("loop"))

    def on_hopeless(self, generation: Generation) -> None:
        """No worker of a generation came up."""
        if self._fallback is None:
            # Nothing of this server ever worked: there is nothing to keep alive.
            self._final_code = EXIT_BOOT
            self._stop(QUICK_GRACE, "no worker could start")
            return
        self.log.error("Reload failed, the old workers go on")
        generation.release()
        self._generation = self._fleet.generation = self._fallback
        self._fallback = None
        self._keep_listening()
        self._fleet.target = worker_count(self.settings)
        self._notifier.ready(self._status())

    def _keep_listening(self) -> None:
        """Close what was opened for a generation that is not to be."""
        fallback = self._fallback.listeners if self._fallback is not None else []
        self._sockets.keep_only([*self._generation.listeners, *fallback])

    def _drop_fallback(self) -> None:
        if self._fallback is not None:
            self._fallback.release()
            self._fallback = None

    def _reopen_access_logs(self) -> None:
        """For the workers to come; those that live do it themselves."""
        for generation in (self._generation, self._fallback):
            try:
                if generation is not None:
                    generation.open_access_log(self._identity)
            except ConfigError as error:
                self.log.error(str(error))

    # Upgrade

    def _upgrade(self) -> None:
        if os.getpid() == 1:
            self.log.error("Upgrade refused: as process 1 this one cannot be followed by another")
            return
        if self._successor is not None:
            self.log.error("Upgrade refused: a new generation runs already", pid=self._successor.pid)
            return
        environment = {**os.environ, **self._notifier.variables()}
        listeners = self._generation.listeners
        if self._pid_file is not None:
            self._pid_file.rename(OLD_PID_SUFFIX)
        try:
            self._successor = start_successor(listeners, len(self._sockets.activated), self._directory, environment)
        except OSError as error:
            self.log.error("Upgrade failed, this generation goes on", reason=error.strerror)
            if self._pid_file is not None:
                self._pid_file.rename_back(OLD_PID_SUFFIX)
            return
        self.log.info("New generation started", pid=self._successor.pid)

    def _look_after_successor(self, reaped: dict[int, int]) -> None:
        successor = self._successor
        if successor is None:
            return
        if successor.pid in reaped:
            self.log.error("New generation ended, this one goes on", pid=successor.pid)
            successor.close()
            self._successor = None
            if self._pid_file is not None:
                self._pid_file.rename_back(OLD_PID_SUFFIX)
            self._notifier.main_pid(os.getpid())
        elif successor.becomes_ready():
            self.log.info("New generation is ready", pid=successor.pid)
            self._notifier.main_pid(successor.pid)

    # What workers and hooks see

    def worker_context(self, generation: Generation, id: int, slot: int, writer: int) -> WorkerContext:
        self._leave_in_child()
        self._drop_fallback()
        title = self._title(f"worker {id}")
        name_process(title, f"{self.settings.proc_name or 'ferrule'}-w{id}"[-15:])
        return WorkerContext(
            settings=generation.settings,
            variables=generation.loaded.variables,
            hooks=generation.hooks,
            server=self.facts(),
            worker_id=id,
            generation=generation.number,
            workers=self._fleet.target,
            slot=self.board.slot(slot),
            listeners=tuple(listener.socket.detach() for listener in generation.listeners),
            binds=generation.binds,
            certificates=None if generation.certificates is None else generation.certificates.feed,
            report=ReportWriter(writer),
            lifeline=self._lifeline,
            access_fd=generation.access_fd,
            log=self.log.child(worker=id),
            identity=self._identity,
            application=self._application,
        )

    def _leave_in_child(self) -> None:
        """After any fork of ours: signal handling and pipes are the arbiter's alone."""
        os.close(self._lifeline_end)
        self._signals.leave_in_child()
        self._fleet.leave_in_child()
        if self._control is not None:
            self._control.leave_in_child()
        if self._reloader is not None:
            self._reloader.close()
        if self._successor is not None:
            self._successor.close()

    def facts(self) -> ServerFacts:
        return ServerFacts(
            pid=self._pid,
            cfg=self.settings,
            log=self.log,
            address=self._generation.urls,
            num_workers=self._fleet.target,
        )

    def call_hook(self, name: str, *arguments: object) -> None:
        """A hook of the arbiter's side may fail, the server goes on; before it has begun, the failure ends it."""
        try:
            self._generation.hooks.call(name, *arguments)
        except (Exception, SystemExit) as error:
            if name == "on_starting":
                raise FerruleError(f"hook on_starting failed: {type(error).__name__}: {error}") from error
            self.log.exception(f"Hook {name} failed")

    def _title(self, role: str) -> str:
        return f"{self.settings.proc_name or 'ferrule'}: {role} [{self.settings.app}]"

    def _status(self) -> str:
        return f"{self._fleet.target} workers serve {self.settings.app}"

    def describe(self) -> None:
        """Leave in the runtime directory what `server status` shows. It is made when the first worker is ready, so that
        nobody has to wait for it."""
        if not self._generation.proven:
            return
        if self._runtime.path is None:
            if (problem := self._runtime.make()) is not None:
                self.log.debug("No runtime directory", reason=problem)
            self._runtime.link_scoreboard(self.board.fd)
        self._runtime.describe(
            {
                "pid": os.getpid(),
                "version": __version__,
                "app": self.settings.app,
                "urls": list(self._generation.urls),
                "certificates": [] if self._certificates is None else self._certificates.facts(),
                "workers": self._fleet.target,
                "slots": self.board.slots,
                "restarts": self._fleet.restarts,
            }
        )

    def _say_warnings(self, loaded: Loaded) -> None:
        for warning in loaded.warnings:
            self.log.warning(warning)


def worker_count(settings: Settings) -> int:
    """How many workers the settings ask for; a developer's server under --reload needs one only."""
    if settings.workers or settings.reload:
        return settings.workers or 1
    from .cpus import usable_cpus

    return usable_cpus()

"""The first lines of a worker process: load the application, choose how to serve it, report failure.

Runs after the fork, with default signal actions until serving begins.
"""

from __future__ import annotations

import os

from .. import _core
from ..errors import EXIT_BOOT, AppError
from ..importer import Application, enter_app_dir, load_app
from ..logs import ERROR, format_traceback
from .context import WorkerContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .worker import Worker

LOST_ARBITER_LIMIT = (
    1.0  # s after which a worker without an arbiter goes, whatever it is doing; half of what is promised
)


def run(context: WorkerContext) -> int:
    """Serve until told to stop. Returns the exit code of the process."""
    for name, value in context.variables.items():
        os.environ.setdefault(name, value)
    try:
        _core.leave_with(context.lifeline, context.server.pid, LOST_ARBITER_LIMIT)
        context.hooks.call("post_fork", context.server, context.facts(os.getpid()))
        context.identity.take_on()
        context.slot.booted(os.getpid(), context.settings.threads)
        worker = _boot(context)
    except AppError as error:
        context.report.failed(str(error), error.traceback)
        return EXIT_BOOT
    except Exception as error:
        context.report.failed(f"worker failed to start: {type(error).__name__}: {error}", format_traceback(error))
        return EXIT_BOOT
    code = worker.run()
    context.hooks.call("worker_exit", context.server, context.facts(os.getpid()))
    return code


def _boot(context: WorkerContext) -> Worker:
    application = context.application
    if application is None:
        enter_app_dir(context.settings)
        application = _load(context)
    worker = _worker_for(context, application)
    context.hooks.call("post_worker_init", context.facts(os.getpid()))
    return worker


def _load(context: WorkerContext) -> Application:
    try:
        return load_app(context.settings)
    except AppError as error:
        if not context.settings.reload:
            raise
        from .boot_failure import failure_page

        # A developer is about to fix it; until then the browser shows what the terminal shows.
        context.log.write(ERROR, str(error), traceback=error.traceback)
        return failure_page(error)


def _worker_for(context: WorkerContext, application: Application) -> Worker:
    # An ASGI worker takes asyncio, a WSGI worker does without its tens of milliseconds.
    if application.interface == "asgi":
        from .asgi import AsgiWorker

        return AsgiWorker(context, application)
    from .wsgi import WsgiWorker

    return WsgiWorker(context, application)

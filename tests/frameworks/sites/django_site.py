"""Django: WSGI (`app`), the same under wsgiref's validator (`validated`), and ASGI (`asgi_app`).

With `SITE_INTERFACE=asgi` the views that have an asynchronous form are that form.
"""

import asyncio
import contextvars
import hashlib
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from wsgiref.validate import validator

from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler, StaticFilesHandler
from django.core.asgi import get_asgi_application
from django.core.signals import request_finished
from django.core.wsgi import get_wsgi_application
from django.dispatch import receiver
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import path
from django.utils.cache import patch_response_headers
from django.views.decorators.http import condition

from tests.frameworks.sites.shared import LARGE, PARTS, TICK, describe_upload, file_path, journal, purpose

if not settings.configured:
    settings.configure(
        SECRET_KEY="only for these tests",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        DATA_UPLOAD_MAX_MEMORY_SIZE=64 * 1024 * 1024,
        INSTALLED_APPS=["django.contrib.sessions", "django.contrib.staticfiles"],
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
        STATIC_URL="/static/",
        STATICFILES_DIRS=[Path(__file__).parent],
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.middleware.gzip.GZipMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
        ],
        # As a deployment that logs to the console, and has no administrators to mail.
        LOGGING={
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"console": {"class": "logging.StreamHandler"}},
            "loggers": {"django.request": {"handlers": ["console"], "level": "ERROR", "propagate": False}},
        },
    )

number_of_request: contextvars.ContextVar[str] = contextvars.ContextVar("number_of_request", default="none")


def json_page(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return JsonResponse({"received": json.loads(request.body)})
    return JsonResponse({"message": "hello"})


def large(request: HttpRequest) -> HttpResponse:
    return JsonResponse(LARGE)


def digest(request: HttpRequest) -> HttpResponse:
    data = request.body
    return JsonResponse({"size": len(data), "sha256": hashlib.sha256(data).hexdigest()})


def form(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"name": request.POST["name"], "tags": request.POST.getlist("tag")})


def upload(request: HttpRequest) -> HttpResponse:
    files = [describe_upload(file.name, file.content_type, file.read()) for file in request.FILES.getlist("file")]
    return JsonResponse({"note": request.POST["note"], "files": files})


def cookies(request: HttpRequest) -> HttpResponse:
    response = JsonResponse(request.COOKIES)
    response.set_cookie("first", "one")
    response.set_cookie("second", "two", httponly=True, samesite="Lax")
    return response


def visits(request: HttpRequest) -> HttpResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JsonResponse({"visits": request.session["visits"]})


def redirected(request: HttpRequest) -> HttpResponse:
    response = HttpResponseRedirect("/json")
    response.status_code = 303
    return response


def fail(request: HttpRequest, number: str) -> HttpResponse:
    raise RuntimeError(purpose(number))


def nothing(request: HttpRequest) -> HttpResponse:
    response = HttpResponse(status=204)
    # A response without content has no type; wsgiref's validator insists.
    del response["Content-Type"]
    return response


@condition(etag_func=lambda request: '"version-1"')  # type: ignore[untyped-decorator]
def etag(request: HttpRequest) -> HttpResponse:
    return HttpResponse("the page")


def stream(request: HttpRequest) -> HttpResponseBase:
    return StreamingHttpResponse(iter(PARTS), content_type="text/plain")


async def stream_async(request: HttpRequest) -> HttpResponseBase:
    async def parts() -> AsyncIterator[str]:
        for part in PARTS:
            yield part

    return StreamingHttpResponse(parts(), content_type="text/plain")


def stream_fail(request: HttpRequest, number: str) -> HttpResponseBase:
    def parts() -> Iterator[str]:
        yield from PARTS[:3]
        raise RuntimeError(purpose(number))

    return StreamingHttpResponse(parts(), content_type="text/plain")


async def stream_fail_async(request: HttpRequest, number: str) -> HttpResponseBase:
    async def parts() -> AsyncIterator[str]:
        for part in PARTS[:3]:
            yield part
        raise RuntimeError(purpose(number))

    return StreamingHttpResponse(parts(), content_type="text/plain")


def events(request: HttpRequest, name: str) -> HttpResponseBase:
    def ticks() -> Iterator[str]:
        with journal.span(name):
            number = 0
            while True:
                yield f"id: {number}\ndata: tick\n\n"
                number += 1
                time.sleep(TICK)

    return StreamingHttpResponse(ticks(), content_type="text/event-stream")


async def events_async(request: HttpRequest, name: str) -> HttpResponseBase:
    async def ticks() -> AsyncIterator[str]:
        with journal.span(name):
            number = 0
            while True:
                yield f"id: {number}\ndata: tick\n\n"
                number += 1
                await asyncio.sleep(TICK)

    return StreamingHttpResponse(ticks(), content_type="text/event-stream")


def entries(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"count": journal.count(request.GET["entry"])})


def file(request: HttpRequest) -> HttpResponseBase:
    return FileResponse(file_path().open("rb"), content_type="application/octet-stream")


async def file_async(request: HttpRequest) -> HttpResponseBase:
    """Under ASGI Django wants an asynchronous iterator of a streamed response."""

    async def parts() -> AsyncIterator[bytes]:
        with file_path().open("rb") as opened:
            while part := await asyncio.to_thread(opened.read, 65536):
                yield part

    response = StreamingHttpResponse(parts(), content_type="application/octet-stream")
    response["Content-Length"] = str(file_path().stat().st_size)
    return response


def echo(request: HttpRequest, rest: str) -> HttpResponse:
    return JsonResponse(
        {
            "rest": rest,
            "root": request.META.get("SCRIPT_NAME", ""),
            "query": request.META["QUERY_STRING"],
            "header": request.headers.get("X-Sent"),
            "client": request.META["REMOTE_ADDR"],
            "url": request.build_absolute_uri(request.path),
        }
    )


def sleep(request: HttpRequest) -> HttpResponse:
    time.sleep(0.01)
    return JsonResponse({"number": int(request.GET["number"])})


async def sleep_async(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0.01)
    return JsonResponse({"number": int(request.GET["number"])})


# What is Django's own.


def cached(request: HttpRequest) -> HttpResponse:
    response = HttpResponse("x" * 5000)
    patch_response_headers(response, cache_timeout=60)
    return response


def where(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"thread": threading.current_thread().name, "main": threading.main_thread().name})


async def where_async(request: HttpRequest) -> HttpResponse:
    task = asyncio.current_task()
    return JsonResponse(
        {"thread": threading.current_thread().name, "main": threading.main_thread().name, "task": task is not None}
    )


async def context(request: HttpRequest, number: str) -> HttpResponse:
    before = number_of_request.get()
    number_of_request.set(number)
    await asyncio.sleep(0.01)
    return JsonResponse({"before": before, "after": number_of_request.get()})


async def timeout(request: HttpRequest) -> HttpResponse:
    try:
        async with asyncio.timeout(0.02):
            await asyncio.sleep(10)
    except TimeoutError:
        return JsonResponse({"timed out": True})
    return JsonResponse({"timed out": False})


async def cancelled(request: HttpRequest, name: str) -> HttpResponse:
    """Django cancels a view whose client is gone."""
    journal.add(f"{name} began")
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        journal.add(f"{name} cancelled")
        raise
    return HttpResponse("never")


@receiver(request_finished)  # type: ignore[untyped-decorator]
def note_end(**facts: object) -> None:
    journal.add("request finished")


pages = [
    path("json", json_page),
    path("large", large),
    path("digest", digest),
    path("form", form),
    path("upload", upload),
    path("cookies", cookies),
    path("visits", visits),
    path("redirect", redirected),
    path("fail/<str:number>", fail),
    path("nothing", nothing),
    path("etag", etag),
    path("stream", stream),
    path("stream/fail/<str:number>", stream_fail),
    path("events/<str:name>", events),
    path("journal", entries),
    path("file", file),
    path("echo/<path:rest>", echo),
    path("sleep", sleep),
    path("cached", cached),
    path("where", where),
    path("context/<str:number>", context),
    path("timeout", timeout),
    path("cancelled/<str:name>", cancelled),
]
asynchronous = [
    path("stream", stream_async),
    path("stream/fail/<str:number>", stream_fail_async),
    path("events/<str:name>", events_async),
    path("file", file_async),
    path("sleep", sleep_async),
    path("where", where_async),
]
urlpatterns = [*asynchronous, *pages] if os.environ.get("SITE_INTERFACE") == "asgi" else pages

app = StaticFilesHandler(get_wsgi_application())
validated = validator(app)
asgi_app = ASGIStaticFilesHandler(get_asgi_application())

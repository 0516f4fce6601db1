"""Django in a single file, as WSGI (`app`) and as ASGI (`asgi_app`).

pip install django
server --app-dir examples django_app:app
server --app-dir examples django_app:asgi_app
"""

import os

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

if not settings.configured:
    settings.configure(
        # Only for this example: a real site keeps its key out of the source.
        SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY", "ferrule-example-key"),
        ALLOWED_HOSTS=["127.0.0.1", "localhost"],
        ROOT_URLCONF=__name__,
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    )


def index(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"message": "Hello from Ferrule."})


async def later(request: HttpRequest, name: str) -> JsonResponse:
    return JsonResponse({"message": f"Hello, {name}.", "method": request.method})


urlpatterns = [
    path("", index),
    path("hello/<str:name>", later),
]

app = get_wsgi_application()
asgi_app = get_asgi_application()

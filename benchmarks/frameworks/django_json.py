"""JSON by Django, settings in the module: no middleware, no database."""

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from benchmarks.frameworks.payload import MESSAGE

settings.configure(ALLOWED_HOSTS=["*"], MIDDLEWARE=[], ROOT_URLCONF=__name__, SECRET_KEY="for measuring only")


def message(request: HttpRequest) -> JsonResponse:
    return JsonResponse(MESSAGE)


urlpatterns = [path("json", message)]
app = get_wsgi_application()

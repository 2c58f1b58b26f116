"""A view guarded by django-rest-knox, on SQLite in the working directory."""

import os

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": "knox.db",
            # Connections are kept, and readers do not wait for writers.
            "CONN_MAX_AGE": None,
            "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL"},
        }
    },
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework", "knox"],
    MIDDLEWARE=[],
    REST_FRAMEWORK={"DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"]},
    ROOT_URLCONF=__name__,
    SECRET_KEY="only for the benchmark",
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.models import User
from django.utils import timezone
from knox.auth import TokenAuthentication
from knox.models import AuthToken, get_digest_token
from knox.settings import CONSTANTS, knox_settings
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response


@api_view(["GET"])
@authentication_classes([TokenAuthentication])
@permission_classes([IsAuthenticated])
def me(request):
    return Response({"user": request.user.get_username()})


urlpatterns = [path("me", me)]
application = get_wsgi_application()


def fill():
    """Makes the schema, the users, and a token for each."""
    call_command("migrate", verbosity=0)
    count = int(os.environ["SESSIONS"])
    users = User.objects.bulk_create(User(username=f"user-{n}") for n in range(count))
    expiry = timezone.now() + knox_settings.TOKEN_TTL
    tokens = []
    with open("credentials", "w") as credentials:
        for user in users:
            digest, token = get_digest_token()
            credentials.write(f"Token {token}\n")
            key = token[: CONSTANTS.TOKEN_KEY_LENGTH]
            tokens.append(AuthToken(digest=digest, token_key=key, user=user, expiry=expiry))
    AuthToken.objects.bulk_create(tokens)
    with open("unknown", "w") as unknown:
        unknown.write(f"Token {get_digest_token()[1]}\n")
    connections.close_all()

"""RFC 7662 and RFC 7009 by Authlib: introspect.py ADMIN CLIENT_ID CLIENT_SECRET, on standard input a JSON list of
[client authentication, "introspect" or "revoke", token, hint or null]; prints a JSON list of [status, body]."""

import json
import os
import sys

# The admin listener speaks plain HTTP, on loopback.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

from authlib.integrations.requests_client import OAuth2Session

admin, client_id, client_secret = sys.argv[1:]


def ask(how, what, token, hint):
    session = OAuth2Session(
        client_id, client_secret, token_endpoint_auth_method=how, revocation_endpoint_auth_method=how
    )
    session.trust_env = False
    call = {"introspect": session.introspect_token, "revoke": session.revoke_token}[what]
    answer = call(f"{admin}/{what}", token=token, token_type_hint=hint)
    return [answer.status_code, answer.json() if answer.content else None]


print(json.dumps([ask(*asked) for asked in json.load(sys.stdin)]))

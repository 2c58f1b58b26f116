"""AuthenticateEx, RenewSession, CloseSession by requests, each token verified by PyJWT against the published keys, on both bindings:
axxon.py BASE USER PASSWORD"""

import datetime
import socket
import sys

import jwt
import requests

base, user, password = sys.argv[1:]
service = "axxonsoft.bl.auth.AuthenticationService."
credentials = {"user_name": user, "password": password}


class Bearer(requests.auth.AuthBase):
    def __init__(self, token):
        self.token = token

    def __call__(self, request):
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def grpc(method, data, auth):
    return requests.post(f"{base}/grpc", json={"method": service + method, "data": data}, auth=auth)


def rest(path, auth):
    return requests.get(f"{base}/v1/authentication/{path}", auth=auth)


def verified(answer):
    """The token and its claims, verified like in a service that knows only the address of parlance's published keys."""
    body = answer.json()
    assert answer.status_code == 200, answer.text
    seconds = [] if answer.request.url.endswith("/grpc") else ["expires_in"]
    assert list(body) == [
        "token_name", "token_value", "expires_at", *seconds, "is_unrestricted", "user_id", "roles_ids", "error_code",
    ], body
    assert body["token_name"] == "auth_token" and body["error_code"] == "AUTHENTICATE_CODE_OK", body
    token = body["token_value"]
    key = jwt.PyJWKClient(f"{base}/.well-known/jwks.json").get_signing_key_from_jwt(token)
    claims = jwt.decode(token, key, algorithms=["RS256"], audience="*.*", options={"require": ["exp", "iat", "iss", "aud", "sub"]})
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "typ": "JWT", "kid": key.key_id}
    assert list(claims) == ["aud", "exp", "iat", "iss", "lgn", "rls", "sid", "sub"], claims
    assert claims["exp"] - claims["iat"] == 14400, claims
    expires = datetime.datetime.fromtimestamp(claims["exp"], datetime.timezone.utc)
    assert expires.strftime("%Y%m%dT%H%M%S") == body["expires_at"], (claims, body)
    assert claims["iss"] == socket.gethostname(), "the issuer is the host, as in the document's sample"
    assert claims["lgn"] == user and claims["sub"] == body["user_id"] and claims["rls"] == body["roles_ids"], (claims, body)
    return token, claims


doors = [
    ("grpc",
     lambda: grpc("AuthenticateEx", credentials, (user, password)),
     lambda auth: grpc("RenewSession", {}, auth),
     lambda auth: grpc("CloseSession", {}, auth)),
    ("grpc2",
     lambda: grpc("AuthenticateEx2", credentials, (user, password)),
     lambda auth: grpc("RenewSession2", {}, auth),
     lambda auth: grpc("CloseSession", {}, auth)),
    ("basic",
     lambda: rest("authenticate_ex", (user, password)),
     lambda auth: rest("renew", auth),
     lambda auth: rest("close", auth)),
    ("rest",
     lambda: requests.post(f"{base}/v1/authentication/authenticate_ex2", json=credentials),
     lambda auth: rest("renew2", auth),
     lambda auth: rest("close", auth)),
]

for name, login, renew, close in doors:
    token, claims = verified(login())
    renewed, again = verified(renew(Bearer(token)))
    assert again["sid"] == claims["sid"], "a renewal stays in its session"
    verified(renew(Bearer(token)))
    closed = close(Bearer(renewed))
    print(name, "close", closed.status_code, closed.json())
    for dead in [token, renewed]:
        answer = renew(Bearer(dead))
        print(name, "renew", answer.status_code, answer.headers["WWW-Authenticate"].split()[0], answer.json())

anonymous = grpc("AuthenticateEx", credentials, None)
print("anonymous", anonymous.status_code, anonymous.headers["WWW-Authenticate"].split()[0])
wrong = requests.post(f"{base}/v1/authentication/authenticate_ex2", json=credentials | {"password": "x"})
print("wrong", wrong.status_code, wrong.json())

private = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
keys = requests.get(f"{base}/.well-known/jwks.json").json()["keys"]
assert keys and not any(private & set(key) for key in keys), "a private member is published"

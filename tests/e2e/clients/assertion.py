"""An identity assertion, verified by PyJWT as an upstream does it: assertion.py ADMIN ISSUER AUDIENCE ASSERTION. Prints its claims."""

import json
import sys

import jwt

admin, issuer, audience, assertion = sys.argv[1:]
header = jwt.get_unverified_header(assertion)
key = jwt.PyJWKClient(f"{admin}/.well-known/jwks.json").get_signing_key_from_jwt(assertion)
claims = jwt.decode(
    assertion, key, algorithms=["EdDSA"], audience=audience, issuer=issuer,
    options={"require": ["exp", "iat", "iss", "aud", "sub"]},
)
assert header == {"alg": "EdDSA", "kid": key.key_id, "typ": "assertion+jwt"}, header
for wrong in [{"audience": "other", "issuer": issuer}, {"audience": audience, "issuer": "other"}]:
    try:
        jwt.decode(assertion, key, algorithms=["EdDSA"], **wrong)
        raise SystemExit(f"{wrong} was let pass")
    except jwt.InvalidTokenError:
        pass
print(json.dumps(claims))

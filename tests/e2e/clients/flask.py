"""Basic, then X-Auth-Token, by requests: flask.py BASE USER PASSWORD"""

import base64
import datetime
import sys

import requests

base, user, password = sys.argv[1:]
json_only = {"Accept": "application/json"}

login = requests.post(f"{base}/auth/login", auth=(user, password), headers=json_only)
print("login", login.status_code, login.headers["Vary"], login.headers["Content-Type"], list(login.json()))
token = login.json()["token"]
assert datetime.datetime.fromisoformat(login.json()["creationTime"]).tzinfo

shown = json_only | {"X-Auth-Token": base64.b64encode(f"{user}:{token}".encode()).decode()}
for path in ["bump", "logout", "logout", "bump"]:
    answer = requests.post(f"{base}/auth/{path}", headers=shown)
    print(path, answer.status_code, list(answer.json()), answer.headers.get("WWW-Authenticate"))

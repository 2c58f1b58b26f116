"""Runs the printed client at a terminal, like a user, and then uses its cookie: drive_1010.py BASE USER PASSWORD"""

import ast
import os
import pathlib
import pty
import sys

import requests

base, user, password = sys.argv[1:]
code = (pathlib.Path(__file__).parent / "1010_login.py").read_text()
code = code.replace("https://www2.1010data.com", base)

child, terminal = pty.fork()
if child == 0:
    os.execv(sys.executable, [sys.executable, "-c", code])

said = b""


def read():
    global said
    try:
        more = os.read(terminal, 4096)
    except OSError:  # the other side has closed the terminal
        more = b""
    said += more
    return more


for prompt, answer in [(b"Username: ", user), (b"Password: ", password)]:
    while not said.endswith(prompt):
        if not read():
            sys.exit(said.decode())
    os.write(terminal, answer.encode() + b"\n")
while read():
    pass
_, status = os.waitpid(child, 0)
text = said.decode().replace("\r\n", "\n")
if status:
    sys.exit(text)
assert password not in text, "the terminal echoed the password"
assert "sessionID secured.\nsession cookie=:" in text, text

mycookie = ast.literal_eval(text.split("session cookie=:")[1].strip())
print("cookie", mycookie["session"])
for path in ["!query", "!logout", "!logout"]:
    answer = requests.post(f"{base}/beta-latest/api/{path}", cookies=mycookie, headers={"Content-Type": "application/json"})
    print(path, answer.status_code, answer.text)

"""Runs the printed clients: drive_cluster.py IP PORT login USER PASSWORD | drive_cluster.py IP PORT logout"""

import pathlib
import sys

ip, port, call, *credentials = sys.argv[1:]
token_file = pathlib.Path("access_token.tmp")

name = f"cluster_{call}.py"
code = (pathlib.Path(__file__).parent / name).read_text()
client = {}
exec(compile(code.replace("<IP>", ip).replace("<PORT>", port), name, "exec"), client)
if credentials:
    client["api_login"], client["api_apss"] = credentials
if token_file.exists():
    client["access_token"] = token_file.read_text()
client[call]()

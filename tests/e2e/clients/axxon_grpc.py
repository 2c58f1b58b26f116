"""AuthenticationService by grpcio, with stubs made from our own .proto; one call by reflection:
axxon_grpc.py SCENARIO GRPC-ADDRESS ARGUMENTS..."""

import json
import pathlib
import subprocess
import sys

import grpc
import requests
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "crates/parlance-axxon-grpc/proto"))
pb, services = grpc.protos_and_services("axxonsoft/bl/auth/Authentication.proto")

NAME = "axxonsoft.bl.auth.AuthenticationService"
PATIENCE = 30


class Client:
    """The service on a channel."""

    def __init__(self, channel):
        self.channel = channel
        self.stub = services.AuthenticationServiceStub(channel)

    def login(self, method, user, password):
        return getattr(self.stub, method)(pb.AuthenticateRequest(user_name=user, password=password), timeout=PATIENCE)

    def renew(self, *tokens, method="RenewSession2"):
        return getattr(self.stub, method)(pb.RenewSessionRequest(), metadata=shown(tokens), timeout=PATIENCE)

    def close(self, *tokens):
        return self.stub.CloseSession(pb.CloseSessionRequest(), metadata=shown(tokens), timeout=PATIENCE)

    def raw(self, path, message):
        return self.channel.unary_unary(path)(message, timeout=PATIENCE)


def shown(tokens):
    return [("auth_token", token) for token in tokens]


def said(call, *arguments, **named):
    """The outcome of a call, in one line."""
    try:
        answer = call(*arguments, **named)
    except grpc.RpcError as error:
        wait = dict(error.trailing_metadata()).get("grpc-retry-pushback-ms")
        return f"{error.code().name} {error.details()}" + (f" wait {wait}" if wait else "")
    if isinstance(answer, pb.CloseSessionResponse):
        return f"closed {pb.CloseSessionResponse.EErrorCode.Name(answer.error_code)}"
    if isinstance(answer, (pb.AuthenticateResponse, pb.AuthenticateResponseEx)):
        code = getattr(answer, "error_code", 0)
        return f"{'token' if answer.token_value else 'no token'} {pb.EAuthenticateCode.Name(code)}"
    return repr(answer)


def channel(address):
    return grpc.insecure_channel(address)


def tour(address, base, user, password):
    """Every call of the service, and the same tokens on the JSON binding."""
    client = Client(channel(address))

    def json_door(path, token):
        headers = {"Authorization": f"Bearer {token}"}
        return requests.get(f"{base}/v1/authentication/{path}", headers=headers, timeout=PATIENCE).status_code

    for method in ["Authenticate", "Authenticate2", "AuthenticateEx", "AuthenticateEx2"]:
        opened = client.login(method, user, password)
        assert opened.token_name == "auth_token" and 14390 <= opened.expires_in <= 14400, opened
        assert len(opened.expires_at) == 15 and opened.user_id and not opened.is_unrestricted, opened
        wrong = said(client.login, method, user, "wrong")
        nobody = said(client.login, method, "nobody", password)
        assert wrong == nobody, (wrong, nobody)
        renewed = client.renew(opened.token_value, method="RenewSession")
        print(method, "| wrong", wrong, "| renewed", said(client.renew, renewed.token_value), "|", said(client.close, opened.token_value),
              "| then", said(client.renew, renewed.token_value), json_door("renew", renewed.token_value))

    here = client.login("AuthenticateEx2", user, password).token_value
    print("here, there", json_door("renew", here), json_door("close", here), "and here", said(client.close, here))
    there = requests.post(f"{base}/v1/authentication/authenticate_ex2", json={"user_name": user, "password": password}, timeout=PATIENCE)
    there = there.json()["token_value"]
    print("there, here", said(client.renew, there), said(client.close, there), "and there", json_door("renew", there))

    token = client.login("AuthenticateEx", user, password).token_value
    print("no token", said(client.renew))
    print("two tokens", said(client.renew, token, token))
    print("another's", said(client.renew, "x.y.z"))
    print("no message", said(lambda: client.channel.stream_unary(f"/{NAME}/RenewSession")(iter(()), timeout=PATIENCE)))
    print("noise", said(client.raw, f"/{NAME}/AuthenticateEx", b"\xff\xff"))
    print("not UTF-8", said(client.raw, f"/{NAME}/Authenticate", b"\x0a\x01\xff"))
    print("too long", said(client.login, "AuthenticateEx", user, "x" * 20000))
    print("no method", said(client.raw, f"/{NAME}/Nothing", b""))
    print("no service", said(client.raw, "/axxonsoft.bl.domain.DomainService/ListCameras", b""))

    health = health_pb2_grpc.HealthStub(client.channel)
    for name in ["", NAME]:
        status = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=PATIENCE).status
        print("health", name, health_pb2.HealthCheckResponse.ServingStatus.Name(status))

    # Reflection describes the service to clients without the .proto.
    database = ProtoReflectionDescriptorDatabase(client.channel)
    assert NAME in database.get_services(), database.get_services()
    pool = DescriptorPool(database)
    method = pool.FindServiceByName(NAME).FindMethodByName("AuthenticateEx2")
    ask, answer = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    call = client.channel.unary_unary(f"/{NAME}/{method.name}", ask.SerializeToString, answer.FromString)
    print("by reflection", call(ask(user_name=user, password=password), timeout=PATIENCE).token_name)


def killed(address, user, password, *commands):
    """Logs in, runs a command of an operator, and tries again; each command is a JSON list."""
    client = Client(channel(address))
    for command in map(json.loads, commands):
        opened = client.login("AuthenticateEx2", user, password)
        before = said(client.renew, opened.token_value)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        print(before, "|", said(client.renew, opened.token_value), "|", said(client.close, opened.token_value))
    print("login", said(client.login, "AuthenticateEx2", user, password), "|", said(client.login, "Authenticate2", user, password))


def token(address, user, password):
    print(Client(channel(address)).login("AuthenticateEx2", user, password).token_value)


def all_seven(address, user, password, token):
    client = Client(channel(address))
    for method in ["Authenticate", "Authenticate2", "AuthenticateEx", "AuthenticateEx2"]:
        print(said(client.login, method, user, password))
    for method in ["RenewSession", "RenewSession2"]:
        print(said(client.renew, token, method=method))
    print(said(client.close, token))


def tls(address, certificate, user, password):
    """Like the vendor's clients: the token is a credential of the channel."""
    trusted = grpc.ssl_channel_credentials(pathlib.Path(certificate).read_bytes())
    with grpc.secure_channel(address, trusted) as first:
        opened = Client(first).login("AuthenticateEx2", user, password)
    shows = grpc.metadata_call_credentials(lambda _, done: done(((opened.token_name, opened.token_value),), None))
    client = Client(grpc.secure_channel(address, grpc.composite_channel_credentials(trusted, shows)))
    print(said(client.renew), "|", said(client.close), "|", said(client.renew))
    print("plain", said(Client(channel(address)).renew).split()[0])


def watch(address):
    """Watches the health service until the server stops."""
    health = health_pb2_grpc.HealthStub(channel(address))
    try:
        for answer in health.Watch(health_pb2.HealthCheckRequest(service=NAME)):
            print(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status), flush=True)
        print("end")
    except grpc.RpcError as error:
        print(error.code().name, error.details())


scenario, address, *rest = sys.argv[1:]
{function.__name__: function for function in [tour, killed, token, all_seven, tls, watch]}[scenario](address, *rest)

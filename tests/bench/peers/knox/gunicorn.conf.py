import multiprocessing

bind = "127.0.0.1:0"
workers = multiprocessing.cpu_count() * 2 + 1
preload_app = True


def on_starting(server):
    from app import fill

    fill()


def when_ready(server):
    host, port = server.LISTENERS[0].sock.getsockname()
    print(f"knox ready: http://{host}:{port}", flush=True)

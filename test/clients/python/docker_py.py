# docker-py against the engine whose socket is the argument: prints what came of each call as one JSON object.
import json
import sys
import time

import docker

client = docker.DockerClient(base_url="unix://" + sys.argv[1])
api = client.api
seen = {}


def note(name, value):
    seen[name] = value.decode() if isinstance(value, bytes) else value


note("ping", client.ping())
note("run", client.containers.run("bb:1", "echo hi", network_mode="none", remove=True))
try:
    client.containers.run("bb:1", ["sh", "-c", "echo e >&2; exit 4"], network_mode="none", remove=True)
except docker.errors.ContainerError as error:
    note("container error", [error.exit_status, error.stderr.decode()])

box = client.containers.run("bb:1", "sleep 1000", detach=True, network_mode="none", name="py1")
note("list", [one.name for one in client.containers.list()])
note("exec", list(box.exec_run("sh -c 'echo out; exit 5'"))[0])
note("exec demux", [part.decode() for part in box.exec_run("sh -c 'echo o; echo e >&2'", demux=True).output])
note("exec stream", [part.decode() for part in box.exec_run("sh -c 'echo a; sleep 0.2; echo b'", stream=True).output])
typed = api.exec_start(api.exec_create(box.id, "cat", stdin=True)["Id"], socket=True)
raw = getattr(typed, "_sock", typed)
raw.sendall(b"typed\n")
time.sleep(0.3)
note("exec socket", list(raw.recv(100)))
raw.close()
try:
    client.containers.get("1111")
except docker.errors.NotFound as error:
    note("not found", [error.explanation, error.status_code])
try:
    client.images.get("gone:1")
except docker.errors.ImageNotFound as error:
    note("image not found", error.explanation)

made = api.create_container("bb:1", entrypoint="/bin/sh", command="-c true", name="py2", host_config=api.create_host_config(network_mode="none"))
note("create", [sorted(made), made["Warnings"]])
note("entrypoint", api.inspect_container("py2")["Config"]["Entrypoint"])
note("nothing", [api.start("py2"), api.stop(box.id[:10], timeout=0), api.remove_container("py1")])
note("wait", api.wait("py2"))
api.remove_container("py2")
tail = client.containers.run("bb:1", ["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done"], detach=True, network_mode="none")
note("logs stream", [line.decode() for line in tail.logs(stream=True)])
tail.remove()
note("events", "start" in [one["Action"] for one in client.events(decode=True, since=int(time.time()) - 60, until=int(time.time()))])
print(json.dumps(seen))

"""A client of berth.v1 in Python without generated code: it asks the server for its descriptors (gRPC reflection).

Needs Debian's python3-grpcio, or `pip install grpcio protobuf`. Run as the engine's user:

    python3 berth_client.py /run/berth/$(id -u)/rpc.sock IMAGE COMMAND...

With `grpcio-tools` you may as well generate stubs from proto/berth/v1/engine.proto; the calls are the same.
"""

import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

SERVICE = "berth.v1.EngineService"


def _message(pool, name):
    descriptor = pool.FindMessageTypeByName(name)
    if hasattr(message_factory, "GetMessageClass"):  # protobuf 4.22 and later
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)


def _reflection_pool():
    """The three messages of grpc.reflection.v1 that are needed to ask for a file, with the fields used."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="reflection.proto", package="grpc.reflection.v1", syntax="proto3"
    )
    request = file.message_type.add(name="ServerReflectionRequest")
    request.field.add(
        name="file_containing_symbol", number=4, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL
    )
    files = file.message_type.add(name="FileDescriptorResponse")
    files.field.add(
        name="file_descriptor_proto", number=1, type=field.TYPE_BYTES, label=field.LABEL_REPEATED
    )
    response = file.message_type.add(name="ServerReflectionResponse")
    response.field.add(
        name="file_descriptor_response",
        number=4,
        type=field.TYPE_MESSAGE,
        type_name=".grpc.reflection.v1.FileDescriptorResponse",
        label=field.LABEL_OPTIONAL,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _served_pool(channel, symbol):
    """The descriptors of the file that defines `symbol`, as the server gives them."""
    own = _reflection_pool()
    request = _message(own, "grpc.reflection.v1.ServerReflectionRequest")
    response = _message(own, "grpc.reflection.v1.ServerReflectionResponse")
    ask = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    answer = next(iter(ask(iter([request(file_containing_symbol=symbol)]))))
    pool = descriptor_pool.DescriptorPool()
    for bytes_ in answer.file_descriptor_response.file_descriptor_proto:
        pool.Add(descriptor_pb2.FileDescriptorProto.FromString(bytes_))
    return pool


class Berth:
    """The engine behind a socket. `call("Create", spec={...})` gives the answer as a message; streams give an iterator."""

    def __init__(self, socket):
        self.channel = grpc.insecure_channel(f"unix:{socket}")
        self.pool = _served_pool(self.channel, SERVICE)
        self.methods = self.pool.FindServiceByName(SERVICE).methods_by_name

    def call(self, name, timeout=60, **fields):
        method = self.methods[name]
        request = _message(self.pool, method.input_type.full_name)
        answer = _message(self.pool, method.output_type.full_name)
        server_streams = descriptor_pb2.MethodDescriptorProto()
        method.CopyToProto(server_streams)
        make = self.channel.unary_stream if server_streams.server_streaming else self.channel.unary_unary
        send = make(
            f"/{SERVICE}/{name}",
            request_serializer=request.SerializeToString,
            response_deserializer=answer.FromString,
        )
        return send(json_format.ParseDict(fields, request()), timeout=timeout)

    def run(self, image, command):
        """Runs to the end; gives the exit code and what was printed on standard output and error."""
        container = self.call("Create", spec={"image": image, "command": command}).id
        try:
            self.call("Start", container=container)
            printed = {1: b"", 2: b""}
            for part in self.call("Logs", container=container, follow=True):
                printed[part.stream] += part.data
            return self.call("Wait", container=container).exit_code, printed[1], printed[2]
        finally:
            self.call("Remove", container=container, force=True)


def main(arguments):
    socket, image, *command = arguments
    berth = Berth(socket)
    hello = berth.call("Hello")
    print(f"engine {hello.version} of uid {hello.uid} ({hello.principal}/{hello.profile})", file=sys.stderr)
    try:
        code, out, err = berth.run(image, command)
    except grpc.RpcError as error:
        print(f"{error.code().name}: {error.details()}", file=sys.stderr)
        return 125
    sys.stdout.buffer.write(out)
    sys.stderr.buffer.write(err)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

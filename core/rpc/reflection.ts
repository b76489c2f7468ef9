// grpc.reflection.v1 and v1alpha: gives clients without a .proto (grpcurl, Python) the descriptors of what is served.
// Source: github.com/grpc/grpc, doc/server-reflection.md; both versions are the same on the wire.
import { type ServerDuplexStream, type ServiceDefinition, status } from '@grpc/grpc-js';
import { FILES, type FileDescriptor } from '../../proto/gen/descriptors.ts';
import {
  type ServerReflectionRequest,
  type ServerReflectionResponse,
  type ServerReflectionServer,
  ServerReflectionService,
} from '../../proto/gen/grpc/reflection/v1/reflection.ts';

type Asked = NonNullable<ServerReflectionRequest['messageRequest']>;
type Answered = NonNullable<ServerReflectionResponse['messageResponse']>;

/** The service under its old name, which many clients still ask first. */
export const reflectionV1Alpha: ServiceDefinition = {
  serverReflectionInfo: {
    ...ServerReflectionService.serverReflectionInfo,
    path: ServerReflectionService.serverReflectionInfo.path.replace('.v1.', '.v1alpha.'),
  },
};

/** Answers each question on the stream until the client ends it. */
export const reflectionService: ServerReflectionServer = {
  serverReflectionInfo: (call: ServerDuplexStream<ServerReflectionRequest, ServerReflectionResponse>) => {
    call.on('data', (request: ServerReflectionRequest) => {
      const { host: validHost, messageRequest } = request;
      call.write({ validHost, originalRequest: request, messageResponse: reflect(messageRequest) });
    });
    call.on('end', () => call.end());
  },
};

/** The answer to one question. */
export function reflect(asked: Asked | undefined): Answered {
  switch (asked?.$case) {
    case 'listServices': {
      const service = FILES.flatMap((file) => file.services).map((name) => ({ name }));
      return { $case: 'listServicesResponse', value: { service } };
    }
    case 'fileByFilename':
      return withDependencies(
        FILES.find((file) => file.name === asked.value),
        asked.value,
      );
    case 'fileContainingSymbol': {
      const name = asked.value.replace(/^\./, '');
      return withDependencies(
        FILES.find((file) => file.symbols.some((symbol) => owns(symbol, name))),
        asked.value,
      );
    }
    case 'fileContainingExtension':
    case 'allExtensionNumbersOfType':
      return notFound('there are no extensions');
    default:
      return {
        $case: 'errorResponse',
        value: { errorCode: status.INVALID_ARGUMENT, errorMessage: 'nothing was asked' },
      };
  }
}

/** A field, value or method counts as its message's, enum's or service's. */
function owns(symbol: string, name: string): boolean {
  return name === symbol || name.startsWith(`${symbol}.`);
}

function withDependencies(file: FileDescriptor | undefined, asked: string): Answered {
  if (file === undefined) return notFound(`${asked} is not known`);
  const files = new Set([file]);
  for (const one of files) {
    for (const name of one.dependencies) {
      const found = FILES.find((other) => other.name === name);
      if (found !== undefined) files.add(found);
    }
  }
  const fileDescriptorProto = [...files].map((one) => Buffer.from(one.bytes, 'base64'));
  return { $case: 'fileDescriptorResponse', value: { fileDescriptorProto } };
}

function notFound(errorMessage: string): Answered {
  return { $case: 'errorResponse', value: { errorCode: status.NOT_FOUND, errorMessage } };
}

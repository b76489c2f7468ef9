// Attaching to a container's streams.
import { type Answer, type Call, isSet } from './call.ts';
import { streamType } from './frames.ts';

/** `POST /containers/NAME/attach?stream=1&stdin=1&stdout=1&stderr=1&logs=1`. */
export async function attachContainer(call: Call): Promise<Answer> {
  const attachment = await call.engine.containers.attach(call.name, {
    stdin: isSet(call, 'stdin'),
    stdout: isSet(call, 'stdout'),
    stderr: isSet(call, 'stderr'),
    logs: isSet(call, 'logs'),
    stream: isSet(call, 'stream'),
  });
  const { tty } = attachment;
  return { kind: 'hijack', tty, type: streamType(tty, call.minor), open: () => Promise.resolve(attachment) };
}

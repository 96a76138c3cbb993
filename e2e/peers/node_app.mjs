// Node.js as a backend: its own HTTP/1.1 server, and the `ws` package.
//
//     node_app.mjs [--port 0]
//
// /echo      any method: the request as JSON, as app.py tells it, with the letter case of its header names
// /hello     plain text          /trailers  a chunked answer with the trailer X-Checksum
// /sse       3 events, then an open stream
// /ws        text comes back as "echo:" + text, bytes unchanged; the text "close:CODE:REASON" closes so
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { announce, load } from './lifetime.mjs';

const { WebSocketServer } = load('ws');
const { port } = parseArgs({ options: { port: { type: 'string', default: '0' } } }).values;

async function echo(request, response) {
  const [path, query = ''] = request.url.split(/\?(.*)/s);
  const headers = [];
  for (let n = 0; n < request.rawHeaders.length; n += 2) headers.push(request.rawHeaders.slice(n, n + 2));
  const digest = createHash('sha256');
  let length = 0;
  for await (const chunk of request) {
    length += chunk.length;
    digest.update(chunk);
  }
  const told = { method: request.method, path, query, headers, body_len: length, body_sha256: digest.digest('hex') };
  response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(told));
}

function hello(request, response) {
  response.writeHead(200, { 'Content-Type': 'text/plain' }).end('hello from node\n');
}

function trailers(request, response) {
  const body = 'the checksum follows\n';
  response.writeHead(200, { 'Content-Type': 'text/plain', Trailer: 'X-Checksum' });
  response.write(body);
  response.addTrailers({ 'X-Checksum': createHash('sha256').update(body).digest('hex') });
  response.end();
}

function sse(request, response) {
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
  for (const word of ['one', 'two', 'three']) response.write(`data: ${word}\n\n`);
}

const handlers = { '/echo': echo, '/hello': hello, '/trailers': trailers, '/sse': sse };

const server = createServer(async (request, response) => {
  const handler = handlers[request.url.split('?', 1)[0]];
  if (!handler) return response.writeHead(404).end('not found\n');
  try {
    await handler(request, response);
  } catch {
    response.destroy(); // the client went away in mid-body
  }
});

new WebSocketServer({ server, path: '/ws' }).on('connection', (socket) => {
  socket.on('error', () => socket.terminate());
  socket.on('message', (data, binary) => {
    const text = binary ? '' : data.toString();
    if (text.startsWith('close:')) {
      const [, code, ...reason] = text.split(':');
      socket.close(Number(code), reason.join(':'));
    } else {
      socket.send(binary ? data : `echo:${text}`);
    }
  });
});

server.listen(Number(port), '127.0.0.1', () => announce(server));

// A Node.js server that tells what it read, as reader.py does, with its parser at its most lenient: the backend that
// smuggling works on, if it works on any.
//
//     reader.mjs --log FILE [--port 0]
import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { announce } from './lifetime.mjs';

const { log, port } = parseArgs({ options: { log: { type: 'string' }, port: { type: 'string', default: '0' } } }).values;

const server = createServer({ insecureHTTPParser: true }, async (request, response) => {
  const headers = [];
  for (let n = 0; n < request.rawHeaders.length; n += 2) headers.push(request.rawHeaders.slice(n, n + 2));
  let body = '';
  try {
    for await (const chunk of request) body += chunk.toString('latin1');
  } catch {
    return response.destroy(); // broke off: no request
  }
  const { method, url: target } = request;
  appendFileSync(log, JSON.stringify({ method, target, headers, body }) + '\n');
  const text = `${method} ${target} ${body.length}\n`;
  response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': text.length, 'X-Reader': 'node' }).end(text);
});

server.listen(Number(port), '127.0.0.1', () => announce(server));

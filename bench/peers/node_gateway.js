// WebSocket messages to PHP-FPM with `ws` and a FastCGI client made for it: what a careful Node
// programmer would put into production, without any feature beyond.
//
// usage: node node_gateway.js kept|once|echo|fanout PHP-SOCKET SCRIPT PORT TLS-PORT CERTIFICATE PRIVATE-KEY
//
// With `echo` it answers as the script would, without PHP. With `fanout` it does so too, and sends
// what is published to all who have subscribed; at SIGUSR1 it writes how long the longest of these
// loops took to the file named by WSGATE_TURNS, as wsgate_turns.py does.
'use strict';
const fs = require('fs');
const http = require('http');
const https = require('https');
const net = require('net');
const { WebSocketServer } = require('ws');

const [mode, php, script, port, tlsPort, certificate, privateKey] = process.argv.slice(2);
const KEPT = mode === 'kept';
const MAX_CONNECTIONS = KEPT ? 4 : 8;
const BEGIN_REQUEST = 1, END_REQUEST = 3, PARAMS = 4, STDIN = 5, STDOUT = 6, STDERR = 7;
const MAX_CONTENT = 65528;
const MAX_COPIED = 65536;
const EMPTY = Buffer.alloc(0);
const HEAD_END = Buffer.from('\r\n\r\n');

function record(type, content) {
  const out = Buffer.allocUnsafe(8 + content.length);
  header(out, 0, type, content.length);
  content.copy(out, 8);
  return out;
}

function header(out, at, type, length) {
  out[at] = 1;
  out[at + 1] = type;
  out[at + 2] = 0;
  out[at + 3] = 1;
  out[at + 4] = length >> 8;
  out[at + 5] = length & 255;
  out[at + 6] = 0;
  out[at + 7] = 0;
  return at + 8;
}

function lengthBytes(n) {
  return n < 128 ? [n] : [(n >> 24) | 128, (n >> 16) & 255, (n >> 8) & 255, n & 255];
}

function pair(name, value) {
  const a = Buffer.from(name), b = Buffer.from(String(value));
  return Buffer.concat([Buffer.from([...lengthBytes(a.length), ...lengthBytes(b.length)]), a, b]);
}

// BEGIN_REQUEST and the params of the handshake: the same bytes for all messages of a connection.
function requestHead(request) {
  const socket = request.socket, url = request.url, mark = url.indexOf('?');
  const path = mark < 0 ? url : url.slice(0, mark);
  const pairs = [
    ['SCRIPT_FILENAME', script], ['SCRIPT_NAME', path], ['DOCUMENT_ROOT', '/'],
    ['DOCUMENT_URI', path], ['REQUEST_URI', url],
    ['QUERY_STRING', mark < 0 ? '' : url.slice(mark + 1)], ['REQUEST_METHOD', 'POST'],
    ['CONTENT_TYPE', 'text/plain'], ['SERVER_PROTOCOL', 'HTTP/1.1'],
    ['REQUEST_SCHEME', socket.encrypted ? 'https' : 'http'], ['GATEWAY_INTERFACE', 'CGI/1.1'],
    ['SERVER_SOFTWARE', 'node'], ['REMOTE_ADDR', socket.remoteAddress],
    ['REMOTE_PORT', socket.remotePort], ['SERVER_ADDR', socket.localAddress],
    ['SERVER_PORT', socket.localPort], ['SERVER_NAME', '127.0.0.1'], ['REDIRECT_STATUS', '200'],
  ];
  if (socket.encrypted) pairs.push(['HTTPS', 'on']);
  for (const name in request.headers) {
    pairs.push(['HTTP_' + name.toUpperCase().replace(/-/g, '_'), request.headers[name]]);
  }
  return Buffer.concat([
    record(BEGIN_REQUEST, Buffer.from([0, 1, KEPT ? 1 : 0, 0, 0, 0, 0, 0])),
    record(PARAMS, Buffer.concat(pairs.map(([name, value]) => pair(name, value)))),
  ]);
}

// `head`, CONTENT_LENGTH, the end of the params, and room for `more` bytes behind.
function startRequest(head, length, more) {
  const digits = String(length), content = 2 + 14 + digits.length;
  const out = Buffer.allocUnsafe(head.length + 8 + content + 8 + more);
  head.copy(out, 0);
  let at = header(out, head.length, PARAMS, content);
  out[at++] = 14;
  out[at++] = digits.length;
  at += out.latin1Write('CONTENT_LENGTH', at);
  at += out.latin1Write(digits, at);
  header(out, at, PARAMS, 0);
  return [out, at + 8];
}

function writeRequest(socket, head, message) {
  const length = message.length;
  if (length <= MAX_COPIED) {
    const records = Math.ceil(length / MAX_CONTENT);
    let [out, at] = startRequest(head, length, length + 8 * records + 8);
    for (let sent = 0; sent < length; sent += MAX_CONTENT) {
      const n = Math.min(MAX_CONTENT, length - sent);
      at = header(out, at, STDIN, n);
      message.copy(out, at, sent, sent + n);
      at += n;
    }
    header(out, at, STDIN, 0);
    socket.write(out);
    return;
  }
  // A long message is not copied: one writev of headers and slices.
  socket.cork();
  socket.write(startRequest(head, length, 0)[0]);
  for (let sent = 0; sent < length; sent += MAX_CONTENT) {
    const n = Math.min(MAX_CONTENT, length - sent), head = Buffer.allocUnsafe(8);
    header(head, 0, STDIN, n);
    socket.write(head);
    socket.write(message.subarray(sent, sent + n));
  }
  socket.write(record(STDIN, EMPTY));
  socket.uncork();
}

// One connection to PHP-FPM; `job` is the request under way: { head, message, done(error, body) }.
class Connection {
  constructor(job) {
    this.job = job;
    this.stdout = [];
    this.header = Buffer.allocUnsafe(8);
    this.headerLength = 0;
    this.type = 0;
    this.content = 0;
    this.padding = 0;
    this.socket = net.connect({ path: php });
    this.socket.on('data', (chunk) => this.receive(chunk));
    this.socket.on('error', (error) => this.lost(error));
    this.socket.on('close', () => this.lost(new Error('closed by PHP')));
    writeRequest(this.socket, job.head, job.message);
  }

  send(job) {
    this.job = job;
    writeRequest(this.socket, job.head, job.message);
  }

  receive(chunk) {
    let at = 0;
    const end = chunk.length;
    while (at < end) {
      if (this.content > 0) {
        const n = Math.min(this.content, end - at);
        if (this.type === STDOUT) this.stdout.push(chunk.subarray(at, at + n));
        else if (this.type === STDERR) process.stderr.write(chunk.subarray(at, at + n));
        this.content -= n;
        at += n;
      } else if (this.padding > 0) {
        const n = Math.min(this.padding, end - at);
        this.padding -= n;
        at += n;
      } else if (this.headerLength === 0 && end - at >= 8) {
        this.begin(chunk, at);
        at += 8;
      } else {
        const n = Math.min(8 - this.headerLength, end - at);
        chunk.copy(this.header, this.headerLength, at, at + n);
        this.headerLength += n;
        at += n;
        if (this.headerLength === 8) {
          this.headerLength = 0;
          this.begin(this.header, 0);
        }
      }
      if (this.type === END_REQUEST && this.content === 0 && this.padding === 0 &&
          this.headerLength === 0) {
        this.type = 0;
        this.answered();
      }
    }
  }

  begin(bytes, at) {
    if (bytes[at] !== 1) {
      this.socket.destroy(new Error('not FastCGI'));
      return;
    }
    this.type = bytes[at + 1];
    this.content = (bytes[at + 4] << 8) | bytes[at + 5];
    this.padding = bytes[at + 6];
  }

  answered() {
    const { job, stdout } = this;
    this.job = null;
    this.stdout = [];
    release(this);
    const answer = stdout.length === 1 ? stdout[0] : Buffer.concat(stdout);
    const split = answer.indexOf(HEAD_END);
    if (split < 0) return job.done(new Error('no head'));
    const head = answer.latin1Slice(0, split);
    if (/^Status: (?!2)/im.test(head)) return job.done(new Error(head));
    job.done(null, answer.subarray(split + 4));
  }

  lost(error) {
    const at = idle.indexOf(this);
    if (at >= 0) idle.splice(at, 1);
    if (this.closed) return;
    this.closed = true;
    this.socket.destroy();
    connections--;
    const job = this.job;
    this.job = null;
    if (job) job.done(error);
    next();
  }
}

let connections = 0;
const idle = [];
let waiting = [], waitingAt = 0;

function ask(job) {
  if (idle.length) idle.pop().send(job);
  else if (connections < MAX_CONNECTIONS) open(job);
  else waiting.push(job);
}

function open(job) {
  connections++;
  new Connection(job);
}

function takeWaiting() {
  if (waitingAt === waiting.length) return undefined;
  const job = waiting[waitingAt];
  waiting[waitingAt++] = undefined;
  if (waitingAt > 1024 && waitingAt * 2 > waiting.length) {
    waiting = waiting.slice(waitingAt);
    waitingAt = 0;
  }
  return job;
}

function release(connection) {
  if (!KEPT) {
    connection.closed = true;
    connection.socket.destroy();
    connections--;
    next();
    return;
  }
  const job = takeWaiting();
  if (job) connection.send(job);
  else idle.push(connection);
}

function next() {
  if (connections < MAX_CONNECTIONS) {
    const job = takeWaiting();
    if (job) open(job);
  }
}

// The messages of one client are answered in order.
function serve(socket, request) {
  const head = requestHead(request), queue = [];
  let busy = false;
  const done = (error, body) => {
    if (error) socket.send(JSON.stringify({ error: String(error) }));
    else socket.send(body, { binary: false });
    if (queue.length) ask({ head, message: queue.shift(), done });
    else busy = false;
  };
  socket.on('message', (message) => {
    if (busy) {
      queue.push(message);
      return;
    }
    busy = true;
    ask({ head, message, done });
  });
  socket.on('error', () => {});
}

function echo(socket) {
  socket.on('message', (message) => {
    message[0] = 0x21;
    socket.send(message, { binary: false });
  });
  socket.on('error', () => {});
}

const subscribers = new Set();
let loops = [];

function fanout(socket) {
  socket.on('message', (message) => {
    if (message[0] === 0x70) {
      const cpu = process.cpuUsage(), began = performance.now();
      for (const one of subscribers) one.send(message, { binary: false });
      const spent = process.cpuUsage(cpu);
      loops.push([(performance.now() - began) / 1e3, (spent.user + spent.system) / 1e6]);
      return;
    }
    if (message[0] === 0x2b) subscribers.add(socket);
    message[0] = 0x21;
    socket.send(message, { binary: false });
  });
  socket.on('close', () => subscribers.delete(socket));
  socket.on('error', () => {});
}

if (mode === 'fanout') {
  process.on('SIGUSR1', () => {
    const sorted = (at) => loops.map((loop) => loop[at]).sort((a, b) => a - b);
    const target = process.env.WSGATE_TURNS, part = `${target}.part`;
    const figures = { turns: loops.length, clock: sorted(0), cpu: sorted(1) };
    fs.writeFileSync(part, JSON.stringify(figures));
    fs.renameSync(part, target);
    loops = [];
  });
}

const sockets = new WebSocketServer({
  noServer: true, perMessageDeflate: false, maxPayload: 64 * 1024 * 1024, clientTracking: false,
});

function listen(server, port) {
  server.on('upgrade', (request, socket, rest) => {
    sockets.handleUpgrade(request, socket, rest, (client) => {
      if (mode === 'echo') echo(client);
      else if (mode === 'fanout') fanout(client);
      else serve(client, request);
    });
  });
  server.listen({ port: Number(port), host: '127.0.0.1', backlog: 4096 });
}

listen(http.createServer(), port);
listen(https.createServer({
  cert: fs.readFileSync(certificate), key: fs.readFileSync(privateKey),
}), tlsPort);

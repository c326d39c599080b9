// HTTP/0.9 over quiche, by the npm package @matrixai/quic, as a server or as a client:
//
//   node quiche_peer.mjs server HOST PORT CERTS WWW
//   node quiche_peer.mjs client HOST PORT DOWNLOADS NAME...
//
// NODE_MODULES names the folder in which the package is.

import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { pathToFileURL } from 'node:url';

const [role, host, port, folder, ...rest] = process.argv.slice(2);
const { default: Logger, LogLevel } = await load('@matrixai/logger');
const { QUICServer, QUICClient, events } = await load('@matrixai/quic');
const logger = new Logger('quiche', LogLevel.WARN, []);
const shared = { verifyPeer: false, applicationProtos: ['hq-interop'], maxIdleTimeout: 20000 };

function load(name) {
  const root = path.join(process.env.NODE_MODULES, name);
  const { exports: entries, main } = JSON.parse(fs.readFileSync(path.join(root, 'package.json')));
  const entry = entries?.['.']?.import ?? entries?.['.']?.default ?? entries?.['.'] ?? main;
  return import(pathToFileURL(path.join(root, entry)).href);
}

async function everything(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function write(stream, data) {
  const writer = stream.getWriter();
  if (data.length) await writer.write(data);
  await writer.close();
}

async function answer(stream) {
  const line = (await everything(stream.readable)).toString();
  const name = path.basename(line.trim().replace(/^GET \//, ''));
  await write(stream.writable, fs.readFileSync(path.join(rest[0], name)));
}

async function serve() {
  const key = crypto.randomBytes(32);
  const mac = (secret, data) => crypto.createHmac('sha256', Buffer.from(secret)).update(Buffer.from(data)).digest();
  const server = new QUICServer({
    crypto: {
      key: key.buffer.slice(key.byteOffset, key.byteOffset + key.byteLength),
      ops: {
        sign: async (secret, data) => new Uint8Array(mac(secret, data)).buffer,
        verify: async (secret, data, signature) => mac(secret, data).equals(Buffer.from(signature)),
      },
    },
    config: {
      ...shared,
      key: fs.readFileSync(path.join(folder, 'priv.key'), 'utf8'),
      cert: fs.readFileSync(path.join(folder, 'cert.pem'), 'utf8'),
    },
    logger,
  });
  server.addEventListener(events.EventQUICServerConnection.name, ({ detail: connection }) => {
    connection.addEventListener(events.EventQUICConnectionStream.name, ({ detail: stream }) => {
      answer(stream).catch(() => {});
    });
  });
  await server.start({ host, port: Number(port) });
  console.log('ready');
}

async function fetchAll() {
  const client = await QUICClient.createQUICClient({
    host,
    port: Number(port),
    localHost: host,
    crypto: { ops: { randomBytes: async (data) => void crypto.getRandomValues(new Uint8Array(data)) } },
    config: { ...shared, initialMaxData: 262144, initialMaxStreamDataBidiLocal: 131072 },
    logger,
  });
  await Promise.all(
    rest.map(async (name) => {
      const stream = client.connection.newStream();
      const [data] = await Promise.all([
        everything(stream.readable),
        write(stream.writable, Buffer.from(`GET /${name}\r\n`)),
      ]);
      fs.writeFileSync(path.join(folder, name), data);
    }),
  );
  await client.destroy({ force: true });
}

await (role === 'server' ? serve() : fetchAll());

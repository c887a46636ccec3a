// An HTTPS server that takes up a renewed certificate without losing a connection: on SIGHUP it reads the
// files again and hands them to setSecureContext(). Connections that exist keep what they have.
//
//   servers:
//     app: {type: signal, pid_file: /run/app.pid, exe: node, signal: HUP, prove: [{connect: "127.0.0.1:8443"}]}
//
// With the module cluster: the primary gets the signal and passes it on to its workers.
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const https = require('https');

const folder = process.env.CERT_DIR || '/var/lib/everleaf/live/www';
const files = {
  cert: process.env.CERT || `${folder}/fullchain.pem`,
  key: process.env.KEY || `${folder}/privkey.pem`,
};

function readPair() {
  const pair = { cert: fs.readFileSync(files.cert), key: fs.readFileSync(files.key) };
  const leaf = new crypto.X509Certificate(pair.cert);
  if (!leaf.checkPrivateKey(crypto.createPrivateKey(pair.key))) {
    throw new Error('key and certificate do not belong together');
  }
  return pair;
}

const server = https.createServer(readPair(), (request, response) => {
  response.end('hello\n');
});

process.on('SIGHUP', () => {
  try {
    server.setSecureContext(readPair());
    console.log('certificate loaded');
  } catch (error) {
    console.error(`keeping the old certificate: ${error.message}`);
  }
});

server.listen(process.env.PORT || 8443, process.env.HOST, () => {
  if (process.env.PID_FILE) {
    fs.writeFileSync(process.env.PID_FILE, `${process.pid}\n`);
  }
});

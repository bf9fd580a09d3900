// Receives signed calls from poller. `npm install standardwebhooks`
//
// WEBHOOK_KEYS='whsec_… whpk_…' node receiver.mjs      several keys: the old and the new one, while one is being replaced
//
// A call is answered with 2xx only once its event is on disk. Do the work from there, later: the sender waits 15 seconds.

import { createPublicKey, randomUUID, verify } from "node:crypto";
import { link, mkdir, open, unlink } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { Webhook } from "standardwebhooks";

const { WEBHOOK_KEYS, INBOX = "inbox", HOST = "127.0.0.1", PORT = "8080" } = process.env;
const largest = 1 << 20;
const tolerance = 300; // seconds between the sender's clock and this one
// A wrong key ends the start here, instead of refusing every call.
const checks = WEBHOOK_KEYS.trim().split(/\s+/).map((key) => (key.startsWith("whsec_") ? byLibrary(key) : byHand(key)));

// v1, by the published library
function byLibrary(key) {
  const webhook = new Webhook(key);
  return (headers, body) => {
    try {
      webhook.verify(body, headers, { jsonParse: false });
      return true;
    } catch {
      return false;
    }
  };
}

// v1a, which it does not know
function byHand(text) {
  const x = Buffer.from(text.replace(/^whpk_/, ""), "base64").toString("base64url");
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  return (headers, body) => {
    const { "webhook-id": id = "", "webhook-timestamp": at = "", "webhook-signature": signatures = "" } = headers;
    if (!id || id.includes(".") || !/^\d{1,15}$/.test(at) || Math.abs(Date.now() / 1000 - at) > tolerance) return false;
    const content = Buffer.concat([Buffer.from(`${id}.${at}.`), body]);
    return signatures.split(" ").some((entry) => {
      const [version, signature = ""] = entry.split(",");
      return version === "v1a" && verify(null, content, key, Buffer.from(signature, "base64"));
    });
  };
}

// One file for each id, whole or not there. The id comes again with every repetition, and the first file stays.
async function note(id, body) {
  if (!/^[\w-]{1,128}$/.test(id)) throw new Error("an id that cannot name a file");
  const whole = join(INBOX, `${id}.json`);
  const part = join(INBOX, `${randomUUID()}.part`);
  const file = await open(part, "wx");
  try {
    await file.writeFile(body);
    await file.sync();
    await link(part, whole).catch((error) => { if (error.code !== "EEXIST") throw error; });
  } finally {
    await file.close();
    await unlink(part);
  }
  const folder = await open(INBOX);
  await folder.sync().finally(() => folder.close());
}

async function receive(request) {
  if (request.method !== "POST") return 405;
  if (!(Number(request.headers["content-length"]) <= largest)) return 413;
  const parts = [];
  for await (const part of request) parts.push(part);
  const body = Buffer.concat(parts); // the bytes as they came: parse them only after they were verified
  if (!checks.some((genuine) => genuine(request.headers, body))) return 401;
  await note(request.headers["webhook-id"], body);
  return 204;
}

const server = createServer({ requestTimeout: 60_000 }, async (request, response) => {
  const status = await receive(request).catch((error) => (console.error("not noted:", error.message), 503)); // it comes again
  if (!response.destroyed) response.writeHead(status, status === 413 ? { connection: "close" } : {}).end();
});
await mkdir(INBOX, { recursive: true });
server.listen(Number(PORT), HOST, () => console.log(`listening on ${server.address().port}`));

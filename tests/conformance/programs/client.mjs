// Asks a server for everything that a client can verify, by http2 of Node.js.
//
//   node client.mjs URL CA.pem|- trailers|-
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect } from "node:http2";

const SIZE = 10_000_000;
const CONCURRENT = 100;
const [url, ca, trailers] = process.argv.slice(2);

const session = connect(url, ca === "-" ? {} : { ca: readFileSync(ca) });
session.on("error", (error) => {
  console.error(`connection: ${error.message}`);
  process.exit(1);
});
const ports = new Set();
let asked = 0;

function ask(fields, content) {
  asked++;
  return new Promise((resolve, reject) => {
    const stream = session.request({ ":method": "GET", ...fields }, { endStream: content === undefined });
    const answer = { trailers: undefined };
    const parts = [];
    stream.on("response", (head) => {
      answer.head = head;
      ports.add(head["x-client-port"]);
    });
    stream.on("trailers", (fields) => (answer.trailers = fields));
    stream.on("data", (part) => parts.push(part));
    stream.on("end", () => resolve({ ...answer, body: Buffer.concat(parts) }));
    stream.on("error", reject);
    if (content !== undefined) stream.end(content);
  });
}

try {
  const hello = await ask({ ":path": "/hello" });
  assert.equal(hello.head[":status"], 200);
  assert.equal(hello.body.toString(), "hello\n");
  assert.deepEqual(hello.head["set-cookie"], ["a=1", "b=2"]);
  assert.equal(hello.head["x-empty"], "");
  const head = await ask({ ":path": "/hello", ":method": "HEAD" });
  assert.equal(head.body.length, 0, "content after HEAD");
  for (const status of [204, 304, 404, 503]) {
    assert.equal((await ask({ ":path": `/status/${status}` })).head[":status"], status);
  }

  const numbers = Buffer.alloc(SIZE, Buffer.from(Array.from({ length: 251 }, (_, at) => at)));
  const sum = `${SIZE} ${createHash("sha256").update(numbers).digest("hex")}`;
  const upload = await ask({ ":path": "/sum", ":method": "POST" }, numbers);
  assert.equal(upload.body.toString(), sum, "upload of unknown length");
  const declared = await ask({ ":path": "/sum", ":method": "POST", "content-length": SIZE }, numbers);
  assert.equal(declared.body.toString(), sum, "upload of known length");
  const download = await ask({ ":path": `/numbers?size=${SIZE}` });
  assert.ok(download.body.equals(numbers), `download of ${download.body.length} bytes differs`);
  if (trailers === "trailers") {
    const trailed = await ask({ ":path": "/trailers", te: "trailers" });
    assert.equal(trailed.trailers?.["x-checksum"], "abc");
    assert.equal(trailed.trailers?.["x-last"], "yes");
  }

  const resources = Array.from({ length: CONCURRENT }, async (_, number) => {
    const { body } = await ask({ ":path": `/resource/${number}` });
    assert.equal(body.toString(), `resource ${number}\n`);
  });
  await Promise.all(resources);
  assert.equal(ports.size, 1, `${ports.size} connections instead of 1`);
  console.log(`${asked} requests, ${ports.size} connection`);
  session.close();
} catch (error) {
  console.error(error.message.split("\n")[0]);
  process.exit(1);
}

// Reads files with the npm package @mcap/core, by the index and from the beginning, and
// prints what is in them as JSON. usage: node read.mjs FILE…
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(process.cwd() + "/");
const { McapIndexedReader, McapStreamReader } = require("@mcap/core");
const zstd = require("@foxglove/wasm-zstd");
const rosmsg = require("@foxglove/rosmsg");
const { MessageReader } = require("@foxglove/rosmsg-serialization");
await zstd.isLoaded;

const decompressHandlers = { zstd: (b, size) => zstd.decompress(b, Number(size)) };
const plain = (v) =>
  typeof v === "bigint" ? v.toString()
  : v instanceof Map ? Object.fromEntries([...v].map(([k, w]) => [k, plain(w)]))
  : ArrayBuffer.isView(v) ? [...v].map(plain)
  : Array.isArray(v) ? v.map(plain)
  : v !== null && typeof v === "object" ? Object.fromEntries(Object.entries(v).map(([k, w]) => [k, plain(w)]))
  : typeof v === "number" && !Number.isFinite(v) ? String(v)
  : v;

for (const path of process.argv.slice(2)) {
  const bytes = readFileSync(path);
  const r = await McapIndexedReader.Initialize({
    readable: { size: async () => BigInt(bytes.length), read: async (at, n) => bytes.subarray(Number(at), Number(at + n)) },
    decompressHandlers,
  });
  const decoders = new Map();
  const decode = (m) => {
    const c = r.channelsById.get(m.channelId);
    if (c.messageEncoding !== "ros1") return undefined;
    if (!decoders.has(c.schemaId)) {
      const s = r.schemasById.get(c.schemaId);
      decoders.set(c.schemaId, new MessageReader(rosmsg.parse(new TextDecoder().decode(s.data))));
    }
    return decoders.get(c.schemaId).readMessage(m.data);
  };
  const messages = [];
  for await (const m of r.readMessages()) {
    messages.push({ channel: m.channelId, sequence: m.sequence, log: m.logTime, publish: m.publishTime, data: Buffer.from(m.data).toString("base64"), values: decode(m) });
  }
  const metadata = [];
  for await (const m of r.readMetadata()) metadata.push(m);

  const stream = new McapStreamReader({ decompressHandlers, validateCrcs: true });
  stream.append(bytes);
  let streamed = 0;
  for (let record; (record = stream.nextRecord()); ) if (record.type === "Message") streamed++;

  console.log(JSON.stringify(plain({
    done: stream.done(), streamed, messages,
    library: r.header.library, start: r.start, end: r.end, statistics: r.statistics,
    channels: [...r.channelsById.values()], metadata,
    schemas: [...r.schemasById.values()].map((s) => ({ ...s, data: new TextDecoder().decode(s.data) })),
  })));
}

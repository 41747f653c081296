// Writes files with the npm package @mcap/core. usage: node write.mjs FOLDER
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(process.cwd() + "/");
const { McapWriter, TempBuffer } = require("@mcap/core");
const zstd = require("@foxglove/wasm-zstd");
await zstd.isLoaded;

const text = new TextEncoder();
for (const [name, options] of Object.entries({
  chunked: { useChunks: true, chunkSize: 400 },
  unchunked: { useChunks: false },
  noindex: { useChunks: true, chunkSize: 400, useChunkIndex: false, useMessageIndex: false, useSummaryOffsets: false, useStatistics: false },
  zstd: { useChunks: true, chunkSize: 400, compressChunk: (b) => ({ compression: "zstd", compressedData: zstd.compress(b, b.byteLength) }) },
})) {
  const file = new TempBuffer();
  const w = new McapWriter({ writable: file, ...options });
  await w.start({ profile: "", library: "@mcap/core" });
  const schemaId = await w.registerSchema({ name: "Price", encoding: "jsonschema", data: text.encode('{"type":"object"}') });
  const channels = [];
  for (const topic of ["prices", "заказы"]) {
    channels.push(await w.registerChannel({ topic, schemaId, messageEncoding: "json", metadata: new Map([["from", topic]]) }));
  }
  for (let i = 0; i < 100; i++) {
    // Times go back and forth within a chunk, and repeat.
    const logTime = 1_700_000_000_000_000_000n + BigInt(i - (i % 4)) * 1000n + BigInt((i * 7) % 3);
    await w.addMessage({ channelId: channels[i % 3 === 0 ? 1 : 0], sequence: i, logTime, publishTime: logTime - 5n, data: text.encode(`{"price":${i}}`) });
  }
  await w.addMetadata({ name: "about", metadata: new Map([["what", name]]) });
  await w.addAttachment({ name: "note", logTime: 1n, createTime: 2n, mediaType: "text/plain", data: text.encode("a note") });
  await w.end();
  writeFileSync(`${process.argv[2]}/${name}.mcap`, file.get());
}

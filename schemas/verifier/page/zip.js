// The zip of a bundle: docs/bundle-format.md section 2, and nothing else of the zip format.
// Invariant: the headers are built again from what was read and compared, so no byte of them is left to a reader's choice.
"use strict";

const ZIP_OPENING = utf8("PK\x03\x04");
const ARCHIVE_MAX = 64 * 2 ** 20;
const CONTENT_MAX = 16 * 2 ** 20;
const CONTENTS_MAX = 256 * 2 ** 20;
const ENTRIES_MAX = 4096;
const NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]*(?:\/[A-Za-z0-9][A-Za-z0-9._-]*)*$/;
const LOCAL = 30;
const CENTRAL = 46;
const END = 22;

// Little-endian fields: [bytes, value] pairs.
function packed(...fields) {
  const raw = new Uint8Array(fields.reduce((length, [bytes]) => length + bytes, 0));
  const view = new DataView(raw.buffer);
  let at = 0;
  for (const [bytes, value] of fields) {
    if (bytes === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += bytes;
  }
  return raw;
}

function localHeader(entry) {
  return concat(
    ZIP_OPENING,
    packed(
      [2, 20],
      [2, 0],
      [2, entry.method],
      [2, 0],
      [2, 0x21],
      [4, entry.crc],
      [4, entry.packed],
      [4, entry.size],
      [2, entry.name.length],
      [2, 0],
    ),
    utf8(entry.name),
  );
}

function centralHeader(entry) {
  return concat(
    utf8("PK\x01\x02"),
    packed(
      [2, 0x0314],
      [2, 20],
      [2, 0],
      [2, entry.method],
      [2, 0],
      [2, 0x21],
      [4, entry.crc],
      [4, entry.packed],
      [4, entry.size],
      [2, entry.name.length],
      [2, 0],
      [2, 0],
      [2, 0],
      [2, 0],
      [4, 0x81a40000],
      [4, entry.offset],
    ),
    utf8(entry.name),
  );
}

// The files by name, in the order of the zip.
async function readArchive(raw) {
  if (raw.length > ARCHIVE_MAX) refuse("the zip is larger than a bundle can be");
  if (raw.length < END) refuse("this is no zip: it is too short");
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  // 1. The end record.
  const endAt = raw.length - END;
  const count = view.getUint16(endAt + 10, true);
  const centralAt = view.getUint32(endAt + 16, true);
  const end = concat(
    utf8("PK\x05\x06"),
    packed([2, 0], [2, 0], [2, count], [2, count], [4, endAt - centralAt], [4, centralAt], [2, 0]),
  );
  if (centralAt > endAt || !equalBytes(raw.subarray(endAt), end)) {
    refuse("the zip does not end as a bundle's does: it was cut, added to, or written by another tool");
  }
  // 2. The central headers, without a gap; then the names and sizes that they state.
  const entries = readCentral(raw, view, centralAt, endAt, count);
  checkNames(entries.map((entry) => entry.name));
  if (entries.some((entry) => entry.size > CONTENT_MAX) || sum(entries, "size") > CONTENTS_MAX) {
    refuse("a content is larger than a bundle's can be");
  }
  // 3. The local headers and the data, without a gap.
  const files = new Map();
  let at = 0;
  for (const entry of entries) {
    const dataAt = at + LOCAL + entry.name.length;
    const next = dataAt + entry.packed;
    if (entry.offset !== at || next > centralAt || !equalBytes(raw.subarray(at, dataAt), localHeader(entry))) {
      refuse("a header of the zip is not as a bundle has it");
    }
    files.set(entry.name, await unpack(entry, raw.subarray(dataAt, next)));
    at = next;
  }
  return at === centralAt ? files : refuse("something lies between the files of the zip");
}

function sum(entries, field) {
  return entries.reduce((total, entry) => total + entry[field], 0);
}

function readCentral(raw, view, centralAt, endAt, count) {
  if (count > ENTRIES_MAX) refuse("the zip has more files than a bundle can have");
  const entries = [];
  let at = centralAt;
  for (let number = 0; number < count; number += 1) {
    if (at + CENTRAL > endAt) refuse("the zip's list of files is cut");
    const length = view.getUint16(at + 28, true);
    const entry = {
      method: view.getUint16(at + 10, true),
      crc: view.getUint32(at + 16, true),
      packed: view.getUint32(at + 20, true),
      size: view.getUint32(at + 24, true),
      offset: view.getUint32(at + 42, true),
      name: String.fromCharCode(...raw.subarray(at + CENTRAL, Math.min(at + CENTRAL + length, endAt))),
    };
    const next = at + CENTRAL + length;
    if (next > endAt || length > 200 || !NAME_PATTERN.test(entry.name))
      refuse("a name in the zip is none a bundle has");
    if (!equalBytes(raw.subarray(at, next), centralHeader(entry)))
      refuse("a header of the zip is not as a bundle has it");
    entries.push(entry);
    at = next;
  }
  return at === endAt ? entries : refuse("something lies behind the zip's list of files");
}

// The manifest first, then the others in ascending order; no two alike in lower case.
function checkNames(names) {
  const others = names.slice(1);
  const sorted = others.every((name, at) => at === 0 || others[at - 1] < name);
  if (names[0] !== "manifest.json" || !sorted) refuse("the files of the zip are not in a bundle's order");
  if (new Set(names.map((name) => name.toLowerCase())).size !== names.length) {
    refuse("two names in the zip differ in capitals only, or not at all");
  }
}

async function unpack(entry, data) {
  if (entry.method !== 0 && entry.method !== 8) refuse("a file of the zip is packed in a way that bundles do not use");
  const content = entry.method === 0 ? data : await inflate(data, entry.size);
  if (content.length !== entry.size || crc32(content) !== entry.crc) refuse("a file of the zip is damaged");
  return content;
}

// Never more than `size` bytes; the stream must end exactly with the data.
async function inflate(data, size) {
  const stream = new DecompressionStream("deflate-raw");
  const writer = stream.writable.getWriter();
  const writing = writer.write(data).then(() => writer.close());
  writing.catch(() => {}); // the reader below meets the same error
  const reader = stream.readable.getReader();
  const content = new Uint8Array(size);
  let at = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (at + value.length > size) {
        reader.cancel().catch(() => {});
        refuse("a file of the zip is larger than it says");
      }
      content.set(value, at);
      at += value.length;
    }
    await writing;
  } catch (error) {
    if (error instanceof Refused) throw error;
    refuse("a file of the zip cannot be unpacked, or something lies behind its end");
  }
  return content.subarray(0, at);
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, number) => {
  let value = number;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function crc32(raw) {
  let value = 0xffffffff;
  for (const byte of raw) value = CRC_TABLE[(value ^ byte) & 0xff] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

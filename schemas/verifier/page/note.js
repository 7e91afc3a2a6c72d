// Signed notes, verifier keys, checkpoints and cosignatures: docs/proof-format.md section 7, docs/bundle-format.md
// sections 6 and 7 (C2SP signed-note, tlog-checkpoint, tlog-cosignature).
"use strict";

const KEY_BYTES = { 1: 32, 4: 32, 6: 1312 }; // type -> length of the public key
const SIGNATURES_MAX = 100;
const SPACE_OR_PLUS = /[\p{White_Space}+]/u;

function isKeyName(name) {
  return name !== "" && !SPACE_OR_PLUS.test(name);
}

// <name>+<key id, 8 hex digits>+<base64(type || public key)>
async function parseVerifierKey(vkey) {
  const [, name, id, encoded] =
    /^([^+]*)\+([0-9a-f]{8})\+([^]*)$/.exec(vkey) || refuse("not a verifier key: copy it whole");
  const blob = decodeBase64(encoded);
  if (!isKeyName(name) || blob === null || KEY_BYTES[blob[0]] !== blob.length - 1) {
    refuse("not a verifier key of a kind that is used here");
  }
  const expected = (await sha256(utf8(`${name}\n`), blob)).subarray(0, 4);
  if (hex(expected) !== id) refuse("the key id in a verifier key is not that of its key");
  return { vkey, name, id, type: blob[0], publicKey: blob.subarray(1) };
}

// Text and signature lines of a note; verifies nothing.
function splitNote(note) {
  const at = note.lastIndexOf("\n\n");
  const block = at < 0 ? "" : note.slice(at + 2);
  if (block === "" || !block.endsWith("\n")) refuse("the note does not end in a blank line and signature lines");
  const lines = block.slice(0, -1).split("\n");
  if (lines.length > SIGNATURES_MAX) refuse("the note has more signature lines than anybody reads");
  return { text: note.slice(0, at + 1), lines: lines.map(splitLine) };
}

function splitLine(line) {
  const words = line.split(" ");
  const blob = words.length === 3 && words[0] === "\u2014" && isKeyName(words[1]) ? decodeBase64(words[2]) : null;
  if (blob === null || blob.length < 5) refuse("a signature line of the note is malformed");
  return { name: words[1], id: hex(blob.subarray(0, 4)), signature: blob.subarray(4) };
}

// Opens a note under known keys: {text, lines, signed, unchecked}. `signed` are the keys whose line holds, in the order of
// the lines; `unchecked` those that this browser cannot check. A known key's line that fails condemns the note.
async function openNote(note, keys) {
  const { text, lines } = splitNote(checkText(note, "a note"));
  const signed = [];
  const unchecked = [];
  for (const line of lines) {
    for (const key of keys.filter((known) => known.name === line.name && known.id === line.id)) {
      const holds = await verifyLine(key, text, line.signature);
      if (holds === false) refuse("a known key's signature on the note does not verify: the note is rejected");
      (holds ? signed : unchecked).push(key);
    }
  }
  return { text, lines, signed, unchecked };
}

async function verifyLine(key, text, blob) {
  if (key.type === 1) return verifyEd25519(key.publicKey, blob, utf8(text));
  const time = readUint(blob.subarray(0, 8));
  const signature = blob.subarray(8);
  if (blob.length < 8 || time >= 1n << 63n) return false;
  if (key.type === 4) return verifyEd25519(key.publicKey, signature, utf8(`cosignature/v1\ntime ${time}\n${text}`));
  const checkpoint = await parseCheckpoint(text);
  const [witness, origin] = [utf8(key.name), utf8(checkpoint.origin)];
  if (time === 0n || witness.length > 255 || origin.length > 255) return false;
  const message = concat(
    utf8("subtree/v1\n\0"),
    Uint8Array.of(witness.length),
    witness,
    uint64(time),
    Uint8Array.of(origin.length),
    origin,
    uint64(0),
    uint64(checkpoint.size),
    checkpoint.root,
  );
  return verifyMlDsa44(key.publicKey, signature, message);
}

// {origin, size, root} of a note's text: three lines, and extension lines of others, which are not empty.
async function parseCheckpoint(text) {
  const [origin, size, root, ...extensions] = text.slice(0, -1).split("\n");
  const number = size === undefined ? null : decodeDecimal(size);
  const hash = root === undefined ? null : decodeBase64(root);
  if (origin === "" || number === null || hash === null || hash.length !== 32 || extensions.includes("")) {
    refuse("the note is not a checkpoint: origin, size and root");
  }
  if (number === 0n && !equalBytes(hash, await sha256()))
    refuse("a checkpoint of size 0 has the root of the empty tree");
  return { origin, size: number, root: hash };
}

// A checkpoint that one of these keys has signed as the log `origin`.
async function openCheckpoint(note, origin, keys) {
  const opened = await openNote(note, keys);
  if (!opened.signed.some((key) => key.type === 1 && key.name === origin)) {
    refuse("no known key of the log has signed this checkpoint");
  }
  const checkpoint = await parseCheckpoint(opened.text);
  if (checkpoint.origin !== origin) refuse("the checkpoint is that of another log");
  return { ...checkpoint, lines: opened.lines };
}

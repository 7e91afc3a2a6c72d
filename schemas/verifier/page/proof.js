// One proof: its document in both spellings and the steps of its verification, docs/proof-format.md sections 3 to 10.
"use strict";

const TLOG_HEADER = "c2sp.org/tlog-proof@v1\n";
const PROOF_FORMAT = "sayso-proof/v1";
const PROOF_MAX = 16 * 2 ** 20;
const PATH_MAX = 63;
const PARTS = ["who", "what", "context"];
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const HASH = /^[0-9a-f]{64}$/;

// --- the steps of any verification ---------------------------------------------------------------------------------

// Numbers the steps. The first that fails ends the run: step() then throws Refused.
class Run {
  constructor() {
    this.steps = [];
  }

  async step(name, work) {
    const said = [];
    let outcome = "ok";
    const say = (text, { remark = false } = {}) => {
      said.push(text);
      if (remark) outcome = "remark";
    };
    const number = this.steps.length + 1;
    try {
      const result = await work(say);
      this.steps.push({ number, name, outcome, said, text: said.join("; ") });
      return result;
    } catch (error) {
      // A fault of this program is no proof of anything: it fails the step like a forgery.
      const text =
        error instanceof Refused ? error.message : `the verifier itself stopped (${error}): nothing is verified`;
      this.steps.push({ number, name, outcome: "failed", said: [text], text });
      throw new Refused(`${name}: ${text}`);
    }
  }
}

// --- reading -------------------------------------------------------------------------------------------------------

// {extra (bytes or null), index, path, checkpoint}, of any maker.
function parseTlogProof(raw) {
  const text = decodeText(raw, "the tlog-proof");
  const at = text.indexOf("\n\n");
  if (!text.startsWith(TLOG_HEADER) || at < 0) refuse("not a tlog-proof: it has no header or no blank line");
  const lines = text.slice(TLOG_HEADER.length, at).split("\n");
  let extra = null;
  if (lines[0].startsWith("extra ")) {
    extra = decodeBase64(lines.shift().slice("extra ".length));
    if (extra === null || extra.length === 0)
      refuse("the extra line of the tlog-proof is empty or not canonical base64");
  }
  const index = /^index ([^]*)$/.exec(lines.shift() || "");
  return checkPlace({
    extra,
    index: index === null ? null : decodeDecimal(index[1]),
    path: lines.map(decodeBase64),
    checkpoint: text.slice(at + 2),
  });
}

function checkPlace(proof) {
  if (proof.index === null) refuse("the proof has no index from 0 to 2^63 - 1");
  if (proof.path.length > PATH_MAX || proof.path.some((hash) => hash === null || hash.length !== 32)) {
    refuse("the path of the proof is not at most 63 hashes of 32 bytes in canonical base64");
  }
  return proof;
}

const EXTRA_MEMBERS = ["format", "event", "log", "entry", "parts", "digests"];

// The proof document, in either spelling, with all its types checked.
function parseProof(raw) {
  if (raw.length > PROOF_MAX) refuse("the file is larger than a proof can be");
  if (startsWith(raw, utf8(TLOG_HEADER))) {
    const proof = parseTlogProof(raw);
    if (proof.extra === null) refuse("this tlog-proof does not hold its entry");
    return { ...proof, ...readMembers(readJson(proof.extra, "the proof", { controls: true }), EXTRA_MEMBERS) };
  }
  const value = readJson(raw, "the proof", { controls: true });
  const members = readMembers(value, [...EXTRA_MEMBERS, "index", "path", "checkpoint"]);
  const { index, path, checkpoint } = value;
  if (
    !Array.isArray(path) ||
    !path.every(isString) ||
    !isString(checkpoint) ||
    typeof index !== "number" ||
    index < 0
  ) {
    refuse("a member of the proof has the wrong type");
  }
  checkText(checkpoint, "the checkpoint of a proof");
  return { ...members, ...checkPlace({ index: BigInt(index), path: path.map(decodeBase64), checkpoint }) };
}

function isString(value) {
  return typeof value === "string";
}

function readMembers(value, names) {
  if (!isObject(value) || value.format !== PROOF_FORMAT) refuse(`not a proof of the format ${PROOF_FORMAT}`);
  if (!hasMembers(value, names, ["notice"])) refuse("the proof has unknown members or lacks some");
  const { event, log, entry, parts, digests, notice } = value;
  if (!isString(event) || !UUID.test(event)) refuse("the event id in the proof is not a lower-case UUID");
  if (!isString(entry) || ("notice" in value && !isString(notice))) refuse("a member of the proof has the wrong type");
  if (!hasMembers(log, ["origin", "vkey"]) || ![log.origin, log.vkey].every(isPrintable)) {
    refuse("the proof must name its log by origin and vkey, in printable characters");
  }
  if (
    !isObject(parts) ||
    !isObject(digests) ||
    [...Object.keys(parts), ...Object.keys(digests)].sort().join() !== [...PARTS].sort().join()
  ) {
    refuse("the proof must hold each of the three parts once, disclosed or as a digest");
  }
  const disclosed = new Map(PARTS.filter((name) => name in parts).map((name) => [name, readPart(parts[name])]));
  for (const value of Object.values(digests)) {
    if (!isString(value) || !HASH.test(value)) refuse("a digest of the proof is not 64 lower-case hex digits");
  }
  return { value, event, origin: log.origin, vkey: log.vkey, entry, disclosed, digests, notice };
}

// No character of the Unicode categories C and Z, but for the space.
function isPrintable(value) {
  return isString(value) && !/[\p{C}\p{Z}]/u.test(value.replaceAll(" ", ""));
}

function readPart(part) {
  const salt =
    hasMembers(part, ["salt", "json"]) && isString(part.salt) && isString(part.json) ? decodeBase64(part.salt) : null;
  return salt !== null && salt.length === 32
    ? { salt, json: part.json }
    : refuse("a disclosed part must have a salt and its text");
}

// What section 8 makes of a document: the bytes of `proof.tlog-proof`.
function writeTlogProof(proof) {
  const { index, path, checkpoint, ...extra } = proof.value;
  const hashes = proof.path.map((hash) => `${encodeBase64(hash)}\n`).join("");
  return utf8(
    `${TLOG_HEADER}extra ${encodeBase64(utf8(writeJson(extra)))}\nindex ${proof.index}\n${hashes}\n${proof.checkpoint}`,
  );
}

const ENTRY_MEMBERS = ["v", "log", "index", "prev", "ref", "class", "recorded_at", "commitment"];

function readEntry(entry) {
  const members = readCanonical(entry, "the entry");
  return hasMembers(members, ENTRY_MEMBERS, ["notice", "erased", "follows"]) && members.v === 1
    ? members
    : refuse("the entry does not have the members of version 1");
}

// --- verifying -----------------------------------------------------------------------------------------------------

// A proof by itself. vkey, origin: from the reader, or undefined.
async function verifyProof(run, raw, { vkey, origin } = {}) {
  // 1. The document.
  const proof = await run.step("document", (say) => {
    const parsed = parseProof(raw);
    say(`event ${parsed.event}`);
    return parsed;
  });
  // 2. The key, and whom it was taken from.
  const key = await run.step("key", async (say) => {
    const parsed = await parseVerifierKey(vkey === undefined ? proof.vkey : vkey);
    if (proof.origin !== (origin === undefined ? parsed.name : origin))
      refuse("the proof is of another log than the one expected");
    if (vkey === undefined)
      say(`the key was taken from the proof itself: compare it with the published one: ${parsed.vkey}`, {
        remark: true,
      });
    else if (vkey !== proof.vkey) refuse("the proof states another key than the one given");
    else say("given by the reader");
    return parsed;
  });
  return verifyDocument(run, proof, proof.origin, [key]);
}

// Steps 3 to 8, under the keys that count.
async function verifyDocument(run, proof, origin, keys) {
  const { checkpoint, entry } = await verifyPlace(run, proof, utf8(proof.entry), origin, keys);
  // 6. The parts are those that the entry commits to.
  const parts = await run.step("commitment", async (say) => {
    if ((await commitmentOf(proof)) !== entry.commitment) refuse("the parts do not make the commitment in the entry");
    const read = new Map();
    for (const [name, part] of proof.disclosed) read.set(name, readCanonical(utf8(part.json), `the part '${name}'`));
    say(`disclosed: ${[...read.keys()].join(", ") || "nothing"}`);
    return read;
  });
  // 7. The event is the one that was asked for.
  const what = parts.get("what");
  await run.step("event", (say) => {
    if (what === undefined)
      say("the part 'what' is kept back, so nothing here ties the event id to the entry", { remark: true });
    else if (what.id !== proof.event) refuse("the part 'what' is that of another event");
    else say("the part 'what' carries the event id");
  });
  // 8. The words are those that were shown.
  await run.step("notice", (say) => checkWords(proof, entry, what, say));
  return { ...proof, checkpointRead: checkpoint, entryRead: entry, parts };
}

// Steps 3 to 5: the entry stands at its place under the log's signature.
async function verifyPlace(run, proof, entryBytes, origin, keys) {
  const checkpoint = await run.step("checkpoint", async (say) => {
    const opened = await openCheckpoint(proof.checkpoint, origin, keys);
    say(`signed by ${origin}, size ${opened.size}`);
    return opened;
  });
  const entry = await run.step("entry", (say) => {
    const members = readEntry(entryBytes);
    if (members.log !== origin || typeof members.index !== "number" || BigInt(members.index) !== proof.index) {
      refuse("the entry states another log or index than the proof");
    }
    say(`class ${members.class}, recorded at ${members.recorded_at}, index ${proof.index}`);
    return members;
  });
  await run.step("inclusion", async (say) => {
    await verifyInclusion(await leafHash(entryBytes), proof.index, checkpoint.size, proof.path, checkpoint.root);
    say(`leaf ${proof.index} of ${checkpoint.size}, ${proof.path.length} hashes`);
  });
  return { checkpoint, entry };
}

async function commitmentOf(proof) {
  const digests = [];
  for (const name of PARTS) {
    const part = proof.disclosed.get(name);
    digests.push(
      part === undefined
        ? fromHex(proof.digests[name])
        : await sha256(utf8(`sayso/part/v1\n${name}\n`), part.salt, utf8(part.json)),
    );
  }
  return hex(await sha256(utf8("sayso/commitment/v1\n"), ...digests));
}

async function checkWords(proof, entry, what, say) {
  const named = entry.notice === undefined ? null : entry.notice;
  const inWhat =
    what !== undefined && isObject(what.notice) && what.notice.sha256 !== undefined ? what.notice.sha256 : null;
  const shown = what === undefined ? named : inWhat;
  if (named !== null && shown !== named) refuse("the part 'what' and the entry name different notices");
  if (proof.notice !== undefined) {
    if (hex(await sha256(utf8(proof.notice))) !== named)
      refuse("the words of the notice are not those that the entry names");
    say("the words are those that the entry names");
  } else if (named !== null) {
    say("the entry names a notice whose words are not in this file: compare its SHA-256 yourself", { remark: true });
  } else if (shown !== null) {
    say("the words shown were not known to the controller when this was recorded", { remark: true });
  } else say("the record names no notice");
}

// --- the tree: RFC 6962 section 2.1, RFC 9162 section 2.1.3.2 ----------------------------------------------------------

function leafHash(entry) {
  return sha256(Uint8Array.of(0), entry);
}

async function verifyInclusion(leaf, index, size, path, root) {
  if (index < 0n || index >= size) refuse("the index is not inside the tree");
  let [place, last, hash] = [index, size - 1n, leaf];
  for (const sibling of path) {
    if (last === 0n) refuse("the inclusion path is longer than this place in the tree needs");
    if (place & 1n || place === last) {
      hash = await sha256(Uint8Array.of(1), sibling, hash);
      while (!(place & 1n) && place !== 0n) [place, last] = [place >> 1n, last >> 1n];
    } else hash = await sha256(Uint8Array.of(1), hash, sibling);
    [place, last] = [place >> 1n, last >> 1n];
  }
  if (last !== 0n) refuse("the inclusion path is shorter than this place in the tree needs");
  if (!equalBytes(hash, root)) refuse("the inclusion path does not lead to the root of the checkpoint");
}

// What the page and the tests call: a file and what the reader trusts go in, the steps and what was read come out.
"use strict";

// Something the reader gave, not the file, cannot be used: there is no verdict.
class Unusable extends Error {}

// bytes: the file. given: {vkeys, policy, roots, jwks, origin}, texts of the reader, each may be missing or blank.
// Returns {kind, steps, content}; content is null unless every step held. Throws Unusable.
async function saysoVerify(bytes, given = {}) {
  const pins = await readPins(given);
  const run = new Run();
  const kind = startsWith(bytes, ZIP_OPENING) ? "bundle" : startsWith(bytes, utf8("eyJ")) ? "receipt" : "proof";
  const work = { bundle: bundleWork, receipt: receiptWork, proof: proofWork }[kind](run, bytes, pins);
  try {
    return { kind, steps: run.steps, content: await work() };
  } catch (error) {
    // A failed step is the last of the list, and says what the error says.
    if (error instanceof Refused && run.steps.length > 0 && run.steps[run.steps.length - 1].outcome === "failed") {
      return { kind, steps: run.steps, content: null };
    }
    throw error;
  }
}

// "failed" | "notes" | "verified"
function verdictOf(steps) {
  if (steps.length === 0 || steps.some((step) => step.outcome === "failed")) return "failed";
  return steps.some((step) => step.outcome === "remark") ? "notes" : "verified";
}

async function readPins(given) {
  const text = (name) => (isString(given[name]) && given[name].trim() !== "" ? given[name] : null);
  try {
    const policy = text("policy");
    return {
      vkeys: await readVkeys(text("vkeys")),
      policy: policy === null ? null : await parsePolicy(utf8(policy)),
      roots: text("roots") === null ? null : utf8(text("roots")),
      jwks: text("jwks") === null ? null : utf8(text("jwks")),
      origin: text("origin") === null ? undefined : text("origin"),
    };
  } catch (error) {
    if (error instanceof Refused) throw new Unusable(`What you gave as trusted cannot be read: ${error.message}.`);
    throw error;
  }
}

// One verifier key a line, or a whole keys.json.
async function readVkeys(text) {
  if (text === null) return [];
  if (text.trim().startsWith("{")) return (await readLogKeys(utf8(text.trim()))).keys;
  return Promise.all(
    text
      .split(/\r?\n/)
      .map((line) => line.trim())
      .filter((line) => line !== "")
      .map(parseVerifierKey),
  );
}

function bundleWork(run, bytes, pins) {
  if (pins.origin !== undefined)
    throw new Unusable("An origin is expected of a single proof; this is a bundle: leave it out.");
  return () => verifyBundle(run, bytes, pins);
}

function proofWork(run, bytes, pins) {
  if (pins.policy !== null || pins.roots !== null || pins.jwks !== null || pins.vkeys.length > 1) {
    throw new Unusable("This is a single proof: give one verifier key, and no policy, roots or receipt keys.");
  }
  return () =>
    verifyProof(run, bytes, { vkey: pins.vkeys.length > 0 ? pins.vkeys[0].vkey : undefined, origin: pins.origin });
}

function receiptWork(run, bytes, pins) {
  if (pins.jwks === null)
    throw new Unusable(
      "A receipt by itself needs the keys that sign receipts: paste the JWK set that the service publishes.",
    );
  if (pins.vkeys.length > 1) throw new Unusable("This is a single receipt: give one verifier key.");
  let keys;
  try {
    keys = readJwks(pins.jwks);
  } catch (error) {
    if (error instanceof Refused) throw new Unusable(`What you gave as trusted cannot be read: ${error.message}.`);
    throw error;
  }
  const vkey = pins.vkeys.length > 0 ? pins.vkeys[0].vkey : undefined;
  // Latin-1: whatever is not ASCII fails as what it is, a piece that is not base64url.
  const jws = Array.from(bytes.subarray(0, JWS_MAX + 1), (byte) => String.fromCharCode(byte)).join("");
  return () => verifyReceipt(run, jws, keys, { vkey, origin: pins.origin });
}

// Receipts and certificates of erasure: JWS under Ed25519 keys. docs/proof-format.md section 13.
"use strict";

const JWS_MAX = 2 ** 20;
const ISO_27560 = "ISO/IEC TS 27560:2023";
const KANTARA = "KI-CR-v1.1.0";
const DENIED = {
  "consent.withdrawn": "dpv:ConsentWithdrawn",
  "consent.expired": "dpv:ConsentExpired",
  "consent.invalidated": "dpv:ConsentInvalidated",
};
const GIVEN = ["dpv:ConsentGiven", "dpv:RenewedConsentGiven"];

// kid -> 32 bytes, of the Ed25519 keys of a JWK set.
function readJwks(raw) {
  const set = readJson(raw, "the JWK set");
  const keys =
    isObject(set) && Array.isArray(set.keys) && set.keys.every(isObject) ? set.keys : refuse("not a JWK set");
  const found = new Map();
  for (const key of keys) {
    if (key.kty !== "OKP" || key.crv !== "Ed25519") continue;
    const bytes = isString(key.x) ? decodeBase64url(key.x) : null;
    if (!isString(key.kid) || bytes === null || bytes.length !== 32) refuse("the JWK set holds a key that is none");
    found.set(key.kid, bytes);
  }
  return found.size > 0 ? found : refuse("the JWK set holds no Ed25519 key");
}

// The signed payload of a JWS with this `typ`, and the key's id.
async function openJws(jws, keys, typ) {
  const pieces = jws.split(".");
  if (jws.length > JWS_MAX || pieces.length !== 3) refuse("not a receipt: it must be a JWS in compact form");
  const [header, payload, signature] = pieces.map(
    (piece) => decodeBase64url(piece) || refuse("a piece of the JWS is not canonical base64url"),
  );
  const stated = readCanonical(header, "the header of the JWS");
  if (!hasMembers(stated, ["alg", "kid", "typ"]) || stated.alg !== "EdDSA" || stated.typ !== typ) {
    refuse(`the header of the JWS must state EdDSA, ${typ} and a key, and nothing else`);
  }
  if (!keys.has(stated.kid)) refuse("the receipt is signed under a key that is not among those given");
  const signed = utf8(jws.slice(0, jws.lastIndexOf(".")));
  if (!(await verifyEd25519(keys.get(stated.kid), signature, signed)))
    refuse("the signature of the receipt does not verify");
  return { payload, kid: stated.kid };
}

// A receipt by itself, under keys from a JWK set. Returns {claims, proof}.
async function verifyReceipt(run, jws, keys, trusted = {}) {
  // 1. The signature is that of a key that was given.
  const { payload } = await run.step("signature", async (say) => {
    const opened = await openJws(jws, keys, "sayso-receipt+jwt");
    say(`EdDSA, key ${opened.kid}`);
    return opened;
  });
  // 2. The claims are a receipt of one of the two forms.
  const claims = await run.step("receipt", (say) => {
    const read = readCanonical(payload, "the payload of the receipt", { controls: true });
    if (
      !hasMembers(read.proof, ["format", "log", "tlog_proof"]) ||
      read.proof.format !== "sayso-receipt/v1" ||
      !isString(read.proof.tlog_proof)
    )
      refuse("the receipt's proof is not of this format");
    if ((read.schema_version === ISO_27560) === (read.version === KANTARA))
      refuse("the receipt is not of exactly one of the two forms");
    say(read.schema_version === ISO_27560 ? ISO_27560 : KANTARA);
    return read;
  });
  // 3. The proof inside it.
  const proof = await run.step("proof", async (say) => {
    const inner = new Run();
    const verified = await verifyProof(inner, utf8(claims.proof.tlog_proof), trusted);
    for (const step of inner.steps) if (step.outcome === "remark") say(step.text, { remark: true });
    say(`the record is in ${verified.origin} at index ${verified.index}`);
    return verified;
  });
  // 4. The claims say what the record says.
  await run.step("claims", (say) => {
    compareClaims(claims, proof);
    say("the receipt says of the event what the log's record says");
  });
  return { claims, proof };
}

function compareClaims(claims, proof) {
  if (writeJson(claims.proof.log) !== writeJson({ origin: proof.origin, vkey: proof.vkey }))
    refuse("the receipt names another log than its proof");
  const what = proof.parts.get("what");
  if (what === undefined)
    refuse("the receipt's proof keeps the part 'what' back, so nothing ties the receipt to the record");
  let said;
  try {
    said = claims.version === KANTARA ? kantaraSays(claims, what) : isoSays(claims, what, proof.event);
  } catch (error) {
    if (error instanceof TypeError)
      return refuse("the receipt, or the record it is of, lacks what a receipt must hold");
    throw error;
  }
  for (const [name, [stated, recorded]] of Object.entries(said)) {
    if (stated === undefined || writeJson(stated) !== writeJson(recorded))
      refuse(`the receipt and the log's record differ in: ${name}`);
  }
  return undefined;
}

// [purpose, DPV state] of each decision about consent, in the event's order.
function consentStates(what) {
  const waits = "double_opt_in" in what && !("confirmed_at" in what.double_opt_in);
  const granted = waits ? "dpv:ConsentRequested" : what.type === "consent.renewed" ? GIVEN[1] : GIVEN[0];
  const states = { granted, denied: DENIED[what.type] || "dpv:ConsentRefused" };
  return (what.decisions || [])
    .filter((one) => one.legal_basis === "consent")
    .map((one) => [one.purpose, states[one.decision]]);
}

// name -> [what the receipt states, what the record says]
function isoSays(claims, what, event) {
  const states = consentStates(what);
  return {
    record_id: [claims.record_id, event],
    privacy_notice: [claims.processing.privacy_notice.sha256, what.notice.sha256],
    purpose: [
      claims.processing.purposes.map((one) => one.purpose_id),
      [...new Set(states.map(([purpose]) => purpose))],
    ],
    event_state: [claims.events.map((one) => [one.purpose_id, one.event_state]), states],
    event_time: [[...new Set(claims.events.map((one) => one.event_time))], [what.time]],
  };
}

function kantaraSays(claims, what) {
  const purposes = claims.services.flatMap((service) => service.purposes);
  const given = consentStates(what)
    .filter(([, state]) => GIVEN.includes(state))
    .map(([purpose]) => purpose);
  return {
    consentTimestamp: [claims.consentTimestamp, Math.floor(Date.parse(what.time) / 1000)],
    services: [claims.services.map((one) => one.service), [what.site]],
    purposeCategory: [purposes.map((one) => one.purposeCategory[0]), [...new Set(given)]],
  };
}

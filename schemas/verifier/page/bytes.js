// Bytes, hashes and signatures: what all other files stand on. WebCrypto does the arithmetic, nothing here is secret.
// Invariant: every decoder takes one spelling of a value and refuses all others.
"use strict";

// What a verification says "no" with. Its text tells the reader what was wrong, never what was in the file.
class Refused extends Error {}

function refuse(text) {
  throw new Refused(text);
}

function subtle() {
  const found = globalThis.crypto && globalThis.crypto.subtle;
  return found || refuse("this browser offers no WebCrypto here, so nothing can be verified: use a current browser");
}

// --- text ----------------------------------------------------------------------------------------------------------

const UTF8 = new TextEncoder();

function utf8(text) {
  return UTF8.encode(text);
}

// Strict UTF-8; a byte order mark stays, as U+FEFF, for the caller to refuse.
function decodeUtf8(raw, what) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(raw);
  } catch {
    return refuse(`${what} is not UTF-8`);
  }
}

// bundle-format, section 4: text of notes, tlog-proofs and policies.
function decodeText(raw, what = "the file") {
  return checkText(decodeUtf8(raw, what), what);
}

function checkText(text, what) {
  // eslint-disable-next-line no-control-regex
  return text.startsWith("\ufeff") || /[\u0000-\u0009\u000b-\u001f]/.test(text)
    ? refuse(`${what} must be text without control characters or byte order mark`)
    : text;
}

// "0|[1-9][0-9]{0,18}", below 2^63, as a BigInt; null for anything else.
function decodeDecimal(text) {
  if (!/^(?:0|[1-9][0-9]{0,18})$/.test(text)) return null;
  const number = BigInt(text);
  return number < 1n << 63n ? number : null;
}

// --- bytes ---------------------------------------------------------------------------------------------------------

function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function equalBytes(one, other) {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}

function startsWith(raw, opening) {
  return raw.length >= opening.length && equalBytes(raw.subarray(0, opening.length), opening);
}

function hex(raw) {
  return Array.from(raw, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function fromHex(text) {
  return Uint8Array.from(text.match(/../g) || [], (pair) => parseInt(pair, 16));
}

// Big-endian, of up to eight bytes.
function readUint(raw) {
  return raw.reduce((number, byte) => (number << 8n) | BigInt(byte), 0n);
}

function uint64(number) {
  return fromHex(BigInt(number).toString(16).padStart(16, "0"));
}

// --- base64 --------------------------------------------------------------------------------------------------------

function encodeBase64(raw) {
  let binary = "";
  for (let at = 0; at < raw.length; at += 32768) binary += String.fromCharCode(...raw.subarray(at, at + 32768));
  return btoa(binary);
}

// RFC 4648, section 4, only as encodeBase64 writes it; null for anything else.
function decodeBase64(text) {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return null;
  let binary;
  try {
    binary = atob(text);
  } catch {
    return null;
  }
  return btoa(binary) === text ? Uint8Array.from(binary, (letter) => letter.charCodeAt(0)) : null;
}

// RFC 7515, section 2: without padding, and not empty; null for anything else.
function decodeBase64url(text) {
  if (!/^[A-Za-z0-9_-]+$/.test(text) || text.length % 4 === 1) return null;
  return decodeBase64(text.replace(/-/g, "+").replace(/_/g, "/") + "=".repeat((4 - (text.length % 4)) % 4));
}

// --- hashes and signatures -----------------------------------------------------------------------------------------

async function digest(name, raw) {
  return new Uint8Array(await subtle().digest(name, raw));
}

function sha256(...parts) {
  return digest("SHA-256", concat(...parts));
}

// Whether the signature holds; throws Refused when this browser does not know the algorithm: then nothing is verified.
async function checkSignature(format, publicKey, algorithm, parameters, signature, message) {
  let key;
  try {
    key = await subtle().importKey(format, publicKey, algorithm, false, ["verify"]);
  } catch (error) {
    if (error instanceof DOMException && error.name === "DataError") return false;
    return refuse(`this browser does not know ${algorithm.name || algorithm} as it is used here: nothing is verified`);
  }
  return subtle().verify(parameters || algorithm, key, signature, message);
}

async function verifyEd25519(publicKey, signature, message) {
  if (publicKey.length !== 32 || signature.length !== 64) return false;
  return checkSignature("raw", publicKey, "Ed25519", null, signature, message);
}

// ML-DSA-44 (FIPS 204, empty context): true or false, or null where the browser does not know it. Null counts as nothing.
async function verifyMlDsa44(publicKey, signature, message) {
  if (publicKey.length !== 1312 || signature.length !== 2420) return false;
  let key;
  try {
    key = await subtle().importKey("raw-public", publicKey, "ML-DSA-44", false, ["verify"]);
  } catch (error) {
    return error instanceof DOMException && error.name === "DataError" ? false : null;
  }
  return subtle().verify("ML-DSA-44", key, signature, message);
}

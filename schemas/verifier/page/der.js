// DER (X.690) and the little of X.509 (RFC 5280) that a timestamp's path needs: docs/proof-format.md section 14.
// Invariant: definite shortest lengths, one-byte tags, shortest integers; nothing is read past its end or left over.
"use strict";

const DER = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BITS: 0x03,
  OCTETS: 0x04,
  NULL: 0x05,
  OID: 0x06,
  UTC: 0x17,
  TIME: 0x18,
  SEQUENCE: 0x30,
  SET: 0x31,
};

const OID_MAX = 64; // bytes

class DerReader {
  constructor(raw, what) {
    this.raw = raw;
    this.what = what;
    this.at = 0;
  }

  bad() {
    return refuse(`${this.what} is malformed`);
  }

  get done() {
    return this.at === this.raw.length;
  }

  end() {
    if (!this.done) this.bad();
  }

  // The next tag, or -1 at the end.
  get tag() {
    return this.done ? -1 : this.raw[this.at];
  }

  // {tag, content, raw} of the next value.
  any() {
    const { raw, at } = this;
    if (at + 2 > raw.length || (raw[at] & 0x1f) === 0x1f) this.bad();
    let length = raw[at + 1];
    let begin = at + 2;
    if (length & 0x80) {
      const bytes = length & 0x7f;
      begin += bytes;
      if (bytes < 1 || bytes > 4 || begin > raw.length || raw[at + 2] === 0) this.bad();
      length = Number(readUint(raw.subarray(at + 2, begin)));
      if (length < 0x80) this.bad();
    }
    if (begin + length > raw.length) this.bad();
    this.at = begin + length;
    return { tag: raw[at], content: raw.subarray(begin, this.at), raw: raw.subarray(at, this.at) };
  }

  value(tag) {
    return this.tag === tag ? this.any() : this.bad();
  }

  // A reader of what is inside the next value.
  inside(tag) {
    return new DerReader(this.value(tag).content, this.what);
  }

  optional(tag) {
    return this.tag === tag ? this.any() : null;
  }

  integer(tag = DER.INTEGER) {
    const { content } = this.value(tag);
    const [first, second] = content;
    if (
      content.length === 0 ||
      (content.length > 1 && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80)))
    ) {
      this.bad();
    }
    return BigInt.asIntN(content.length * 8, readUint(content));
  }

  boolean() {
    const { content } = this.value(DER.BOOLEAN);
    return content.length === 1 && (content[0] === 0 || content[0] === 0xff) ? content[0] === 0xff : this.bad();
  }

  oid() {
    const { content } = this.value(DER.OID);
    if (content.length === 0 || content.length > OID_MAX || content[content.length - 1] & 0x80) this.bad();
    const numbers = [];
    let number = 0n;
    let begins = true;
    for (const byte of content) {
      if (begins && byte === 0x80) this.bad();
      number = (number << 7n) | BigInt(byte & 0x7f);
      begins = !(byte & 0x80);
      if (begins) {
        numbers.push(number);
        number = 0n;
      }
    }
    const top = numbers[0] < 80n ? numbers[0] / 40n : 2n;
    return [top, numbers[0] - top * 40n, ...numbers.slice(1)].join(".");
  }

  // Whole bytes of a BIT STRING.
  bytes() {
    const { content } = this.value(DER.BITS);
    return content.length > 0 && content[0] === 0 ? content.subarray(1) : this.bad();
  }

  // {oid, parameters (a DER value, or null)}
  algorithm() {
    const inner = this.inside(DER.SEQUENCE);
    const found = { oid: inner.oid(), parameters: inner.done ? null : inner.any() };
    inner.end();
    return found;
  }

  // The name WebCrypto has for a hash algorithm; `others` may be allowed beside SHA-2.
  hash(others = {}) {
    const { oid, parameters } = this.algorithm();
    const name = HASHES[oid] || others[oid];
    if (name === undefined) refuse(`${this.what} uses a hash that is not taken any more`);
    return parameters === null || isNull(parameters) ? name : this.bad();
  }
}

const HASHES = {
  "2.16.840.1.101.3.4.2.1": "SHA-256",
  "2.16.840.1.101.3.4.2.2": "SHA-384",
  "2.16.840.1.101.3.4.2.3": "SHA-512",
};

function isNull(value) {
  return value.tag === DER.NULL && value.content.length === 0;
}

// A UTCTime or GeneralizedTime as {seconds since 1970, nanoseconds}; `fraction` where one may stand.
function readTime(value, what, { fraction = false } = {}) {
  const text = String.fromCharCode(...value.content);
  const pattern =
    value.tag === DER.UTC
      ? /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)()Z$/
      : /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:\.(\d{1,9}))?Z$/;
  const found = pattern.exec(text);
  if (found === null || (found[7] && !fraction)) return refuse(`${what} does not say the time as it must`);
  const [year, month, day, hour, minute, second] = found.slice(1, 7).map(Number);
  const full = value.tag !== DER.UTC ? year : year < 50 ? 2000 + year : 1900 + year;
  const date = new Date(0);
  date.setUTCFullYear(full, month - 1, day);
  date.setUTCHours(hour, minute, second);
  const real =
    date.getUTCMonth() === month - 1 &&
    date.getUTCDate() === day &&
    date.getUTCHours() === hour &&
    date.getUTCMinutes() === minute &&
    date.getUTCSeconds() === second;
  if (!real || full === 0) refuse(`${what} states no time of any day`);
  return { seconds: date.getTime() / 1000, nanoseconds: Number((found[7] || "").padEnd(9, "0")) };
}

// --- certificates --------------------------------------------------------------------------------------------------------

const OIDS = {
  basicConstraints: "2.5.29.19",
  keyUsage: "2.5.29.15",
  extendedKeyUsage: "2.5.29.37",
  policies: "2.5.29.32",
  subjectAltName: "2.5.29.17",
  timeStamping: "1.3.6.1.5.5.7.3.8",
};
// What may be critical: everything else would have to be understood.
const CRITICAL = [OIDS.basicConstraints, OIDS.keyUsage, OIDS.extendedKeyUsage, OIDS.policies, OIDS.subjectAltName];

function parseCertificate(raw) {
  const outer = new DerReader(raw, "a certificate");
  const whole = outer.inside(DER.SEQUENCE);
  outer.end();
  const signed = whole.value(DER.SEQUENCE);
  const algorithm = whole.value(DER.SEQUENCE);
  const signature = whole.bytes();
  whole.end();
  const body = new DerReader(signed.content, "a certificate");
  const version = body.tag === 0xa0 ? body.inside(0xa0).integer() : 0n;
  const serial = body.integer();
  const again = body.value(DER.SEQUENCE);
  const issuer = body.value(DER.SEQUENCE).raw;
  const dates = body.inside(DER.SEQUENCE);
  const [notBefore, notAfter] = [readTime(dates.any(), "a certificate"), readTime(dates.any(), "a certificate")];
  const subject = body.value(DER.SEQUENCE).raw;
  const publicKey = body.value(DER.SEQUENCE).raw;
  body.optional(0x81);
  body.optional(0x82);
  const extensions = body.tag === 0xa3 ? readExtensions(body.inside(0xa3)) : new Map();
  body.end();
  if (
    serial <= 0n ||
    !equalBytes(algorithm.raw, again.raw) ||
    version > 2n ||
    (extensions.size > 0 && version !== 2n)
  ) {
    refuse("a certificate is malformed");
  }
  return {
    raw,
    signed: signed.raw,
    algorithm: algorithm.raw,
    signature,
    serial,
    issuer,
    subject,
    notBefore,
    notAfter,
    publicKey,
    ...readPurposes(extensions),
  };
}

// OID -> {critical, content}
function readExtensions(outer) {
  const list = outer.inside(DER.SEQUENCE);
  outer.end();
  const found = new Map();
  while (!list.done) {
    const extension = list.inside(DER.SEQUENCE);
    const oid = extension.oid();
    const critical = extension.tag === DER.BOOLEAN ? extension.boolean() : false;
    const { content } = extension.value(DER.OCTETS);
    extension.end();
    if (found.has(oid)) refuse("a certificate has one extension twice");
    found.set(oid, { critical, content });
  }
  return found;
}

function readPurposes(extensions) {
  const reader = (oid) => (extensions.has(oid) ? new DerReader(extensions.get(oid).content, "a certificate") : null);
  const found = { isAuthority: false, pathLength: null, keyUsage: null, purposes: null, purposesCritical: false };
  const constraints = reader(OIDS.basicConstraints);
  if (constraints !== null) {
    const inner = constraints.inside(DER.SEQUENCE);
    constraints.end();
    if (inner.tag === DER.BOOLEAN) found.isAuthority = inner.boolean();
    if (!inner.done) found.pathLength = inner.integer();
    inner.end();
    if (found.pathLength !== null && found.pathLength < 0n) refuse("a certificate is malformed");
  }
  const usage = reader(OIDS.keyUsage);
  if (usage !== null) {
    const { content } = usage.value(DER.BITS);
    usage.end();
    // Bit n is the n-th from the left: digitalSignature 0, nonRepudiation 1, keyCertSign 5.
    const bits = Array.from(content.subarray(1), (byte) => byte.toString(2).padStart(8, "0")).join("");
    found.keyUsage = new Set([...bits].flatMap((bit, at) => (bit === "1" ? [at] : [])));
  }
  const purposes = reader(OIDS.extendedKeyUsage);
  if (purposes !== null) {
    const list = purposes.inside(DER.SEQUENCE);
    purposes.end();
    found.purposes = [];
    while (!list.done) found.purposes.push(list.oid());
    found.purposesCritical = extensions.get(OIDS.extendedKeyUsage).critical;
  }
  found.strangeCritical = [...extensions].some(([oid, { critical }]) => critical && !CRITICAL.includes(oid));
  return found;
}

function readPem(raw, what) {
  const text = decodeUtf8(raw, what);
  const blocks = [...text.matchAll(/-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----/g)];
  const decoded = blocks.map((block) => decodeBase64(block[1].replace(/\s+/g, "")));
  if (decoded.length === 0 || decoded.includes(null)) refuse(`${what} is not certificates in PEM`);
  return decoded.map(parseCertificate);
}

// --- signatures of certificates and tokens -------------------------------------------------------------------------------

const RSA_HASHES = {
  "1.2.840.113549.1.1.11": "SHA-256",
  "1.2.840.113549.1.1.12": "SHA-384",
  "1.2.840.113549.1.1.13": "SHA-512",
};
const ECDSA_HASHES = {
  "1.2.840.10045.4.3.2": "SHA-256",
  "1.2.840.10045.4.3.3": "SHA-384",
  "1.2.840.10045.4.3.4": "SHA-512",
};
const CURVES = { "1.2.840.10045.3.1.7": ["P-256", 32], "1.3.132.0.34": ["P-384", 48], "1.3.132.0.35": ["P-521", 66] };
const RSA_PLAIN = "1.2.840.113549.1.1.1";
const RSA_PSS = "1.2.840.113549.1.1.10";
const ED25519 = "1.3.101.112";
const EC_KEY = "1.2.840.10045.2.1";
const MGF1 = "1.2.840.113549.1.1.8";

// Whether `signature` over `message` holds under a SubjectPublicKeyInfo. `algorithm`: an AlgorithmIdentifier's bytes; `hash`: the
// one that a CMS SignerInfo states beside it, which must be the same. Anything but SHA-2 is refused.
async function verifySignedBy(publicKey, algorithm, signature, message, hash = null) {
  const { oid, parameters } = new DerReader(algorithm, "a signature's algorithm").algorithm();
  const info = new DerReader(publicKey, "a public key").inside(DER.SEQUENCE);
  const kind = info.algorithm();
  const key = info.bytes();
  info.end();
  const bad = () => refuse("a signature is of a kind that is not taken");
  const same = (stated) => (stated !== undefined && (hash === null || hash === stated) ? stated : bad());
  const plain = parameters === null || isNull(parameters) ? true : bad;
  if (oid === ED25519) {
    return kind.oid === ED25519 && parameters === null ? verifyEd25519(key, signature, message) : bad();
  }
  if (oid in ECDSA_HASHES) {
    if (parameters !== null || kind.oid !== EC_KEY || kind.parameters === null) return bad();
    return verifyEcdsa(publicKey, kind.parameters.raw, same(ECDSA_HASHES[oid]), signature, message);
  }
  if (kind.oid !== RSA_PLAIN) return bad();
  if (oid === RSA_PSS && parameters !== null) {
    const pss = readPss(parameters.raw);
    return checkSignature(
      "spki",
      publicKey,
      { name: "RSA-PSS", hash: same(pss.hash) },
      { name: "RSA-PSS", saltLength: pss.salt },
      signature,
      message,
    );
  }
  if (plain !== true || !(oid in RSA_HASHES || (oid === RSA_PLAIN && hash !== null))) return bad();
  const chosen = oid === RSA_PLAIN ? hash : same(RSA_HASHES[oid]);
  return checkSignature("spki", publicKey, { name: "RSASSA-PKCS1-v1_5", hash: chosen }, null, signature, message);
}

// ECDSA-Sig-Value ::= SEQUENCE { r, s } as the r ‖ s that WebCrypto takes.
async function verifyEcdsa(publicKey, curveRaw, hash, signature, message) {
  const [curve, bytes] =
    CURVES[new DerReader(curveRaw, "a public key").oid()] || refuse("a key is on a curve that is not taken");
  const outer = new DerReader(signature, "a signature");
  const inner = outer.inside(DER.SEQUENCE);
  const numbers = [inner.integer(), inner.integer()];
  inner.end();
  outer.end();
  if (numbers.some((number) => number <= 0n || number >= 1n << BigInt(8 * bytes))) return false;
  const raw = concat(...numbers.map((number) => fromHex(number.toString(16).padStart(2 * bytes, "0"))));
  return checkSignature("spki", publicKey, { name: "ECDSA", namedCurve: curve }, { name: "ECDSA", hash }, raw, message);
}

// RSASSA-PSS-params: one hash throughout, MGF1.
function readPss(raw) {
  const reader = new DerReader(raw, "a signature's algorithm").inside(DER.SEQUENCE);
  const hash = reader.inside(0xa0).hash();
  const mask = reader.inside(0xa1).algorithm();
  const maskHash =
    mask.parameters === null ? null : new DerReader(mask.parameters.raw, "a signature's algorithm").hash();
  const salt = reader.tag === 0xa2 ? reader.inside(0xa2).integer() : 20n;
  if (reader.tag === 0xa3 && reader.inside(0xa3).integer() !== 1n) reader.bad();
  reader.end();
  if (mask.oid !== MGF1 || maskHash !== hash || salt < 0n || salt > 512n)
    refuse("a signature is of a kind that is not taken");
  return { hash, salt: Number(salt) };
}

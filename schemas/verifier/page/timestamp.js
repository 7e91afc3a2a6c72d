// RFC 3161 timestamps over a checkpoint: docs/proof-format.md section 14, step by step.
"use strict";

const TOKEN_MAX = 65536;
const LINKS_MAX = 8;
const CHECKS_MAX = 400; // signatures looked at in one search for a path: a token has a handful of certificates
const CMS_SIGNED_DATA = "1.2.840.113549.1.7.2";
const TST_INFO = "1.2.840.113549.1.9.16.1.4";
const ATTRIBUTES = {
  contentType: "1.2.840.113549.1.9.3",
  messageDigest: "1.2.840.113549.1.9.4",
  signingCertificate: "1.2.840.113549.1.9.16.2.12",
  signingCertificateV2: "1.2.840.113549.1.9.16.2.47",
};
const SHA1 = { "1.3.14.3.2.26": "SHA-1" };

// What a response states once it verified: {genTime, authority (its name, for people)}. nonce: bytes; roots: certificates.
async function verifyTimestamp(response, message, nonce, roots) {
  const token = parseToken(response);
  const info = parseTstInfo(token.content);
  // 3. It is over these bytes, and answers this request.
  if (info.hash !== "SHA-256" || !equalBytes(info.imprint, await sha256(message)))
    refuse("the timestamp is over other bytes");
  if (info.nonce !== readUint(nonce)) refuse("the timestamp answers another request");
  // 4. The signer's certificate.
  const certificates = token.certificates;
  const named = certificates.filter((one) => equalBytes(one.issuer, token.issuer) && one.serial === token.serial);
  if (named.length !== 1) refuse("the timestamp's signer is not one certificate of the token");
  const [signer] = named;
  // 5. and 6. What the signer has signed.
  const further = await checkAttributes(token, signer);
  const signed = Uint8Array.from(token.attributes);
  signed[0] = DER.SET;
  if (!(await verifySignedBy(signer.publicKey, token.algorithm, token.signature, signed, token.hash))) {
    refuse("the timestamp's signature does not verify");
  }
  // 7. The signer may sign timestamps, and nothing else.
  checkPurpose(signer, info.authority);
  // 8. The path to a root.
  const path = await findPath(signer, certificates, roots, info.genTime);
  if (path === null)
    refuse("the timestamp's signer leads to no pinned root, or not by certificates that were valid at the time");
  for (const id of further) {
    if (!(await names(id, path))) refuse("the timestamp names a certificate off its path");
  }
  return { genTime: info.genTime, authority: commonName(signer.subject) };
}

// 1. and 2. The response and the token inside.
function parseToken(response) {
  if (response.length > TOKEN_MAX) refuse("the timestamp is longer than any");
  const outer = new DerReader(response, "the timestamp");
  const whole = outer.inside(DER.SEQUENCE);
  outer.end();
  const status = whole.inside(DER.SEQUENCE).integer();
  if (status !== 0n) refuse("the timestamp's status is not granted");
  const info = whole.inside(DER.SEQUENCE);
  whole.end();
  const kind = info.oid();
  const holder = info.inside(0xa0);
  const data = holder.inside(DER.SEQUENCE);
  holder.end();
  info.end();
  const version = data.integer();
  if (kind !== CMS_SIGNED_DATA || version < 3n || version > 5n) refuse("the timestamp's token is not CMS signed data");
  const hashes = [];
  for (const list = data.inside(DER.SET); !list.done;) hashes.push(list.hash());
  const named = data.inside(DER.SEQUENCE);
  if (named.oid() !== TST_INFO) refuse("the token is not over a timestamp");
  const octets = named.inside(0xa0);
  const { content } = octets.value(DER.OCTETS);
  octets.end();
  named.end();
  const certificates = [];
  if (data.tag === 0xa0) {
    for (const list = data.inside(0xa0); !list.done;) {
      const { raw } = list.value(DER.SEQUENCE);
      if (!certificates.some((one) => equalBytes(one.raw, raw))) certificates.push(parseCertificate(raw));
    }
  }
  data.optional(0xa1);
  const signers = data.inside(DER.SET);
  data.end();
  const signer = signers.inside(DER.SEQUENCE);
  signers.end();
  return { content, certificates, ...parseSigner(signer, hashes) };
}

function parseSigner(signer, hashes) {
  if (signer.integer() !== 1n) refuse("the timestamp's signer is not named by issuer and serial number");
  const name = signer.inside(DER.SEQUENCE);
  const issuer = name.value(DER.SEQUENCE).raw;
  const serial = name.integer();
  name.end();
  const hash = signer.hash();
  if (!hashes.includes(hash)) refuse("the timestamp's signer uses a hash that the token does not list");
  const attributes = signer.value(0xa0);
  const algorithm = signer.value(DER.SEQUENCE).raw;
  const signature = signer.value(DER.OCTETS).content;
  signer.optional(0xa1);
  signer.end();
  return {
    issuer,
    serial,
    hash,
    attributes: attributes.raw,
    values: readAttributes(attributes.content),
    algorithm,
    signature,
  };
}

// OID -> the one value's bytes
function readAttributes(raw) {
  const found = new Map();
  for (const list = new DerReader(raw, "a signed attribute"); !list.done;) {
    const attribute = list.inside(DER.SEQUENCE);
    const oid = attribute.oid();
    const values = attribute.inside(DER.SET);
    attribute.end();
    if (found.has(oid)) refuse("a signed attribute stands twice");
    found.set(oid, values.any().raw);
    values.end();
  }
  return found;
}

// 3. The content.
function parseTstInfo(raw) {
  const outer = new DerReader(raw, "the timestamp's content");
  const info = outer.inside(DER.SEQUENCE);
  outer.end();
  if (info.integer() !== 1n) refuse("the timestamp is of another version");
  info.oid(); // the policy: nothing was agreed on here
  const imprintOf = info.inside(DER.SEQUENCE);
  const hash = imprintOf.hash();
  const imprint = imprintOf.value(DER.OCTETS).content;
  imprintOf.end();
  const serial = info.integer();
  if (serial >= 1n << 160n || serial < -(1n << 160n)) refuse("the timestamp's serial number is longer than 160 bits");
  const genTime = readTime(info.value(DER.TIME), "the timestamp", { fraction: true });
  if (info.tag === DER.SEQUENCE) checkAccuracy(info.inside(DER.SEQUENCE));
  if (info.tag === DER.BOOLEAN) info.boolean();
  const nonce = info.tag === DER.INTEGER ? info.integer() : null;
  const authority = info.tag === 0xa0 ? info.value(0xa0).content : null;
  if (info.tag === 0xa1) {
    const list = info.inside(0xa1);
    while (!list.done) {
      const extension = list.inside(DER.SEQUENCE);
      extension.oid();
      if (extension.tag === DER.BOOLEAN && extension.boolean()) refuse("the timestamp has a critical extension");
      extension.value(DER.OCTETS);
      extension.end();
    }
  }
  info.end();
  return { hash, imprint, genTime, nonce, authority };
}

function checkAccuracy(accuracy) {
  if (accuracy.tag === DER.INTEGER && accuracy.integer() < 0n) accuracy.bad();
  for (const tag of [0x80, 0x81]) {
    if (accuracy.tag !== tag) continue;
    const part = accuracy.integer(tag);
    if (part < 1n || part > 999n) refuse("the timestamp's accuracy is out of range");
  }
  accuracy.end();
}

// 5. The signed attributes. Returns the ids of the further certificates that they name.
async function checkAttributes(token, signer) {
  const value = (name) =>
    token.values.has(ATTRIBUTES[name]) ? new DerReader(token.values.get(ATTRIBUTES[name]), "a signed attribute") : null;
  const kind = value("contentType");
  if (kind === null || kind.oid() !== TST_INFO) refuse("the signer does not say that it is over a timestamp");
  const hash = value("messageDigest");
  if (hash === null || !equalBytes(hash.value(DER.OCTETS).content, await digest(token.hash, token.content))) {
    refuse("the timestamp's signature is over another content");
  }
  const further = [];
  let seen = false;
  for (const name of ["signingCertificate", "signingCertificateV2"]) {
    const attribute = value(name);
    if (attribute === null) continue;
    seen = true;
    const ids = [];
    for (const list = attribute.inside(DER.SEQUENCE).inside(DER.SEQUENCE); !list.done;) {
      ids.push(readCertificateId(list.inside(DER.SEQUENCE), name === "signingCertificate"));
    }
    if (ids.length === 0 || !(await names(ids[0], [signer])))
      refuse("the timestamp was signed for another certificate");
    further.push(...ids.slice(1));
  }
  return seen ? further : refuse("the timestamp does not name the signer's certificate");
}

// {hash, stated, issuer, serial} of an ESSCertID (RFC 2634) or ESSCertIDv2 (RFC 5035); the last two may be null.
function readCertificateId(id, isFirstVersion) {
  const hash = isFirstVersion ? "SHA-1" : id.tag === DER.SEQUENCE ? id.hash(SHA1) : "SHA-256";
  const stated = id.value(DER.OCTETS).content;
  let [issuer, serial] = [null, null];
  if (!id.done) {
    const both = id.inside(DER.SEQUENCE);
    const names = both.inside(DER.SEQUENCE);
    issuer = names.value(0xa4).content;
    names.end();
    serial = both.integer();
    both.end();
  }
  id.end();
  return { hash, stated, issuer, serial };
}

// Whether the id names one of these certificates.
async function names({ hash, stated, issuer, serial }, among) {
  for (const one of among) {
    const fits = issuer === null || (equalBytes(one.issuer, issuer) && one.serial === serial);
    if (fits && equalBytes(stated, await digest(hash, one.raw))) return true;
  }
  return false;
}

// 7.
function checkPurpose(signer, authority) {
  const alone = signer.purposes !== null && signer.purposes.length === 1 && signer.purposes[0] === OIDS.timeStamping;
  if (!alone || !signer.purposesCritical) refuse("the signer's certificate is not one for timestamps alone");
  if (signer.isAuthority) refuse("the signer's certificate is an authority's");
  const usage = signer.keyUsage;
  if (usage !== null && (usage.size === 0 || [...usage].some((bit) => bit > 1)))
    refuse("the signer's key is not one for signatures alone");
  if (authority !== null) {
    const name = new DerReader(authority, "the timestamp's content");
    const { content } = name.value(0xa4);
    name.end();
    if (!equalBytes(content, signer.subject)) refuse("the timestamp names another authority than its signer");
  }
}

// 8. From the signer to a root, each certificate valid at `time`; null when there is no such path.
async function findPath(signer, certificates, roots, time) {
  const known = new Map(); // each pair's signature is looked at once
  const checks = { left: CHECKS_MAX };
  const hasSigned = async (issuer, one, key) => {
    if (!known.has(key)) {
      checks.left -= 1;
      known.set(key, await issuedBy(issuer, one));
    }
    return known.get(key);
  };
  const candidates = [...roots.map((root) => [root, true]), ...certificates.map((one) => [one, false])];
  const extend = async (path, below) => {
    const last = path[path.length - 1];
    for (const [at, [issuer, isRoot]] of candidates.entries()) {
      checks.left -= 1;
      if (checks.left < 0) return null;
      if (path.includes(issuer) || !equalBytes(issuer.subject, last.issuer) || !mayIssue(issuer, below, time)) continue;
      if (!(await hasSigned(issuer, last, `${certificates.indexOf(last)} ${at}`))) continue;
      if (isRoot) return [...path, issuer];
      const isOwn = equalBytes(issuer.subject, issuer.issuer);
      const found = path.length < LINKS_MAX ? await extend([...path, issuer], below + (isOwn ? 0 : 1)) : null;
      if (found !== null) return found;
    }
    return null;
  };
  return !signer.strangeCritical && isValidAt(signer, time) ? extend([signer], 0) : null;
}

function mayIssue(issuer, below, time) {
  const usage = issuer.keyUsage;
  return (
    issuer.isAuthority &&
    (usage === null || usage.has(5)) &&
    !issuer.strangeCritical &&
    isValidAt(issuer, time) &&
    (issuer.pathLength === null || issuer.pathLength >= BigInt(below))
  );
}

// From notBefore on and before notAfter.
function isValidAt(one, time) {
  return one.notBefore.seconds <= time.seconds && time.seconds < one.notAfter.seconds;
}

async function issuedBy(issuer, one) {
  try {
    return await verifySignedBy(issuer.publicKey, one.algorithm, one.signature, one.signed);
  } catch (error) {
    if (error instanceof Refused) return false;
    throw error;
  }
}

// For people: the first common name in a distinguished name.
function commonName(name) {
  try {
    for (const sets = new DerReader(name, "a name").inside(DER.SEQUENCE); !sets.done;) {
      const pair = sets.inside(DER.SET).inside(DER.SEQUENCE);
      if (pair.oid() === "2.5.4.3") return decodeUtf8(pair.any().content, "a name");
    }
  } catch {
    // A name is for reading only.
  }
  return "unnamed";
}

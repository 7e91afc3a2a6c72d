// Steps 8 to 12 of a bundle, about its records: proofs, notices, catalogue, receipts, report. docs/bundle-format.md
// section 12.
"use strict";

async function checkProofs(bundle, say) {
  const used = new Set();
  for (const [event, files] of bundle.events) {
    const bad = (why) => refuse(`events/${event}: ${why}`);
    const raw = files.get("proof.json");
    readCanonical(raw, `events/${event}/proof.json`, { controls: true });
    const proof = parseProof(raw);
    const log = bundle.logs.get(proof.origin);
    if (log === undefined) bad("the bundle holds no keys of the log that the proof is of");
    used.add(log);
    if (!log.keys.keys.some((key) => key.vkey === proof.vkey)) bad("the proof states a key that is none of the log's");
    if (proof.event !== event) bad("the proof is of another event");
    if (proof.checkpoint !== log.note) bad("the proof leads to another checkpoint than the bundle's");
    if (!equalBytes(writeTlogProof(proof), files.get("proof.tlog-proof"))) bad("the two spellings of the proof differ");
    const inner = new Run();
    let verified;
    try {
      verified = await verifyDocument(inner, proof, log.origin, log.signers);
    } catch (error) {
      bad(error instanceof Refused ? error.message : `the verifier itself stopped (${error})`);
    }
    for (const step of inner.steps) if (step.outcome === "remark") say(`${event}: ${step.text}`, { remark: true });
    const entry = verified.entryRead;
    if (bundle.about.kind === "erasure" && (entry.class !== "erasure" || !("erased" in entry)))
      bad("the record does not declare an erasure");
    bundle.proofs.set(event, { ...verified, log });
  }
  if (used.size !== bundle.logs.size) refuse("the bundle holds keys of a log that none of its proofs is of");
  say(
    `${bundle.proofs.size} ${bundle.proofs.size === 1 ? "record is" : "records are"} in the log, with the parts and words committed to there`,
  );
}

async function checkNotices(bundle, say) {
  const named = new Set();
  for (const proof of bundle.proofs.values()) if (proof.notice !== undefined) named.add(proof.entryRead.notice);
  if (named.size !== bundle.notices.size || [...named].some((hash) => !bundle.notices.has(hash))) {
    refuse("the notices are not those whose words the proofs hold");
  }
  for (const [hash, files] of bundle.notices) {
    const bad = (why) => refuse(`notices/${hash}${why}`);
    if (hex(await sha256(files.get("json"))) !== hash) bad(".json does not have the hash that it is named by");
    const notice = readCanonical(files.get("json"), `notices/${hash}.json`, { controls: true });
    const text = noticeText(notice);
    if (text === null) bad(".json is not a notice of this version");
    if (!equalBytes(utf8(text), files.get("txt"))) bad(".txt is not the text of that notice");
    const html = notice.html === undefined || notice.html === null ? null : notice.html;
    if (
      html === null
        ? files.has("html")
        : !isString(html) || !files.has("html") || !equalBytes(utf8(html), files.get("html"))
    ) {
      bad(".html is not what that notice says was shown");
    }
  }
  say(`${named.size} ${named.size === 1 ? "notice, as its record names it" : "notices, as their records name them"}`);
}

// Section 9; null for what is no notice.
function noticeText(notice) {
  const { purposes, controller } = notice;
  const all = (value, names) => isObject(value) && names.every((name) => isString(value[name]));
  if (
    !all(notice, ["title", "text", "withdrawal", "notice_id", "version", "language"]) ||
    !all(controller, ["name", "contact"]) ||
    !Array.isArray(purposes) ||
    ["policy_url", "ui_sha256"].some((name) => name in notice && !isString(notice[name]))
  )
    return null;
  const lines = [notice.title, "", notice.text, ""];
  for (const one of purposes) {
    if (
      !all(one, ["title", "purpose", "legal_basis", "description"]) ||
      !Array.isArray(one.services) ||
      !one.services.every(isString)
    )
      return null;
    lines.push(`- ${one.title} [${one.purpose}; ${one.legal_basis}]`, `  ${one.description}`);
    if (one.services.length > 0) lines.push(`  ${one.services.join(", ")}`);
  }
  lines.push("", `${controller.name}, ${controller.contact}`, notice.withdrawal);
  if ("policy_url" in notice) lines.push(notice.policy_url);
  lines.push(`[${notice.notice_id} ${notice.version} ${notice.language}]`);
  if ("ui_sha256" in notice) lines.push(`[shown by code with the SHA-256 ${notice.ui_sha256}]`);
  return lines.map((line) => `${line}\n`).join("");
}

function checkCatalogue(bundle, say) {
  const count = bundle.services.length;
  say(
    count > 0
      ? `${count} ${count === 1 ? "service" : "services"}, as the manifest has them; nothing signs what is said of them`
      : "none",
  );
}

async function checkReceipts(bundle, say) {
  const own = bundle.files.get("receipts.jwks");
  if (own === undefined) {
    say("none");
    return;
  }
  const { jwks } = bundle.pins;
  const keys = readJwks(jwks === null ? own : jwks);
  const certificate = bundle.files.get("certificate.jws");
  if (certificate !== undefined) await checkCertificate(bundle, asciiOf(certificate), keys);
  let count = 0;
  for (const [event, files] of bundle.events) {
    if (!files.has("receipt.jws")) continue;
    count += 1;
    const proof = bundle.proofs.get(event);
    const receipt = await verifyReceipt(new Run(), asciiOf(files.get("receipt.jws")), keys, {
      vkey: proof.vkey,
      origin: proof.origin,
    });
    if (receipt.proof.entry !== proof.entry) refuse(`events/${event}/receipt.jws: the receipt is of another record`);
  }
  const said = `${certificate === undefined ? `${count} ${count === 1 ? "receipt" : "receipts"}` : "the certificate"} signed, and in agreement with the log's records`;
  say(jwks === null ? `${said}; the key is the bundle's own` : said, { remark: jwks === null });
}

function asciiOf(raw) {
  return raw.every((byte) => byte < 0x80) ? decodeUtf8(raw, "a JWS") : refuse("a JWS is ASCII");
}

async function checkCertificate(bundle, jws, keys) {
  const { payload } = await openJws(jws, keys, "sayso-erasure+jwt");
  const claims = readCanonical(payload, "the certificate");
  const report = readReport(bundle);
  if (!isObject(report.erasure) || writeJson(report.erasure) !== writeJson(claims))
    refuse("report.json says of the erasure what its certificate does not");
  const listed =
    Array.isArray(claims.logs) && claims.logs.every((log) => isObject(log) && isObject(log.declared))
      ? claims.logs.map(({ declared }) => `${declared.index} ${declared.origin}`)
      : refuse("the certificate does not say where each log declares the erasure");
  const proven = [...bundle.proofs.values()].map((proof) => `${proof.index} ${proof.origin}`);
  if ([...new Set(listed)].sort().join("\n") !== proven.sort().join("\n"))
    refuse("the certificate names other records than those that the bundle proves");
  const counted = (all, name) => all.reduce((total, one) => (Number.isInteger(one[name]) ? total + one[name] : NaN), 0);
  const erased = [...bundle.proofs.values()].map((proof) => proof.entryRead.erased);
  if (!erased.every(isObject) || PARTS.some((name) => counted(claims.logs, name) !== counted(erased, name))) {
    refuse("the certificate counts other parts than the records declare deleted");
  }
}

function readReport(bundle) {
  return readCanonical(bundle.files.get("report.json"), "report.json", { levels: BUNDLE_LEVELS, controls: true });
}

function checkReport(bundle, say) {
  const report = readReport(bundle);
  const { format, made_at, about, records } = report;
  if (
    format !== "sayso-report/v1" ||
    made_at !== bundle.madeAt ||
    !isObject(about) ||
    writeJson(about) !== writeJson(bundle.about)
  )
    refuse("report.json is not the report of this bundle");
  if (!Array.isArray(records) || !records.every(isObject)) refuse("report.json does not list the records");
  const events = records.map((record) => record.event);
  if (
    events.length !== bundle.proofs.size ||
    new Set(events).size !== events.length ||
    !events.every((event) => bundle.proofs.has(event))
  ) {
    refuse("report.json speaks of other events than the bundle holds");
  }
  for (const record of records) {
    for (const [name, value] of Object.entries(factsOf(bundle.proofs.get(record.event)))) {
      if (!(name in record) || writeJson(record[name]) !== writeJson(value))
        refuse(`report.json and the proof in events/${record.event} differ in '${name}'`);
    }
  }
  bundle.report = report;
  say("report.json names the records as the proofs do; what it and report.pdf say besides is their maker's word");
}

function factsOf(proof) {
  const entry = proof.entryRead;
  const part = (name) => (proof.parts.has(name) ? proof.parts.get(name) : null);
  return {
    event: proof.event,
    log: proof.log.name,
    origin: proof.origin,
    index: Number(proof.index),
    size: Number(proof.checkpointRead.size),
    root: hex(proof.checkpointRead.root),
    class: entry.class,
    recorded_at: entry.recorded_at,
    notice: entry.notice === undefined ? null : entry.notice,
    who: part("who"),
    what: part("what"),
    context: part("context"),
  };
}

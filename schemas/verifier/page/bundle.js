// The twelve steps of a bundle: docs/bundle-format.md section 12.
"use strict";

const SLUG = "[a-z0-9][a-z0-9-]{0,62}";
const MADE_AT = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$/;
const ALONE = ["README.txt", "report.json", "report.pdf"];
const OPTIONAL = ["verify.py", "verify.html", "receipts.jwks", "certificate.jws"];
const ABOUT = new Map([
  ["event", ["event"]],
  ["subject", ["subject", "complete"]],
  ["erasure", ["subject"]],
]); // kind -> members
const LAYOUT = {
  event: new RegExp(`^events/(${UUID.source.slice(1, -1)})/(proof\\.json|proof\\.tlog-proof|receipt\\.jws)$`),
  log: new RegExp(`^logs/(${SLUG})/(keys\\.json|policy\\.txt)$`),
  checkpoint: new RegExp(`^logs/(${SLUG})/checkpoints/([0-9]+)\\.(note|signed)$`),
  timestamp: new RegExp(`^logs/(${SLUG})/timestamps/([0-9]+)-(${SLUG})\\.(tsr|nonce)$`),
  roots: new RegExp(`^logs/(${SLUG})/timestamps/(${SLUG})\\.pem$`),
  notice: /^notices\/([0-9a-f]{64})\.(json|txt|html)$/,
  catalogue: new RegExp(`^catalogue/${SLUG}\\.yaml$`),
};

// Verifies a zip under `pins` (see readPins). Returns what was read of it, for the page.
async function verifyBundle(run, raw, pins) {
  const bundle = { pins, logs: new Map(), proofs: new Map() };
  await run.step("archive", async (say) => {
    bundle.files = await readArchive(raw);
    say(`zip of ${raw.length} bytes`);
  });
  for (const [name, check] of [
    ["manifest", checkManifest],
    ["contents", checkContents],
    ["keys", checkKeys],
    ["checkpoint", checkCheckpoints],
    ["witnesses", checkWitnesses],
    ["timestamps", checkTimestamps],
    ["proofs", checkProofs],
    ["notices", checkNotices],
    ["catalogue", checkCatalogue],
    ["receipts", checkReceipts],
    ["report", checkReport],
  ])
    await run.step(name, (say) => check(bundle, say));
  return bundle;
}

// --- 2. and 3. ----------------------------------------------------------------------------------------------------------

async function checkManifest(bundle, say) {
  const manifest = readCanonical(bundle.files.get("manifest.json"), "manifest.json", { levels: BUNDLE_LEVELS });
  if (manifest.format !== "sayso-bundle/v1") refuse("this is no bundle of the format sayso-bundle/v1");
  if (!hasMembers(manifest, ["about", "files", "format", "made_at"]))
    refuse("the manifest has unknown members or lacks some");
  if (!isString(manifest.made_at) || !MADE_AT.test(manifest.made_at))
    refuse("the manifest does not say in RFC 3339 when it was made");
  const names = [...bundle.files.keys()].filter((name) => name !== "manifest.json");
  if (!hasMembers(manifest.files, names)) refuse("the manifest names other files than are there");
  for (const name of names) {
    if (manifest.files[name] !== hex(await sha256(bundle.files.get(name))))
      refuse(`${name} is not the file that the manifest names: it was changed or damaged`);
  }
  const { about } = manifest;
  const members = ABOUT.get(isObject(about) ? about.kind : undefined);
  if (members === undefined || !hasMembers(about, ["kind", ...members]))
    refuse("the manifest does not say what the bundle is about");
  const named = about.kind === "event" ? about.event : about.subject;
  if (!(about.kind === "erasure" && named === null) && !(isString(named) && UUID.test(named)))
    refuse("the manifest does not name what the bundle is about");
  if (about.kind === "subject" && typeof about.complete !== "boolean")
    refuse("the manifest does not say whether the bundle is complete");
  Object.assign(bundle, { about, madeAt: manifest.made_at });
  say(`made ${manifest.made_at}, ${names.length} files as listed`);
}

function checkContents(bundle, say) {
  const found = { events: new Map(), folders: new Map(), notices: new Map(), services: [] };
  for (const [path, content] of bundle.files) {
    if (path !== "manifest.json" && !ALONE.includes(path) && !OPTIONAL.includes(path)) place(found, path, content);
  }
  const { about, files } = bundle;
  for (const path of ALONE) if (!files.has(path)) refuse(`${path} is missing`);
  if (files.has("certificate.jws") !== (about.kind === "erasure"))
    refuse("certificate.jws must be there for an erasure, and for nothing else");
  const signs = files.has("certificate.jws") || [...found.events.values()].some((event) => event.has("receipt.jws"));
  if (signs !== files.has("receipts.jwks"))
    refuse("receipts.jwks must be there if something is signed with it, and only then");
  for (const event of found.events.values())
    if (!event.has("proof.json") || !event.has("proof.tlog-proof")) refuse("an event lacks one spelling of its proof");
  for (const notice of found.notices.values())
    if (!notice.has("json") || !notice.has("txt")) refuse("a notice lacks its bytes or its text");
  for (const folder of found.folders.values()) checkFolder(folder);
  const events = [...found.events.keys()];
  if (events.length === 0 || (about.kind === "event" && (events.length !== 1 || events[0] !== about.event))) {
    refuse("the bundle holds other events than the manifest says it is about");
  }
  Object.assign(bundle, found);
  say(`about one ${about.kind}: ${events.length} ${events.length === 1 ? "event" : "events"}`);
  if (about.complete === false) say("the subject may have more records than this bundle holds", { remark: true });
}

function within(map, name, make = () => new Map()) {
  if (!map.has(name)) map.set(name, make());
  return map.get(name);
}

function place(found, path, content) {
  const match = (kind) => LAYOUT[kind].exec(path);
  const folder = (name) =>
    within(found.folders, name, () => ({ files: new Map(), sizes: new Set(), authorities: new Set() }));
  let names;
  if ((names = match("event"))) within(found.events, names[1]).set(names[2], content);
  else if ((names = match("notice"))) within(found.notices, names[1]).set(names[2], content);
  else if (match("catalogue")) found.services.push(path);
  else if ((names = match("log") || match("checkpoint") || match("timestamp") || match("roots"))) {
    const log = folder(names[1]);
    log.files.set(path.slice(`logs/${names[1]}/`.length), content);
    if (match("checkpoint") || match("timestamp")) {
      log.sizes.add(decodeDecimal(names[2]) === null ? refuse("the size in a path is not a plain decimal") : names[2]);
    }
    if (match("timestamp")) log.authorities.add(names[3]);
  } else refuse(`${path} has no place in a bundle`);
}

function checkFolder(log) {
  if (log.sizes.size !== 1) refuse("a log does not have exactly one checkpoint");
  [log.size] = log.sizes;
  const needed = ["keys.json", `checkpoints/${log.size}.note`, `checkpoints/${log.size}.signed`];
  for (const name of log.authorities)
    needed.push(`timestamps/${log.size}-${name}.tsr`, `timestamps/${log.size}-${name}.nonce`, `timestamps/${name}.pem`);
  const there = [...log.files.keys()].filter((name) => name !== "policy.txt");
  if (there.length !== needed.length || !needed.every((name) => log.files.has(name)))
    refuse("a log lacks a file, or has one too many");
}

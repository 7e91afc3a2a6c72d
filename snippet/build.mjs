// Builds what ingest serves: dist/VERSION/{sayso,adapter-*,enforce}.js and dist/manifest.json. `npm run build [DIRECTORY]`
// The core holds the hashes of the others (subresource integrity); it fails to build above 6 kB gzipped.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const CORE_BYTES_MAX = 6144;
const here = dirname(fileURLToPath(import.meta.url));
const { version } = JSON.parse(readFileSync(join(here, "package.json"), "utf8"));
const output = resolve(process.argv[2] ?? join(here, "dist"));

/** @param {string} entry @param {Record<string, unknown>} [define] @returns {Promise<Buffer>} */
async function bundle(entry, define = {}) {
  const { outputFiles } = await build({
    entryPoints: [join(here, "src", entry)],
    absWorkingDir: here,
    bundle: true,
    write: false,
    minify: true,
    format: "iife",
    target: "es2021",
    charset: "utf8",
    legalComments: "none",
    define: Object.fromEntries(Object.entries(define).map(([name, value]) => [name, JSON.stringify(value)])),
  });
  return Buffer.from(outputFiles[0].contents);
}

const digest = (algorithm, bytes) => createHash(algorithm).update(bytes).digest("base64");

// What the core can find is what there is to build. Its tests look at window only when they are called.
globalThis.window = globalThis;
const { FOUND } = await import("./src/core/found.js");

/** @type {Map<string, Buffer>} */
const files = new Map();
// Every other file first: the core names them by their hashes, in the order of FOUND. SHA-256 is shorter than SHA-384,
// and as good here; the core has no byte to spare.
const hashes = [];
for (const name of Object.keys(FOUND)) {
  const [entry, file] = name === "enforce" ? ["enforce/main.js", "enforce.js"] : [`adapters/${name}.js`, `adapter-${name}.js`];
  files.set(file, await bundle(entry));
  hashes.push(digest("sha256", files.get(file)).replace("=", ""));
}
files.set("sayso.js", await bundle("core/main.js", { __VERSION__: version, __HASHES__: hashes }));

const manifest = { version, files: {} };
mkdirSync(join(output, version), { recursive: true });
for (const name of readdirSync(join(output, version))) if (!files.has(name)) rmSync(join(output, version, name));
for (const [name, bytes] of [...files].sort(([one], [other]) => (one < other ? -1 : 1))) {
  const gzip = gzipSync(bytes, { level: 9 }).length;
  manifest.files[name] = { sha384: digest("sha384", bytes), bytes: bytes.length, gzip };
  writeFileSync(join(output, version, name), bytes);
  console.log(`${name}: ${bytes.length} bytes, ${gzip} gzipped`);
}
writeFileSync(join(output, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`);
if (manifest.files["sayso.js"].gzip > CORE_BYTES_MAX) {
  console.error(`sayso.js is larger than ${CORE_BYTES_MAX} bytes gzipped: move something into a bundle of its own`);
  process.exit(1);
}

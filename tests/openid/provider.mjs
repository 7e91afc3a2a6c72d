// A real OpenID provider (npm oidc-provider) for the tests of sign-in: anybody who types a name is that person.
// It registers clients (OpenID Connect Dynamic Client Registration 1.0), insists on PKCE, and prints its address when it
// listens. Invariant: it listens on loopback alone, and ends, with everything it knows, when its input is closed.

import { createServer } from "node:http";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { once } from "node:events";

import Provider from "oidc-provider";

/** A signing key as a JWK. @param {string} kid */
function signingKey(kid) {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), kid, use: "sig", alg: "RS256" };
}

const server = createServer();
server.listen(Number(process.argv[2] ?? 0), "127.0.0.1");
await once(server, "listening");
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  jwks: { keys: [signingKey("first")] },
  cookies: { keys: [randomBytes(32).toString("hex")] },
  pkce: { required: () => true },
  features: { devInteractions: { enabled: true }, registration: { enabled: true } },
  findAccount: (_context, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
});
server.on("request", provider.callback());
process.stdout.write(`${issuer}\n`);
// Whoever started this holds the other end, and lets go of it also when killed.
process.stdin.on("end", () => process.exit(0));
process.stdin.resume();

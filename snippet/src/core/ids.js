// Identifiers: UUIDv7 (RFC 9562) for events, and the visitor's key with the identifier that is its hash.
// The key never leaves the device but as proof beside an event; the log knows only the identifier.

import { sha256 } from "./sha256.js";

/** @param {Uint8Array} bytes */
export const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** @param {Uint8Array} bytes base64url without padding */
const base64url = (bytes) =>
  btoa(String.fromCharCode(...bytes)).replace(/[+/=]/g, (c) => ({ "+": "-", "/": "_" })[c] || "");

const random = (size) => crypto.getRandomValues(new Uint8Array(size));

export function uuid7() {
  const bytes = random(16);
  let time = Date.now();
  for (let i = 6; i--; time = Math.floor(time / 256)) bytes[i] = time % 256;
  bytes[6] = (bytes[6] & 15) | 112;
  bytes[8] = (bytes[8] & 63) | 128;
  return hex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

export const visitorKey = () => "vk_" + base64url(random(32));

/** @param {string} key */
export const visitorId = (key) => "v1." + base64url(sha256("sayso/visitor/v1\n" + key).slice(0, 18));

// Delivery: what was enqueued is sent until ingest has taken it, over lost networks, closed tabs and restarts.
// The same id may be sent twice (two tabs, a beacon whose answer nobody saw): the log records it once.

import { config } from "./config.js";
import { emit } from "./hooks.js";
import { QUEUE, VISITOR, read, write } from "./storage.js";

/** @typedef {{event: any, parked?: number}} Item `parked`: when ingest first refused it, in ms */

const BATCH_CHARS = 60_000; // browsers keep at most 64 KiB of requests alive
const PARKED_MS = 7 * 86400_000;
const WAIT_MS = 2000;
const WAIT_MS_MAX = 300_000;

/** @type {Map<string, Item>} of this page, by id: another tab may overwrite the stored queue in the same moment */
const mine = new Map();
/** @type {Set<string>} ids on their way, or refused since this page was loaded */
const resting = new Set();
/** @type {Set<string>} */
const done = new Set();
let wait = WAIT_MS;
let timer = 0;

/** @returns {Item[]} */
function waiting() {
  const stored = /** @type {Item[]} */ (read(QUEUE) || []).filter((item) => !mine.has(item.event.id));
  return [...stored, ...mine.values()].filter((item) => !(Date.now() - item.parked > PARKED_MS));
}

/** @param {Item[]} items */
const save = (items) => write(QUEUE, items[0] ? items : null);

/** Keep events until they are delivered; synchronous. @param {any[]} events */
export function enqueue(events) {
  for (const event of events) mine.set(event.id, { event });
  save(waiting());
}

/** Send what waits. @param {boolean} [leaving] the page goes away: nobody will see the answer */
export function flush(leaving) {
  let size = 0;
  const items = waiting().filter(({ event }) => {
    if (resting.has(event.id)) return false;
    const before = size;
    size += JSON.stringify(event).length;
    return before === 0 || size < BATCH_CHARS;
  });
  if (!items[0]) return;
  const events = items.map((item) => item.event);
  const body = JSON.stringify(events[1] ? events : events[0]);
  const url = `${config.endpoint}/v1/events?key=${config.key}`;
  // text/plain, or the browser would ask first (CORS) whether it may post.
  if (leaving) return void navigator.sendBeacon(url, body);
  for (const event of events) resting.add(event.id);
  fetch(url, { method: "POST", body, keepalive: true, credentials: "omit", headers: { "content-type": "text/plain" } })
    .then(async (response) => settle(items, response, await response.json().catch(() => ({}))))
    .catch(() => settle(items, { status: 0 }, {}));
}

/** @param {Item[]} items sent @param {{status: number}} response 0: none came @param {any} answer */
function settle(items, { status }, answer) {
  let again = false;
  items.forEach((item, position) => {
    const { event } = item;
    const result = answer.events ? answer.events[position] : answer;
    const problem = answer.events ? result.problem : status < 200 || status > 299 ? answer : null;
    const code = problem && (problem.status || status);
    if (!problem) delivered(event, result);
    else if (code >= 400 && code < 500 && code !== 429) park(item, problem);
    else {
      again = true;
      resting.delete(event.id);
    }
  });
  save(waiting().filter(({ event }) => !done.has(event.id)));
  clearTimeout(timer);
  if (!again) wait = WAIT_MS;
  // What was refused or is on its way rests; flush() finds what is left.
  timer = setTimeout(flush, again ? wait * (1 + Math.random()) : 0);
  if (again) wait = Math.min(wait * 2, WAIT_MS_MAX);
}

function delivered(event, result) {
  done.add(event.id);
  mine.delete(event.id);
  const visitor = read(VISITOR);
  if (result.capability && visitor?.key === event.visitorkey) write(VISITOR, { ...visitor, capability: result.capability });
  emit("sent", { id: event.id, type: event.type, status: result.status });
}

/** Refused for good, for all we know: once more at the next load, in case it was the site's mistake. */
function park(item, problem) {
  item.parked ||= Date.now();
  mine.set(item.event.id, item);
  console.error("sayso: refused", problem.type, problem.pointer, problem.detail);
  emit("problem", problem);
}

/** Another chance now. */
export function resume() {
  wait = WAIT_MS;
  flush();
}

// The bundle enforce.js: the core loads it where something is marked, and it finds the core at window.sayso.

import { Enforcer } from "./enforcer.js";

if (window.sayso !== undefined) new Enforcer(window.sayso).begin();

___INFO___

{
  "type": "TAG",
  "id": "cvt_temp_public_id",
  "version": 1,
  "securityGroups": [],
  "displayName": "Sayso consent log",
  "description": "Loads the Sayso snippet: every choice that visitors make in your banner is recorded, with the words that were shown. Before a choice it stores nothing and sends no identifier. Each choice pushes the event sayso_choice.",
  "categories": ["UTILITY"],
  "brand": {
    "id": "brand_dummy",
    "displayName": ""
  },
  "containerContexts": ["WEB"]
}


___TEMPLATE_PARAMETERS___

[
  {
    "type": "TEXT",
    "name": "endpoint",
    "displayName": "Address of ingest",
    "simpleValueType": true,
    "defaultValue": "https://consent.example.com",
    "valueValidators": [{ "type": "NON_EMPTY" }],
    "help": "Scheme and host, without a slash at the end. The permission to inject scripts must name the same host."
  },
  {
    "type": "TEXT",
    "name": "site",
    "displayName": "Site",
    "simpleValueType": true,
    "valueValidators": [{ "type": "NON_EMPTY" }],
    "help": "As in: sayso site create"
  },
  {
    "type": "TEXT",
    "name": "key",
    "displayName": "Publishable key",
    "simpleValueType": true,
    "valueValidators": [
      { "type": "NON_EMPTY" },
      { "type": "REGEX", "args": ["^pk_[A-Za-z0-9]+$"], "errorMessage": "A publishable key begins with pk_. A server key (sk_) must never stand in a page." }
    ]
  },
  {
    "type": "TEXT",
    "name": "language",
    "displayName": "Language of the page (optional)",
    "simpleValueType": true,
    "help": "For example fr. Without it: the lang attribute of the page, then the browser's language."
  },
  {
    "type": "TEXT",
    "name": "query",
    "displayName": "Address of query (optional)",
    "simpleValueType": true,
    "help": "For pages that show visitors their own history."
  },
  {
    "type": "SIMPLE_TABLE",
    "name": "map",
    "displayName": "What the banner calls a thing, and its purpose in the notice (optional)",
    "simpleTableColumns": [
      { "type": "TEXT", "name": "banner", "displayName": "In the banner", "defaultValue": "" },
      { "type": "TEXT", "name": "purpose", "displayName": "Purpose; empty: not a choice", "defaultValue": "" }
    ]
  }
]


___SANDBOXED_JS_FOR_WEB_TEMPLATE___

// Loads the Sayso snippet once a page. What it is told stands in window.saysoConfig, which the snippet reads at its start.
// Fire this tag on Initialization - All Pages, without waiting for consent: it stores nothing before a choice.
const copyFromWindow = require('copyFromWindow');
const injectScript = require('injectScript');
const setInWindow = require('setInWindow');

if (copyFromWindow('saysoConfig')) {
  // The page itself, or another tag, has loaded it.
  data.gtmOnSuccess();
} else {
  const map = {};
  (data.map || []).forEach((row) => {
    map[row.banner] = row.purpose || null;
  });
  const config = { endpoint: data.endpoint, site: data.site, key: data.key, map: map };
  if (data.language) config.language = data.language;
  if (data.query) config.query = data.query;
  setInWindow('saysoConfig', config, false);
  injectScript(data.endpoint + '/s/v1/sayso.js', data.gtmOnSuccess, data.gtmOnFailure, 'sayso');
}


___WEB_PERMISSIONS___

[
  {
    "instance": {
      "key": { "publicId": "access_globals", "versionId": "1" },
      "param": [
        {
          "key": "keys",
          "value": {
            "type": 2,
            "listItem": [
              {
                "type": 3,
                "mapKey": [
                  { "type": 1, "string": "key" },
                  { "type": 1, "string": "read" },
                  { "type": 1, "string": "write" },
                  { "type": 1, "string": "execute" }
                ],
                "mapValue": [
                  { "type": 1, "string": "saysoConfig" },
                  { "type": 8, "boolean": true },
                  { "type": 8, "boolean": true },
                  { "type": 8, "boolean": false }
                ]
              }
            ]
          }
        }
      ]
    },
    "clientAnnotations": { "isEditedByUser": true },
    "isRequired": true
  },
  {
    "instance": {
      "key": { "publicId": "inject_script", "versionId": "1" },
      "param": [
        {
          "key": "urls",
          "value": {
            "type": 2,
            "listItem": [{ "type": 1, "string": "https://consent.example.com/s/v1/*" }]
          }
        }
      ]
    },
    "clientAnnotations": { "isEditedByUser": true },
    "isRequired": true
  }
]


___TESTS___

scenarios: []


___NOTES___

Replace https://consent.example.com by the address of your ingest, in both places, before you import this file.

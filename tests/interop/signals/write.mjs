// Writes TC and GPP strings with the IAB's own libraries and says what they decode to: the other side of test_signals.py.
// One JSON document on standard input tells what to write; one on standard output answers.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(`${process.argv[2]}/package.json`));
const { TCModel, TCString, GVL, Segment } = require("@iabtechlabtcf/core");
const { GppModel } = require("@iabgpp/cmpapi");

/** A vendor list with as many vendors as the case names, which the library wants before it writes. */
function vendorList(size, policy) {
  const vendors = {};
  for (let id = 1; id <= size; id += 1) {
    vendors[id] = { id, name: `Vendor ${id}`, purposes: [1, 2, 3, 4], legIntPurposes: [7, 9, 10], flexiblePurposes: [], specialPurposes: [],
      features: [], specialFeatures: [1, 2] };
  }
  const named = (count) => Object.fromEntries(Array.from({ length: count }, (_, at) => [at + 1, { id: at + 1, name: `${at + 1}` }]));
  return new GVL({ gvlSpecificationVersion: 3, vendorListVersion: 99, tcfPolicyVersion: policy, lastUpdated: "2026-01-01T00:00:00Z",
    purposes: named(11), specialPurposes: named(2), features: named(3), specialFeatures: named(2), stacks: {}, dataCategories: {}, vendors });
}

function tcf(asked) {
  const list = vendorList(asked.vendors_known, asked.policy_version);
  // The library takes the language of the list that was loaded over the network; this one was not.
  Object.defineProperty(list, "language", { get: () => asked.consent_language });
  const model = new TCModel(list);
  model.cmpId = asked.cmp_id;
  model.cmpVersion = asked.cmp_version;
  model.consentScreen = asked.consent_screen;
  model.consentLanguage = asked.consent_language;
  model.publisherCountryCode = asked.publisher_country;
  model.isServiceSpecific = asked.is_service_specific;
  model.purposeOneTreatment = asked.purpose_one_treatment;
  model.purposeConsents.set(asked.purposes);
  model.purposeLegitimateInterests.set(asked.purposes_li);
  model.specialFeatureOptins.set(asked.special_features);
  model.vendorConsents.set(asked.vendors);
  model.vendorLegitimateInterests.set(asked.vendors_li);
  model.vendorsDisclosed.set(asked.vendors_disclosed);
  model.publisherConsents.set(asked.publisher_purposes);
  model.created = model.lastUpdated = new Date(asked.created);
  const segments = asked.disclosed ? [Segment.CORE, Segment.VENDORS_DISCLOSED, Segment.PUBLISHER_TC] : [Segment.CORE];
  return { text: TCString.encode(model, { segments }) };
}

function gpp(asked) {
  const model = new GppModel();
  for (const { section, field, value } of asked.fields) model.setFieldValue(section, field, value);
  const text = model.encode();
  const read = new GppModel(text);
  return { text, ids: read.getSectionIds(), sections: read.toObject() };
}

let input = "";
process.stdin.setEncoding("utf8");
for await (const chunk of process.stdin) input += chunk;
process.stdout.write(JSON.stringify(JSON.parse(input).map((asked) => (asked.kind === "tcf" ? tcf(asked) : gpp(asked)))));

// Steps 4 to 7 of a bundle, about its logs: keys, checkpoint, witnesses, timestamps. docs/bundle-format.md section 12.
"use strict";

async function checkKeys(bundle, say) {
  const { vkeys, policy } = bundle.pins;
  const pinned = [...vkeys, ...(policy === null ? [] : policy.logs)];
  for (const [name, folder] of bundle.folders) {
    const keys = await readLogKeys(folder.files.get("keys.json"));
    if (keys.name !== name || bundle.logs.has(keys.origin)) refuse(`logs/${name}/keys.json is that of another log`);
    const mine = pinned.filter((key) => key.name === keys.origin);
    if (mine.length > 0 && !mine.some((key) => keys.keys.some((own) => own.vkey === key.vkey)))
      refuse(`logs/${name}: no chain of keys leads to the key given for this log`);
    if (mine.length > 0) say(`${keys.origin}: given by the reader, ${keys.keys.length} keys in its chain`);
    else
      say(`${keys.origin}: the keys are the bundle's own; compare with the published ${keys.keys[0].vkey}`, {
        remark: true,
      });
    bundle.logs.set(keys.origin, { name, keys, origin: keys.origin, ...folder });
  }
  if (vkeys.some((key) => !bundle.logs.has(key.name)))
    refuse("a verifier key was given for a log of which this bundle holds nothing");
}

async function checkCheckpoints(bundle, say) {
  for (const log of bundle.logs.values()) {
    const [note, signed] = ["note", "signed"].map((kind) =>
      decodeText(log.files.get(`checkpoints/${log.size}.${kind}`), "a checkpoint"),
    );
    log.signers = keysAt(log.keys, BigInt(log.size));
    const checkpoint = await openCheckpoint(signed, log.origin, log.signers);
    if (checkpoint.size !== BigInt(log.size))
      refuse(`logs/${log.name}: the checkpoint has another size than its file says`);
    if (checkpoint.lines.some((line) => line.name !== log.origin))
      refuse(`logs/${log.name}: the bytes that were timestamped hold a line of somebody else's`);
    if (!note.startsWith(signed)) refuse(`logs/${log.name}: the checkpoint with cosignatures is not the one without`);
    // The lines that follow are read as lines of the same note: no text can hide between.
    const cosigned = await openCheckpoint(note, log.origin, log.signers);
    if (splitNote(note).text !== splitNote(signed).text)
      refuse(`logs/${log.name}: the checkpoint with cosignatures is not the one without`);
    Object.assign(log, { note, signed, checkpoint: cosigned });
    say(`${log.origin}: size ${checkpoint.size}, root ${hex(checkpoint.root)}`);
  }
}

async function checkWitnesses(bundle, say) {
  const pinned = bundle.pins.policy;
  for (const log of bundle.logs.values()) {
    const own = log.files.get("policy.txt");
    const policy = pinned !== null || own === undefined ? pinned : await parsePolicy(own);
    if (policy === null) {
      say(`${log.origin}: no witness policy, so nobody else vouches that all are shown the same log`, { remark: true });
      continue;
    }
    const opened = await openNote(log.note, [...log.signers, ...policy.witnesses.values()]);
    const namesOf = (keys) => [...policy.witnesses].filter(([, key]) => keys.includes(key)).map(([name]) => name);
    const names = namesOf(opened.signed);
    const unchecked = namesOf(opened.unchecked);
    const listed = policy.logs.some((key) => log.keys.keys.some((own) => own.vkey === key.vkey));
    const holds = isMet(policy, names) && (policy.logs.length === 0 || listed);
    log.witnesses = names;
    const seen = `${log.origin}: cosigned by ${names.join(", ") || "nobody"}`;
    if (unchecked.length > 0) {
      say(
        `${log.origin}: this browser cannot check ML-DSA-44, so ${unchecked.join(", ")} counts for nothing: verify.py can`,
        { remark: true },
      );
    }
    if (pinned === null)
      say(`${seen}; the policy is the bundle's own and ${holds ? "holds" : "does NOT hold"}`, { remark: true });
    else if (holds) say(`${seen}; the policy holds`);
    else
      refuse(
        `${seen}, which the policy given does not accept${unchecked.length > 0 ? "; this browser cannot check ML-DSA-44, verify.py can" : ""}`,
      );
  }
}

async function checkTimestamps(bundle, say) {
  const pinned = bundle.pins.roots === null ? null : readPem(bundle.pins.roots, "the roots given");
  for (const log of bundle.logs.values()) {
    log.times = [];
    let vouched = false;
    for (const name of [...log.authorities].sort()) {
      const read = (suffix) => log.files.get(`timestamps/${suffix}`);
      const nonce = /^([0-9a-f]{16})\n$/.exec(decodeText(read(`${log.size}-${name}.nonce`), "a nonce"));
      if (nonce === null) refuse(`logs/${log.name}: the nonce asked of ${name} is not 16 hex digits`);
      const [response, asked] = [read(`${log.size}-${name}.tsr`), fromHex(nonce[1])];
      const verified = (roots) => verifyTimestamp(response, utf8(log.signed), asked, roots);
      let stamp = pinned === null ? null : await unlessRefused(() => verified(pinned));
      const given = stamp !== null;
      vouched ||= given;
      // Perhaps only of another authority: its own roots tell.
      if (!given) stamp = await verified(readPem(read(`${name}.pem`), "an authority's roots"));
      const when = `${new Date(stamp.genTime.seconds * 1000).toISOString().slice(0, 19)}Z`;
      log.times.push({ when, name, authority: stamp.authority });
      say(
        `${log.origin}: there at ${when}, says ${name} (${stamp.authority})${given ? "" : ", under roots that are the bundle's own"}`,
        { remark: !given },
      );
    }
    if (pinned !== null && !vouched) refuse(`logs/${log.name}: no timestamp leads to the roots given`);
    if (log.authorities.size === 0)
      say(`${log.origin}: no timestamp, so only the operator says when this was`, { remark: true });
  }
}

async function unlessRefused(work) {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Refused) return null;
    throw error;
  }
}

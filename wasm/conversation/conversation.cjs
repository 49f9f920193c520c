// Two clients in WebAssembly that talk over a service, for each recipe. JavaScript gives the time and carries
// the bytes. `cargo xtask wasm test` runs it.

"use strict";

const assert = require("node:assert");
const path = require("node:path");

const { Member, Service } = require(path.resolve(process.argv[2]));

function conversation(recipe) {
  const service = new Service();
  const alice = new Member("Alice", recipe);
  const bob = new Member("Bob", recipe);
  const wall = BigInt(Date.now());
  let mono = 0n;

  // Everything that is to be done, and some time that passes.
  function settle() {
    for (let round = 0; round < 12; round += 1) {
      for (const member of [alice, bob]) {
        for (;;) {
          const request = member.request(wall + mono, mono);
          if (request === undefined) break;
          member.answer(wall + mono, mono, service.perform(request));
        }
      }
      mono += 2500n;
    }
  }

  const group = alice.found("Dev Team");
  alice.invite(group, bob.key_package(wall, mono));
  settle();
  alice.messages();
  bob.messages();

  alice.send(group, "Welcome!");
  bob.send(group, "Grüße, 世界");
  settle();
  assert.deepStrictEqual(bob.messages(), ["Alice: Welcome!"]);
  assert.deepStrictEqual(alice.messages(), ["Bob: Grüße, 世界"]);

  const before = alice.epoch(group);
  bob.refresh(group);
  settle();
  assert.notStrictEqual(alice.epoch(group), before);
  assert.strictEqual(alice.epoch(group), bob.epoch(group));

  bob.reopen();
  for (let number = 0; number < 100; number += 1) alice.send(group, `${number}`);
  settle();
  const expected = Array.from({ length: 100 }, (_, number) => `Alice: ${number}`);
  assert.deepStrictEqual(bob.messages(), expected);
  assert.deepStrictEqual(alice.messages(), []);

  // Bytes that are no answer are an exception, and change nothing.
  assert.throws(() => alice.answer(wall + mono, mono, new Uint8Array([1, 2, 3])));
  assert.throws(() => service.perform(new Uint8Array(0)));
  bob.send(group, "still here");
  settle();
  assert.deepStrictEqual(alice.messages(), ["Bob: still here"]);
}

for (const recipe of ["group", "post-quantum", "paranoid"]) {
  const start = performance.now();
  conversation(recipe);
  console.log(`${recipe}: a conversation in ${Math.round(performance.now() - start)} ms`);
}

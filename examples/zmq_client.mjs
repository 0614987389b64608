// Ask a policy server for actions: three steps, a chunk, and an error.
//
//     npm ci --ignore-scripts
//     node zmq_client.mjs tcp://127.0.0.1:5555 rgb_main=main.jpg rgb_left=left.png ...
//
// An image is a JPEG or PNG file of the policy's size.

import { readFileSync } from "node:fs";
import { decode, encode } from "@msgpack/msgpack";
import { Request } from "zeromq";

class ServerError extends Error {
  constructor(reply) {
    super(`${reply.error}: ${reply.message}`);
    this.code = reply.error;
  }
}

// Numbers as MessagePack carries them. (All machines that run Node are little-endian.)
const toMap = (floats) => ({
  dtype: "<f4",
  shape: [floats.length],
  data: new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength),
});

// Copied: a typed array has to begin at a multiple of its numbers' size.
const fromMap = ({ dtype, data }) =>
  new { "<f4": Float32Array, "<f8": Float64Array }[dtype](new Uint8Array(data).buffer);

class Client {
  // After a time-out the same request may be sent again, and a late reply is dropped.
  constructor(endpoint, session, timeout = 5000, tries = 3) {
    this.session = session;
    this.tries = tries;
    this.id = Date.now() * 1000; // not again that of an earlier run
    this.socket = new Request({
      linger: 0, receiveTimeout: timeout, correlate: true, relaxed: true,
    });
    this.socket.connect(endpoint);
  }

  // Send a request, several times if need be: the same id is never run twice.
  async call(request, fields) {
    const message = encode({ request, id: ++this.id, ...fields });
    for (let i = 0; i < this.tries; i++) {
      await this.socket.send(message);
      let frames;
      try {
        frames = await this.socket.receive();
      } catch (error) {
        if (error.code !== "EAGAIN") throw error;
        continue;
      }
      const reply = decode(frames[0]);
      if (reply.status !== "OK") throw new ServerError(reply);
      return reply;
    }
    throw new Error("no answer; is the server running there?");
  }

  reset() {
    return this.call("reset", { session: this.session });
  }

  // The action of a step; no limits are applied to it.
  async act(qpos, images, step) {
    const reply = await this.call("act", {
      session: this.session, step, qpos: toMap(qpos), images, deadline: 5.0,
    });
    return fromMap(reply.action);
  }

  // What the policy predicts from this observation, row after row, one for each step.
  async chunk(qpos, images) {
    const { chunk } = await this.call("act", { reply: "chunk", qpos: toMap(qpos), images });
    return { shape: chunk.shape, numbers: fromMap(chunk) };
  }
}

const text = (numbers) => [...numbers].map((value) => Number(value.toPrecision(9))).join(" ");

async function main([endpoint, ...cameras]) {
  const images = Object.fromEntries(
    cameras.map((camera) => camera.split("=")).map(([name, path]) => [name, readFileSync(path)]),
  );
  const qpos = new Float32Array(17); // of the robot
  const client = new Client(endpoint, "javascript");
  await client.reset();
  for (let step = 0; step < 3; step++) {
    console.log("action", step, text(await client.act(qpos, images, step)));
  }
  const { shape, numbers } = await client.chunk(qpos, images);
  console.log("chunk", ...shape, text(numbers.subarray(0, shape[1])));
  client.session = "javascript, never begun";
  try {
    await client.act(qpos, images, 3);
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    console.log("error", error.code);
  }
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
}

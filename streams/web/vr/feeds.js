/** Where states come from: a WebSocket of any engine, or a WebRTC connection to the engine of this page, with its sound. This
 * folder needs no file of the main page, so that any web server can show it. */

const AGAIN_MS = [500, 1000, 2000, 4000, 8000];

/** A WebSocket of states that opens itself again. `take(state, now)` gets each. */
export class SocketFeed {
  #tries = 0;
  #timer = 0;
  #socket = null;

  constructor(address, take) {
    this.address = address;
    this.take = take;
    this.#open();
  }

  #open() {
    const socket = new WebSocket(this.address);
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      this.#tries = 0;
      this.take(JSON.parse(data), performance.now());
    };
    socket.onclose = () => {
      if (socket !== this.#socket) return;
      const wait = AGAIN_MS[Math.min(this.#tries++, AGAIN_MS.length - 1)];
      this.#timer = setTimeout(() => this.#open(), wait * (0.8 + 0.4 * Math.random()));
    };
  }

  close() {
    const socket = this.#socket;
    this.#socket = null;
    clearTimeout(this.#timer);
    socket?.close();
  }
}

/** Sound and states by one connection; the states wait for the sound's own delay. */
export class Call {
  lag = 0;
  #connection = null;
  #peer = null;
  #timer = 0;
  #before = { delay: 0, count: 0 };

  /** Connect; resolves to the MediaStream of the voice. `take` gets the states. Throws with a line for the user. */
  async open(take) {
    const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.#connection = connection;
    // A state that is late is of no use: the next one is on its way.
    const states = connection.createDataChannel("states", { ordered: false, maxRetransmits: 0 });
    states.onmessage = ({ data }) => take(JSON.parse(data), performance.now());
    connection.addTransceiver("audio", { direction: "recvonly" });
    const stream = new Promise((resolve) => {
      connection.ontrack = ({ track }) => resolve(new MediaStream([track]));
    });
    await connection.setLocalDescription();
    await gathered(connection);
    const { sdp, type } = connection.localDescription;
    const answer = await offer({ sdp, type });
    this.#peer = answer.peer;
    await connection.setRemoteDescription({ sdp: answer.sdp, type: answer.type });
    this.#timer = setInterval(() => this.#measure(), 1000);
    return stream;
  }

  /** How long sound waits in the browser before it is heard. */
  async #measure() {
    for (const entry of (await this.#connection.getStats()).values()) {
      if (entry.type !== "inbound-rtp" || entry.kind !== "audio") continue;
      const delay = entry.jitterBufferDelay - this.#before.delay;
      const count = entry.jitterBufferEmittedCount - this.#before.count;
      this.#before = { delay: entry.jitterBufferDelay, count: entry.jitterBufferEmittedCount };
      if (count > 0) this.lag = 1000 * (delay / count);
    }
  }

  close() {
    clearInterval(this.#timer);
    this.#connection?.close();
    if (this.#peer) fetch(`/api/peers/${encodeURIComponent(this.#peer)}`, { method: "DELETE", keepalive: true }).catch(() => {});
  }
}

async function offer(description) {
  const form = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(description) };
  const answer = await fetch("/api/offer", form).catch(() => null);
  const body = await answer?.json().catch(() => null);
  if (!answer?.ok) throw new Error(body?.error ?? "The engine does not answer. Is it still running?");
  return body;
}

function gathered(connection) {
  return new Promise((resolve) => {
    const check = () => connection.iceGatheringState === "complete" && resolve();
    connection.addEventListener("icegatheringstatechange", check);
    setTimeout(resolve, 1000);
    check();
  });
}

/** The peer connection: the avatar comes in; the page's own microphone and camera can go out by the same one. */

import { Backoff, request } from "./api.js";
import { LipSync } from "./lipsync.js";

const GATHERING_MS = 1000;
/** A connection that reports "disconnected" often comes back by itself within this time. */
const GRACE_MS = 2500;
const STALL_MS = 4000;

/** Events: "connected", "waiting" (detail: milliseconds until the next try), "stream" (detail: MediaStream), "label"
 * (detail: { message, sdp }, for `checkLabel`). */
export class Peer extends EventTarget {
  id = null;
  connection = null;
  #lips = null;
  #senders = {};
  #tracks = { audio: null, video: null };
  #backoff = new Backoff();
  #retry = 0;
  #grace = 0;
  #attempt = 0;
  #closed = true;
  #frames = { count: -1, at: 0 };

  get connected() {
    return this.connection?.connectionState === "connected";
  }

  /** Connect, and keep connected until `close`. */
  async open() {
    this.#closed = false;
    clearTimeout(this.#retry);
    clearTimeout(this.#grace);
    this.#drop();
    const attempt = ++this.#attempt;
    try {
      await this.#negotiate(attempt);
    } catch (error) {
      if (attempt === this.#attempt && !this.#closed) this.#again(error.message);
    }
  }

  async #negotiate(attempt) {
    const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.connection = connection;
    const lips = new LipSync(connection);
    this.#lips = lips;
    // The engine answers on this channel with what the picture is, signed.
    connection.createDataChannel("label").onmessage = ({ data }) => {
      const detail = { message: data, sdp: connection.remoteDescription?.sdp ?? "" };
      if (connection === this.connection) this.dispatchEvent(new CustomEvent("label", { detail }));
    };
    const stream = new MediaStream();
    // Both go both ways from the start, so that a microphone or a camera only replaces an empty track.
    const senders = {};
    for (const kind of ["audio", "video"]) {
      senders[kind] = connection.addTransceiver(kind, { direction: "sendrecv" }).sender;
      if (this.#tracks[kind]) await senders[kind].replaceTrack(this.#tracks[kind]);
    }
    this.#senders = senders;
    connection.ontrack = (event) => {
      lips.add(event.track.kind, event.receiver);
      // The engine's own stream keeps both tracks in one synchronisation group.
      const incoming = event.streams[0] ?? stream;
      if (!event.streams[0]) stream.addTrack(event.track);
      this.dispatchEvent(new CustomEvent("stream", { detail: incoming }));
    };
    connection.onconnectionstatechange = () => this.#changed(connection);

    await connection.setLocalDescription();
    await gathered(connection);
    const { sdp, type } = connection.localDescription;
    const answer = await request("POST", "api/offer", { json: { sdp, type } });
    if (attempt !== this.#attempt || this.#closed) {
      release(answer.peer);
      return;
    }
    this.id = answer.peer;
    await connection.setRemoteDescription({ sdp: answer.sdp, type: answer.type });
  }

  #changed(connection) {
    if (connection !== this.connection || this.#closed) return;
    clearTimeout(this.#grace);
    if (connection.connectionState === "connected") {
      this.#backoff.reset();
      this.#frames = { count: -1, at: performance.now() };
      this.dispatchEvent(new Event("connected"));
    } else if (connection.connectionState === "disconnected") {
      this.#grace = setTimeout(() => this.#again("The connection was lost"), GRACE_MS);
    } else if (["failed", "closed"].includes(connection.connectionState)) {
      this.#again("The connection was lost");
    }
  }

  #again(reason) {
    clearTimeout(this.#retry);
    clearTimeout(this.#grace);
    this.#drop();
    const delay = this.#backoff.next();
    this.dispatchEvent(new CustomEvent("waiting", { detail: { delay, reason } }));
    this.#retry = setTimeout(() => this.open(), delay);
  }

  /** Tell how many pictures have arrived so far; connects anew where none has come for four seconds. */
  progress(count) {
    const now = performance.now();
    if (count !== this.#frames.count || document.hidden) this.#frames = { count, at: now };
    else if (this.connected && now - this.#frames.at > STALL_MS) this.#again("No picture arrives");
  }

  /** Send this track from now on (null: nothing). It survives a new connection. */
  async send(kind, track) {
    this.#tracks[kind] = track;
    await this.#senders[kind]?.replaceTrack(track);
  }

  #drop() {
    const { connection, id } = this;
    this.#lips?.stop();
    this.#lips = null;
    this.connection = null;
    this.id = null;
    if (connection) {
      connection.onconnectionstatechange = null;
      connection.ontrack = null;
      connection.close();
    }
    if (id) release(id);
  }

  close() {
    this.#closed = true;
    this.#attempt++;
    clearTimeout(this.#retry);
    clearTimeout(this.#grace);
    this.#drop();
  }
}

/** Let the engine free a peer at once; it finds out by itself otherwise. */
function release(id) {
  request("DELETE", `api/peers/${encodeURIComponent(id)}`, { keepalive: true }).catch(() => {});
}

function gathered(connection) {
  return new Promise((resolve) => {
    const check = () => {
      if (connection.iceGatheringState === "complete") resolve();
    };
    connection.addEventListener("icegatheringstatechange", check);
    setTimeout(resolve, GATHERING_MS);
    check();
  });
}

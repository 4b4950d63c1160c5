/**
 * Keeps what is heard and what is seen together, closer and faster than a browser does by itself.
 *
 * Chromium compares both streams once a second by their RTCP sender reports, leaves alone what is less than 30 ms off,
 * and takes back half of a larger error each time: after a burst of jitter the lips are off for a quarter of a minute.
 * Here the same comparison is made four times a second, and the receivers' `jitterBufferTarget` moves by what is
 * missing. The sound, whose buffer is stretched audibly if at all, is left alone as long as the picture can follow it.
 */

import { lead } from "./meters.js";

/** Milliseconds that each medium waits at least. The sound's way to the ear is longer by the output device's buffer. */
export const BASE_MS = { audio: 60, video: 100 };

const STEP_MS = 250;
/** Never wait longer than this for a medium that is late; the other one goes on without it. */
const MOST_MS = 800;
/** The picture's own buffer needs no less. */
const LEAST_VIDEO_MS = 20;
/** What is closer is left alone. */
const DEAD_MS = 3;
const GAIN = { audio: 0.25, video: 0.4 };
/** A buffer this much longer than was asked of it is held up by something else: lost packets, jitter. (Chromium's sound
 * is some 20 ms longer than asked for, its picture as much shorter, decoding included.) */
const HELD_MS = { audio: 40, video: 10 };
/** Share of what the sound is held back for that is given up in every step: a late picture is no reason for ever. */
const RELEASE = 0.025;

/**
 * New targets for both buffers.
 *
 * `now`: `skew` milliseconds by which the sound is ahead of the picture, and the mean time that `audio` and `video` have
 * lately spent in their buffers.
 */
export function balance(targets, now) {
  const { audio, video } = targets;
  const released = audio - RELEASE * (audio - BASE_MS.audio);
  if (Math.abs(now.skew) < DEAD_MS) return { audio: released, video };
  if (now.skew < 0) {
    // The picture is early: it waits, and what the sound has been held back for is given back meanwhile.
    const ours = audio > BASE_MS.audio + 5 && now.audio < audio + HELD_MS.audio;
    return {
      audio: ours ? clamp(audio + GAIN.audio * now.skew, BASE_MS.audio) : released,
      video: clamp(Math.max(video, now.video) - GAIN.video * now.skew, LEAST_VIDEO_MS),
    };
  }
  const ours = video > LEAST_VIDEO_MS && now.video < video + HELD_MS.video;
  if (ours) return { audio, video: clamp(video - GAIN.video * now.skew, LEAST_VIDEO_MS) };
  return { audio: clamp(Math.max(audio, now.audio) + GAIN.audio * now.skew, BASE_MS.audio), video };
}

function clamp(milliseconds, least) {
  return Math.min(MOST_MS, Math.max(least, milliseconds));
}

/** Balances one connection until it is closed. Does nothing in a browser that has no `jitterBufferTarget`. */
export class LipSync {
  #connection;
  #receivers = {};
  #targets = { ...BASE_MS };
  #last = null;
  #skews = [];
  #timer;

  constructor(connection) {
    this.#connection = connection;
    this.#timer = setInterval(() => this.#step(), STEP_MS);
  }

  /** A receiver of the connection has got its track. */
  add(kind, receiver) {
    if (!("jitterBufferTarget" in receiver)) return;
    this.#receivers[kind] = receiver;
    receiver.jitterBufferTarget = this.#targets[kind];
  }

  stop() {
    clearInterval(this.#timer);
  }

  async #step() {
    if (!this.#receivers.audio || !this.#receivers.video || document.hidden) return;
    const reports = {};
    for (const report of (await this.#connection.getStats()).values()) {
      if (report.type === "inbound-rtp") reports[report.kind] = report;
      if (report.type === "media-playout") reports.playout = report;
    }
    const last = this.#last;
    this.#last = reports;
    if (!last?.audio || !last.video || !reports.audio || !reports.video) return;
    const skew = lead(last, reports);
    const now = { audio: delay(last.audio, reports.audio), video: delay(last.video, reports.video) };
    if (now.audio === null || now.video === null || skew === null) return;
    this.#skews = [...this.#skews.slice(-4), skew];
    // While a picture stands still, the sound seems to be ahead: the middle one of five. That the sound is late is true
    // at once, and holding the picture back for it does no harm.
    const middle = [...this.#skews].sort((a, b) => a - b)[this.#skews.length >> 1];
    now.skew = Math.min(skew, middle);
    this.#targets = balance(this.#targets, now);
    for (const [kind, receiver] of Object.entries(this.#receivers)) {
      if (Math.abs(receiver.jitterBufferTarget - this.#targets[kind]) >= 1) {
        receiver.jitterBufferTarget = Math.round(this.#targets[kind]);
      }
    }
  }
}

/** Mean time in the jitter buffer between two reports, in milliseconds; null where nothing has come out. */
function delay(before, after) {
  const items = after.jitterBufferEmittedCount - before.jitterBufferEmittedCount;
  return items > 0 ? (1000 * (after.jitterBufferDelay - before.jitterBufferDelay)) / items : null;
}
